"""What a server keeps in memory, what requests may say of decoding, and that none of it needs a network."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from malsori.decode.transcript import Segment, TranscriptWord
from malsori.serve.models import ModelTable
from malsori.serve.settings import ServeSettings

from . import offline
from .test_decoding import sound
from .tiny import tiny_models


def test_a_model_that_nobody_asks_for_is_let_go_and_comes_back(tmp_path):
    models = ModelTable(ServeSettings(**tiny_models(tmp_path) | {"preload": "tiny-voice"}, idle_seconds=0.05))
    models.load_first()
    first = models.recognizer("tiny-ear")
    assert models.recognizer("tiny-ear") is first and models.loaded() == ["tiny-ear", "tiny-voice"]
    assert models.unload_idle() == []
    time.sleep(0.1)
    assert models.unload_idle() == ["tiny-ear"] and models.loaded() == ["tiny-voice"]
    assert models.recognizer("tiny-ear") is not first
    kept = ModelTable(ServeSettings(**tiny_models(tmp_path / "kept") | {"preload": "tiny-voice"}, idle_seconds=0))
    kept.recognizer("tiny-ear")
    time.sleep(0.1)
    assert kept.unload_idle() == [] and kept.loaded() == ["tiny-ear"]


@pytest.fixture
def asked(server, monkeypatch):
    """What a recognizer that can do everything was asked for, by requests that reach it."""
    options = []

    def stream(wave, given, *, sample_rate):
        options.append(given)
        words = (TranscriptWord("hello", 0.0, 0.5, 0.9),)
        return iter([Segment(0.0, 0.5, "hello", words)])

    able = SimpleNamespace(
        model=SimpleNamespace(facts=SimpleNamespace(audio=SimpleNamespace(sample_rate=16_000))),
        decoder=SimpleNamespace(check=lambda options: None),
        languages=("ko", "en"),
        stream=stream,
    )
    monkeypatch.setattr(server.state.models, "recognizer", lambda name: able)
    return options


def test_prompt_hotwords_temperature_and_language_reach_the_recognizer(server, asked):
    fields = {"prompt": "코엑스에서", "hotwords": "말소리, 코엑스 ,", "temperature": "0.4", "language": "en"}
    with server.http() as http:
        answer = http.post("/v1/audio/transcriptions", data=fields, files={"file": ("a.wav", sound())})
    assert answer.json()["text"] == "hello"
    (options,) = asked
    assert (options.prompt, options.hotwords, options.temperatures) == ("코엑스에서", ("말소리", "코엑스"), (0.4,))
    assert options.language == "en" and options.task is None


def test_a_translation_is_asked_for_as_one_and_told_as_one(server, asked):
    with server.http() as http:
        told = http.post(
            "/v1/audio/translations",
            data={"prompt": "names", "response_format": "verbose_json"},
            files={"file": ("a.wav", sound())},
        ).json()
    assert told["task"] == "translate" and told["text"] == "hello"
    assert asked[0].task == "translate" and asked[0].prompt == "names"


def test_a_host_elsewhere_is_refused_while_the_network_is_cut():
    for attempt in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.getaddrinfo("example.com", 80),
    ):
        with pytest.raises(OSError, match="the network is cut"):
            attempt()
    assert len(offline.attempts) == 2
    offline.attempts.clear()


@pytest.mark.slow
def test_with_the_network_cut_everything_that_is_built_in_works(tmp_path):
    shutil.copy(Path(offline.__file__), tmp_path / "sitecustomize.py")
    attempts = tmp_path / "attempts"
    attempts.touch()
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"MALSORI_TEST_ATTEMPTS": str(attempts), "PYTHONPATH": os.pathsep.join(paths)}
    environment |= {"HF_HOME": str(tmp_path / "empty"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "malsori", "studio", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as served:
        try:
            log = iter(served.stderr)
            url = json.loads(next(line for line in log if '"address"' in line))["address"]
            with httpx.Client(base_url=url, timeout=300) as http:
                speech = http.post(
                    "/v1/audio/speech", json={"input": "오늘은 날씨가 참 좋네요.", "response_format": "wav"}
                )
                assert speech.status_code == 200
                file = {"file": ("a.wav", speech.content)}
                heard = http.post("/v1/audio/transcriptions", files=file).json()["text"]
                assert len(set(heard) & set("오늘은 날씨가 참 좋네요")) > 4
                laid = http.post("/v1/align", files=file, data={"text": "오늘은 날씨가 참 좋네요."}).json()
                assert len(laid["words"]) == 4
                assert http.post("/v1/explain", json={"text": "국물"}).json()["pronounced"] == "궁물"
                for page in ("/docs", "/redoc", "/studio/"):
                    text = http.get(page).text
                    assert not re.findall(r'(?:src|href)="https?://', text), page
                assert http.post("/studio/speak", data={"text": "네.", "voice": "fastspeech2-ko"}).status_code == 200
                assert http.post("/studio/losses", data={"name": "vocos"}).status_code == 200
        finally:
            served.terminate()
    assert attempts.read_text() == ""
    assert np.frombuffer(speech.content[44:1044], "<i2").size == 500
