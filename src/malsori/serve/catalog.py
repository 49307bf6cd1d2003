"""What the server is and has: models, voices, health, counters."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from malsori.serve.errors import HttpError, JsonResponse
from malsori.serve.models import OPENAI_MODELS, OPENAI_VOICES, ServedModel
from malsori.serve.state import Server

router = APIRouter(tags=["Server"])

_OWNER = "malsori"


@router.get("/v1/models", tags=["OpenAI"])
async def models(server: Server) -> dict[str, Any]:
    """Return the models that requests may name, and OpenAI's names with what they mean here."""
    named = [_model(name, name, model) for name, model in server.models.served.items()]
    aliases = [
        _model(alias, server.models.defaults[role], server.models.served[server.models.defaults[role]])
        for role in ("voice", "recognizer")
        for alias in OPENAI_MODELS[role]
    ]
    return {"object": "list", "data": named + aliases}


@router.get("/v1/models/{name:path}", tags=["OpenAI"])
async def model(name: str, server: Server) -> dict[str, Any]:
    """Return one of them."""
    for entry in (await models(server))["data"]:
        if entry["id"] == name:
            return entry
    raise HttpError(404, f"no model '{name}'; /v1/models lists them", "model_not_found", "model")


@router.get("/v1/audio/voices")
async def voices(server: Server) -> dict[str, Any]:
    """Return who can speak: each voice's speakers, and OpenAI's names, which mean the first of the default voice."""
    found = [
        {"id": speaker, "name": speaker, "model": model.name, "language": "ko"}
        for model in server.models.served.values()
        if model.role == "voice"
        for speaker in model.speakers or (model.name,)
    ]
    return {"object": "list", "voices": found, "data": found, "aliases": list(OPENAI_VOICES)}


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the server runs."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(server: Server) -> Response:
    """Say whether the preloaded models are there: 200, or 503 until then."""
    if server.ready:
        return JsonResponse({"status": "ready", "models": server.models.loaded()})
    if server.failure:
        return JsonResponse({"status": "failed", "reason": server.failure}, 503)
    return JsonResponse({"status": "loading"}, 503, {"Retry-After": "1"})


@router.get("/metrics", response_class=Response)
async def metrics(server: Server) -> Response:
    """Return the counters, as Prometheus reads them."""
    server.measure()
    return Response(server.metrics.page(), media_type=CONTENT_TYPE_LATEST)


def _model(name: str, means: str, model: ServedModel) -> dict[str, Any]:
    """Return a model as OpenAI's clients know it, and what it is."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": _OWNER,
        "task": "text-to-speech" if model.role == "voice" else "automatic-speech-recognition",
        "model": means,
        "system": model.system,
        "license": model.license,
    }
