"""Korean-first speech synthesis and recognition: recordings, ground truth, train, speak, listen, measure.

The public names are imported when they are first used, so that `import malsori` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from malsori.asr.options import DecodingOptions as DecodingOptions
    from malsori.asr.recognizer import Recognizer as Recognizer
    from malsori.asr.recognizer import align as align
    from malsori.asr.recognizer import load_recognizer as load_recognizer
    from malsori.decode.transcript import Transcript as Transcript
    from malsori.metrics.cepstral import mcd as mcd
    from malsori.metrics.error_rate import cer as cer
    from malsori.metrics.error_rate import wer as wer
    from malsori.metrics.score_card import score as score
    from malsori.pretrained.hub import load_model as load_model
    from malsori.tts.options import SayOptions as SayOptions
    from malsori.tts.voice import Speech as Speech
    from malsori.tts.voice import Voice as Voice
    from malsori.tts.voice import load_voice as load_voice

__version__ = "0.1.0"

_HOMES = {
    "DecodingOptions": "malsori.asr.options",
    "Recognizer": "malsori.asr.recognizer",
    "SayOptions": "malsori.tts.options",
    "Speech": "malsori.tts.voice",
    "Transcript": "malsori.decode.transcript",
    "Voice": "malsori.tts.voice",
    "align": "malsori.asr.recognizer",
    "cer": "malsori.metrics.error_rate",
    "load_model": "malsori.pretrained.hub",
    "load_recognizer": "malsori.asr.recognizer",
    "load_voice": "malsori.tts.voice",
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
