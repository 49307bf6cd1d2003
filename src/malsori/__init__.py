"""Korean-first speech synthesis and recognition: recordings, ground truth, train, speak, listen, measure.

The public names are imported when they are first used, so that `import malsori` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from malsori.decode.transcript import Transcript as Transcript
    from malsori.metrics.cepstral import mcd as mcd
    from malsori.metrics.error_rate import cer as cer
    from malsori.metrics.error_rate import wer as wer
    from malsori.metrics.score_card import score as score
    from malsori.models import load_model as load_model
    from malsori.recognizer import Recognizer as Recognizer
    from malsori.recognizer import align as align
    from malsori.recognizer import load_recognizer as load_recognizer
    from malsori.voice import Speech as Speech
    from malsori.voice import Voice as Voice
    from malsori.voice import load_voice as load_voice

__version__ = "0.1.0"

_HOMES = {
    "Recognizer": "malsori.recognizer",
    "Speech": "malsori.voice",
    "Transcript": "malsori.decode.transcript",
    "Voice": "malsori.voice",
    "align": "malsori.recognizer",
    "cer": "malsori.metrics.error_rate",
    "load_model": "malsori.models",
    "load_recognizer": "malsori.recognizer",
    "load_voice": "malsori.voice",
    "mcd": "malsori.metrics.cepstral",
    "score": "malsori.metrics.score_card",
    "wer": "malsori.metrics.error_rate",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'malsori' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
