"""What an extra brings is asked for by its name, and pyproject.toml knows every extra that the code names."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

import malsori
from malsori.errors import MissingExtraError
from malsori.extras import EXTRAS, import_extra

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Module → the distribution that installs it, where the two are named apart.
DISTRIBUTIONS = {"parselmouth": "praat-parselmouth", "ray.serve": "ray"}
#: What `malsori.metrics` measures more with, where it is installed.
ASKED_FOR = {"pesq", "pystoi", "pyworld"}


@pytest.mark.parametrize("module", sorted(EXTRAS))
def test_the_extra_that_a_message_names_installs_the_module_and_the_base_does_not(module):
    wanted = DISTRIBUTIONS.get(module, module.replace("_", "-"))

    def names(requirements):
        return {line.partition(";")[0].partition(">")[0].partition("[")[0].strip() for line in requirements}

    assert wanted in names(PROJECT["optional-dependencies"][EXTRAS[module]])
    assert wanted not in names(PROJECT["dependencies"])


@pytest.mark.parametrize("module", sorted(EXTRAS))
def test_a_missing_extra_says_what_to_install(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"^This needs .*pip install 'malsori\[{EXTRAS[module]}\]'$"):
        import_extra(module, "This")


def requirements(names: list[str]) -> set[str]:
    """Return the names of distributions with all that they require, extras aside."""
    found, waiting = set(), list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another system or Python
            continue
        found.add(name)
        waiting += [re.match(r"[\w.-]+", line)[0] for line in wanted if "extra ==" not in line]
    return found


def license_of(name: str) -> str:
    facts = importlib.metadata.metadata(name)
    classifiers = [line for line in facts.get_all("Classifier", []) if line.startswith("License")]
    return facts["License-Expression"] or " ".join(classifiers) or facts["License"] or ""


def imported(source: Path) -> set[str]:
    """Return the first names of the modules that a file's import statements name, wherever they stand."""
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def test_every_package_that_the_source_imports_is_required_or_an_extra():
    named = {re.match(r"[\w.-]+", line)[0].lower() for line in PROJECT["dependencies"]}
    installs = importlib.metadata.packages_distributions()
    found = set().union(*map(imported, Path(malsori.__file__).parent.rglob("*.py")))
    assert {"torch", "numpy", "yaml"} <= found
    outside = found - sys.stdlib_module_names - {"malsori"} - set(EXTRAS) - ASKED_FOR
    brought = {name: {each.lower().replace("_", "-") for each in installs.get(name, [name])} for name in outside}
    assert not {name for name, distributions in brought.items() if not distributions & named}


def test_nothing_that_the_base_or_training_requires_is_gpl():
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["train"]]
    names = requirements([re.match(r"[\w.-]+", line)[0] for line in asked])
    assert {"torch", "llvmlite", "kiwipiepy-model"} <= names
    gpl = re.compile(r"(?<!L)GPL|(?<!Lesser )General Public License")
    assert gpl.search("GPLv3") and gpl.search("GNU General Public License v3 (GPLv3)") and not gpl.search("LGPL-2.1")
    assert not {name: license_of(name) for name in names if gpl.search(license_of(name))}


def test_the_pages_name_every_extra():
    page = (Path(__file__).parent.parent / "docs" / "licenses.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in PROJECT["optional-dependencies"])


def test_every_pinned_version_is_of_something_that_is_asked_for():
    lines = (Path(__file__).parent.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    asked = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    assert pinned - {"kiwipiepy-model"} <= {re.match(r"[\w.-]+", line)[0] for line in asked}
