"""Sound files in and out: any file becomes one channel of float32, and a file is written whole or not at all.

WAV, FLAC, Ogg, Opus, MP3 and AIFF are read by libsndfile; M4A, WebM, MP4 and what libsndfile refuses by PyAV, whose
wheel brings its own decoders, so nothing needs to be on the PATH. PyAV is an extra, for its wheels also hold the
encoders x264 and x265, which are GPL. Headerless .pcm is taken for what Korean corpora have in it, and that is said.
All that is there is read; what is missing is told in one line.
"""

import itertools
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from malsori.annotations import Float, Shaped
from malsori.audio.containers import parts_of
from malsori.audio.decoders import Block, Outcome, decode, length
from malsori.audio.downmix import Downmix
from malsori.audio.formats import encode
from malsori.audio.missing import what_is_missing
from malsori.audio.resampling import resample_parts
from malsori.audio.stored import StoredFile, stored_sound
from malsori.audio.stretches import PartFile
from malsori.errors import AudioError, SoundWarning
from malsori.files import atomic_file

#: Endings of files that may hold speech: what `sound_files` finds, and every reader of folders with it.
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".webm", ".aif", ".aiff")

#: Ending of sound without any header, and its rate: Korean corpora (KsponSpeech, AI Hub) hold one channel of 16 bits.
RAW_SUFFIX, RAW_RATE = ".pcm", 16_000

_LOADED_SECONDS = 60.0  # read at a time where all is wanted

#: What is no file of sound, by its mode; to open some of them would wait for ever.
_NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


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


@dataclass(frozen=True)
class Sound:
    """A sound file's one channel (samples,), its rate in Hz, and in words what is missing in it ("" if nothing)."""

    wave: Float[np.ndarray, " samples"]
    sample_rate: int
    missing: str


def read_sound(path: Path | str, sample_rate: int | None = None) -> Sound:
    """Return what load_audio does, with what is missing as a field and no warning.

    Raises: as load_audio.
    """
    told: list[str] = []
    waves = _waves(Path(path), _LOADED_SECONDS, told)
    first, rate = next(waves)
    wanted = sample_rate or rate
    wave = np.concatenate(list(_at_rate(itertools.chain([(first, rate)], waves), wanted)))
    return Sound(wave, wanted, "; ".join(told))


def load_audio(path: Path | str, sample_rate: int | None = None) -> Float[np.ndarray, " samples"]:
    """Return the sound in a file as one channel of float32, resampled when its rate is another.

    Args:
        path: a sound file of any kind that libsndfile or PyAV reads; recordings joined in it are read one after
            another, several channels are averaged.
        sample_rate: the rate wanted, in Hz; None keeps the file's own.
    Raises: AudioError, in one line, for a file that is missing, no sound, empty, or holds NaN.
    Warns: SoundWarning, in one line, of what is missing in a file that was cut or damaged; what is there is returned.
    """
    sound = read_sound(path, sample_rate)
    _warn(path, sound.missing)
    return sound.wave


def stream_audio(path: Path | str, sample_rate: int, seconds: float = 10.0) -> Iterator[Float[np.ndarray, " _"]]:
    """Yield the same sound as load_audio returns, a piece of so many seconds at a time: an hour takes no more memory.

    Raises and warns: as load_audio, when the fault is come to.
    """
    told: list[str] = []
    yield from _at_rate(_waves(Path(path), seconds, told), sample_rate)
    _warn(path, "; ".join(told))


def sound_files(folder: Path) -> list[Path]:
    """Return the sound files in a folder, by their endings in either case, in order of name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUND_SUFFIXES)


def audio_info(path: Path | str) -> AudioInfo:
    """Return a sound file's rate, channels and length, decoding only what its headers do not tell.

    Raises: AudioError, in one line, for a file that is missing or no sound.
    """
    found = _header(Path(path))
    if found:
        return found
    rate = channels = samples = 0
    for block, block_rate in _blocks(Path(path), _LOADED_SECONDS, []):
        rate, channels = rate or block_rate, channels or block.shape[1]
        samples += round(len(block) * rate / block_rate)
    return AudioInfo(rate, channels, samples)


def header_seconds(path: Path | str) -> float | None:
    """Return how long a sound file lasts by its headers, nothing decoded; None where they do not tell.

    Raises: AudioError for a file that is missing or empty.
    """
    found = _header(Path(path))
    return found.seconds if found else None


def save_audio(path: Path | str, wave: Shaped[np.ndarray, " samples"], sample_rate: int) -> None:
    """Write a wave as the kind of sound file that its ending names (formats.OUTPUT_FORMATS); whole or not at all.

    Args: as encode's; the file's folder is made when missing.
    Raises: as encode; FileError if the disk does not take it.
    """
    path = Path(path)
    content = encode(wave, sample_rate, path)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def open_sound(path: Path) -> Iterator[BinaryIO]:
    """Yield an ordinary file that is not empty, or the bytes that a row of a Parquet file holds, opened to read.

    Raises: AudioError for any other.
    """
    content = stored_sound(path)
    if content is not None:
        with StoredFile(content) as held:
            yield held
        return
    try:
        status = path.stat()
        kind = next((kind for test, kind in _NO_FILES if test(status.st_mode)), None)
        if kind:
            raise AudioError(f"{path}: is {kind}, not a sound file")
        if not status.st_size:
            raise AudioError(f"{path}: is an empty file of 0 bytes; give a recording")
        file = path.open("rb")
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path}: cannot be opened: {reason.lower()}") from error
    with file:
        yield file


def _warn(path: Path | str, missing: str) -> None:
    with open_sound(Path(path)) as file:
        assumed = f"no header: read as {RAW_RATE} Hz, 16 bits, one channel" if _is_raw(Path(path), file) else ""
    if missing or assumed:
        warnings.warn(f"{path}: {'; '.join(filter(None, (assumed, missing)))}", SoundWarning, stacklevel=3)


def _header(path: Path) -> AudioInfo | None:
    """Return what the headers of a file's recordings say together; None where one does not tell, or lies."""
    with open_sound(path) as file:
        if _is_raw(path, file):
            return AudioInfo(RAW_RATE, 1, file.seek(0, 2) // 2)
        found = [length(PartFile(file, part)) for part in parts_of(file)]
    told = [one for one in found if one]
    if len(told) < len(found) or not told:
        return None
    samples, channels, rate = told[0]
    return AudioInfo(rate, channels, samples + sum(round(one[0] * rate / one[2]) for one in told[1:]))


def _waves(path: Path, seconds: float, told: list[str]) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the mean of the channels of a file's blocks, and their rates. Raises: AudioError for NaN in them."""
    for (rate, channels), run in itertools.groupby(
        _blocks(path, seconds, told), key=lambda one: (one[1], one[0].shape[1])
    ):
        mixer = Downmix(rate)
        for block, _ in run:
            yield _finite(mixer.mix(block), path), rate
        yield _finite(mixer.mix(np.zeros((0, channels), dtype=np.float32), last=True), path), rate


def _finite(wave: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(wave).all():
        raise AudioError(f"{path}: {np.count_nonzero(~np.isfinite(wave))} samples are NaN or infinite; export it again")
    return wave


def _at_rate(waves: Iterator[tuple[np.ndarray, int]], wanted: int) -> Iterator[np.ndarray]:
    for rate, run in itertools.groupby((one for one in waves if len(one[0])), key=lambda one: one[1]):
        yield from (wave for wave in resample_parts((wave for wave, _ in run), rate, wanted) if len(wave))


def _blocks(path: Path, seconds: float, told: list[str]) -> Iterator[Block]:
    """Yield blocks (samples, channels) of all recordings in a file, with their rates; then tell what is missing.

    Raises: AudioError if there is no sample at all.
    """
    found, needed = False, ""
    with open_sound(path) as file:
        if _is_raw(path, file):
            yield from _raw_blocks(file, seconds, told)
            return
        try:
            for part in parts_of(file):
                outcome = Outcome()
                for block in decode(PartFile(file, part), seconds, outcome):
                    found = found or len(block[0]) > 0
                    yield block
                told += what_is_missing(part, outcome)
                needed = needed or outcome.needed
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from error
        except OSError as error:
            raise AudioError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    if not found:
        raise AudioError(f"{path}: {_why_nothing(told, needed)}")
    if needed:
        told.append(needed)


def _is_raw(path: Path, file: BinaryIO) -> bool:
    """Return whether a file's ending says that it has no header, and it begins with none."""
    start = file.read(4) if path.suffix.lower() == RAW_SUFFIX else b""
    file.seek(0)
    return bool(start) and start not in (b"RIFF", b"fLaC", b"OggS")


def _raw_blocks(file: BinaryIO, seconds: float, told: list[str]) -> Iterator[Block]:
    while content := file.read(2 * round(seconds * RAW_RATE)):
        if len(content) % 2:
            told.append("ends in half a sample")
        yield np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.float32)[:, None] / 32768, RAW_RATE


def _why_nothing(told: list[str], needed: str) -> str:
    if needed:
        return "; ".join([*told, needed])
    if not told:
        return "holds 0 samples; give a recording that is not empty"
    return f"not a sound file that can be read: {'; '.join(told)} (known: {', '.join(s[1:] for s in SOUND_SUFFIXES)})"
