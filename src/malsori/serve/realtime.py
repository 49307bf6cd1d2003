"""WS /v1/realtime: sound sent while it is recorded → text; the part of OpenAI's events that transcribes.

client  session.update · input_audio_buffer.append (base64) or a binary frame · .commit · .clear
server  session.created · session.updated · input_audio_buffer.committed · .cleared ·
        conversation.item.input_audio_transcription.delta · .completed · error

The sound is PCM of 16 bits, little end first, one channel, 24 kHz unless `session.update` says another rate. What is
committed becomes one item: its segments come as deltas, and then all of it.
"""

import base64
import binascii
import json
import uuid
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from malsori.asr.options import DecodingOptions
from malsori.audio.resampling import resample
from malsori.errors import MalsoriError
from malsori.serve.errors import HttpError, as_http_error, error_body
from malsori.serve.state import ServerState

router = APIRouter()

_RATE = 24_000
_RATES = range(8_000, 48_001)
_SAMPLE_BYTES = 2


@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket) -> None:
    """Serve one connection until the client closes it."""
    offered = [each.strip() for each in socket.headers.get("sec-websocket-protocol", "").split(",")]
    await socket.accept(subprotocol="realtime" if "realtime" in offered else None)
    session = _Session(socket, socket.app.state.server, socket.query_params.get("model"))
    try:
        await session.serve()
    except WebSocketDisconnect:
        return


class _Session:
    """One connection: its settings, and the sound that is not committed yet."""

    def __init__(self, socket: WebSocket, server: ServerState, model: str | None) -> None:
        self.socket, self.server, self.model = socket, server, model
        self.language: str | None = None
        self.rate, self.sound, self.last_item = _RATE, bytearray(), ""
        self.id = f"sess_{uuid.uuid4().hex}"

    async def serve(self) -> None:
        """Answer events until the client leaves; a faulty one is told and changes nothing."""
        await self._send("session.created", session=self._described())
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                if message.get("bytes") is not None:
                    self._append(message["bytes"])
                else:
                    await self._answer(_event(message.get("text") or ""))
            except (HttpError, MalsoriError) as error:
                fault = as_http_error(error)
                await self._send("error", **error_body(fault.status_code, fault.detail, fault.code, fault.param))

    async def _answer(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "input_audio_buffer.append":
            self._append(_decoded(event.get("audio")))
        elif kind == "input_audio_buffer.clear":
            self.sound.clear()
            await self._send("input_audio_buffer.cleared")
        elif kind == "input_audio_buffer.commit":
            await self._transcribe()
        elif kind in ("session.update", "transcription_session.update"):
            self._update(event.get("session"))
            await self._send("session.updated", session=self._described())
        else:
            raise HttpError(400, f"type '{kind}': this server transcribes alone; see its page", "unknown_event", "type")

    async def _transcribe(self) -> None:
        """Recognize what was sent since the last commit."""
        sound, rate = bytes(self.sound), self.rate
        self.sound.clear()
        if len(sound) < _SAMPLE_BYTES * rate // 10:
            raise HttpError(400, "the buffer holds less than 0.1 s of sound", "input_audio_buffer_commit_empty")
        item, previous = f"item_{uuid.uuid4().hex}", self.last_item or None
        self.last_item = item
        await self._send("input_audio_buffer.committed", item_id=item, previous_item_id=previous)
        texts: list[str] = []
        jobs, model = self.server.jobs, self.server.models.resolve("recognizer", self.model)
        with jobs.admission():
            recognizer = await jobs.run(self.server.models.recognizer, model.name)
            own = recognizer.model.facts.audio.sample_rate
            wave = np.frombuffer(sound, "<i2").astype(np.float32) / 32768
            wave = await jobs.run(resample, wave, rate, own)
            options = DecodingOptions(language=self.language)
            segments = await jobs.run(partial(recognizer.stream, wave, options, sample_rate=own))
            async for segment in jobs.iterate(segments):
                delta = f" {segment.text}" if texts else segment.text
                texts.append(segment.text)
                await self._transcription("delta", item, delta=delta)
        self.server.metrics.sound_seconds.labels("recognized").inc(len(wave) / own)
        usage = {"type": "duration", "seconds": round(len(wave) / own, 3)}
        await self._transcription("completed", item, transcript=" ".join(texts), usage=usage)

    def _append(self, sound: bytes) -> None:
        most = int(self.server.settings.max_sound_seconds * self.rate) * _SAMPLE_BYTES
        if len(self.sound) + len(sound) > most:
            raise HttpError(
                413, f"more than {self.server.settings.max_sound_seconds:g} s without a commit", "too_large"
            )
        if len(sound) % _SAMPLE_BYTES:
            raise HttpError(400, f"audio: {len(sound)} bytes are no whole number of 16-bit samples", param="audio")
        self.sound += sound

    def _update(self, session: Any) -> None:
        """Take the settings of a session, as OpenAI's clients of either generation send them."""
        session = session if isinstance(session, dict) else {}
        given = session.get("audio", {}).get("input", {}) if isinstance(session.get("audio"), dict) else {}
        asked = given.get("transcription") or session.get("input_audio_transcription") or {}
        form = given.get("format") or {}
        if given.get("turn_detection") or session.get("turn_detection"):
            raise HttpError(400, "turn_detection: commit yourself what was said; give null", param="turn_detection")
        if session.get("input_audio_format", "pcm16") != "pcm16" or form.get("type", "audio/pcm") != "audio/pcm":
            raise HttpError(400, "format: PCM of 16 bits alone is served", param="format")
        rate = form.get("rate", self.rate)
        if rate not in _RATES:
            raise HttpError(400, f"rate {rate!r}: give 8000 to 48000 Hz", param="rate")
        model, language = asked.get("model", self.model), asked.get("language", self.language)
        self.server.models.resolve("recognizer", model)
        DecodingOptions(language=language)
        self.rate, self.model, self.language = rate, model, language

    def _described(self) -> dict[str, Any]:
        """Return the session's settings as OpenAI's clients know them."""
        form = {"type": "audio/pcm", "rate": self.rate}
        transcription = {"model": self.model or "whisper-1", "language": self.language}
        audio = {"input": {"format": form, "transcription": transcription, "turn_detection": None}}
        return {"id": self.id, "object": "realtime.session", "type": "transcription", "audio": audio}

    async def _transcription(self, what: str, item: str, **facts: Any) -> None:
        kind = f"conversation.item.input_audio_transcription.{what}"
        await self._send(kind, item_id=item, content_index=0, **facts)

    async def _send(self, kind: str, **facts: Any) -> None:
        event = {"type": kind, "event_id": f"event_{uuid.uuid4().hex}", **facts}
        await self.socket.send_text(json.dumps(event, ensure_ascii=True))


def _event(text: str) -> dict[str, Any]:
    """Return an event that a client sent. Raises: HttpError if it is none."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, "a message is no JSON", "invalid_json") from error
    if not isinstance(event, dict):
        raise HttpError(400, "a message is no JSON object", "invalid_json")
    return event


def _decoded(audio: Any) -> bytes:
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise HttpError(400, "audio: is no base64", "invalid_value", "audio") from error
