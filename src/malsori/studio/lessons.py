"""Lessons: those of `malsori learn`, their pictures, sounds and toys beside them, as the page's policy wants it."""

import mimetypes
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from malsori.learn.catalog import find_lesson, lessons
from malsori.learn.lesson import LANGUAGES
from malsori.learn.pages import Article, article
from malsori.serve.errors import HttpError
from malsori.serve.state import Server
from malsori.serve.streams import while_present
from malsori.studio.render import Language, answer, drawing, language_of

router = APIRouter()


class LessonForm(BaseModel):
    """A lesson's name."""

    model_config = ConfigDict(extra="forbid")

    name: str


@router.post("/lessons")
async def lesson(asked: Annotated[LessonForm, Form()], request: Request, server: Server) -> Response:
    """Return a lesson; its numbers, picture, sounds and toy are computed when it is first asked for."""
    place = _place(asked.name)
    with server.jobs.admission():
        made = await while_present(request, server.jobs.run(_made, asked.name, language_of(request)))
    following = lessons()[place + 1 : place + 2]
    return answer(request, "lesson.html", name=asked.name, made=made, following=following)


@router.get("/lessons/{language}/{name}/{file}")
async def file_beside(language: str, name: str, file: str, server: Server) -> Response:
    """Return a file that lies beside a lesson."""
    _place(name)
    if language not in LANGUAGES:
        raise HttpError(404, f"no lesson in '{language[:40]}': in {', '.join(LANGUAGES)}")
    with server.jobs.admission():
        files = (await server.jobs.run(_made, name, language)).files
    if file not in files:
        raise HttpError(404, f"no file '{file[:40]}' in lesson '{name}'")
    kind = mimetypes.guess_type(file)[0]
    return Response(files[file], media_type=kind, headers={"Cache-Control": "no-cache"})


def _place(name: str) -> int:
    """Return which of the lessons has a name, from 0. Raises: HttpError 404 if none has."""
    names = [lesson.name for lesson in lessons()]
    if name not in names:
        raise HttpError(404, f"no lesson '{name[:40]}': {', '.join(names)}", param="name")
    return names.index(name)


@cache
def _made(name: str, language: Language) -> Article:
    with drawing:
        return article(find_lesson(name), language, inline=False, assets=f"lessons/{language}/{name}/")
