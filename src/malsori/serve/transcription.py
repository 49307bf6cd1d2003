"""POST /v1/audio/transcriptions and /translations: a sound → text, whole or while it is recognized."""

import math
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from malsori.alignment.subtitles import format_subtitles, join_cues
from malsori.asr.options import AUTO, DecodingOptions
from malsori.asr.recognizer import Recognizer
from malsori.decode.seq2seq import compression_ratio
from malsori.decode.transcript import Segment, Transcript
from malsori.serve.errors import HttpError, JsonResponse
from malsori.serve.state import Facts, Server, ServerState
from malsori.serve.streams import event_stream, while_present

router = APIRouter(tags=["OpenAI"])

Granularity = Literal["word", "segment"]


class TranslationForm(BaseModel):
    """What is wanted of a sound: OpenAI's fields of a translation."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    file: UploadFile
    model: str | None = Field(None, description="A recognizer of /v1/models, or one of OpenAI's names.")
    prompt: str | None = Field(None, description="Text before the sound, or words and spellings to expect.")
    hotwords: str | None = Field(None, description="Words that are likely, parted by commas.")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)


class TranscriptionForm(TranslationForm):
    """What is wanted of a sound: OpenAI's fields, and hotwords."""

    language: str | None = Field(None, description="Code of the language spoken, or auto.")
    chunking_strategy: Literal["auto"] | None = Field(None, description="Sound is cut where it is quiet: auto.")
    stream: bool = Field(False, description="Send transcript.text.delta events, then transcript.text.done.")
    timestamp_granularities: list[Granularity] = Field(
        default_factory=list, alias="timestamp_granularities[]", description="For verbose_json: word, segment."
    )


@router.post("/v1/audio/transcriptions", response_class=Response)
async def transcribe(
    asked: Annotated[TranscriptionForm, Form()], request: Request, server: Server, facts: Facts
) -> Response:
    """Write down what is said in a sound, as json, text, srt, vtt or verbose_json, or as OpenAI's events."""
    wants_times = bool(asked.timestamp_granularities)
    if wants_times and asked.response_format != "verbose_json":
        told = f"timestamp_granularities[]: are for verbose_json, not {asked.response_format}"
        raise HttpError(400, told, param="timestamp_granularities[]")
    if asked.stream and asked.response_format not in ("json", "text"):
        told = f"stream: sends text as it is recognized; response_format {asked.response_format} is written at the end"
        raise HttpError(400, told, param="stream")
    options = _options(asked, "transcribe", asked.language)
    listening = _Listening(server, asked, options, facts)
    if asked.stream:
        return await event_stream(listening.events())
    transcript = await while_present(request, listening.transcript())
    return listening.told(_answer(transcript, asked, asked.timestamp_granularities, "transcribe"))


@router.post("/v1/audio/translations", response_class=Response)
async def translate(
    asked: Annotated[TranslationForm, Form()], request: Request, server: Server, facts: Facts
) -> Response:
    """Write down in English what is said in a sound, where the recognizer can."""
    options = _options(asked, "translate", None)
    listening = _Listening(server, asked, options, facts)
    transcript = await while_present(request, listening.transcript())
    return listening.told(_answer(transcript, asked, [], "translate"))


class _Listening:
    """One request's way from a sound to its segments."""

    def __init__(
        self, server: ServerState, asked: TranslationForm, options: DecodingOptions, facts: dict[str, Any]
    ) -> None:
        self.server, self.asked, self.options, self.facts = server, asked, options, facts
        self.model = server.models.resolve("recognizer", asked.model)
        facts.update(model=self.model.name)
        self.duration, self.language, self.missing = 0.0, "", tuple[str, ...]()

    async def segments(self) -> AsyncIterator[Segment]:
        """Yield what is said in each stretch of the sound."""
        jobs = self.server.jobs
        with jobs.admission():
            recognizer: Recognizer = await jobs.run(self.server.models.recognizer, self.model.name)
            recognizer.decoder.check(self.options)
            rate = recognizer.model.facts.audio.sample_rate
            sound = await self.server.sound(self.asked.file, rate)
            wave, self.missing = sound.wave, sound.missing
            self.duration, self.language = len(wave) / rate, self.options.language or recognizer.languages[0]
            self.facts["sound_seconds"] = round(self.duration, 3)
            self.server.metrics.sound_seconds.labels("recognized").inc(self.duration)
            if self.options.language == AUTO:  # what is heard first says it: known at the end
                whole = await jobs.run(partial(recognizer.transcribe, wave, self.options, sample_rate=rate))
                self.language = whole.language
                for segment in whole.segments:
                    yield segment
                return
            stream = await jobs.run(partial(recognizer.stream, wave, self.options, sample_rate=rate))
            async for segment in jobs.iterate(stream):
                yield segment

    def told(self, answer: Response) -> Response:
        """Return an answer whose header says what of the sound was missing, if anything was."""
        if self.missing:
            answer.headers["x-malsori-warning"] = "; ".join(self.missing).encode("ascii", "replace").decode()
        return answer

    async def transcript(self) -> Transcript:
        """Return all of it."""
        segments = [segment async for segment in self.segments()]
        text = " ".join(segment.text for segment in segments)
        return Transcript(text, self.language, self.duration, tuple(segments))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield OpenAI's events: the text of each segment, then all of it."""
        text = ""
        async for segment in self.segments():
            delta = f" {segment.text}" if text else segment.text
            text += delta
            yield {"type": "transcript.text.delta", "delta": delta}
        yield {"type": "transcript.text.done", "text": text}


def _options(asked: TranslationForm, task: Literal["transcribe", "translate"], language: str | None) -> DecodingOptions:
    """Return the options of decoding. Raises: OptionError for one that is out of its bounds."""
    hotwords = tuple(word.strip() for word in (asked.hotwords or "").split(",") if word.strip())
    given: dict[str, Any] = {"language": language, "prompt": asked.prompt, "hotwords": hotwords}
    given = {name: value for name, value in given.items() if value}
    if asked.temperature:
        given["temperatures"] = (asked.temperature,)
    return DecodingOptions(task=task if task == "translate" else None, **given)


def _answer(transcript: Transcript, asked: TranslationForm, granularities: list[Granularity], task: str) -> Response:
    """Return a transcript in the form that was asked for."""
    usage = {"type": "duration", "seconds": round(transcript.duration, 3)}
    if asked.response_format == "json":
        return JsonResponse({"text": transcript.text, "usage": usage})
    if asked.response_format == "text":
        return Response(transcript.text + "\n", media_type="text/plain")
    if asked.response_format == "verbose_json":
        return JsonResponse(_verbose(transcript, asked.temperature, granularities, task) | {"usage": usage})
    words = [word for segment in transcript.segments for word in segment.words]
    style: Literal["srt", "vtt"] = "srt" if asked.response_format == "srt" else "vtt"
    media = "application/x-subrip" if style == "srt" else "text/vtt"
    return Response(format_subtitles(join_cues(words), style), media_type=media)


def _verbose(transcript: Transcript, temperature: float, granularities: list[Granularity], task: str) -> dict[str, Any]:
    """Return OpenAI's verbose_json: segments unless words alone are asked for, words where they are."""
    told: dict[str, Any] = {
        "task": task,
        "language": transcript.language,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    if "word" in granularities:
        words = [word for segment in transcript.segments for word in segment.words]
        told["words"] = [{"word": word.text, **_times(word), "confidence": round(word.confidence, 4)} for word in words]
    if "segment" in granularities or not granularities:
        told["segments"] = [_segment(number, one, temperature) for number, one in enumerate(transcript.segments)]
    return told


def _segment(number: int, segment: Segment, temperature: float) -> dict[str, Any]:
    """Return a segment with the fields that OpenAI's clients know; avg_logprob is a word's mean, not a token's."""
    confidences = [max(word.confidence, 1e-9) for word in segment.words]
    return {
        "id": number,
        "seek": round(segment.start * 100),
        **_times(segment),
        "text": segment.text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": round(sum(map(math.log, confidences)) / max(1, len(confidences)), 4),
        "compression_ratio": round(compression_ratio(segment.text), 4),
    }


def _times(stretch: Any) -> dict[str, float]:
    return {"start": round(stretch.start, 3), "end": round(stretch.end, 3)}
