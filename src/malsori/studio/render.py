"""Pages and fragments as HTML: Jinja's templates, in Korean or English, and what every one of them may show."""

import base64
import csv
import threading
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from malsori.alignment.spans import Alignment
from malsori.alignment.textgrid import format_textgrid
from malsori.report.page import picture
from malsori.report.plots import as_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Language = Literal["ko", "en"]

#: A browser that reads this fetches, runs and sends nothing beyond this server, whatever a page may hold.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "media-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Longer sounds are drawn so far.
DRAWN_SECONDS = 20.0

drawing = threading.Lock()  # matplotlib keeps fonts and settings for the whole process
_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("malsori.studio", "pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def language_of(request: Request) -> Language:
    """Return the language of a request: what its address says, else what its browser prefers, else Korean."""
    asked = request.query_params.get("lang") or request.headers.get("accept-language", "ko")[:2]
    return "en" if asked == "en" or asked not in ("ko", "*") else "ko"


def answer(request: Request, template: str, **values: object) -> HTMLResponse:
    """Return a template in the request's language, under a policy that lets nothing leave the machine."""
    language = language_of(request)
    content = _templates.get_template(template).render(t=_speaker(language), lang=language, **values)
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return HTMLResponse(content, headers=headers)


def draw(make: "Callable[[], Figure]", description: str) -> str:
    """Return a figure as a picture in a page; one is drawn at a time."""
    with drawing:
        return picture(as_png(make()), description)


def download(content: str, media_type: str) -> str:
    """Return the address of a text that a link lets a person keep."""
    return f"data:{media_type};charset=utf-8;base64,{base64.b64encode(content.encode()).decode()}"


def textgrid(alignment: Alignment) -> str:
    """Return the address of an alignment's TextGrid, in which what lasts no time has no place."""
    tiers = {name: [span for span in spans if span.end > span.start] for name, spans in alignment.tiers.items()}
    return download(format_textgrid(tiers, alignment.duration), "text/plain")


@cache
def words() -> dict[str, dict[Language, str]]:
    """Return what the pages say: key → language → text."""
    with (resources.files("malsori.studio") / "pages" / "words.tsv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["key"]: {"ko": row["ko"], "en": row["en"]} for row in rows}


def _speaker(language: Language) -> Callable[[str], str]:
    return lambda key: words()[key][language]
