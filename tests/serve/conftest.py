"""A server that runs on loopback, as clients meet it, and the official client of OpenAI that talks to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import openai
import pytest
import uvicorn

from malsori.serve.app import create_app
from malsori.serve.server import listen
from malsori.serve.settings import ServeSettings

from . import offline

#: The recognizer of these tests: it hears less than the default, but at once.
RECOGNIZER = "conformer-ko"


class RunningServer:
    """A server in a thread of this process; `state` is what its routes share."""

    def __init__(self, **settings) -> None:
        settings = {"recognizer": RECOGNIZER, "preload": "fastspeech2-ko", "decoders": 1} | settings
        self.settings = ServeSettings(port=0, **settings)
        app = create_app(self.settings, [studio_router()] if self.settings.studio else [])
        self.state = app.state.server
        listener = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def client(self, **options) -> openai.OpenAI:
        """The official client, which tries nothing twice."""
        options = {"api_key": "none", "max_retries": 0, "timeout": 300} | options
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)

    def http(self, **options) -> httpx.Client:
        """A client of HTTP alone."""
        return httpx.Client(base_url=self.url, timeout=300, **options)

    def stop(self) -> None:
        """End it, and wait for its end."""
        self._server.should_exit = True
        self._thread.join(60)


def studio_router():
    """The studio's routes, which most servers here do without."""
    from malsori.studio.app import router

    return router


@contextmanager
def running(**settings) -> Iterator[RunningServer]:
    """A server with its own settings while the block lasts."""
    server = RunningServer(**settings)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def network_cut() -> Iterator[None]:
    """Let no test of the server reach another host, nor the server while they run."""
    offline.hold(True)
    yield
    offline.hold(False)
    tried, offline.attempts[:] = [*offline.attempts], []
    assert not tried


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """One server for all tests that need no settings of their own."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def client(server) -> openai.OpenAI:
    """The official client of OpenAI, unchanged."""
    return server.client()


@pytest.fixture(scope="session")
def sentence() -> str:
    """What the tests say and listen to."""
    return "안녕하세요. 오늘은 날씨가 참 좋네요."


@pytest.fixture(scope="session")
def spoken(client, sentence, tmp_path_factory):
    """A WAV of the sentence, made by the server."""
    path = tmp_path_factory.mktemp("spoken") / "spoken.wav"
    path.write_bytes(
        client.audio.speech.create(model="tts-1", voice="lmy", input=sentence, response_format="wav").read()
    )
    return path
