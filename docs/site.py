"""The documentation's pages, made ready to be built: both languages, lessons, models, the reference, samples.

    python docs/site.py build/pages        `make docs` does so, and builds them into site/

A page lies in docs/NAME.md (English) and docs/NAME.ko.md (Korean). A page without a Korean one stands in English on the
Korean site too, and says so. Pages of the root (RESULTS.md, ...) come in, links are led to where their pages are.
"""

import ast
import html
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("ko", "en")
#: Of the root: file → page.
FROM_ROOT = {
    "RESULTS.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
#: What is bound to be looked up, in the order of a reader's way.
REFERENCE = (
    "malsori.tts.voice",
    "malsori.tts.options",
    "malsori.asr.recognizer",
    "malsori.asr.options",
    "malsori.decode.transcript",
    "malsori.alignment.spans",
    "malsori.text.frontend",
    "malsori.metrics.error_rate",
    "malsori.metrics.cepstral",
    "malsori.metrics.significance",
    "malsori.losses.regression",
    "malsori.losses.adversarial",
    "malsori.losses.sequence",
    "malsori.losses.distribution",
    "malsori.train.tasks",
    "malsori.train.optim",
    "malsori.corpus.folder",
    "malsori.config",
    "malsori.errors",
)
#: System → its heading, the file of its network, that of its task.
MODELS = {
    "tacotron": ("Tacotron", "tacotron", "tacotron"),
    "tacotron2": ("Tacotron 2", "tacotron2", "tacotron"),
    "fastspeech": ("FastSpeech", "fastspeech", "fastspeech"),
    "fastspeech2": ("FastSpeech 2", "fastspeech2", "fastspeech"),
    "vits": ("VITS", "vits", "vits"),
    "hifigan": ("HiFi-GAN", "hifigan", "hifigan"),
    "vocos": ("Vocos", "vocos", "hifigan"),
    "whisper": ("Whisper", "whisper", "whisper"),
    "wav2vec2": ("wav2vec 2.0", "wav2vec2", "wav2vec2"),
    "conformer": ("Conformer", "conformer", "conformer"),
}
#: Pages that hold both languages.
BILINGUAL = ("glossary", "seed")
_ONLY_ENGLISH = "> 이 쪽은 영어로만 있습니다.\n\n"
_OTHER = {"ko": "English", "en": "한국어"}
_LESSONS = {
    "ko": "# 배우기\n\n음성 모델이 무엇으로, 어떻게 배우는지 열네 번의 수업에 담았습니다. 숫자는 모두 말소리의 코드가 "
    "계산하고, 만질 수 있는 장난감이 다섯 있습니다. 터미널에서는 `malsori learn`, 브라우저에서는 "
    "`malsori studio`의 배우기 탭, 한 쪽짜리 파일로는 "
    "`malsori learn ctc -o ctc.html`.\n",
    "en": "# Lessons\n\nFourteen lessons on what speech models learn by. Every number is computed by malsori's code, "
    "and there are five toys to touch. In the terminal: `malsori learn`; in a browser: "
    "the tab Learn of `malsori studio`; as a page: "
    "`malsori learn ctc --language en -o ctc.html`.\n",
}


def stage(out: Path, lessons: bool = True) -> None:
    """Write every page of both languages below `out`; without `lessons` theirs hold their words alone."""
    shutil.rmtree(out, ignore_errors=True)
    for language in LANGUAGES:
        folder = out / language
        (folder / "assets").mkdir(parents=True)
        for name in ("diagrams", "pictures", "samples"):
            if (ROOT / "docs" / name).is_dir():
                shutil.copytree(ROOT / "docs" / name, folder / name)
        (folder / "assets" / "site.css").write_text(_style(), encoding="utf-8")
        for name in ("frame-worker.js", "scroll.js"):
            shutil.copy(ROOT / "docs" / name, folder / "assets")
        for name in page_names():
            _write(folder, "index.md" if name == "start" else f"{name}.md", page(name, language), language)
        for source, name in FROM_ROOT.items():
            text = (ROOT / source).read_text(encoding="utf-8")
            _write(folder, name, _links(text, "", language), language)
        _write(folder, "reference.md", reference(), language)
        _lessons(folder, language, lessons)


def page_names() -> list[str]:
    """Return the names of the pages in docs/."""
    return sorted({path.name.split(".")[0] for path in (ROOT / "docs").glob("*.md")})


def page(name: str, language: str) -> str:
    """Return a page's Markdown in a language, its links led to the staged pages."""
    own, english = ROOT / "docs" / f"{name}.ko.md", ROOT / "docs" / f"{name}.md"
    korean = language == "ko" and own.is_file()
    text = (own if korean else english).read_text(encoding="utf-8")
    if "{{models}}" in text:
        text = text.replace("{{models}}", "\n\n".join(model(system, language) for system in MODELS))
    if language == "ko" and not korean and name not in BILINGUAL:
        text = text.replace("\n\n", f"\n\n{_ONLY_ENGLISH}", 1)
    return _links(text, name, language)


def model(system: str, language: str) -> str:
    """Return a system's part of the page of models: its drawing, its losses, where each stands in the code."""
    heading, network, task = MODELS[system]
    path = ROOT / "src" / "malsori" / "models" / f"{network}.py"
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    picture = f"diagrams/{system}{'.ko' if language == 'ko' else ''}.svg"
    words = {
        "ko": ("손실이 합쳐지는 길", "손실의 식은 여기에", "파일"),
        "en": ("how its losses are combined", "where each loss stands", "file"),
    }
    title, where, file = words[language]
    rows = "\n".join(f"| `{name}` | `{place}` | {first} |" for name, place, first in losses_of(task))
    return (
        f"## {heading}\n\n`src/malsori/models/{network}.py`, `src/malsori/train/{task}.py`\n\n```text\n{about}\n```\n\n"
        f"![{heading}: {title}]({picture})\n\n| {where} | {file} | |\n|---|---|---|\n{rows}"
    )


def losses_of(task: str) -> list[tuple[str, str, str]]:
    """Return the losses that a task's file imports: name, file and line, the first line of its docstring."""
    source = ROOT / "src" / "malsori"
    found = []
    for node in ast.walk(ast.parse((source / "train" / f"{task}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("malsori.losses."):
            file = f"losses/{(node.module or '').rpartition('.')[2]}.py"
            defined = {
                part.name: part
                for part in ast.parse((source / file).read_text(encoding="utf-8")).body
                if isinstance(part, ast.FunctionDef)
            }
            for alias in node.names:
                if alias.name in defined:
                    first = (ast.get_docstring(defined[alias.name]) or "").splitlines()[0]
                    found.append((alias.name, f"{file}:{defined[alias.name].lineno}", first.replace("|", "\\|")))
    return found


def reference() -> str:
    """Return the page of the API: a heading and a directive for mkdocstrings a module."""
    parts = [f"## {name}\n\n::: {name}\n" for name in REFERENCE]
    return "# API\n\n" + "\n".join(parts)


def _lessons(folder: Path, language: str, whole: bool) -> None:
    from malsori.learn.catalog import lessons
    from malsori.learn.pages import article

    (folder / "learn" / "assets").mkdir(parents=True)
    rows = []
    for lesson in lessons():
        title, rest = lesson.title(language), lesson.source(language).partition("\n")[2]
        rows.append(f"- [{title}]({lesson.name}.md): {rest.strip().splitlines()[0]}")
        if whole:
            made = article(lesson, language, inline=False, assets="assets/")
            for name, content in made.files.items():
                (folder / "learn" / "assets" / name).write_bytes(content)
            body = f"<div class='lesson'>\n{made.body}\n</div>"
            text = f"# {made.title}\n\n{re.sub(chr(10) + '{2,}', chr(10), body)}\n"
        else:
            words = re.sub(r"^!?\[[^\]]*\]\((?:picture|toy|sound:[\w-]+)\)$", "", rest, flags=re.MULTILINE)
            text = f"# {title}\n\n{html.escape(words)}\n"
        _write(folder, f"learn/{lesson.name}.md", text, language)
    _write(folder, "learn/index.md", "\n".join([_LESSONS[language], *rows]) + "\n", language)


def _write(folder: Path, name: str, text: str, language: str) -> None:
    """Write a page with the way to the same page in the other language; raw HTML, as it leaves the site."""
    target = name.removesuffix(".md") + ".html"
    up = "../" * name.count("/")
    other = f"{up}en/{target}" if language == "ko" else f"{up}../{target}"
    code = "en" if language == "ko" else "ko"
    link = f'<p class="language"><a href="{other}" lang="{code}">{_OTHER[language]}</a></p>\n\n'
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(link + text, encoding="utf-8")


def _links(text: str, name: str, language: str) -> str:
    """Return Markdown whose links lead to staged pages; what is not on the site keeps its name alone."""

    def lead(match: re.Match[str]) -> str:
        bang, words, target, anchor = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = target.removeprefix("../").removeprefix("docs/")
        if path in FROM_ROOT:
            return f"{bang}[{words}]({FROM_ROOT[path]}{anchor})"
        path = "index.md" if path == "start.md" else path
        if language == "ko" and path == f"{name}.md":  # its own English page
            return f'<a href="en/{name}.html">{words}</a>'
        stays = path.removesuffix(".md") in {*page_names(), "index", *map(_page, FROM_ROOT.values())}
        if stays or path.startswith(("learn/", "diagrams/", "pictures/", "samples/")) or not target:
            return f"{bang}[{words}]({path}{anchor})"
        return f"`{words}`" if "`" not in words else words

    text = re.sub(r"^(```\w+) .*$", r"\1", text, flags=re.MULTILINE)  # mkdocs knows a block by its language alone
    pieces = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    link = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)((?:#[^)\s]*)?)\)")
    return "".join(piece if piece.startswith("```") else link.sub(lead, piece) for piece in pieces)


def _page(name: str) -> str:
    return name.removesuffix(".md")


def _style() -> str:
    from malsori.learn.pages import STYLE

    return (ROOT / "docs" / "site.css").read_text(encoding="utf-8") + STYLE


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
