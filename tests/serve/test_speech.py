"""POST /v1/audio/speech, as the official client of OpenAI uses it."""

import base64
import io
import threading

import httpx
import numpy as np
import openai
import pytest
import soundfile

from malsori.audio.io import load_audio
from malsori.serve import speech

#: What each format is played with here, and by how many seconds an encoder may lengthen the sound.
FORMATS = {"mp3": 0.15, "opus": 0.1, "aac": 0.15, "flac": 0.001, "wav": 0.001, "pcm": 0.001}


@pytest.mark.parametrize("form", FORMATS)
def test_each_of_the_six_formats_holds_the_whole_sound(client, spoken, sentence, form, tmp_path):
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="lmy", input=sentence, response_format=form
    ) as answer:
        path = tmp_path / f"speech.{form}"
        answer.stream_to_file(path)
        kind = answer.headers["content-type"]
    assert kind == speech.OUTPUT_FORMATS[form].media_type
    if form == "pcm":
        wave, rate = np.frombuffer(path.read_bytes(), "<i2") / 32768, 24_000
    elif form == "aac":
        wave, rate = load_audio(path, 24_000), 24_000
    else:
        wave, rate = soundfile.read(path)
    whole, whole_rate = soundfile.read(spoken)
    assert abs(len(wave) / rate - len(whole) / whole_rate) < FORMATS[form]
    assert np.abs(wave).max() == pytest.approx(np.abs(whole).max(), abs=0.1)


def test_the_first_sentence_is_sent_before_the_last_one_is_made(server, monkeypatch):
    first_is_here, order = threading.Event(), []
    original = speech._making

    def held_back(*arguments):
        for number, made in enumerate(original(*arguments)):
            if number:
                assert first_is_here.wait(60), "nothing was sent before the second sentence"
            order.append(f"made {number}")
            yield made

    monkeypatch.setattr(speech, "_making", held_back)
    asked = {"input": "하나입니다. 둘입니다.", "response_format": "pcm"}
    with server.http() as http, http.stream("POST", "/v1/audio/speech", json=asked) as answer:
        for chunk in answer.iter_bytes():
            order.append("received")
            first_is_here.set()
            assert chunk
    assert order[:2] == ["made 0", "received"] and order[-1] == "received" and "made 1" in order


def test_events_carry_the_sound_and_the_times_of_each_sentence(server):
    asked = {"input": "하나입니다. 둘입니다.", "response_format": "pcm", "stream_format": "sse", "timestamps": True}
    events = sse(server, "/v1/audio/speech", json=asked)
    delta, done = events
    assert (delta["type"], done["type"]) == ("speech.audio.delta", "speech.audio.done")
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"] > 0
    assert [word["text"].strip(".") for word in delta["words"]] == ["하나입니다", "둘입니다"]
    seconds = len(base64.b64decode(delta["audio"])) / 2 / 24_000
    assert 0 < delta["words"][0]["end"] <= delta["words"][1]["start"] < delta["words"][1]["end"] <= seconds + 0.01
    assert {"syllables", "phones"} < set(delta)


def test_events_without_times_come_sentence_by_sentence_and_make_the_same_sound(server):
    asked = {"input": "하나입니다. 둘입니다.", "response_format": "pcm"}
    *deltas, _ = sse(server, "/v1/audio/speech", json=asked | {"stream_format": "sse"})
    assert len(deltas) >= 2
    with server.http() as http:
        assert (
            b"".join(base64.b64decode(event["audio"]) for event in deltas)
            == http.post("/v1/audio/speech", json=asked).read()
        )


def test_the_words_and_marks_of_a_user_are_spoken(server):
    with server.http() as http:

        def asked(text, **options):
            told = {"input": text, "response_format": "wav", "timestamps": True} | options
            return http.post("/v1/audio/speech", json=told).json()

        own = asked("KOEKS입니다.", lexicon={"KOEKS": "코엑스"})
        assert [span["text"] for span in own["syllables"]] == list("코엑스입니다")
        paused = asked("네, [pause:0.7] 네.")
        first, second = paused["words"]
        assert second["start"] - first["end"] == pytest.approx(0.7, abs=0.1)
        assert "<?>" in asked("네", lexicon={"가": "<?>"})["error"]["message"]


def test_timestamps_come_with_the_sound_in_one_object(server):
    asked = {"input": "안녕하세요.", "response_format": "wav", "timestamps": True}
    with server.http() as http:
        told = http.post("/v1/audio/speech", json=asked).json()
    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(told["audio"])))
    assert rate == told["sample_rate"] and len(wave) / rate == pytest.approx(told["duration"], abs=1e-3)
    assert [span["text"] for span in told["syllables"]] == list("안녕하세요")
    assert 0 <= told["phones"][0]["start"] < told["phones"][-1]["end"] <= told["duration"]


def test_the_options_of_speaking_are_served(client, server):
    def seconds(**options):
        options = {"model": "tts-1", "voice": "lmy", "response_format": "pcm"} | options
        return len(client.audio.speech.create(input="오늘은 날씨가 좋네요.", **options).read()) / 48_000

    assert seconds(speed=2.0) == pytest.approx(seconds() / 2, rel=0.15)
    assert seconds(voice="kih") != seconds()
    assert seconds(model="fastspeech2-ko", voice="fastspeech2-ko") == seconds(voice="alloy") == seconds()


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"model": "no-voice"}, 404, "model"),
        ({"model": "conformer-ko"}, 404, "model"),
        ({"voice": "nobody"}, 404, "voice"),
        ({"model": "../../etc", "voice": "lmy"}, 404, "model"),
        ({"model": "owner/name"}, 404, "model"),
        ({"input": ""}, 400, "input"),
        ({"input": "..."}, 400, None),
        ({"input": "가" * 4097}, 400, "input"),
        ({"speed": 9}, 400, "speed"),
        ({"pitch": 13, "extra": True}, 400, "pitch"),
        ({"response_format": "midi"}, 400, "response_format"),
        ({"instructions": "cheerfully"}, 400, "instructions"),
        ({"volume": 1, "extra": True}, 400, "volume"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused_in_the_shape_of_openai(client, asked, status, param):
    asked = {"model": "tts-1", "voice": "alloy", "input": "네."} | asked
    more = {key: asked.pop(key) for key in ("pitch", "volume") if key in asked}
    asked.pop("extra", None)
    with pytest.raises(openai.APIStatusError) as refused:
        client.audio.speech.create(**asked, extra_body=more)
    assert refused.value.status_code == status
    assert refused.value.param == param
    assert set(refused.value.body) == {"message", "type", "param", "code"} and refused.value.body["message"]


def sse(server, path: str, **options) -> list[dict]:
    """Return the events of an answer."""
    import json

    with server.http() as http:
        answer = http.post(path, **options)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream"), answer.text
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block]
    events = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name for name, _ in blocks] == [f"event: {event['type']}" for event in events]
    return events


def test_a_client_that_leaves_is_computed_for_no_longer(server, monkeypatch):
    made, left = [], threading.Event()
    original = speech._making

    def counted(*arguments):
        for number, one in enumerate(original(*arguments)):
            if number == 1:
                assert left.wait(60)
            made.append(number)
            yield one

    monkeypatch.setattr(speech, "_making", counted)
    asked = {"input": "\n".join(["하나입니다."] * 12), "response_format": "pcm"}
    with server.http() as http, http.stream("POST", "/v1/audio/speech", json=asked) as answer:
        next(answer.iter_bytes())
    left.set()
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for _ in range(600):
            if not server.state.jobs.admitted:
                break
            http.get("/health")
    assert server.state.jobs.admitted == 0 and len(made) < 12
