"""POST /v1/audio/speech: a text → sound, in six formats, whole or sentence by sentence, with times if wanted."""

import base64
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from malsori.audio.formats import OUTPUT_FORMATS, encode, encode_stream, require_format
from malsori.audio.resampling import resample
from malsori.serve.errors import HttpError, JsonResponse
from malsori.serve.state import Facts, Server, ServerState
from malsori.serve.streams import begun, event_stream, while_present
from malsori.text.userwords import lexicon_of_rows
from malsori.tts.options import SayOptions
from malsori.tts.voice import Voice

router = APIRouter(tags=["OpenAI"])

_PCM_RATE = 24_000  # OpenAI's clients take bare samples to be of this rate


class VoiceId(BaseModel):
    """A voice as OpenAI's clients may name it."""

    id: str


class SpeechRequest(BaseModel):
    """What is to be said, and how. Beyond OpenAI's fields: pitch, energy, lexicon, timestamps."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    input: Annotated[str, Field(min_length=1, description="The text to speak.")]
    model: str | None = Field(None, description="A voice of /v1/models, or one of OpenAI's names.")
    voice: str | VoiceId | None = Field(None, description="A speaker of /v1/audio/voices, or one of OpenAI's names.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    stream_format: Literal["audio", "sse"] = "audio"
    speed: float = Field(1.0, ge=0.2, le=5.0, allow_inf_nan=False)
    instructions: str | None = Field(None, description="Refused unless empty: no voice can follow them.")
    pitch: float = Field(0.0, description="Semitones up or down, for voices that predict their pitch.")
    energy: float = Field(0.0, description="Louder or softer in standard deviations, for the same voices.")
    lexicon: dict[str, str] = Field({}, max_length=1000, description="Word → how it is read; in brackets, pronounced.")
    timestamps: bool = Field(False, description="Give when each word, syllable and phone sounds.")


@router.post(
    "/v1/audio/speech",
    response_class=Response,
    responses={200: {"content": {"audio/mpeg": {}, "text/event-stream": {}, "application/json": {}}}},
)
async def speak(asked: SpeechRequest, request: Request, server: Server, facts: Facts) -> Response:
    """Speak a text.

    The text may hold marks (pauses, readings, a part of SSML). The sound is sent while it is made. With
    `stream_format: sse` it comes as OpenAI's events (`speech.audio.delta`, `speech.audio.done`). With `timestamps:
    true` the whole comes at once: one event with words, syllables and phones, or without events a JSON object: audio
    (base64), format, sample_rate, duration, words, syllables, phones. `pcm` is 16-bit, one channel, 24 kHz.
    """
    server.check_text(asked.input, "input")
    if asked.instructions:
        raise HttpError(400, "instructions: no voice here can follow them; leave them out", param="instructions")
    require_format(asked.response_format)
    named = asked.voice.id if isinstance(asked.voice, VoiceId) else asked.voice
    model, speaker = server.models.speaker(asked.model, named)
    options = SayOptions(speaker=speaker, speed=asked.speed, pitch=asked.pitch, energy=asked.energy)
    facts.update(model=model.name, characters=len(asked.input))
    server.metrics.characters.inc(len(asked.input))
    speaking = _Speaking(server, asked, facts)
    if asked.stream_format == "sse":
        return await event_stream(speaking.events(model.name, options))
    if asked.timestamps:
        return await while_present(request, speaking.timed(model.name, options))
    parts = await begun(speaking.sound(model.name, options))
    return StreamingResponse(parts, media_type=OUTPUT_FORMATS[asked.response_format].media_type)


@dataclass(frozen=True)
class _SoundPart:
    """Sound that is made: all of it with its times, or the next of it."""

    wave: np.ndarray
    tiers: dict[str, list[dict[str, Any]]]


class _Speaking:
    """One request's way from a text to its answer."""

    def __init__(self, server: ServerState, asked: SpeechRequest, facts: dict[str, Any]) -> None:
        self.server, self.asked, self.facts = server, asked, facts
        self.rate, self.frames, self.seconds = 0, 0, 0.0

    async def parts(self, model: str, options: SayOptions) -> AsyncIterator[_SoundPart]:
        """Yield the sound as it is made."""
        jobs = self.server.jobs
        with jobs.admission():
            voice = await jobs.run(self.server.models.voice, model)
            making = await jobs.run(_making, voice, self.asked, options)
            own = voice.audio.sample_rate
            self.rate = _PCM_RATE if self.asked.response_format == "pcm" else own
            async for part in jobs.iterate(making):
                self.seconds += len(part.wave) / own
                self.frames += len(part.wave) // voice.audio.hop_samples
                self.facts["sound_seconds"] = round(self.seconds, 3)
                self.server.metrics.sound_seconds.labels("spoken").inc(len(part.wave) / own)
                yield _SoundPart(resample(part.wave, own, self.rate), part.tiers)

    async def sound(self, model: str, options: SayOptions) -> AsyncIterator[bytes]:
        """Yield the bytes of the sound as they are made."""
        encoder = _Encoder(self.asked.response_format)
        async for part in self.parts(model, options):
            yield encoder.add(part.wave, self.rate)
        yield encoder.end()

    async def events(self, model: str, options: SayOptions) -> AsyncIterator[dict[str, Any]]:
        """Yield OpenAI's events: a delta for each part, and how much was read and made."""
        encoder = _Encoder(self.asked.response_format)
        async for part in self.parts(model, options):
            yield _delta(encoder.add(part.wave, self.rate)) | part.tiers
        tail = encoder.end()
        if tail:
            yield _delta(tail)
        read = len(self.asked.input)
        usage = {"input_tokens": read, "output_tokens": self.frames, "total_tokens": read + self.frames}
        yield {"type": "speech.audio.done", "usage": usage}

    async def timed(self, model: str, options: SayOptions) -> Response:
        """Return the whole sound with its times, as JSON."""
        (part,) = [part async for part in self.parts(model, options)]
        content = await self.server.jobs.run(encode, part.wave, self.rate, self.asked.response_format)
        audio = {"audio": base64.b64encode(content).decode(), "format": self.asked.response_format}
        return JsonResponse(audio | {"sample_rate": self.rate, "duration": round(self.seconds, 4)} | part.tiers)


class _Encoder:
    """A sound file that grows: the bytes that each part adds; of FLAC, whose header says its length, all at the end."""

    def __init__(self, form: str) -> None:
        self._form, self._parts, self._ended = form, deque[np.ndarray](), False
        self._bytes: Iterator[bytes] | None = None
        self._whole, self._rate = list[np.ndarray](), 0

    def add(self, wave: np.ndarray, rate: int) -> bytes:
        """Return the bytes that the next part of the sound adds."""
        if self._form == "flac":
            self._whole, self._rate = [*self._whole, wave], rate
            return b""
        self._parts.append(wave)
        self._bytes = self._bytes or encode_stream(self._coming(), rate, self._form)
        added = b""
        while self._parts:
            added += next(self._bytes)
        return added

    def end(self) -> bytes:
        """Return the last bytes."""
        self._ended = True
        if self._whole:
            return encode(np.concatenate(self._whole), self._rate, self._form)
        return b"".join(self._bytes or ())

    def _coming(self) -> Iterator[np.ndarray]:
        while not self._ended:
            yield self._parts.popleft()


def _delta(content: bytes) -> dict[str, Any]:
    return {"type": "speech.audio.delta", "audio": base64.b64encode(content).decode()}


def _making(voice: Voice, asked: SpeechRequest, options: SayOptions) -> Iterator[_SoundPart]:
    """Return what makes the parts of a text's sound; times are known once all of it is made."""
    if asked.lexicon:
        voice = voice.with_lexicon(lexicon_of_rows(sorted(asked.lexicon.items()), "lexicon"))
    if asked.timestamps:
        return (_SoundPart(one.wave, one.alignment.as_json()) for one in map(voice.say, [asked.input], [options]))
    return (_SoundPart(chunk.wave, {}) for chunk in voice.stream(asked.input, options))
