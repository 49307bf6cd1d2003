"""torch.compile for what a task trains: which systems gain by it, what the machine needs, how it stays comparable."""

import importlib.util
import os
import shutil
import sys

import torch
from torch import nn

from malsori.errors import ConfigError
from malsori.nn.batch_norm import BatchNorm, alone
from malsori.train.contributions import units

#: System → why compiling it is of no use.
_USELESS = dict.fromkeys(
    ("tacotron", "tacotron2"), "its decoder goes from frame to frame in Python, so each length would be compiled anew"
)


def compile_networks(task: nn.Module, system: str, device: torch.device) -> None:
    """Compile each network of a task where it stands, once for batches of every size.

    Weights keep their names, so checkpoints go to and fro between runs with and without. Random draws are those of the
    networks as they are, and graphs may be gone through twice, as the measurement of the losses' gradients does.
    Raises: ConfigError for a system that would gain nothing, or if the machine lacks what compiles.
    """
    if system in _USELESS:
        raise ConfigError(f"recipe: train.compile = true: a {system} is not compiled: {_USELESS[system]}; leave it out")
    _require_compiler(device)
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor

    inductor.fallback_random = True
    functorch.donated_buffer = False
    for norm in task.modules():
        if isinstance(norm, BatchNorm) and norm.total is not alone:
            norm.total = torch.compiler.disable(norm.total)
    for unit in units(task).values():
        unit.compile(dynamic=True)


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
