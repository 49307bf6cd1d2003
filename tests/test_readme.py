"""What the READMEs say: the same in both languages, and commands that the command line knows."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from malsori import cli
from malsori.train.recipe import recipe_names

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md")}


def code_blocks(page: str, language: str) -> list[list[str]]:
    """Return the lines of a page's code blocks in one language, without comments."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    return [[re.sub(r"\s{2,}#.*", "", line) for line in block.splitlines()] for block in blocks]


def commands(page: str) -> list[list[str]]:
    """Return the words of every malsori command on a page, up to a pipe into another program."""
    lines = [line for block in code_blocks(page, "bash") for line in block]
    given = [shlex.split(line)[1:] for line in lines if line.startswith("malsori ")]
    return [words[: words.index("|")] if "|" in words else words for words in given]


def parse(words: list[str]) -> dict:
    """Return the parameters that the command line would call a command with, calling nothing."""
    command, context = typer.main.get_command(cli.command_line()), None
    while hasattr(command, "commands"):
        words = words if words and words[0] in command.commands else ["list", *words]  # 'malsori models' lists
        context = command.make_context(command.name, words, parent=context, resilient_parsing=True)
        (name,), words = context._protected_args, context.args  # a group may have a command of its own for no word
        command = command.commands[name]
    return command.make_context(command.name, words, parent=context).params


def test_both_languages_show_the_same_code():
    for language in ("bash", "python"):
        english, korean = (code_blocks(page, language) for page in PAGES.values())
        assert english == korean and english


def test_the_two_commands_come_first():
    for page in PAGES.values():
        assert code_blocks(page, "bash")[0] == ["make demo", "make test"]
        targets = re.findall(r"^make ([\w-]+)", page, flags=re.MULTILINE)
        assert set(targets) <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("words", commands(PAGES["README.md"]), ids=" ".join)
def test_every_command_of_the_readme_is_understood(words):
    parameters = parse(words)
    if "recipe" in parameters:
        assert parameters["recipe"] in recipe_names()


def test_every_file_that_the_readmes_link_to_is_there():
    for name, page in PAGES.items():
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page):
            assert (ROOT / link).exists(), f"{name} links to {link}"
