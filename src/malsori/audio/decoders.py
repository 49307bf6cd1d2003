"""From the bytes of one recording to samples: by libsndfile where it can, by FFmpeg's libraries (the extra) where not.

This is the one place that decides which. Where libsndfile gives up in the middle of a damaged recording, FFmpeg's
libraries go on.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile

from malsori.audio.stretches import PartFile
from malsori.errors import AudioError, MissingExtraError
from malsori.extras import import_extra

Block = tuple[np.ndarray, int]  # (samples, channels) and their rate in Hz

#: Sample rates in Hz that a recording can have: others are a lie in a header, which would cost much memory.
SAMPLE_RATES = (1_000, 1_000_000)

#: Containers that hold no length, for which FFmpeg guesses one from the bit rate.
_LENGTH_GUESSED = {"aac", "ac3", "eac3", "amr", "amrnb", "amrwb", "dts", "loas", "mp3", "mpeg", "mpegts"}

#: What a library raises besides its own errors where a damaged file makes it stumble.
_GIVEN_UP = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)

_UNKNOWN_SAMPLES = 1 << 40  # libsndfile says 2**63 - 1 of what does not tell its length
_DENSEST = 4096  # samples to a byte: FLAC's silence
_BLOCK_VALUES = 1 << 22  # samples times channels that are held at once
_MOST_PLANES = 8  # PyAV 18 counts the planes of more by reading on to a null pointer: the process may end
_UNREAD = np.float32(-3e38)
_SLACK_SECONDS = 0.12  # a codec's delay and its last frame: FFmpeg's lengths are no closer


@dataclass
class Outcome:
    """What came of decoding a recording.

    Attributes:
        found: seconds that were decoded.
        promised: seconds that it should last; None where nothing tells.
        slack: how far `promised` may be off, in seconds.
        faults: what went wrong meanwhile, in words.
        needed: what is to be installed to read it, or to read on; "" if nothing is.
    """

    found: float = 0.0
    promised: float | None = None
    slack: float = 0.005
    faults: list[str] = field(default_factory=list)
    needed: str = ""


class _Stream(soundfile.SoundFile):
    """libsndfile's reader without the seek that soundfile does after each read: damaged files fail in it."""

    def seekable(self) -> bool:
        return False


def decode(source: PartFile, seconds: float, outcome: Outcome) -> Iterator[Block]:
    """Yield a recording in blocks of at most so many seconds, and fill in the outcome.

    Raises: AudioError, without the file's name, if its sample rate is absurd.
    """
    done = 0
    try:
        with _Stream(source) as stream:
            for channels in _by_libsndfile(stream, seconds, outcome):
                done += len(channels)
                outcome.found += len(channels) / stream.samplerate
                yield channels, stream.samplerate
        return
    except (soundfile.SoundFileError, *_GIVEN_UP):
        outcome.faults += [f"unreadable at {outcome.found:.2f} s"] if done else []
    try:
        import_extra("av", "damaged, or not WAV, FLAC, Ogg, Opus, MP3 or AIFF; any other kind of sound")
    except MissingExtraError as error:
        outcome.needed = str(error)
        return
    source.seek(0)
    for channels, rate in _by_ffmpeg(source, seconds, outcome):
        left = channels[done:]
        done -= len(channels) - len(left)
        outcome.found += len(left) / rate
        if len(left):
            yield left, rate


def length(source: PartFile) -> tuple[int, int, int] | None:
    """Return a recording's samples, channels and rate by its header; None where it does not tell, or lies."""
    try:
        size = source.seek(0, io.SEEK_END)
        source.seek(0)
        with _Stream(source) as stream:
            known = 0 < stream.frames < _UNKNOWN_SAMPLES and stream.frames <= _DENSEST * size
            return (stream.frames, stream.channels, stream.samplerate) if known else None
    except (soundfile.SoundFileError, *_GIVEN_UP):
        return None


def _by_libsndfile(stream: _Stream, seconds: float, outcome: Outcome) -> Iterator[np.ndarray]:
    """Yield blocks. Raises: LibsndfileError behind the last sample that could be read."""
    _check_rate(stream.samplerate)
    size = max(1, min(round(seconds * stream.samplerate), _BLOCK_VALUES // stream.channels, stream.frames))
    if stream.frames < _UNKNOWN_SAMPLES:
        outcome.promised = stream.frames / stream.samplerate
    while True:
        block = np.full((size, stream.channels), _UNREAD, dtype=np.float32)
        try:
            read = stream.read(size, out=block)
        except soundfile.SoundFileError:
            read = block[: np.flatnonzero((block != _UNREAD).any(axis=1)).max(initial=-1) + 1]
            if len(read):
                yield read
            raise
        if not len(read):
            return
        yield read


def _by_ffmpeg(source: PartFile, seconds: float, outcome: Outcome) -> Iterator[Block]:
    """Yield blocks of the default sound track."""
    import av

    packets, bad, waiting = 0, 0, _Waiting(seconds)
    try:
        # Nothing but these bytes is opened, whatever addresses a playlist among them may hold.
        container: Any
        with av.open(source, options={"protocol_whitelist": "none"}, metadata_errors="replace") as container:
            track = container.streams.best("audio")
            if track is None:
                outcome.faults.append("there is no sound track in it")
                return
            outcome.promised, outcome.slack = _told_seconds(container, track), _SLACK_SECONDS
            for packet in container.demux(track):
                packets += 1
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    frames = []
                    bad += not packet.is_corrupt
                bad += packet.is_corrupt
                for frame in frames:
                    if frame.format.is_planar and frame.layout.nb_channels > _MOST_PLANES:
                        bad += 1
                        continue
                    yield from waiting.add(_samples(frame), frame.sample_rate)
    except (av.FFmpegError, *_GIVEN_UP) as error:
        bad += 1
        if not packets:
            outcome.faults.append(f"nothing decodes it ({getattr(error, 'strerror', None) or error})")
            return
    yield from waiting.flush()
    if not waiting.any_came:
        outcome.faults.append("nothing in it can be decoded")
    elif bad:
        outcome.faults.append(f"{bad} of {packets} packets are damaged")


def _told_seconds(container: Any, track: Any) -> float | None:
    """Return how long a track lasts by the word of its container; None where that is a guess or another track's."""
    import av

    if _LENGTH_GUESSED & set(container.format.name.split(",")):
        return None
    start = float(track.start_time * track.time_base) if track.start_time and track.time_base else 0.0
    if match := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", track.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, rest = match.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(rest) - start
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    if len(container.streams) == 1 and container.duration:
        return float(container.duration / av.time_base) - start
    return None


def _samples(frame: Any) -> np.ndarray:
    """Return a frame of FFmpeg's as (samples, channels) of float32 in [-1, 1]."""
    data = frame.to_ndarray()
    data = data.T if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels)
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128) / 128
    scale = {np.dtype(np.int16): 1 << 15, np.dtype(np.int32): 1 << 31}.get(data.dtype, 1)
    return np.asarray(data / scale, dtype=np.float32)


class _Waiting:
    """Gathers frames to blocks of so many seconds; a block ends, too, where the rate or the channels change."""

    def __init__(self, seconds: float) -> None:
        self.any_came = False
        self._seconds, self._parts, self._samples, self._rate = seconds, list[np.ndarray](), 0, 0

    def add(self, channels: np.ndarray, rate: int) -> Iterator[Block]:
        _check_rate(rate)
        self.any_came = True
        if self._parts and (rate != self._rate or channels.shape[1] != self._parts[0].shape[1]):
            yield from self.flush()
        self._parts.append(channels)
        self._samples, self._rate = self._samples + len(channels), rate
        if self._samples >= min(self._seconds * rate, _BLOCK_VALUES // channels.shape[1]):
            yield from self.flush()

    def flush(self) -> Iterator[Block]:
        if self._parts:
            yield np.concatenate(self._parts), self._rate
        self._parts, self._samples = [], 0


def _check_rate(rate: int) -> None:
    lowest, highest = SAMPLE_RATES
    if not lowest <= rate <= highest:
        raise AudioError(
            f"a sample rate of {rate} Hz is none that recordings have ({lowest} to {highest}): its header is wrong"
        )
