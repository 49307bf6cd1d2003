"""Losses: how those of a system are combined and what each moves, with a run's values where one is named."""

from functools import cache, partial
from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from malsori.report.diagram import draw, drawable_systems, schematic
from malsori.serve.errors import HttpError
from malsori.serve.state import Server
from malsori.serve.streams import while_present
from malsori.studio.render import Language, answer, download, language_of
from malsori.studio.runs import run_named

router = APIRouter()

_RUN = "run:"


class LossesForm(BaseModel):
    """A system's name, or a run's behind "run:"."""

    model_config = ConfigDict(extra="forbid")

    name: str


@router.post("/losses")
async def losses(asked: Annotated[LossesForm, Form()], request: Request, server: Server) -> Response:
    """Draw the losses of a system or of a run."""
    name, language = asked.name, language_of(request)
    if name.startswith(_RUN):
        run = run_named(server.settings, name.removeprefix(_RUN))
        drawing = partial(_drawn, str(run), language)
    elif name in drawable_systems():
        drawing = partial(_of_system, name, language)
    else:
        raise HttpError(400, f"name '{name[:40]}': is no system", param="name")
    with server.jobs.admission():
        svg = await while_present(request, server.jobs.run(drawing))
    values = {"svg": svg, "name": name.removeprefix(_RUN), "download": download(svg, "image/svg+xml")}
    return answer(request, "losses.html", **values)


def _drawn(name: str, language: Language) -> str:
    return draw(schematic(name), language).svg()


_of_system = cache(_drawn)  # a run's values change, a system's losses do not
