"""What an extra brings is asked for by its name, and pyproject.toml knows every extra that the code names."""

import sys
import tomllib
from pathlib import Path

import pytest

from malsori.errors import MissingExtraError
from malsori.extras import EXTRAS, import_extra

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Module → the distribution that installs it, where the two are named apart.
DISTRIBUTIONS = {"parselmouth": "praat-parselmouth"}


@pytest.mark.parametrize("module", sorted(EXTRAS))
def test_the_extra_that_a_message_names_installs_the_module_and_the_base_does_not(module):
    package = module.partition(".")[0]
    package = "tensorboard" if module == "torch.utils.tensorboard" else package
    wanted = DISTRIBUTIONS.get(package, package.replace("_", "-"))

    def names(requirements):
        return {line.partition(";")[0].partition(">")[0].partition("[")[0].strip() for line in requirements}

    assert wanted in names(PROJECT["optional-dependencies"][EXTRAS[module]])
    assert wanted not in names(PROJECT["dependencies"])


@pytest.mark.parametrize("module", sorted(EXTRAS))
def test_a_missing_extra_says_what_to_install(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"^This needs .*pip install 'malsori\[{EXTRAS[module]}\]'$"):
        import_extra(module, "This")
