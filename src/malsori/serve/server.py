"""The process of `malsori serve`: threads, log, socket, and an end that lets requests finish."""

import logging
import socket
import sys
from collections.abc import Sequence

import uvicorn
from fastapi import APIRouter

from malsori.errors import OptionError
from malsori.runtime.device import resolve_runtime, use_threads
from malsori.serve.app import create_app
from malsori.serve.logs import log_config
from malsori.serve.settings import ServeSettings

log = logging.getLogger("malsori.serve")

#: How long a connection without a request stays open. Clients that keep theirs send the next request into one that is
#: being closed the more often the sooner that happens; proxies and clients keep them about a minute.
KEEP_ALIVE_SECONDS = 75


def run_server(settings: ServeSettings, more: Sequence[APIRouter] = ()) -> None:
    """Serve until SIGTERM or Ctrl-C, then take no more requests and let those that are there finish.

    Args:
        more: as `create_app` takes them.
    Raises: OptionError if the address cannot be listened on; DeviceError, ModelError as the models' loaders do.
    """
    require_system()
    resolve_runtime(settings.device, settings.precision)
    use_threads(settings.threads_per_worker)
    app = create_app(settings, more)
    config = uvicorn.Config(
        app,
        log_config=log_config(settings.log_text),
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws_max_size=round(settings.max_body_mb * 1_000_000),
    )
    listener = listen(settings.host, settings.port)
    address = (
        f"http://{settings.host if ':' not in settings.host else f'[{settings.host}]'}:{listener.getsockname()[1]}"
    )
    facts = {"address": address, "pages": f"{address}/docs"} | ({"studio": f"{address}/studio/"} if more else {})
    log.info("listening", extra={"facts": facts})
    uvicorn.Server(config).run(sockets=[listener])


def require_system() -> None:
    """Raise OptionError on a system that cannot serve."""
    if sys.platform == "win32":
        raise OptionError("serve: sounds are decoded in a process with limits that Windows lacks; use WSL or Docker")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises: OptionError if it cannot."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # who connects before the server is up waits for it
    except OSError as error:
        raise OptionError(
            f"host {host}, port {port}: {(error.strerror or str(error)).lower()}; choose another"
        ) from error
    return listener
