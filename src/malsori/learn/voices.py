"""What lessons hear: the built-in voice saying a word, and its parts."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from malsori.tts.voice import Speech, Voice


@cache
def built_in_voice() -> "Voice":
    """Return the built-in voice, loaded once."""
    from malsori.tts.voice import load_voice

    return load_voice(device="cpu")


@cache
def spoken(text: str, speaker: str | None = None) -> "Speech":
    """Return a text as the built-in voice says it."""
    from malsori.tts.options import SayOptions

    return built_in_voice().say(text, SayOptions(speaker=speaker))


def voice_embeddings(text: str) -> tuple[list[str], np.ndarray]:
    """Return a text's symbols and the vectors (tokens, features) that the built-in voice has learnt for them."""
    from malsori.pretrained.hub import load_saved
    from malsori.text.frontend import Frontend

    network = load_saved("fastspeech2-ko").network
    frontend = Frontend(morphology=False)
    reading = frontend.read(text)
    weights = network.embedding.weight.detach().numpy()
    return list(reading.phonemes), weights[frontend.ids(reading)]
