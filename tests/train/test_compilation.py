"""torch.compile in training: the same run with and without it."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from malsori.errors import ConfigError
from malsori.train import compilation

from .conftest import SHORT, TINY


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
@pytest.mark.parametrize("name", [f"{system}-small" for system in compilation.COMPILED])
def test_a_compiled_run_takes_the_same_steps_and_goes_on_either_way(planted_corpus, name, tmp_path) -> None:
    """By the command line: what checks the shapes of tensors in tests cannot be compiled."""
    often = ["train.save_every=2", "train.validate_every=2", "train.contributions_every=2", "train.log_every=1"]

    def trained(folder: str, *settings: str, resume: bool = False) -> dict[str, torch.Tensor]:
        words = [word for setting in [*TINY[name], *SHORT, *often, *settings] for word in ("--set", setting)]
        command = ["train", name, "--corpus", str(planted_corpus), "--out", str(tmp_path / folder), *words]
        went_on = ["--resume", "--accept-changes"] if resume else []
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
        subprocess.run([sys.executable, "-m", "malsori", *command, *went_on], env=environment, check=True)
        (last,) = sorted((tmp_path / folder / "checkpoints").glob("step_*"))[-1:]
        return load_file(last / "task.safetensors")

    assert_near(trained("plain", "train.steps=2"), trained("compiled", "train.steps=2", "train.compile=true"))
    on_compiled = trained("plain", "train.steps=4", "train.compile=true", resume=True)
    assert_near(on_compiled, trained("compiled", "train.steps=4", resume=True))


def assert_near(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and not any("_orig_mod" in name for name in one)
    for name, tensor in one.items():
        torch.testing.assert_close(
            other[name], tensor, rtol=1e-3, atol=2e-5, msg=lambda told, name=name: f"{name}: {told}"
        )


def test_what_cannot_be_compiled_is_refused(small_setup, monkeypatch) -> None:
    task = small_setup().task
    with pytest.raises(ConfigError, match=r"train.compile = true: of fastspeech2 and vocos, not of a tacotron2"):
        compilation.compile_networks(task, "tacotron2", torch.device("cpu"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler: 'no-such-compiler' is not there"):
        compilation.compile_networks(task, "fastspeech2", torch.device("cpu"))
