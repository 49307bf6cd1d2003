"""Shapes in annotations are checked here, and cost nothing where nobody checks them."""

import subprocess
import sys

import jaxtyping
import numpy as np
import pytest

from malsori import annotations
from malsori.audio.mel_filters import log_mel_array
from malsori.config import AudioConfig

SPEAKING = """
import sys
import malsori.cli.say, malsori.tts.onnx, malsori.tts.voice
print(*sorted({"jaxtyping", "torch", "asyncio", "unittest", "numpy"} & set(sys.modules)))
print(malsori.tts.voice.Speech.__annotations__["wave"])
"""


def test_what_speaks_without_pytorch_imports_nothing_that_checks():
    run = subprocess.run([sys.executable, "-c", SPEAKING], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["numpy", "<class 'numpy.ndarray'>"]


def test_here_annotations_are_jaxtypings_and_checked():
    assert annotations.Float is jaxtyping.Float and annotations.Bool is jaxtyping.Bool
    with pytest.raises(jaxtyping.TypeCheckError):
        log_mel_array(np.zeros((2, 3, 4), dtype=np.float32), AudioConfig())
