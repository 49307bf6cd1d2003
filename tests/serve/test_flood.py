"""Thousands of requests of every kind: each is answered or refused in words, and the server is as it was."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager

import httpx
import pytest

from .conftest import running
from .flood import Tally, flood
from .test_decoding import sound
from .tiny import tiny_models


@contextmanager
def process(settings: dict[str, str], log: list[str]):
    """`malsori serve` in a process of its own, ready: yields it and its address; its log grows in the list."""
    options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    served = subprocess.Popen(
        [sys.executable, "-m", "malsori", "serve", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        for line in served.stderr:
            log.append(line)
            if '"address"' in line:
                break
        assert log and '"address"' in log[-1], log
        reading = threading.Thread(target=lambda: log.extend(served.stderr), daemon=True)
        reading.start()
        url = json.loads(log[-1])["address"]
        until = time.monotonic() + 120
        while httpx.get(f"{url}/ready", timeout=60).status_code != 200:
            assert time.monotonic() < until, log
            time.sleep(0.1)
        yield served, url
    finally:
        served.kill()
        served.wait()


def faults(log: list[str]) -> list[str]:
    return [line for line in log if '"fault"' in line or "Traceback" in line]


def check(tally: Tally, count: int) -> None:
    assert not tally.faults, f"{len(tally.faults)} of {tally.total}:\n" + "\n".join(tally.faults[:20])
    assert tally.total >= count
    families = {status // 100 for status in tally.statuses}
    assert families >= {2, 4} and 5 not in families


def test_generated_requests_are_answered_or_refused_in_words(tmp_path):
    with running(**tiny_models(tmp_path)) as server:
        check(flood(server.url, 60), 60)
        with server.http() as http:
            assert http.post("/v1/explain", json={"text": "국물"}).json()["pronounced"] == "궁물"


@pytest.mark.slow
def test_ten_thousand_generated_requests_leave_the_server_as_it_was(tmp_path, capsys):
    log: list[str] = []
    with process(tiny_models(tmp_path) | {"max_sound_seconds": "60", "decode_seconds": "10"}, log) as (served, url):
        statuses: Counter = Counter()
        for round_ in range(10):
            tally = flood(url, 1_000, round_)
            statuses += tally.statuses
            with capsys.disabled():
                sys.stdout.write(f"\n{statuses.total()} requests: {dict(sorted(statuses.items(), key=str))}\n")
            check(tally, 1_000)
        assert served.poll() is None and httpx.get(f"{url}/health", timeout=60).status_code == 200
        assert not faults(log), faults(log)[:5]


def busy(url: str, until: threading.Event, answers: list[int | str]) -> threading.Thread:
    """A client that speaks and transcribes without a pause; each answer's status, or how it broke off, is noted."""
    content = sound(seconds=3.0)

    def run() -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while not until.is_set():
                try:
                    speech = http.post(
                        "/v1/audio/speech", json={"input": "네, 좋아요. " * 20, "response_format": "wav"}
                    )
                    heard = http.post("/v1/audio/transcriptions", files={"file": ("a.wav", content)})
                    answers.extend((speech.status_code, heard.status_code))
                except httpx.HTTPError as error:
                    answers.append(type(error).__name__)
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def children(pid: int) -> list[int]:
    """The processes that one has begun."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_sigkill_under_load_leaves_nothing_that_stops_the_next_start(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    settings = tiny_models(tmp_path / "models")
    for _ in range(2):
        over, answers = threading.Event(), []
        with process(settings, []) as (served, url):
            clients = [busy(url, over, answers) for _ in range(8)]
            until = time.monotonic() + 60
            while len(answers) < 16 and time.monotonic() < until:
                time.sleep(0.05)
            assert answers[:16] == [200] * 16
            decoders = children(served.pid)
            assert decoders
            os.kill(served.pid, signal.SIGKILL)
            served.wait(30)
            over.set()
            for client in clients:
                client.join(60)
        until = time.monotonic() + 30
        while any(map(alive, decoders)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(alive, decoders))  # they end with the channel to their server
        assert not [path for path in scratch.rglob("*") if path.is_file()]  # sounds lie in files without a name
        settings["port"] = url.rsplit(":", 1)[1]  # the same address again
    with process(settings, []) as (_, url):
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200


@pytest.mark.slow
def test_sigterm_under_load_finishes_what_was_begun_and_takes_no_more(tmp_path):
    log: list[str] = []
    with process(tiny_models(tmp_path), log) as (served, url):
        text = "네, 정말 좋아요. " * 200
        began, got = threading.Event(), {}

        def long_request() -> None:
            with httpx.stream(
                "POST", f"{url}/v1/audio/speech", json={"input": text, "response_format": "wav"}, timeout=120
            ) as answer:
                parts = []
                for part in answer.iter_bytes():
                    parts.append(part)
                    began.set()
                got["status"], got["content"] = answer.status_code, b"".join(parts)

        whole = httpx.post(
            f"{url}/v1/audio/speech", json={"input": text, "response_format": "wav"}, timeout=120
        ).content
        thread = threading.Thread(target=long_request, daemon=True)
        thread.start()
        assert began.wait(60)
        served.send_signal(signal.SIGTERM)
        thread.join(120)
        assert served.wait(60) in (0, -signal.SIGTERM)
    assert got["status"] == 200 and len(got["content"]) == len(whole)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", timeout=60)
    assert not faults(log)
