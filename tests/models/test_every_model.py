"""One harness over every network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from malsori.systems import SYSTEMS

from .harness import CHECKS, Subject
from .subjects import SUBJECTS

ROOT = Path(__file__).parents[2]


def test_every_network_is_held_to_the_harness() -> None:
    assert set(SUBJECTS) == set(SYSTEMS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_a_network_holds_what_every_network_must(subject: Subject, check, tmp_path: Path) -> None:
    check(subject, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("check", ["check_compile", "check_export"])
@pytest.mark.parametrize("system", SUBJECTS)
def test_a_network_can_be_compiled_and_exported(system: str, check: str) -> None:
    # in a process of its own: functions whose shapes are checked break under the compiler
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from tests.models import harness, subjects\n"
        f"harness.{check}(subjects.SUBJECTS['{system}'])"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
