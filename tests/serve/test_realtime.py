"""WS /v1/realtime, as the official client of OpenAI uses it."""

import base64

import numpy as np
import pytest
import soundfile

from malsori.audio.resampling import resample


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
        committed = connection.recv()
        assert committed.type == "input_audio_buffer.committed"
        deltas = []
        while (event := connection.recv()).type.endswith(".delta"):
            deltas.append(event.delta)
    assert event.type == "conversation.item.input_audio_transcription.completed" and event.item_id == committed.item_id
    assert "".join(deltas) == event.transcript
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
