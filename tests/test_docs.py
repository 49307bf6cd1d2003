"""The pages of docs/ and the READMEs: their Python runs, their recipes are TOML, their commands are understood."""

import importlib.util
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch

from .test_readme import commands, parse

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text(encoding="utf-8") for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("README*.md")]}


def blocks(page: str, language: str) -> list[str]:
    """Return a page's code blocks in one language, each behind as many empty lines as stand before it on the page."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    return ["\n" * (page[: match.start()].count("\n") + 1) + match[1] for match in found]


def run(name: str) -> dict:
    """Return the names that a page's Python defines, its blocks run one after another as one program."""
    names: dict = {"__name__": "__main__"}
    for block in blocks(PAGES[name], "python"):
        exec(compile(block, name, "exec"), names)
    return names


def pages_with(language: str) -> list[str]:
    return [name for name, page in sorted(PAGES.items()) if f"```{language}\n" in page]


def test_what_a_page_shows_is_found_at_its_own_line():
    page = "# Title\n\n```python\nx = 1\n```\n```toml\na = 1\n```\n```python\ny = x\n```\n"
    assert blocks(page, "python") == ["\n\n\nx = 1\n", "\n" * 9 + "y = x\n"]
    assert not re.findall(r"^```(?:py|pycon|Python)$", "\n".join(PAGES.values()), flags=re.MULTILINE)


# README.ko.md shows the code of README.md, line for line: tests/test_readme.py.
@pytest.mark.parametrize("name", [name for name in pages_with("python") if name != "README.ko.md"])
def test_the_python_of_every_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(name)


def test_the_task_that_the_page_of_losses_shows_is_the_one_that_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = run("losses.md")
    batch = shown["task"].example()
    for ours, theirs in zip(shown["task"].losses(batch), shown["shipped"].losses(batch), strict=True):
        assert ours.name == theirs.name
        torch.testing.assert_close([*ours.losses.values()], [*theirs.losses.values()])


@pytest.mark.parametrize("name", pages_with("toml"))
def test_the_toml_of_every_page_can_be_read(name):
    for block in blocks(PAGES[name], "toml"):
        assert tomllib.loads(block)


@pytest.mark.parametrize(
    "words",
    [words for name, page in sorted(PAGES.items()) if "README" not in name for words in commands(page)],
    ids=" ".join,
)
def test_every_command_of_the_docs_is_understood(words):
    parse(words)


def test_every_command_that_a_sentence_names_is_understood_but_for_what_it_leaves_out():
    prose = "\n".join(re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL) for page in PAGES.values())
    named = {
        words
        for words in re.findall(r"`malsori ([^`\n]+)`", prose)
        if not re.search(r"COMMAND|--help|--debug|\|", words)
    }
    assert len(named) > 30
    for words in sorted(named):
        try:
            parse(shlex.split(words))
        except Exception as left_out:  # typer's own click, which it does not export
            assert type(left_out).__name__ in ("MissingParameter", "BadOptionUsage"), (words, left_out)


def test_every_extra_that_a_page_installs_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {
        extra
        for page in PAGES.values()
        for found in re.findall(r"malsori\[([\w,-]+)\]", page)
        for extra in found.split(",")
    }
    assert named > {"serve", "studio"} and named <= set(extras)


def test_the_report_that_the_page_of_voices_promises_is_the_one_that_is_written():
    from malsori.evaluation import page

    for name in ("voice.md", "voice.ko.md"):
        promised = re.findall(r"`evaluation/([\w.]+)`", PAGES[name])
        assert promised and all(f'"{file}"' in inspect.getsource(page) for file in promised)


def test_the_words_of_the_diagrams_are_the_glossarys():
    from malsori.report.terms import term

    korean = " ".join(row[1] for row in glossary())
    names = ("feature_matching", "adversarial", "duration", "pitch", "discriminator", "cross_entropy")
    assert [term(name, "ko") for name in names if term(name, "ko") not in korean] == []


def glossary() -> list[list[str]]:
    """Return the rows of the glossary's tables, a term each, without their heads."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGES["glossary.md"].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() not in ("term", "---")]


def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or something that one defines: a field that has no value too."""
    parts = name.split(".")
    if parts[0] != "malsori":
        return False
    thing, depth = importlib.import_module("malsori"), 1
    for module in (".".join(parts[:end]) for end in range(2, len(parts) + 1)):
        if importlib.util.find_spec(module) is None:
            break
        thing, depth = importlib.import_module(module), depth + 1
        if not hasattr(thing, "__path__"):
            break
    for part in parts[depth:]:
        owners = inspect.getmro(thing) if inspect.isclass(thing) else ()
        is_field = any(part in vars(owner).get("__annotations__", ()) for owner in owners)
        if not hasattr(thing, part) and not is_field:
            return False
        thing = getattr(thing, part, None)
    return True


def test_every_name_of_the_glossary_exists():
    names = [re.fullmatch(r"`(malsori(?:\.\w+)+)`", row[-1]) for row in glossary()]
    assert len(names) > 60 and all(names)
    assert [name[1] for name in names if not exists(name[1])] == []


def test_a_name_that_is_nowhere_does_not_exist():
    known = ("malsori.config.AudioConfig.hop_samples", "malsori.metrics.cepstral.mcd", "malsori.text")
    gone = ("malsori.config.AudioConfig.hop", "malsori.metrics.cepstral.mcp", "malsori.align.learn", "malsri.text")
    assert all(map(exists, known)) and not any(map(exists, gone))


def test_every_row_of_the_glossary_has_a_term_its_korean_and_a_symbol_and_no_term_twice():
    rows = glossary()
    assert all(len(row) == 4 and all(row) for row in rows)
    assert all(re.search("[가-힣]", korean) for _, korean, _, _ in rows if korean != "CBHG")
    for column in (0, 3):
        cells = [row[column] for row in rows]
        assert len(set(cells)) == len(cells)
