"""What a client is told when a request cannot be served: JSON in the shape of OpenAI's errors, never a trace."""

import json
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from malsori.errors import MalsoriError, OptionError

LEFT = 499  # nginx's status of a request whose client left
_MAX_MESSAGE = 500  # characters: what a client sent may stand in it


class HttpError(HTTPException):
    """A request that is refused.

    Args:
        status: of HTTP.
        message: what was given, what is accepted, what to do.
        code: OpenAI's name of the fault, where it has one.
        param: the field at fault.
        headers: to go with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code, self.param = code, param


class ClientLeft(Exception):
    """The client closed its connection before it was answered: no fault, and nobody to tell."""


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return {"error": {"message", "type", "param", "code"}}; the message on one line and no longer than 500."""
    line = " ".join(message.split())
    line = line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 2] + " …"
    return {"error": {"message": line, "type": _kind(status), "param": param, "code": code}}


def error_response(error: HttpError) -> Response:
    """Return the answer that tells of an error."""
    body = error_body(error.status_code, error.detail, error.code, error.param)
    return JsonResponse(body, error.status_code, dict(error.headers or {}))


class JsonResponse(Response):
    """Plain values as JSON: Hangul as it is; a lone surrogate, which UTF-8 has no place for, escaped."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "backslashreplace")


def as_http_error(error: Exception) -> HttpError:
    """Return what a client is told of an error: its own words where the request is at fault, none where we are."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, RequestValidationError):
        return _validation(error)
    if isinstance(error, HTTPException):
        return HttpError(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    if isinstance(error, OptionError):
        name = str(error).split(":")[0].split(" ")[0].strip("'")
        return HttpError(400, str(error), "invalid_value", name)
    if isinstance(error, ClientLeft):
        return HttpError(LEFT, "the client left")
    if isinstance(error, MalsoriError):
        return HttpError(400, str(error))
    return HttpError(500, "a fault of the server; its log says more under this request's x-request-id")


async def answer_error(_request: Request, error: Exception) -> Response:
    """Answer a request that failed, as FastAPI's handler of exceptions."""
    return error_response(as_http_error(error))


def _validation(error: RequestValidationError) -> HttpError:
    """Return the first complaint about a request's fields."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    name = ".".join(path) or None
    if first["type"] == "extra_forbidden":
        return HttpError(400, f"unknown parameter '{name}'", "unknown_parameter", name)
    if first["type"] == "missing":
        return HttpError(400, f"missing parameter '{name or 'body'}'", "missing_required_parameter", name)
    message = str(first["msg"]).removeprefix("Value error, ")
    return HttpError(400, f"{name}: {message}" if name else message, "invalid_value", name)


def _kind(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
