"""Sound files in and out: any file becomes one channel of float32, and a file is written whole or not at all.

WAV, FLAC, Ogg, Opus, MP3 and AIFF are read by libsndfile; M4A, WebM, MP4 and what libsndfile refuses by PyAV, whose
wheel brings its own decoders, so nothing needs to be on the PATH. PyAV is an extra, for its wheels also hold the
encoders x264 and x265, which are GPL.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from malsori.audio.formats import encode
from malsori.audio.resampling import resample
from malsori.errors import AudioError, MissingExtraError
from malsori.extras import import_extra
from malsori.files import atomic_file

#: Endings of files that may hold speech: what `sound_files` finds, and every reader of folders with it.
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".aif", ".aiff")


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file's header says."""

    sample_rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        """How long the sound lasts."""
        return self.samples / self.sample_rate


def load_audio(path: Path | str, sample_rate: int | None = None) -> Float[np.ndarray, " samples"]:
    """Return the sound in a file as one channel of float32, resampled when its rate is another.

    Args:
        path: a sound file of any kind that libsndfile or PyAV reads; several channels are averaged.
        sample_rate: the rate wanted, in Hz; None keeps the file's own.
    Raises: AudioError, in one line, for a file that is missing, no sound, empty, cut short, or holds NaN.
    """
    channels, rate = _read(Path(path))
    wave = _one_channel(channels, path)
    if not len(wave):
        raise AudioError(f"{path}: holds 0 samples; give a recording that is not empty")
    return np.ascontiguousarray(resample(wave, rate, sample_rate or rate))


def stream_audio(path: Path | str, sample_rate: int, seconds: float = 10.0) -> Iterator[Float[np.ndarray, " _"]]:
    """Yield the same sound as load_audio returns, a piece of so many seconds at a time: an hour takes no more memory.

    Raises: AudioError as load_audio, when the fault is come to.
    """
    import soxr

    resampler: Any = None
    found = 0
    for channels, rate in _decode(Path(path), seconds):
        wave = _one_channel(channels, path)
        if rate != sample_rate:
            resampler = resampler or soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
            wave = resampler.resample_chunk(wave)
        found += len(channels)
        yield wave
    if not found:
        raise AudioError(f"{path}: holds 0 samples; give a recording that is not empty")
    if resampler:
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def sound_files(folder: Path) -> list[Path]:
    """Return the sound files in a folder, by their endings in either case, in order of name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUND_SUFFIXES)


def audio_info(path: Path | str) -> AudioInfo:
    """Return a sound file's rate, channels and length without decoding it where its header tells.

    Raises: AudioError, in one line, for a file that is missing or no sound.
    """
    import soundfile

    path = _existing(path)
    try:
        header = soundfile.info(str(path))
        return AudioInfo(header.samplerate, header.channels, header.frames)
    except soundfile.LibsndfileError:
        channels, rate = _read(path)
        return AudioInfo(rate, channels.shape[1], len(channels))


def header_seconds(path: Path | str) -> float | None:
    """Return how long a sound file lasts by its header, nothing decoded; None where the header does not tell.

    Raises: AudioError for a file that is missing or empty.
    """
    import soundfile

    path = _existing(path)
    try:
        header = soundfile.info(str(path))
        return float(header.frames / header.samplerate)
    except soundfile.LibsndfileError:
        import av

        try:
            with av.open(str(path)) as container:
                return container.duration / av.time_base if container.duration else None
        except (av.FFmpegError, UnicodeDecodeError):
            return None


def save_audio(path: Path | str, wave: Shaped[np.ndarray, " samples"], sample_rate: int) -> None:
    """Write a wave as the kind of sound file that its ending names (formats.OUTPUT_FORMATS); whole or not at all.

    Args: as encode's; the file's folder is made when missing.
    Raises: as encode; FileError if the disk does not take it.
    """
    path = Path(path)
    content = encode(wave, sample_rate, path)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: {'is a folder, not a sound file' if path.is_dir() else 'no such file'}")
    if not path.stat().st_size:
        raise AudioError(f"{path}: is an empty file of 0 bytes; give a recording")
    return path


def _one_channel(channels: np.ndarray, path: Path | str) -> np.ndarray:
    wave = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1, dtype=np.float32)
    if not np.isfinite(wave).all():
        raise AudioError(f"{path}: {np.count_nonzero(~np.isfinite(wave))} samples are NaN or infinite; export it again")
    return wave


def _read(path: Path) -> tuple[np.ndarray, int]:
    """Return (samples, channels) and the rate."""
    parts, rates = zip(*_decode(path), strict=True)
    return parts[0] if len(parts) == 1 else np.concatenate(parts), rates[0]


def _decode(path: Path, seconds: float = math.inf) -> Iterator[tuple[np.ndarray, int]]:
    """Yield pieces (samples, channels) of so many seconds and the rate, by whichever library knows the file."""
    import soundfile

    try:
        stream = soundfile.SoundFile(str(_existing(path)))
    except soundfile.LibsndfileError:
        yield from _decode_by_av(path, seconds)
        return
    with stream:
        found, size, whole = 0, round(min(seconds * stream.samplerate, 1 << 62)), False
        while not whole:
            try:
                channels = stream.read(size if seconds < math.inf else -1, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                reason = error.error_string.strip()
                raise AudioError(f"{path}: damaged or cut short: {reason} Copy it again.") from error
            found, whole = found + len(channels), len(channels) < size
            yield channels, stream.samplerate
        _check_length(path, stream, found)


def _ffmpeg(path: Path) -> Any:
    """Return the module av. Raises: AudioError where it is not installed: a damaged file comes here as well."""
    try:
        return import_extra("av", f"{path}: damaged, or not WAV, FLAC, Ogg, Opus, MP3 or AIFF; any other kind of sound")
    except MissingExtraError as error:
        raise AudioError(str(error)) from error


def _check_length(path: Path, stream: Any, samples: int) -> None:
    """Refuse a file that holds less sound than its header promises: libsndfile would pass it as a short one."""
    promised = stream.frames
    if stream.format == "WAV" and "data :" in stream.extra_info:
        # libsndfile shortens a cut WAV silently and says so only in its log: "data : 32000 (should be 9956)".
        size = stream.extra_info.split("data :")[1].split()
        length_unknown = int(size[0]) in (
            0,
            0x7FFFF000,
            0x7FFFFFFF,
            0xFFFFFFFF,
        )  # written by a pipe
        if size[1:2] == ["(should"] and not length_unknown:
            promised = max(promised, int(promised * int(size[0]) / max(1, int(size[3].rstrip(")")))))
    if samples < promised:
        raise AudioError(f"{path}: cut short: {samples} of {promised} samples are there. Copy it again.")


def _decode_by_av(path: Path, seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the same of a file's first sound track, decoded by FFmpeg's libraries."""
    av = _ffmpeg(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: has no sound track")
            planar, parts, samples, rate = av.AudioResampler(format="fltp"), [], 0, 0
            for frame in itertools.chain(container.decode(audio=0), [None]):
                for part in planar.resample(frame):
                    parts.append(part.to_ndarray().T)
                    samples, rate = samples + part.samples, part.sample_rate
                if samples >= seconds * rate > 0:
                    yield np.concatenate(parts), rate
                    parts, samples = [], 0
            if not rate:
                raise AudioError(f"{path}: holds 0 samples; give a recording that is not empty")
            if parts:
                yield np.concatenate(parts), rate
    except (av.FFmpegError, UnicodeDecodeError) as error:
        kinds = ", ".join(suffix[1:] for suffix in SOUND_SUFFIXES)
        raise AudioError(f"{path}: not a sound file that can be read (known kinds: {kinds})") from error
