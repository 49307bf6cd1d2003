"""What a microphone hears, block by block."""

import queue
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np

from malsori.annotations import Float
from malsori.errors import AudioError
from malsori.extras import import_extra

BLOCK_SECONDS = 0.1


def microphone(sample_rate: int, device: int | str | None = None) -> Iterator[Float[np.ndarray, " samples"]]:
    """Return the blocks of 0.1 s that a microphone hears, from now on; it is closed with the iterator.

    Args:
        device: number or name, as `microphones` gives them; None for the system's own.
    Raises: MissingExtraError; AudioError if there is none, before the first block.
    """
    blocks = _blocks(sample_rate, device)
    next(blocks)  # opens it
    return blocks


def microphones() -> list[str]:
    """Return the names of what can record, each behind its number. Raises: as `microphone`."""
    found = enumerate(_sounddevice().query_devices())
    return [f"{number}: {device['name']}" for number, device in found if device["max_input_channels"]]


def _blocks(sample_rate: int, device: int | str | None) -> Iterator[Any]:
    sounddevice = _sounddevice()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def hear(block: Any, *_rest: object) -> None:
        heard.put(block[:, 0].copy())

    size = round(BLOCK_SECONDS * sample_rate)
    try:
        stream = sounddevice.InputStream(sample_rate, size, device, channels=1, dtype="float32", callback=hear)
        with closing(stream):
            stream.start()
            yield None
            while True:
                yield heard.get()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"no microphone can be opened: {error}") from error


def _sounddevice() -> Any:
    try:
        return import_extra("sounddevice", "The microphone")
    except OSError as error:
        raise AudioError(f"the microphone needs the system's PortAudio library: {error}") from error
