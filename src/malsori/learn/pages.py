"""A lesson as HTML: one page with everything inside, or an article whose picture, sounds and toy lie beside it."""

import base64
import html
import json
from dataclasses import dataclass, field

from malsori.audio.formats import encode
from malsori.learn.lesson import Language, Lesson, LessonPart, toy_script

#: Style of what lessons show, in a page of their own and in the documentation.
STYLE = """
.toy, div.question { border: 1px solid #9aa5b1; border-radius: .5rem; padding: .8rem 1rem; margin: 1rem 0 }
.toy canvas { display: block; border-radius: .3rem; background: #fff; cursor: crosshair }
.toy button, .question button { font: inherit; padding: .35rem .8rem; margin: .3rem 0; border: 1px solid #52606d;
  border-radius: .4rem; background: #eef2f6; color: #1d2733; cursor: pointer }
.toy button:focus-visible, .toy canvas:focus-visible, .question input:focus-visible { outline: 3px solid #d55e00 }
.toy select, .question input { font: inherit; padding: .3rem; border: 1px solid #52606d; border-radius: .3rem;
  background: #fff; color: #1d2733; max-width: 100% }
.toy input[type=range] { flex: 1 1 7rem; width: 7rem; max-width: 20rem }
.toy-row { display: flex; flex-wrap: wrap; gap: 0 1.2rem } .toy-row figure { margin: 0; flex: 1 1 13rem; width: auto } .toy-row figure canvas { margin: 0 auto }
.toy-control { margin: .4rem 0; display: flex; flex-wrap: wrap; align-items: center; gap: .1rem .6rem }
.toy .toy-control label { margin: 0 } @media (max-width: 30rem) { .toy-control:has(input) label { flex: 1 0 100% } } .toy-help, .toy figcaption { font-size: .85rem; margin: .3rem 0 }
.toy-numbers { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: .6rem 0 0 }
.toy-numbers dt { font-size: .8rem; margin: 0 } .toy .toy-numbers dd { font-weight: 700; margin: 0; font-variant-numeric: tabular-nums }
.lesson-sound { margin: .8rem 0 } .lesson-sound audio { width: 100%; max-width: 30rem; display: block }
"""  # noqa: E501

_PAGE_STYLE = """
body { font-family: "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", NanumGothic, sans-serif; color: #1d2733;
  background: #fff; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.7; word-break: keep-all }
img { max-width: 100% } pre { overflow-x: auto; background: #f4f6f8; padding: .8rem; border-radius: .4rem }
table { border-collapse: collapse; display: block; overflow-x: auto } th, td { border-bottom: 1px solid #cbd2d9; padding: .3rem .8rem .3rem 0;
  text-align: left } blockquote { border-left: 4px solid #d55e00; margin: 1rem 0; padding: .1rem 1rem; background: #fdf3ec }
"""  # noqa: E501

_WORDS = {
    "ko": {
        "question": "물음", "answer": "답", "check": "맞춰 보기", "explanation": "풀이 보기",
        "yes": "맞습니다!", "no": "아직 아닙니다. 다시 해 보세요.", "script": "이 장난감은 자바스크립트가 필요합니다.",
    },
    "en": {
        "question": "Question", "answer": "Answer", "check": "check", "explanation": "Show the explanation",
        "yes": "Right!", "no": "Not yet. Try again.", "script": "This toy needs JavaScript.",
    },
}  # fmt: skip


@dataclass
class Article:
    """A lesson's HTML, and the files that it refers to.

    Attributes:
        title, summary: plain.
        body: HTML below the title.
        files: name → content of what lies beside; empty where everything is inside.
    """

    title: str
    summary: str
    body: str
    files: dict[str, bytes] = field(default_factory=dict)


def article(lesson: Lesson, language: Language, inline: bool = True, assets: str = "") -> Article:
    """Return a lesson as HTML. Pictures need the extra `report`.

    Args:
        inline: pictures, sounds and scripts within the HTML; otherwise in files, which the HTML finds below `assets`.
        assets: the address of the files' folder, ending in a slash.
    """
    text = lesson.read(language)
    made = Article(text.title, text.summary, "")
    pieces = [f'<p class="lesson-summary">{html.escape(text.summary)}</p>']
    pieces += [_piece(lesson, part, language, made, None if inline else assets) for part in text.parts]
    pieces.append(_question(lesson, text.question, text.explanation, language))
    if not lesson.toy:  # toys bring it
        pieces.append(_script(made, "board.js", toy_script("board"), None if inline else assets))
    made.body = "\n".join(pieces)
    return made


def page(lesson: Lesson, language: Language) -> str:
    """Return a lesson as one HTML page that needs neither network nor server."""
    made = article(lesson, language)
    title = html.escape(made.title)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return (
        f'<!doctype html>\n<html lang="{language}"><head>{head}<style>{_PAGE_STYLE}{STYLE}</style></head>\n'
        f"<body><main><h1>{title}</h1>\n{made.body}</main></body></html>\n"
    )


def to_html(markdown: str) -> str:
    """Return Markdown, tables included, as HTML; HTML in it is shown, not obeyed."""
    from markdown_it import MarkdownIt  # comes with rich

    text: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return text.replace("<pre>", '<pre tabindex="0">').replace(
        "<table>", '<table tabindex="0">'
    )  # may have to be scrolled


def _piece(lesson: Lesson, part: LessonPart, language: Language, made: Article, assets: str | None) -> str:
    words = html.escape(part.text, quote=True)
    if part.kind == "picture" and lesson.draw:
        source = _source(made, f"{lesson.name}.{language}.png", "image/png", lesson.draw(language), assets)
        return f'<figure><img src="{source}" alt="{words}"><figcaption>{words}</figcaption></figure>'
    if part.kind == "sound" and lesson.play:
        sound = lesson.play()[part.name]
        content = encode(sound.wave, sound.sample_rate, "sound.mp3")
        source = _source(made, f"{lesson.name}-{part.name}.mp3", "audio/mpeg", content, assets)
        label = f'<p class="lesson-sound"><span>{words}</span>'
        return f'{label}<audio controls preload="metadata" aria-label="{words}" src="{source}"></audio></p>'
    if part.kind == "toy" and lesson.toy_data:
        return _toy(lesson, part, language, made, assets)
    return to_html(part.text)


def _toy(lesson: Lesson, part: LessonPart, language: Language, made: Article, assets: str | None) -> str:
    data = json.dumps(lesson.toy_data(), ensure_ascii=False, separators=(",", ":")) if lesson.toy_data else "{}"
    data = f'malsoriBoard.begin("{lesson.toy}", ' + data.replace("</", "<\\/") + ");"
    scripts = {
        "board.js": toy_script("board"),
        f"{lesson.toy}.js": toy_script(lesson.toy),
        f"{lesson.name}-data.js": data,
    }
    loads = "".join(_script(made, name, content, assets) for name, content in scripts.items())
    caption = f"<p><strong>{html.escape(part.text)}</strong></p><noscript>{_WORDS[language]['script']}</noscript>"
    return f'<div class="toy" data-toy="{lesson.toy}">{caption}</div>\n{loads}'


def _question(lesson: Lesson, question: str, explanation: str, language: Language) -> str:
    words, right = _WORDS[language], lesson.solve()
    kind = "word" if isinstance(right, str) else "number"
    data = {"answer": right, "tolerance": lesson.tolerance, "kind": kind, "yes": words["yes"], "no": words["no"]}
    attributes = " ".join(f'data-{name}="{html.escape(str(value), quote=True)}"' for name, value in data.items())
    return (
        f'<h2 id="question">{words["question"]}</h2>\n<div class="question">{to_html(question)}'
        f'<form class="question" {attributes}><label for="answer">{words["answer"]} </label>'
        f'<input id="answer" autocomplete="off"> <button>{words["check"]}</button> '
        f'<output aria-live="polite"></output></form>'
        f"<details><summary>{words['explanation']}</summary>{to_html(explanation)}</details></div>"
    )


def _source(made: Article, name: str, kind: str, content: bytes, assets: str | None) -> str:
    if assets is None:
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"
    made.files[name] = content
    return f"{assets}{name}"


def _script(made: Article, name: str, content: str, assets: str | None) -> str:
    if assets is None:
        return f"<script>{content}</script>\n"
    made.files[name] = content.encode()
    return f'<script src="{assets}{name}"></script>\n'
