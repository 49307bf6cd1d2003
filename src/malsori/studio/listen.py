"""Listen: a sound → its words, when and how surely; of a network that CTC trains, the frames and their collapse."""

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from malsori.alignment.subtitles import format_subtitles, join_cues
from malsori.annotations import Float
from malsori.asr.ctc import CtcSegmentDecoder
from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import Recognizer
from malsori.decode.ctc import collapse
from malsori.decode.transcript import TranscriptWord
from malsori.serve.state import Facts, Server, ServerState
from malsori.serve.streams import while_present
from malsori.studio.render import answer, download
from malsori.text.letters import decode_letters

router = APIRouter()

_FRAMES_SECONDS = 12.0
_BLANK, _SPACE = "·", "␣"


class ListenForm(BaseModel):
    """A sound, and who listens."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    file: UploadFile
    model: str
    hotwords: str = ""


@dataclass(frozen=True)
class LetterFrames:
    """How CTC comes from frames to a text.

    Attributes:
        best: each frame's most probable letter: the letter, whether it is the blank, start, end, probability.
        runs: equal neighbors as one: the letter, whether it is the blank, frames.
        letters: the runs without blanks.
        text: the letters as syllables.
        cut: whether the sound goes on.
    """

    best: list[tuple[str, bool, float, float, float]]
    runs: list[tuple[str, bool, int]]
    letters: list[str]
    text: str
    cut: bool


@router.post("/listen")
async def listen(asked: Annotated[ListenForm, Form()], request: Request, server: Server, facts: Facts) -> Response:
    """Write down what is said in a sound."""
    model = server.models.resolve("recognizer", asked.model)
    facts.update(model=model.name)
    hotwords = tuple(word.strip() for word in asked.hotwords.split(",") if word.strip())
    options = DecodingOptions(hotwords=hotwords) if hotwords else DecodingOptions()
    heard = while_present(request, _listen(server, model.name, asked.file, options))
    words, frames, missing = await heard
    subtitles = download(format_subtitles(join_cues(words), "srt"), "application/x-subrip")
    return answer(request, "listen.html", words=words, frames=frames, missing=missing, subtitles=subtitles)


async def _listen(
    server: ServerState, model: str, file: UploadFile, options: DecodingOptions
) -> tuple[list[TranscriptWord], LetterFrames | None, tuple[str, ...]]:
    jobs = server.jobs
    with jobs.admission():
        recognizer: Recognizer = await jobs.run(server.models.recognizer, model)
        rate = recognizer.model.facts.audio.sample_rate
        sound = await server.sound(file, rate)
        stream = await jobs.run(partial(recognizer.stream, sound.wave, options, sample_rate=rate))
        words = [word async for segment in jobs.iterate(stream) for word in segment.words]
        server.metrics.sound_seconds.labels("recognized").inc(len(sound.wave) / rate)
        return words, await jobs.run(letter_frames, recognizer, sound.wave), sound.missing


def letter_frames(recognizer: Recognizer, wave: Float[np.ndarray, " samples"]) -> LetterFrames | None:
    """Return the way from frames to a text by the most probable letters; none for a network that CTC did not train.

    Args:
        wave: at the recognizer's rate; its first 12 s are shown.
    """
    decoder = recognizer.decoder
    if not isinstance(decoder, CtcSegmentDecoder):
        return None
    samples = round(_FRAMES_SECONDS * recognizer.model.facts.audio.sample_rate)
    found = decoder.encoder.posteriors(np.asarray(wave[:samples], dtype=np.float32))
    ids = found.log_probs.argmax(axis=-1).tolist()
    sure = np.exp(found.log_probs.max(axis=-1)).tolist()
    symbols = dict(enumerate(decoder.table.symbols)) | {found.blank: _BLANK}
    begins = [found.first_seconds + place * found.frame_seconds for place in range(len(ids))]

    def shown(symbol: int) -> str:
        return _SPACE if symbols[symbol] == " " else symbols[symbol].lstrip("-")

    return LetterFrames(
        [
            (shown(id_), id_ == found.blank, begin, begin + found.frame_seconds, chance)
            for id_, begin, chance in zip(ids, begins, sure, strict=True)
        ],
        [(shown(id_), id_ == found.blank, len([*run])) for id_, run in itertools.groupby(ids)],
        [shown(id_) for id_ in collapse(ids, found.blank)],
        decode_letters(decoder.table, collapse(ids, found.blank)),
        len(wave) > samples,
    )
