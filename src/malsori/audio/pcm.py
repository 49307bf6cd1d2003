"""Sound that comes as a stream of bytes, raw or as a WAV whose end is not known yet → samples, as they come."""

import struct
from collections.abc import Iterator
from io import BufferedIOBase

import numpy as np

from malsori.annotations import Float
from malsori.errors import AudioError

_AT_ONCE = 65536  # bytes that are asked for; what is there is taken
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_MAX_HEADER = 1 << 20  # bytes that may stand before a WAV's samples
#: (kind, bits) → how the samples lie in the bytes, and what the greatest is.
_SAMPLES = {(_PCM, 16): ("<i2", 32768.0), (_PCM, 32): ("<i4", 2147483648.0), (_FLOAT, 32): ("<f4", 1.0)}


class PcmStream:
    """Samples of a stream of bytes: signed 16-bit little-endian ones of one channel, or what a WAV's header says.

    Args:
        source: is read as it comes.
        sample_rate: of raw samples, 16 kHz when not given; a WAV says its own.
    Attributes:
        sample_rate: of the samples that are given.
    Raises: AudioError if it is a WAV whose samples are not read here, or whose rate is another than was said.
    """

    def __init__(self, source: BufferedIOBase, sample_rate: int | None = None) -> None:
        self._source, self._kind, self._channels = source, (_PCM, 16), 1
        self._left: int | None = None  # bytes of samples, where a header says how many
        self._pending = self._exactly(12)
        if self._pending[:4] == b"RIFF" and self._pending[8:] == b"WAVE":
            self._pending = b""
            found = self._read_header()
            if sample_rate not in (None, found):
                raise AudioError(f"the WAV on the stream is at {found} Hz, not at {sample_rate}: leave the rate out")
            sample_rate = found
        self.sample_rate: int = sample_rate or 16000

    def __iter__(self) -> Iterator[Float[np.ndarray, " samples"]]:
        """Yield the samples that have come, one channel, in [-1, 1]; the mean of several.

        Raises: AudioError if the stream ends within a sample.
        """
        layout, greatest = _SAMPLES[self._kind]
        width = np.dtype(layout).itemsize * self._channels
        data, ended = self._pending, False
        while not ended:
            part = self._source.read1(_AT_ONCE) if self._left is None or len(data) < self._left else b""
            ended, data = not part, data + part
            data = data if self._left is None else data[: self._left]
            whole = len(data) // width * width
            if whole:
                samples = np.frombuffer(data[:whole], layout).reshape(-1, self._channels)
                yield (samples.astype(np.float32) / np.float32(greatest)).mean(1)
                self._left = self._left and self._left - whole
            data = data[whole:]
        if data:
            raise AudioError(f"the stream ends within a sample of {width} bytes, {len(data)} of which came")

    def _exactly(self, count: int) -> bytes:
        """Return so many bytes, fewer only if the stream ends."""
        return self._source.read(count) or b""

    def _read_header(self) -> int:
        """Read a WAV's header up to its samples; return their rate."""
        rate, passed = 0, 0
        while True:
            chunk = self._exactly(8)
            if len(chunk) < 8 or passed > _MAX_HEADER:
                raise AudioError("the WAV on the stream has no samples: its data chunk is missing")
            name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
            if name == b"data":
                break
            content = self._exactly(min(size + size % 2, _MAX_HEADER))
            passed += len(content)
            if name == b"fmt ":
                rate = self._read_format(content)
        if not rate:
            raise AudioError("the WAV on the stream does not say how its samples lie: its fmt chunk is missing")
        self._left = size if 0 < size < 0x7FFFFFFF else None  # who writes as it comes cannot say how much
        return rate

    def _read_format(self, content: bytes) -> int:
        if len(content) < 16:
            raise AudioError(f"the WAV on the stream has a fmt chunk of {len(content)} bytes; 16 are needed")
        kind, self._channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
        if kind == _EXTENSIBLE and len(content) >= 26:
            kind = struct.unpack("<H", content[24:26])[0]
        self._kind = kind, bits
        if self._kind not in _SAMPLES or not self._channels or not rate:
            raise AudioError(
                f"the WAV on the stream has {bits}-bit samples of kind {kind}, {self._channels} channels, {rate} Hz; "
                "16-bit, 32-bit and float ones are read from a stream: convert it, or give the file's name"
            )
        return int(rate)
