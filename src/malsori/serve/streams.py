"""Answers that come in parts: server-sent events, sound while it is made; and work that ends when its client leaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse

from malsori.serve.errors import ClientLeft, as_http_error, error_body

Result = TypeVar("Result")


async def while_present(request: Request, work: Awaitable[Result]) -> Result:
    """Return what work gives, which is cancelled once the client has left. Raises: ClientLeft then."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        for one in (task, leaving):
            one.cancel()


async def begun(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return the same parts once the first of them is there: what goes wrong before it is told as an error."""
    first = await anext(parts, b"")

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    return rest()


async def event_stream(events: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Return the answer that sends events as they come; one that fails half-way ends with an event that says so."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for event in events:
                yield sse_line(event)
        except Exception as error:
            if not started:
                raise
            fault = as_http_error(error)
            yield sse_line({"type": "error"} | error_body(fault.status_code, fault.detail, fault.code, fault.param))

    started = False
    parts = await begun(lines())
    started = True
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(parts, media_type="text/event-stream", headers=headers)


def sse_line(event: dict[str, Any]) -> bytes:
    """Return a server-sent event, named by its "type"."""
    data = json.dumps(event, ensure_ascii=False, allow_nan=False)
    return f"event: {event['type']}\ndata: {data}\n\n".encode("utf-8", "backslashreplace")


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
