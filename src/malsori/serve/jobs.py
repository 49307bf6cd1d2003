"""Work for the models: a bounded number of requests, done piece by piece on a few threads.

A request is admitted, or told to come again later. Its work is cut into pieces (a sentence, a stretch of sound), which
stand in one line with those of the others: no long request keeps a short one waiting, and a client that has left is
computed for no longer. Pieces of several clients are not put into one batch: eight sentences at once took FastSpeech 2
and Vocos 0.63 s of one core, one after the other 0.68 s.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from malsori.serve.errors import HttpError

Result = TypeVar("Result")

_END = object()


@dataclass(eq=False)
class _Piece:
    """Something to compute, and who waits for it."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class JobQueue:
    """The line of pieces, and the threads that work through it.

    Args:
        workers: threads.
        max_requests: requests that are admitted at a time.
        on_done: told of each piece how many seconds it took.
    """

    def __init__(self, workers: int, max_requests: int, on_done: Callable[[float], None] | None = None) -> None:
        self.max_requests, self._on_done = max_requests, on_done
        self.admitted, self._seconds = 0, 1.0  # a request's time, as a moving mean
        self._line: deque[_Piece] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Pieces in the line."""
        return len(self._line)

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold a place among the requests that are served. Raises: HttpError 429 when there is none."""
        if self.admitted >= self.max_requests:
            wait = math.ceil(self._seconds * self.admitted / len(self._threads))
            raise HttpError(
                429,
                f"{self.admitted} requests are served or waiting, and no more are taken (max_requests); come again",
                "rate_limit_exceeded",
                headers={"Retry-After": str(min(60, max(1, wait)))},
            )
        self.admitted += 1
        began = time.monotonic()
        try:
            yield
        finally:
            self.admitted -= 1
            self._seconds += 0.1 * (time.monotonic() - began - self._seconds)

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return what a function returns, computed by a worker; it is not begun once the caller is cancelled."""
        loop = asyncio.get_running_loop()
        piece = _Piece(function, arguments, loop.create_future(), loop)
        with self._changed:
            if not self._open:
                raise HttpError(503, "the server is shutting down")
            self._line.append(piece)
            self._changed.notify()
        return await piece.future

    async def iterate(self, items: Iterator[Result]) -> AsyncIterator[Result]:
        """Yield what an iterator yields, each item computed by a worker as a piece of its own."""
        while (item := await self.run(next, items, _END)) is not _END:
            yield item

    def close(self) -> None:
        """Begin nothing more, tell those who wait, and let the threads end."""
        with self._changed:
            self._open = False
            dropped = [*self._line]
            self._line.clear()
            self._changed.notify_all()
        for piece in dropped:
            _settle(piece, None, HttpError(503, "the server is shutting down"))
        for thread in self._threads:
            thread.join(timeout=10)

    def _work(self) -> None:
        while piece := self._next():
            if piece.future.cancelled():
                continue
            began = time.monotonic()
            try:
                result = piece.function(*piece.arguments)
            except Exception as error:
                _settle(piece, None, error)
            else:
                _settle(piece, result, None)
            if self._on_done:
                self._on_done(time.monotonic() - began)

    def _next(self) -> _Piece | None:
        """Return the piece to compute next, waiting for it; none when the queue is closed."""
        with self._changed:
            while self._open and not self._line:
                self._changed.wait()
            return self._line.popleft() if self._open else None


def _settle(piece: _Piece, result: Any, fault: Exception | None) -> None:
    """Give a piece's result to who waits for it, on its own thread."""

    def settle() -> None:
        if piece.future.cancelled():
            return
        if fault is not None:
            piece.future.set_exception(fault)
        else:
            piece.future.set_result(result)

    if not piece.loop.is_closed():
        piece.loop.call_soon_threadsafe(settle)
