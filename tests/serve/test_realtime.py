"""WS /v1/realtime, as the official client of OpenAI uses it."""

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from malsori.asr.streaming import StreamEvent
from malsori.audio.resampling import resample
from malsori.serve.realtime import _Item


@pytest.fixture
def pcm(spoken) -> bytes:
    """The sentence as PCM of 24 kHz."""
    wave, rate = soundfile.read(spoken, dtype="float32")
    return (resample(wave, rate, 24_000).clip(-1, 1) * 32767).astype("<i2").tobytes()


def test_sound_that_is_appended_and_committed_comes_back_as_text(client, spoken, pcm):
    whole = client.audio.transcriptions.create(model="whisper-1", file=spoken).text
    with client.realtime.connect(model="whisper-1", extra_query={"intent": "transcription"}) as connection:
        assert connection.recv().type == "session.created"
        settings = {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": None}
        audio = {"input": settings | {"transcription": {"model": "whisper-1", "language": "ko"}}}
        connection.session.update(session={"type": "transcription", "audio": audio})
        assert connection.recv().session.audio.input.transcription.language == "ko"
        for begin in range(0, len(pcm), 48_000):
            connection.input_audio_buffer.append(audio=base64.b64encode(pcm[begin : begin + 48_000]).decode())
        connection.input_audio_buffer.commit()
        seen, deltas = [], []
        while not (event := connection.recv()).type.endswith(".completed"):
            seen.append(event.type.rsplit(".", 1)[1])
            if event.type == "input_audio_buffer.committed":
                committed = event
            else:
                deltas.append(event)
    assert event.type == "conversation.item.input_audio_transcription.completed" and event.item_id == committed.item_id
    assert {delta.item_id for delta in deltas} == {committed.item_id}
    assert event.transcript and deltas and "committed" in seen
    assert np.mean([a == b for a, b in zip(event.transcript, whole, strict=False)]) > 0.6  # another resampling


@pytest.mark.parametrize(
    "sent",
    [
        "{",
        "[]",
        b"odd",
        '{"type": "response.create"}',
        '{"type": "input_audio_buffer.append", "audio": "*"}',
        '{"type": "input_audio_buffer.commit"}',
        '{"type": "session.update", "session": {"turn_detection": {"type": "x"}}}',
        '{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 1}}}}}',
    ],
    ids=str,
)
def test_a_faulty_event_is_told_and_the_connection_goes_on(client, sent):
    with client.realtime.connect(model="whisper-1") as connection:
        connection.recv()
        connection._connection.send(sent)
        event = connection.recv()
        assert event.type == "error" and event.error.message
        connection.input_audio_buffer.clear()
        assert connection.recv().type == "input_audio_buffer.cleared"


def stream_event(kind: str, text: str, stable: str = "") -> StreamEvent:
    return StreamEvent(kind, text, stable if kind == "partial" else text, 0.0, 1.0)


def test_deltas_only_add_and_what_is_final_is_whole():
    item = _Item()
    events = [
        stream_event("partial", "오늘 날", ""),
        stream_event("partial", "오늘 날씨", "오늘"),
        stream_event("partial", "오늘 날씨가 참", "오늘 날씨가"),
        stream_event("final", "오늘 날씨가 참 좋네요."),
        stream_event("partial", "네", "네"),
        stream_event("final", "내일은요?"),  # takes back what was told
        stream_event("final", ""),
    ]
    deltas = [item.add(event) for event in events]
    assert deltas == ["", "오늘", " 날씨가", " 참 좋네요.", " 네", "", ""]
    assert item.text == "오늘 날씨가 참 좋네요. 내일은요?"


def test_a_cleared_buffer_is_forgotten_and_its_rate_holds_until_then(client, pcm):
    with client.realtime.connect(model="whisper-1") as connection:
        connection.recv()
        connection.input_audio_buffer.append(audio=base64.b64encode(pcm[:9600]).decode())
        changed = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
        connection._connection.send(json.dumps({"type": "session.update", "session": changed}))
        assert connection.recv().error.param == "rate"
        connection.input_audio_buffer.clear()
        assert connection.recv().type == "input_audio_buffer.cleared"
        connection._connection.send(json.dumps({"type": "session.update", "session": changed}))
        assert connection.recv().session.audio.input.format.rate == 16_000
        connection.input_audio_buffer.commit()
        assert connection.recv().error.code == "input_audio_buffer_commit_empty"


def test_words_come_while_the_sound_does_and_the_settings_reach_the_recognizer(client, server, monkeypatch):
    given, pushed = [], []

    class Session:
        def push(self, samples):
            pushed.append(len(samples))
            return [stream_event("partial", "네 좋", "네")]

        def finish(self):
            return [stream_event("final", "네 좋아요.")]

    def stream_live(options, *, sample_rate):
        given.append((options, sample_rate))
        return Session()

    monkeypatch.setattr(server.state.models, "recognizer", lambda name: SimpleNamespace(stream_live=stream_live))
    with client.realtime.connect(model="whisper-1") as connection:
        connection.recv()
        transcription = {"language": "ko", "prompt": "인사"}
        settings = {"format": {"type": "audio/pcm", "rate": 16_000}, "transcription": transcription}
        connection._connection.send(json.dumps({"type": "session.update", "session": {"audio": {"input": settings}}}))
        assert connection.recv().type == "session.updated"
        sound = base64.b64encode(bytes(2 * 4_000)).decode()
        connection.input_audio_buffer.append(audio=sound)
        delta = connection.recv()  # before anything was committed
        assert (delta.type.rsplit(".", 1)[1], delta.delta) == ("delta", "네")
        connection.input_audio_buffer.append(audio=base64.b64encode(bytes(2 * 1_000)).decode())  # too little to begin
        connection.input_audio_buffer.commit()
        committed, rest, done = (connection.recv() for _ in range(3))
    assert committed.item_id == delta.item_id == rest.item_id == done.item_id
    assert rest.delta == " 좋아요." and done.transcript == "네 좋아요."
    assert pushed == [4_000, 1_000] and done.usage.seconds == 0.312
    ((options, rate),) = given
    assert (options.language, options.prompt, rate) == ("ko", "인사", 16_000)
