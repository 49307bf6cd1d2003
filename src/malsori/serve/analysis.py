"""malsori's own routes: a text laid over its sound, every stage of a reading, a score card."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from malsori.alignment.spans import Alignment
from malsori.alignment.subtitles import format_subtitles, join_cues
from malsori.alignment.textgrid import format_textgrid
from malsori.metrics.error_rate import TextNormalizer
from malsori.metrics.score_card import score
from malsori.serve.errors import HttpError, JsonResponse
from malsori.serve.state import Facts, Server, ServerState
from malsori.serve.streams import while_present
from malsori.text.frontend import Frontend
from malsori.text.userwords import lexicon_of_rows

router = APIRouter(tags=["malsori"])

_MAX_PAIRS = 1000


class AlignForm(BaseModel):
    """A sound and what is said in it."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    file: UploadFile
    text: Annotated[str, Field(min_length=1)]
    model: str | None = Field(None, description="A recognizer that gives phonemes.")
    response_format: Literal["json", "textgrid", "srt", "vtt"] = "json"


class ExplainRequest(BaseModel):
    """A text to read."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1)]
    lexicon: dict[str, str] = Field({}, max_length=1000, description="Word → how it is read; in brackets, pronounced.")


class ScoreRequest(BaseModel):
    """What was said and what was recognized: a text each, or as many texts each."""

    model_config = ConfigDict(extra="forbid")

    reference: str | list[str]
    hypothesis: str | list[str]
    punctuation: Literal["kept", "removed"] = "kept"
    case: Literal["kept", "folded"] = "kept"


@router.post("/v1/align", response_class=Response)
async def align(asked: Annotated[AlignForm, Form()], request: Request, server: Server, facts: Facts) -> Response:
    """Say when each word, syllable and phone of a text sounds: JSON, a TextGrid, or subtitles."""
    server.check_text(asked.text, "text")
    model = server.models.resolve("aligner", asked.model)
    facts.update(model=model.name, characters=len(asked.text))
    found = await while_present(request, _align(server, model.name, asked, facts))
    if asked.response_format == "json":
        return JsonResponse(found.as_json() | {"duration": round(found.duration, 4)})
    if asked.response_format == "textgrid":
        return Response(format_textgrid(found.tiers, found.duration), media_type="text/plain")
    return Response(format_subtitles(join_cues(found.words), asked.response_format), media_type="text/plain")


@router.post("/v1/explain")
async def explain(asked: ExplainRequest, request: Request, server: Server, facts: Facts) -> Response:
    """Show every stage of a text: normalized, the rules that applied with their articles, phonemes, ids."""
    server.check_text(asked.text, "text")
    facts.update(characters=len(asked.text))
    return JsonResponse(await while_present(request, _admitted(server, _explain, server.frontend, asked)))


@router.post("/v1/score")
async def score_texts(asked: ScoreRequest, request: Request, server: Server, facts: Facts) -> Response:
    """Score recognized texts against what was said: CER, WER and their kin, with counts and intervals."""
    references = [asked.reference] if isinstance(asked.reference, str) else asked.reference
    hypotheses = [asked.hypothesis] if isinstance(asked.hypothesis, str) else asked.hypothesis
    if len(references) != len(hypotheses) or not references:
        told = f"hypothesis: {len(hypotheses)} texts for {len(references)} references; give as many"
        raise HttpError(400, told, "invalid_value", "hypothesis")
    if len(references) > _MAX_PAIRS:
        raise HttpError(400, f"reference: {len(references)} texts, at most {_MAX_PAIRS} are taken", param="reference")
    for param, texts in (("reference", references), ("hypothesis", hypotheses)):
        for text in texts:
            server.check_text(text, param)
    facts.update(texts=len(references))
    normalizer = TextNormalizer(punctuation=asked.punctuation, case=asked.case)
    card = await while_present(request, _admitted(server, score, references, hypotheses, normalizer))
    return JsonResponse(card.as_json())


async def _align(server: ServerState, model: str, asked: AlignForm, facts: dict[str, Any]) -> Alignment:
    with server.jobs.admission():
        aligner = await server.jobs.run(server.models.aligner, model)
        rate = aligner.model.facts.audio.sample_rate
        wave = (await server.sound(asked.file, rate)).wave
        facts["sound_seconds"] = round(len(wave) / rate, 3)
        return await server.jobs.run(partial(aligner.align, wave, asked.text, sample_rate=rate))


async def _admitted(server: ServerState, function: Any, *arguments: Any) -> Any:
    with server.jobs.admission():
        return await server.jobs.run(function, *arguments)


def _explain(frontend: Frontend, asked: ExplainRequest) -> dict[str, Any]:
    if asked.lexicon:
        frontend = frontend.with_lexicon(lexicon_of_rows(sorted(asked.lexicon.items()), "lexicon"))
    reading = frontend.read(asked.text)
    return reading.as_json() | {"ids": frontend.ids(reading)}
