"""The studio's routes put together: its page, what the page is made of, and a route for each tool."""

import mimetypes
from importlib import resources

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from malsori.learn.catalog import lessons as all_lessons
from malsori.learn.pages import STYLE
from malsori.report.diagram import drawable_systems
from malsori.report.fonts import korean_font_file
from malsori.serve.errors import HttpError
from malsori.serve.state import Server
from malsori.studio import align, lessons, listen, losses, measure, runs, speak
from malsori.studio.render import answer, language_of

router = APIRouter(prefix="/studio", include_in_schema=False)
for _part in (speak, listen, measure, align, losses, runs, lessons):
    router.include_router(_part.router)

#: The tools, in the order of the tabs.
TABS = ("speak", "listen", "measure", "align", "losses", "runs", "lessons")
_ASSETS = ("studio.css", "studio.js", "icon.svg")
_FONTS = ("NanumGothic.ttf", "NanumGothicBold.ttf")


@router.get("")
async def to_the_page(request: Request) -> Response:
    """Lead to the page, whose links are relative to it."""
    return RedirectResponse(str(request.url.replace(path=f"{request.url.path}/")))


@router.get("/")
async def page(request: Request, server: Server) -> Response:
    """Return the page with its seven tabs."""
    served = server.models.served.values()
    values = {
        "tabs": TABS,
        "voices": speak.voice_names(server),
        "recognizers": [model.name for model in served if model.role == "recognizer"],
        "recognizer": server.models.defaults["recognizer"],
        "systems": drawable_systems(),
        "runs": [*runs.runs_of(server.settings)],
        "speaking_runs": [name for name, run in runs.runs_of(server.settings).items() if runs.speaks(run)],
        "titles": {lesson.name: lesson.title(language_of(request)) for lesson in all_lessons()},
        "max_characters": server.settings.max_characters,
    }
    return answer(request, "page.html", **values)


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """Return the page's style, script, icon and font: all from here, nothing from elsewhere."""
    if name in _FONTS:
        return FileResponse(korean_font_file(name), headers={"Cache-Control": "max-age=86400"})
    if name == "lesson.css":
        return Response(STYLE, media_type="text/css", headers={"Cache-Control": "no-cache"})
    if name not in _ASSETS:
        raise HttpError(404, f"no file '{name}' in the studio")
    content = (resources.files("malsori.studio") / "assets" / name).read_bytes()
    return Response(content, media_type=mimetypes.guess_type(name)[0], headers={"Cache-Control": "no-cache"})
