"""torch.compile for what a task trains: which systems can, what the machine needs, how it stays comparable."""

import importlib.util
import os
import shutil
import sys

import torch
from torch import nn

from malsori.errors import ConfigError
from malsori.train.contributions import units

#: The systems of which a compiled run was seen to take the steps of one that is not (tests/train/test_compilation.py),
#: and whether the sizes of their batches change.
COMPILED = {"fastspeech2": True, "vocos": False}


def compile_networks(task: nn.Module, system: str, device: torch.device) -> None:
    """Compile each network of a task where it stands.

    Weights keep their names, so checkpoints go to and fro between runs with and without. Random draws are those of the
    networks as they are, and graphs may be gone through twice, as the measurement of the losses' gradients does.
    Raises: ConfigError for a system that was not seen to learn the same so, or if the machine lacks what compiles.
    """
    if system not in COMPILED:
        raise ConfigError(f"recipe: train.compile = true: of {' and '.join(COMPILED)}, not of a {system}; leave it out")
    _require_compiler(device)
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor

    inductor.fallback_random = True
    functorch.donated_buffer = False
    for unit in units(task).values():
        unit.compile(dynamic=COMPILED[system])


def _require_compiler(device: torch.device) -> None:
    """Raise ConfigError if nothing compiles for the device here."""
    compiler = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        lacking = "Triton, which PyTorch for this system comes without"
    elif device.type == "cpu" and shutil.which(compiler) is None:
        lacking = f"a C++ compiler: '{compiler}' is not there; install one, or name it in CXX"
    else:
        return
    raise ConfigError(f"recipe: train.compile = true needs {lacking}; or leave it out")
