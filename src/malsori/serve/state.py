"""What the routes of one server share: its settings, models, line of work, decoders and counters."""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import Depends
from starlette.datastructures import UploadFile
from starlette.requests import HTTPConnection

from malsori.runtime.memory import return_free_memory
from malsori.serve.decoding import DecodedSound, SoundDecoder
from malsori.serve.errors import HttpError
from malsori.serve.jobs import JobQueue
from malsori.serve.metrics import ServerMetrics
from malsori.serve.models import ModelTable
from malsori.serve.settings import ServeSettings
from malsori.text.frontend import Frontend

log = logging.getLogger("malsori.serve")

_IDLE_ROUND_SECONDS = 5.0


class ServerState:
    """The parts of a running server. The models are named and checked at once, and loaded when it starts."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings, self.metrics = settings, ServerMetrics()
        self.models, self.frontend = ModelTable(settings), Frontend()
        self.ready = False
        self.failure: str | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the threads and processes while the server runs; the preloaded models come while it already listens."""
        settings = self.settings
        self.jobs = JobQueue(settings.workers, settings.max_requests, self.metrics.busy_seconds.inc)
        self.decoder = SoundDecoder(settings, self.metrics.decoder_deaths.inc)
        self._decoding = ThreadPoolExecutor(settings.decoders, "decoding")
        tasks = [asyncio.create_task(self._prepare()), asyncio.create_task(self._tend())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self.jobs.close()
            self.decoder.close()
            self._decoding.shutdown(wait=False, cancel_futures=True)

    async def sound(self, upload: UploadFile, sample_rate: int) -> DecodedSound:
        """Return an uploaded sound as one channel at a rate, decoded apart. Raises: AudioError if it is none."""
        file: Any = upload.file
        file.rollover()  # into a file of the system, which another process can read
        return await asyncio.get_running_loop().run_in_executor(self._decoding, self.decoder.decode, file, sample_rate)

    def check_text(self, text: str, param: str) -> None:
        """Raise HttpError 400 if a text is longer than is taken."""
        most = self.settings.max_characters
        if len(text) > most:
            told = f"{param}: {len(text)} characters, at most {most} are taken (max_characters)"
            raise HttpError(400, told, "string_above_max_length", param)

    def measure(self) -> None:
        """Bring the gauges up to date."""
        self.metrics.admitted.set(self.jobs.admitted)
        self.metrics.pieces_waiting.set(self.jobs.waiting)
        self.metrics.models_loaded.set(len(self.models.loaded()))

    async def _prepare(self) -> None:
        try:
            await asyncio.to_thread(self.models.load_first)
            self.ready = True
        except Exception as error:
            self.failure = str(error)
            log.error("preloading failed", extra={"facts": {"fault": type(error).__name__, "message": str(error)}})

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_ROUND_SECONDS)
            for name in await asyncio.to_thread(self.models.unload_idle):
                log.info("unloaded", extra={"facts": {"model": name}})
            await asyncio.to_thread(return_free_memory)


def _state(connection: HTTPConnection) -> ServerState:
    return connection.app.state.server


def _facts(connection: HTTPConnection) -> dict[str, Any]:
    return connection.scope["state"]["facts"]


#: What a route asks for to work with the server.
Server = Annotated[ServerState, Depends(_state)]
#: What a route tells the log of its request: counts, never texts.
Facts = Annotated[dict[str, Any], Depends(_facts)]
