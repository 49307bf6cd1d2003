"""The server as replicas on a Ray cluster: one address for clients, and who answers dies and comes back.

    client ─► Ray Serve's proxy on each machine ─► the replica with fewest requests: the whole server, its own models

A replica takes requests once its models are loaded. One that is lost takes with it the requests that it was at; those
that wait go to the others, and another is started.
"""

import io
import logging
import logging.config
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from malsori.cluster import connect
from malsori.errors import ClusterError, OptionError
from malsori.extras import import_extra
from malsori.runtime.device import resolve_runtime, use_threads
from malsori.serve.app import create_app
from malsori.serve.logs import log_config
from malsori.serve.models import ModelTable
from malsori.serve.server import KEEP_ALIVE_SECONDS, listen, require_system
from malsori.serve.settings import ServeSettings

log = logging.getLogger("malsori.serve")

_NAME = "malsori"
_BESIDE = 16  # requests that a replica takes beyond those it serves: to refuse them itself, or to say that it is well


def run_replicas(settings: ServeSettings) -> None:
    """Serve on a cluster until SIGTERM or Ctrl-C, then take no more requests and let those that are there finish.

    Raises: as `deployed`.
    """
    require_system()
    asked = threading.Event()
    _connected(settings)  # first: Ray takes the signals for itself
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: asked.set())
    logging.config.dictConfig(log_config(settings.log_text))
    with deployed(settings):
        facts = {"address": f"http://{settings.host}:{settings.port}", "replicas": settings.replicas}
        log.info("listening", extra={"facts": facts})
        while not asked.wait(1.0):
            pass


@contextmanager
def deployed(settings: ServeSettings) -> Iterator[None]:
    """Serve on the cluster that the settings name while the block lasts; it begins once every replica is ready.

    Raises: OptionError if no cluster answers there, it has too few processors, serves something already, or the
        address is taken; ModelError for a model that is not there; ClusterError if no replica can be started;
        MissingExtraError.
    """
    ModelTable(settings)  # what is wrong with the models is told here, and not by each replica
    ray, serve = _connected(settings)
    _require_room(ray, settings)
    if serve.status().applications:
        raise OptionError(f"--cluster {settings.cluster}: it serves already; end that with 'serve shutdown'")
    if settings.cluster == "auto":
        listen(settings.host, settings.port).close()
    http = {"host": settings.host, "port": settings.port, "keep_alive_timeout_s": KEEP_ALIVE_SECONDS}
    try:
        try:
            serve.start(http_options=http, proxy_location="EveryNode")
            serve.run(_deployment(serve, settings).bind(), name=_NAME)
        except RuntimeError as error:
            raise ClusterError(f"--cluster {settings.cluster}: cannot serve: {_cause(serve, error)}") from error
        yield
    finally:
        if _NAME in serve.status().applications:
            serve.delete(_NAME)  # waits for the requests that are there; to shut down alone would not
        with redirect_stdout(io.StringIO()):  # there Ray would print that what it ended has ended
            serve.shutdown()
            ray.shutdown()


def _connected(settings: ServeSettings) -> tuple[Any, Any]:
    """Return Ray and Ray Serve, connected to the cluster. Raises: as `deployed`."""
    serve = import_extra("ray.serve", "serve --cluster")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    return connect(settings.cluster or "auto"), serve


def _cause(serve: Any, error: RuntimeError) -> str:
    """Return the last line of what a replica failed with, or else of what Ray says itself."""
    found = [part.message for app in serve.status().applications.values() for part in app.deployments.values()]
    lines = [line for text in (str(error), *found) for line in text.splitlines() if line.strip()]
    return lines[-1].strip()


def _require_room(ray: Any, settings: ServeSettings) -> None:
    there, each = int(ray.available_resources().get("CPU", 0)), _processors(settings)
    if there < each * settings.replicas:
        raise OptionError(
            f"--replicas {settings.replicas}: each computes on {each} processors (--workers times --threads), the "
            f"cluster has {there} free; ask for fewer, or add machines"
        )


def _processors(settings: ServeSettings) -> int:
    return settings.workers * (settings.threads or 1)


def _deployment(serve: Any, settings: ServeSettings) -> Any:
    """Return what Ray Serve runs: the server, so many times."""
    return serve.deployment(
        serve.ingress(_builder(settings, version("malsori")))(),
        name="server",
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.max_requests + _BESIDE,
        ray_actor_options={
            "num_cpus": _processors(settings),
            "num_gpus": int(settings.device.startswith("cuda")),
        },
        graceful_shutdown_timeout_s=settings.drain_seconds,
        logging_config={"enable_access_log": False},  # a line for each request is the gate's
    )


def _builder(settings: ServeSettings, needed: str) -> Callable[[], FastAPI]:
    """Return the function that makes the server in a replica's process."""
    values = settings.model_dump() | {"threads": settings.threads or 1}

    def build() -> FastAPI:
        found = version("malsori")
        if found != needed:
            raise ClusterError(f"{socket.gethostname()}: has malsori {found}, not {needed}; all machines need the same")
        own = ServeSettings(**values)
        logging.config.dictConfig(log_config(own.log_text))
        resolve_runtime(own.device, own.precision)
        use_threads(own.threads_per_worker)
        app = create_app(own)
        app.state.server.models.load_first()
        app.add_middleware(_Named, name=f"{socket.gethostname()}:{os.getpid()}")
        return app

    return build


class _Named:
    """Tells clients in `x-malsori-replica` who answered."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app, self._header = app, (b"x-malsori-replica", name.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._header]
            await send(message)

        await self.app(scope, receive, named)
