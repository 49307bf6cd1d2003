"""The routes put together, behind one gate: what an ASGI server runs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import malsori
from malsori.errors import MalsoriError
from malsori.serve import analysis, catalog, realtime, speech, transcription
from malsori.serve.errors import ClientLeft, answer_error
from malsori.serve.gate import Gate
from malsori.serve.settings import ServeSettings
from malsori.serve.state import ServerState


def create_app(settings: ServeSettings, more: Sequence[APIRouter] = ()) -> FastAPI:
    """Return the server as an ASGI application. Its pages at /docs and /redoc fetch nothing from elsewhere.

    Args:
        more: routes beside its own, such as the studio's.
    Raises: ModelError if a model that is to be served is not there.
    """
    state = ServerState(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with state.running():
            yield

    app = FastAPIOffline(
        title="malsori",
        version=malsori.__version__,
        summary="Korean speech synthesis and recognition over OpenAI's routes",
        lifespan=lifespan,
    )
    app.state.server = state
    for router in (*(part.router for part in (speech, transcription, realtime, analysis, catalog)), *more):
        app.include_router(router)
    for kind in (HTTPException, RequestValidationError, MalsoriError, ClientLeft, Exception):
        app.add_exception_handler(kind, answer_error)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(Gate, settings=settings, metrics=state.metrics)
    return app
