"""The pages of docs/ and the READMEs: their Python runs, their recipes are TOML, their commands are understood."""

import re
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
