"""POST /v1/audio/transcriptions, as the official client of OpenAI uses it, and curl."""

import json
import re
import subprocess

import openai
import pytest

from malsori.serve.transcription import TranscriptionForm


@pytest.fixture(scope="module")
def transcript(client, spoken):
    """What the recognizer writes of the sentence."""
    return client.audio.transcriptions.create(model="whisper-1", file=spoken).text


def test_json_text_srt_and_vtt_say_the_same(client, spoken, transcript):
    assert len(transcript) > 10

    def asked(form):
        return client.audio.transcriptions.create(model="whisper-1", file=spoken, response_format=form)

    assert asked("text").strip() == transcript
    srt, vtt = asked("srt"), asked("vtt")
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n", srt) and vtt.startswith("WEBVTT\n\n00:00:0")
    lines = [line for line in srt.splitlines() if line and not line.isdecimal() and "-->" not in line]
    assert " ".join(lines) == transcript == " ".join(vtt.split("\n\n")[1].splitlines()[1:])


def test_verbose_json_has_words_and_segments_with_times(client, spoken, transcript):
    told = client.audio.transcriptions.create(
        model="whisper-1", file=spoken, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert told.text == transcript and told.language == "ko" and 1.5 < told.duration < 6
    assert " ".join(word.word for word in told.words) == transcript
    assert all(0 <= word.start < word.end <= told.duration for word in told.words)
    (segment,) = told.segments
    assert segment.text == transcript and segment.avg_logprob < 0 and segment.id == 0


def test_words_alone_or_segments_alone_are_given_when_they_alone_are_wanted(client, spoken):
    def asked(**options):
        return client.audio.transcriptions.create(
            model="whisper-1", file=spoken, response_format="verbose_json", **options
        )

    words, segments, neither = (
        asked(timestamp_granularities=["word"]),
        asked(timestamp_granularities=["segment"]),
        asked(),
    )
    assert words.words and words.segments is None
    assert segments.segments and segments.words is None
    assert neither.segments == segments.segments and neither.words is None


def test_a_streamed_transcription_comes_as_the_events_that_the_client_knows(client, spoken, transcript):
    *deltas, done = client.audio.transcriptions.create(model="whisper-1", file=spoken, stream=True)
    assert {event.type for event in deltas} == {"transcript.text.delta"} and done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == transcript


def test_curl_sends_its_multipart(server, spoken, transcript):
    address = f"{server.url}/v1/audio/transcriptions"
    command = [
        "curl",
        "-sS",
        address,
        "-H",
        "Authorization: Bearer none",
        "-F",
        f"file=@{spoken}",
        "-F",
        "model=whisper-1",
    ]
    assert json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["text"] == transcript


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities[]"),
        ({"stream": True, "response_format": "srt"}, "stream"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": 0.5}, "temperatures"),  # a recognizer by CTC draws no tokens
        ({"language": "xx"}, "language"),
        ({"response_format": "docx"}, "response_format"),
        ({"include": ["logprobs"]}, "include[]"),
        ({"model": "nobody"}, "model"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused(client, spoken, asked, param):
    with pytest.raises(openai.APIStatusError) as refused:
        client.audio.transcriptions.create(**{"model": "whisper-1", "file": spoken} | asked)
    assert refused.value.status_code in (400, 404) and refused.value.param == param


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no sound", b"<html>no sound</html>", b"RIFF"], ids=repr)
def test_what_is_no_sound_is_refused_and_the_path_of_nobody_is_told(client, content):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="whisper-1", file=("../../etc/passwd.wav", content))
    assert str(refused.value.body["message"]).startswith("the sound: ")
    assert "/dev" not in str(refused.value) and "passwd" not in str(refused.value)


def test_a_translation_is_refused_where_the_recognizer_cannot_translate(client, spoken):
    with pytest.raises(openai.BadRequestError, match="task"):
        client.audio.translations.create(model="whisper-1", file=spoken)


def test_every_field_of_a_transcription_is_one_that_openai_documents_or_hotwords():
    known = set(openai.types.audio.transcription_create_params.TranscriptionCreateParamsBase.__annotations__)
    fields = {field.alias or name for name, field in TranscriptionForm.model_fields.items()}
    assert {name.removesuffix("[]") for name in fields} - known == {"hotwords", "stream"}
