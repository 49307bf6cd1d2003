"""Which kinds of sound can be written, and a wave as the bytes of one: for files, pipes and answers over HTTP.

WAV, FLAC, Ogg Vorbis, Opus and MP3 are written by libsndfile, which the base installation brings; AAC and M4A by PyAV
(the extra `ffmpeg`). `require_format` tells before work begins whether the wanted kind can be written.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malsori.annotations import Float, Shaped
from malsori.audio.resampling import resample, resample_parts
from malsori.errors import AudioError, MissingExtraError
from malsori.extras import require

_BLOCK = (
    1 << 16
)  # samples handed over at a time: libsndfile's Vorbis keeps a block on the stack, and an hour breaks that

_STEADY = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}  # 80 kbit/s at 22.05 kHz


@dataclass(frozen=True)
class OutputFormat:
    """How a kind of sound file is written.

    Attributes:
        container: libsndfile's name, or FFmpeg's where `codec` is given; "" for bare samples.
        subtype: libsndfile's name for the samples.
        codec: FFmpeg's name of the encoder: the extra is needed.
        rates: the sample rates in Hz that there are, rising; empty for any. Another is resampled to the next higher.
        media_type: its name in HTTP and MIME.
        streams: it can be written as it comes; M4A cannot, for its index is made at the end.
    """

    container: str
    media_type: str
    subtype: str = "PCM_16"
    codec: str = ""
    rates: tuple[int, ...] = ()
    streams: bool = True

    def rate_for(self, sample_rate: int) -> int:
        """Return the rate that sound of sample_rate is written at: the same, or the next higher one that there is."""
        return next((rate for rate in self.rates if rate >= sample_rate), max(self.rates, default=sample_rate))


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

#: Name of a format, as a server is asked for it and as a file's ending without its dot → how it is written.
OUTPUT_FORMATS = {
    "wav": OutputFormat("WAV", "audio/wav"),
    "flac": OutputFormat("FLAC", "audio/flac"),
    "ogg": OutputFormat("OGG", "audio/ogg", subtype="VORBIS"),
    "opus": OutputFormat("OGG", "audio/ogg", subtype="OPUS", rates=(8000, 12000, 16000, 24000, 48000)),
    "mp3": OutputFormat("MP3", "audio/mpeg", subtype="MPEG_LAYER_III", rates=_MPEG_RATES),
    "aac": OutputFormat("adts", "audio/aac", codec="aac", rates=_MPEG_RATES),
    "m4a": OutputFormat("ipod", "audio/mp4", codec="aac", rates=_MPEG_RATES, streams=False),
    "pcm": OutputFormat("", "audio/pcm"),
}


def require_format(name: Path | str) -> OutputFormat:
    """Return how a format, or a file by its ending, is written; nothing is written yet.

    Args:
        name: "mp3", ".mp3" or a path that ends so, in either case; "pcm" is 16-bit little-endian without a header.
    Raises: AudioError if it is none that is written, or needs the extra `ffmpeg` where that is missing.
    """
    text = str(name)
    ending = text.rpartition(".")[2].lower() if "." in text else text.lower()
    found = OUTPUT_FORMATS.get(ending)
    if not found:
        known = ", ".join(OUTPUT_FORMATS)
        raise AudioError(f"{text}: cannot write {ending!r} as sound; the formats are {known}")
    if found.codec:
        try:
            require("av", f"{text}: writing {ending}")
        except MissingExtraError as error:
            raise AudioError(str(error)) from error
    return found


def encode(wave: Shaped[np.ndarray, " samples"], sample_rate: int, name: Path | str) -> bytes:
    """Return a wave as the content of a sound file, one channel, 16-bit or compressed.

    Args:
        wave: (samples,) in [-1, 1]; what lies outside is clipped.
        sample_rate: Hz; where the format does not have that rate, the next higher one is written.
        name: a format, or a path that ends in one: as require_format takes it.
    Raises: AudioError as require_format, or for a wave that is not one channel, or that has NaN in it.
    """
    found, wave = require_format(name), _checked(wave, name)
    if not found.container:
        return _pcm(wave)
    rate = found.rate_for(sample_rate)
    encoder = _encoder(found, rate)
    encoder.write(np.asarray(resample(wave, sample_rate, rate)))
    encoder.close()
    return encoder.buffer.getvalue()


def encode_stream(parts: Iterable[Float[np.ndarray, " _"]], sample_rate: int, name: Path | str) -> Iterator[bytes]:
    """Yield the bytes of a sound that comes in parts, as soon as there are some: a pipe or a server sends them on.

    A WAV or FLAC written so says in its header that its length is unknown.

    Args: as encode's; the wave's parts one after another.
    Raises: AudioError as encode at once, and for a format that must be whole before its first byte can be written.
    """
    found = require_format(name)
    if not found.streams:
        ways = ", ".join(name for name, one in OUTPUT_FORMATS.items() if one.streams)
        raise AudioError(f"{name}: cannot be written as it comes; the formats that can are {ways}")
    return _encode_parts(parts, sample_rate, found, name)


def _encode_parts(
    parts: Iterable[np.ndarray], sample_rate: int, found: OutputFormat, name: Path | str
) -> Iterator[bytes]:
    rate = found.rate_for(sample_rate)
    waves = resample_parts((_checked(part, name) for part in parts), sample_rate, rate)
    if found.container in ("", "WAV"):
        yield _endless_wav_header(rate) if found.container else b""
        yield from map(_pcm, waves)
        return
    encoder = _encoder(found, rate, streamed=True)
    yield from map(encoder.write, waves)
    yield encoder.close()


def _checked(wave: np.ndarray, name: Path | str) -> np.ndarray:
    if wave.ndim != 1 or not np.isfinite(wave).all():
        raise AudioError(f"{name}: cannot write a wave of shape {wave.shape}; give (samples,) without NaN")
    return np.asarray(wave, dtype=np.float32).clip(-1.0, 1.0)


def _quantized(wave: np.ndarray) -> np.ndarray:
    """Return 16-bit samples. What was quantized once comes back bit for bit (libsndfile scales by 32767 or 32768)."""
    return np.rint(wave * 32768).clip(-32768, 32767).astype("<i2")


def _pcm(wave: np.ndarray) -> bytes:
    """Return 16-bit samples, little end first."""
    return _quantized(wave).tobytes()


def _endless_wav_header(rate: int) -> bytes:
    """Return the header of a 16-bit WAV of one channel whose length nobody knows yet, as pipes have it."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE") + form + struct.pack("<4sI", b"data", 0xFFFFFFFF)


class _SndfileEncoder:
    """Writes into `buffer` by libsndfile; each call returns the bytes that it added behind the others."""

    def __init__(self, found: OutputFormat, rate: int, streamed: bool = False) -> None:
        import soundfile

        self.buffer, self._returned, self._subtype = io.BytesIO(), 0, found.subtype
        # Nobody goes back to write a streamed MP3's length: players take it from the first frames' rate, so keep that.
        steady: Any = _STEADY if streamed and found.container == "MP3" else {}
        form, subtype = found.container, found.subtype
        self._file = soundfile.SoundFile(self.buffer, "w", rate, 1, format=form, subtype=subtype, **steady)

    def write(self, wave: np.ndarray) -> bytes:
        data = _quantized(wave) if self._subtype == "PCM_16" else wave.clip(-1.0, 1.0)
        for begin in range(0, len(data), _BLOCK):
            self._file.write(data[begin : begin + _BLOCK])
        return self._added()

    def close(self) -> bytes:
        self._file.close()
        return self._added()

    def _added(self) -> bytes:
        with self.buffer.getbuffer() as held:
            added = bytes(held[self._returned :])
        self._returned += len(added)
        return added


class _AvEncoder(_SndfileEncoder):
    """The same by FFmpeg's libraries."""

    def __init__(self, found: OutputFormat, rate: int, streamed: bool = False) -> None:
        import av

        self.buffer, self._returned, self._rate = io.BytesIO(), 0, rate
        self._file: Any = av.open(self.buffer, "w", format=found.container)
        stream: Any = self._file.add_stream(found.codec, rate=rate, layout="mono")
        self._stream = stream
        self._frames = av.AudioResampler(format="fltp", layout="mono", rate=rate, frame_size=stream.frame_size)
        self._written = 0

    def write(self, wave: np.ndarray) -> bytes:
        import av

        for begin in range(0, len(wave), _BLOCK):
            part = np.ascontiguousarray(wave[None, begin : begin + _BLOCK])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = self._rate, self._written
            self._written += part.shape[1]
            self._send(self._frames.resample(frame))
        return self._added()

    def close(self) -> bytes:
        self._send([*self._frames.resample(None), None])
        self._file.close()
        return self._added()

    def _send(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            self._file.mux(self._stream.encode(frame))


def _encoder(found: OutputFormat, rate: int, streamed: bool = False) -> _SndfileEncoder:
    return (_AvEncoder if found.codec else _SndfileEncoder)(found, rate, streamed)
