"""Align: a sound and its text → words, syllables and phones where they sound, and a TextGrid to keep."""

from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from malsori.alignment.spans import Alignment
from malsori.annotations import Float
from malsori.config import AudioConfig
from malsori.report.plots import speech_figure
from malsori.serve.state import Facts, Server, ServerState
from malsori.serve.streams import while_present
from malsori.studio.render import DRAWN_SECONDS, answer, draw, textgrid

router = APIRouter()


class LaidTextForm(BaseModel):
    """A sound and what is said in it."""

    model_config = ConfigDict(extra="forbid")

    file: UploadFile
    text: Annotated[str, Field(min_length=1)]


@router.post("/align")
async def align(asked: Annotated[LaidTextForm, Form()], request: Request, server: Server, facts: Facts) -> Response:
    """Show when each word, syllable and phone of a text sounds."""
    server.check_text(asked.text, "text")
    facts.update(characters=len(asked.text))
    alignment, picture, missing = await while_present(request, _align(server, asked))
    cut = alignment.duration > DRAWN_SECONDS
    values = {
        "alignment": alignment,
        "picture": picture,
        "missing": missing,
        "textgrid": textgrid(alignment),
        "cut": cut,
    }
    return answer(request, "align.html", **values)


async def _align(server: ServerState, asked: LaidTextForm) -> tuple[Alignment, str, tuple[str, ...]]:
    jobs = server.jobs
    with jobs.admission():
        aligner = await jobs.run(server.models.aligner, server.models.defaults["aligner"])
        audio: AudioConfig = aligner.model.facts.audio
        sound = await server.sound(asked.file, audio.sample_rate)
        found = await jobs.run(partial(aligner.align, sound.wave, asked.text, sample_rate=audio.sample_rate))
        return found, await jobs.run(_picture, sound.wave, audio, found, asked.text), sound.missing


def _picture(wave: Float[np.ndarray, " samples"], audio: AudioConfig, found: Alignment, text: str) -> str:
    import torch

    from malsori.audio.mel import log_mel

    wave = np.array(wave[: round(DRAWN_SECONDS * audio.sample_rate)])
    mel = log_mel(torch.from_numpy(wave)[None], audio)[0].numpy()
    return draw(lambda: speech_figure(wave, mel, audio, found), text)
