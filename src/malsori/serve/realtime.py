"""WS /v1/realtime: sound sent while it is recorded → text; the part of OpenAI's events that transcribes.

client  session.update · input_audio_buffer.append (base64) or a binary frame · .commit · .clear
server  session.created · session.updated · input_audio_buffer.committed · .cleared ·
        conversation.item.input_audio_transcription.delta · .completed · error

The sound is PCM of 16 bits, little end first, one channel, 24 kHz unless `session.update` says another rate. What is
sent until a commit is one item. It is recognized while it comes: a delta is text that later sound has not taken back,
and `completed` is what counts, decoded once more with all of each utterance known.
"""

import base64
import binascii
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import Recognizer
from malsori.asr.streaming import LiveSession, StreamEvent
from malsori.errors import MalsoriError
from malsori.serve.errors import HttpError, as_http_error, error_body
from malsori.serve.state import ServerState

router = APIRouter()

_RATE = 24_000
_RATES = range(8_000, 48_001)
_SAMPLE_BYTES = 2
_PIECE_SECONDS = 0.25  # of sound that is worth a place in the line of work


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
        self.options, self.rate = DecodingOptions(), _RATE
        self.item, self.last_item = _Item(), ""
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
                    await self._append(message["bytes"])
                else:
                    await self._answer(_event(message.get("text") or ""))
            except (HttpError, MalsoriError) as error:
                fault = as_http_error(error)
                await self._send("error", **error_body(fault.status_code, fault.detail, fault.code, fault.param))

    async def _answer(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "input_audio_buffer.append":
            await self._append(_decoded(event.get("audio")))
        elif kind == "input_audio_buffer.clear":
            self.item = _Item()
            await self._send("input_audio_buffer.cleared")
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind in ("session.update", "transcription_session.update"):
            self._update(event.get("session"))
            await self._send("session.updated", session=self._described())
        else:
            raise HttpError(400, f"type '{kind}': this server transcribes alone; see its page", "unknown_event", "type")

    async def _commit(self) -> None:
        """Recognize what was sent since the last commit to its end."""
        item, self.item = self.item, _Item()
        if item.seconds < 0.1:
            raise HttpError(400, "the buffer holds less than 0.1 s of sound", "input_audio_buffer_commit_empty")
        previous, self.last_item = self.last_item or None, item.id
        await self._send("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
        with self.server.jobs.admission():
            await self._hear(item)
            assert item.live is not None
            await self._tell(item, await self.server.jobs.run(item.live.finish))
        self.server.metrics.sound_seconds.labels("recognized").inc(item.seconds)
        usage = {"type": "duration", "seconds": round(item.seconds, 3)}
        await self._transcription("completed", item.id, transcript=item.text, usage=usage)

    async def _hear(self, item: "_Item") -> None:
        """Give the recognizer what of an item it has not got yet, and tell what it makes of it."""
        jobs = self.server.jobs
        if item.live is None:
            model = self.server.models.resolve("recognizer", self.model)
            recognizer: Recognizer = await jobs.run(self.server.models.recognizer, model.name)
            item.live = recognizer.stream_live(self.options, sample_rate=self.rate)
        wave = np.frombuffer(bytes(item.pending), "<i2").astype(np.float32) / 32768
        item.pending.clear()
        await self._tell(item, await jobs.run(item.live.push, wave))

    async def _tell(self, item: "_Item", events: Iterable[StreamEvent]) -> None:
        for event in events:
            if delta := item.add(event):
                await self._transcription("delta", item.id, delta=delta)

    async def _append(self, sound: bytes) -> None:
        item, most = self.item, self.server.settings.max_sound_seconds
        if len(sound) % _SAMPLE_BYTES:
            raise HttpError(400, f"audio: {len(sound)} bytes are no whole number of 16-bit samples", param="audio")
        seconds = len(sound) / (_SAMPLE_BYTES * self.rate)
        if item.seconds + seconds > most:
            raise HttpError(413, f"more than {most:g} s without a commit", "too_large")
        item.seconds += seconds
        item.pending += sound
        jobs = self.server.jobs
        if len(item.pending) >= _PIECE_SECONDS * _SAMPLE_BYTES * self.rate and jobs.admitted < jobs.max_requests:
            with jobs.admission():  # where there is no place now, it is heard with what comes later
                await self._hear(item)

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
        if rate != self.rate and self.item.seconds:
            raise HttpError(400, "rate: sound of another rate was sent; commit or clear it first", param="rate")
        model = asked.get("model", self.model)
        self.server.models.resolve("recognizer", model)
        told = {name: asked.get(name, getattr(self.options, name)) or None for name in ("language", "prompt")}
        self.options, self.rate, self.model = DecodingOptions(**told), rate, model

    def _described(self) -> dict[str, Any]:
        """Return the session's settings as OpenAI's clients know them."""
        form = {"type": "audio/pcm", "rate": self.rate}
        transcription = {"model": self.model or "whisper-1", "language": self.options.language}
        transcription["prompt"] = self.options.prompt
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


@dataclass
class _Item:
    """What is sent until a commit, and what is recognized of it.

    Attributes:
        pending: sound that the recognizer has not got yet.
        seconds: of all its sound.
        finals: the texts of the utterances that are over.
        told: the text that went out as deltas.
    """

    id: str = field(default_factory=lambda: f"item_{uuid.uuid4().hex}")
    pending: bytearray = field(default_factory=bytearray)
    seconds: float = 0.0
    live: LiveSession | None = None
    finals: list[str] = field(default_factory=list)
    told: str = ""

    @property
    def text(self) -> str:
        """Return what is final."""
        return " ".join(self.finals)

    def add(self, event: StreamEvent) -> str:
        """Return what a result adds to the text that was told; nothing where it disagrees with it."""
        if event.kind == "final" and event.text:
            self.finals.append(event.text)
        stable = self.text if event.kind == "final" else " ".join([*self.finals, event.stable])
        if not stable.startswith(self.told):
            return ""
        delta, self.told = stable[len(self.told) :], stable
        return delta
