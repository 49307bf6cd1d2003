"""The server on a cluster: every replica answers, one that is killed takes only its own requests, and comes back."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from malsori.audio.io import save_audio
from malsori.cli import run
from malsori.errors import OptionError
from malsori.serve.settings import ServeSettings

from .serve.tiny import tiny_models


@dataclass(frozen=True)
class Answer:
    """What a request came to: its status (0: the connection broke), who answered, when it was sent."""

    status: int
    replica: str
    sent: float


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Ray cluster of one machine with two processors; its address."""
    pytest.importorskip("ray.serve")
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield found.address
    ray.shutdown()
    found.shutdown()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def served(folder: Path, cluster: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """Two replicas of tiny models, by the command line, which the block has to end."""
    given = {"port": port, "cluster": cluster, "replicas": 2, "workers": 1, "decoders": 1, "device": "cpu"}
    options = {f"MALSORI_{name.upper()}": str(value) for name, value in (given | tiny_models(folder)).items()}
    command = [sys.executable, "-m", "malsori", "serve"]
    server = subprocess.Popen(command, env=os.environ | options, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        told = next((line for line in server.stderr if '"listening"' in line), "")
        assert f'"address": "http://127.0.0.1:{port}", "replicas": 2' in told
        threading.Thread(target=server.stderr.read, daemon=True).start()
        yield server
        assert server.wait(120) == 0
    finally:
        server.kill()


class Client:
    """Sends speech and transcriptions by turns."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.sound = url, folder / "sound.wav"
        save_audio(self.sound, (0.1 * np.sin(np.arange(8000) / 9)).astype(np.float32), 16000)

    def ask(self, number: int, text: str = "안녕하세요.") -> Answer:
        sent = time.monotonic()
        try:
            if number % 2:
                files = {"file": ("sound.wav", self.sound.read_bytes())}
                found = httpx.post(
                    f"{self.url}/audio/transcriptions", files=files, data={"model": "whisper-1"}, timeout=120
                )
            else:
                said = {"model": "tts-1", "voice": "alloy", "input": text, "response_format": "wav"}
                found = httpx.post(f"{self.url}/audio/speech", json=said, timeout=120)
        except httpx.TransportError:
            return Answer(0, "", sent)
        assert found.status_code != 200 or found.content[:4] == b"RIFF" or "text" in found.json()
        return Answer(found.status_code, found.headers.get("x-malsori-replica", ""), sent)

    def ask_all(self, count: int) -> list[Answer]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self.ask, range(count)))


@pytest.mark.slow
def test_both_replicas_answer_and_a_killed_one_loses_only_its_own_requests(cluster, tmp_path):
    port = free_port()
    client = Client(f"http://127.0.0.1:{port}/v1", tmp_path)
    with served(tmp_path, cluster, port) as server, ThreadPoolExecutor(1) as beside:
        first = client.ask_all(20)
        assert [answer.status for answer in first] == [200] * 20
        replicas = {answer.replica for answer in first}
        assert len(replicas) == 2
        victim = int(first[0].replica.rpartition(":")[2])
        killed: list[float] = []

        def kill() -> None:
            time.sleep(0.3)
            os.kill(victim, signal.SIGKILL)
            killed.append(time.monotonic())

        killer = threading.Thread(target=kill)
        killer.start()
        during = client.ask_all(40)
        killer.join()
        lost = [answer for answer in during if answer.status != 200]
        assert all(answer.sent < killed[0] for answer in lost) and len(lost) <= 4
        assert len({answer.replica for answer in during if answer.sent > killed[0]} - {first[0].replica}) >= 1
        until = time.monotonic() + 180
        back: set[str] = set()
        while len(back) < 2 and time.monotonic() < until:
            time.sleep(2)
            found = client.ask_all(8)
            assert [answer.status for answer in found] == [200] * 8
            back = {answer.replica for answer in found}
        assert len(back) == 2 and first[0].replica not in back
        last = beside.submit(client.ask, 0, "오늘은 날씨가 참 좋네요. " * 200)
        time.sleep(0.5)
        assert not last.done()
        server.terminate()
        assert last.result().status == 200
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/health")


@pytest.mark.slow
def test_what_the_cluster_cannot_hold_is_refused(cluster, capsys):
    given = ["serve", "--cluster", cluster, "--port", str(free_port())]
    assert run([*given, "--replicas", "2"]) == 2  # of two workers each
    told = capsys.readouterr().err
    assert "--replicas 2: each computes on 2 processors (--workers times --threads), the cluster has 2 free" in told
    assert run([*given, "--voice", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_why_no_replica_starts_is_told_in_one_line(cluster, tmp_path):
    def told(**given: object) -> str:
        options = {f"MALSORI_{name.upper()}": str(value) for name, value in given.items()}
        command = [sys.executable, "-m", "malsori", "serve", "--cluster", cluster, "--workers", "1"]
        found = subprocess.run(command, env=os.environ | options, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout) == (2, "")
        return found.stderr.splitlines()[-1]

    models = tiny_models(tmp_path)
    weights = tmp_path / "conformer" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    assert "cannot serve: malsori.errors.ModelError" in (line := told(**models, port=free_port())), line
    assert f"{weights}: damaged" in line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Failed to bind to address '127.0.0.1:{port}'" in told(port=port)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"replicas": 2}, "they are for a cluster; give --cluster too"),
        ({"cluster": "auto", "studio": True}, "leave --cluster out"),
        ({"cluster": "auto", "port": 0}, "listens on the same port; name one"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(given, told):
    with pytest.raises(OptionError, match=told):
        ServeSettings(**given)
