"""Measure: what was said beside what was recognized → a score card; two sounds → their distance, with the path."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from malsori.errors import MetricError
from malsori.metrics.cepstral import CepstralDistortion, mcd
from malsori.metrics.error_rate import TextNormalizer
from malsori.metrics.score_card import score
from malsori.metrics.transcripts import TextPairs, TranscriptLine
from malsori.report.plots import path_figure
from malsori.report.score_page import score_page
from malsori.serve.state import Facts, Server, ServerState
from malsori.serve.streams import while_present
from malsori.studio.render import answer, draw

router = APIRouter()

_RATE = 22_050
_MAX_SECONDS = 60.0  # of a sound whose path is sought: its cost grows with the square


class ScoreForm(BaseModel):
    """Texts, an utterance a line."""

    model_config = ConfigDict(extra="forbid")

    reference: str
    hypothesis: str = ""
    punctuation: Literal["kept", "removed"] = "kept"
    case: Literal["kept", "folded"] = "kept"


class DistanceForm(BaseModel):
    """Two sounds of the same words."""

    model_config = ConfigDict(extra="forbid")

    reference: UploadFile
    hypothesis: UploadFile


@router.post("/score")
async def score_texts(asked: Annotated[ScoreForm, Form()], request: Request, server: Server, facts: Facts) -> Response:
    """Return a score card of texts."""
    for param in ("reference", "hypothesis"):
        server.check_text(getattr(asked, param), param)
    facts.update(characters=len(asked.reference))
    with server.jobs.admission():
        card = await while_present(request, server.jobs.run(_score, asked))
    return HTMLResponse(card)


@router.post("/distance")
async def distance(asked: Annotated[DistanceForm, Form()], request: Request, server: Server) -> Response:
    """Return how far apart two sounds are, and how their frames are paired."""
    found, path = await while_present(request, _distance(server, asked))
    return answer(request, "distance.html", found=found, picture=path)


def _score(asked: ScoreForm) -> str:
    reference, hypothesis = (_lines(text) for text in (asked.reference, asked.hypothesis))
    if len(reference) != len(hypothesis):
        raise MetricError(f"{len(reference)} lines were said and {len(hypothesis)} recognized; give as many")
    normalizer = TextNormalizer(punctuation=asked.punctuation, case=asked.case)
    card = score([line.text for line in reference], [line.text for line in hypothesis], normalizer)
    return score_page(card, TextPairs(reference, hypothesis), normalizer).body


def _lines(text: str) -> tuple[TranscriptLine, ...]:
    lines = text.replace("\r\n", "\n").strip("\n").split("\n")
    return tuple(TranscriptLine(str(number), line) for number, line in enumerate(lines, 1))


async def _distance(server: ServerState, asked: DistanceForm) -> tuple[CepstralDistortion, str]:
    with server.jobs.admission():
        sounds = [(await server.sound(file, _RATE)).wave for file in (asked.reference, asked.hypothesis)]
        for sound in sounds:
            if len(sound) > _MAX_SECONDS * _RATE:
                told = f"{len(sound) / _RATE:.0f} s: a distance is measured over {_MAX_SECONDS:.0f} s at most; cut it"
                raise MetricError(told)
        found = await server.jobs.run(mcd, *sounds, _RATE)
        return found, await server.jobs.run(draw, lambda: path_figure(found), f"{found.mcd_db:.2f} dB")
