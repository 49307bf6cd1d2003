"""One self-contained HTML page: text, tables, players and pictures, nothing fetched from anywhere."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from malsori.annotations import Float
from malsori.files import write_text

_STYLE = """
:root { color-scheme: light dark; --ink: #1d3557; --faint: #64748b; --line: #cbd5e1; --card: #f8fafc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --faint: #94a3b8; --line: #334155; --card: #1e293b; } }
* { box-sizing: border-box }
body { font-family: "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", "NanumGothic", sans-serif;
  color: var(--ink); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.6; word-break: keep-all }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 0 0 .5rem }
section { border: 1px solid var(--line); border-radius: .7rem; padding: 1rem 1.2rem; margin: 1.2rem 0;
  background: var(--card) }
img { width: 100%; border-radius: .4rem; background: white } audio { width: 100%; margin: .4rem 0 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--faint); font-weight: 500 } .note { color: var(--faint); font-size: .92rem }
.wrong { background: #fecaca; color: #7f1d1d; border-radius: .2rem; padding: 0 .1rem }
.missing { background: #e2e8f0; color: #64748b; text-decoration: line-through; border-radius: .2rem; padding: 0 .1rem }
.added { background: #fde68a; color: #78350f; border-radius: .2rem; padding: 0 .1rem }
"""


class Page:
    """A page that grows from top to bottom; every text given to it is escaped."""

    def __init__(self, title: str, note: str = "") -> None:
        self.title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>", _note(note)]

    def section(self, title: str, *parts: str) -> None:
        """Add a card with a title; the parts come from `table`, `player`, `picture`, `paragraph` and `marked`."""
        self._parts.append(f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>")

    @property
    def body(self) -> str:
        """The cards, without the title: a part of another page."""
        return "\n".join(self._parts[1:])

    def save(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        body = "\n".join(self._parts)
        title = html.escape(self.title)
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
        text = (
            f'<!doctype html>\n<html lang="ko"><head>{head}<style>{_STYLE}</style></head>\n<body>{body}</body></html>\n'
        )
        write_text(path, text)


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{html.escape(text)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts; a cell made by `marked` stays as it is."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def player(wave: Float[np.ndarray, " samples"], sample_rate: int) -> str:
    """Return a player with the sound inside, as FLAC."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, sample_rate, format="FLAC", subtype="PCM_16")
    return f'<audio controls preload="metadata" src="{_inline("audio/flac", buffer.getvalue())}"></audio>'


def picture(png: bytes, description: str) -> str:
    """Return a picture with its description for those who do not see it."""
    return f'<img src="{_inline("image/png", png)}" alt="{html.escape(description, quote=True)}">'


class Markup(str):
    """Text that is HTML already."""


def marked(reference: str, hypothesis: str) -> Markup:
    """Return the hypothesis with its errors coloured: wrong, missing (struck through) and added characters."""
    from rapidfuzz.distance import Levenshtein

    parts = []
    for edit in Levenshtein.opcodes(reference, hypothesis):
        wanted = html.escape(reference[edit.src_start : edit.src_end])
        given = html.escape(hypothesis[edit.dest_start : edit.dest_end])
        if edit.tag == "equal":
            parts.append(given)
        elif edit.tag == "delete":
            parts.append(f'<span class="missing">{wanted}</span>')
        else:
            kind = "wrong" if edit.tag == "replace" else "added"
            parts.append(f'<span class="{kind}" title="{wanted}">{given}</span>')
    return Markup("".join(parts))


def _cell(cell: str) -> str:
    return cell if isinstance(cell, Markup) else html.escape(cell)


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>' if text else ""


def _inline(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
