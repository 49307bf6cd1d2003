"""Texts read aloud, one take each: what is still to be read, whether a take is good, a folder that grows by it.

OUT/wavs/0001.flac  OUT/metadata.csv       "0001|오늘은 날씨가 좋네요.": a table that 'corpus prepare' reads
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malsori.annotations import Float
from malsori.audio.io import save_audio
from malsori.corpus.audio_quality import measure_audio_quality
from malsori.corpus.check_rules import CheckLimits
from malsori.errors import CorpusError
from malsori.files import write_text
from malsori.readers.files import read_text
from malsori.readers.records import text_key
from malsori.text.hangul import is_syllable

#: What is cut from both ends of a take: the key that began and ended it is heard there.
KEY_SECONDS = 0.15

_TABLE = "metadata.csv"
_EDGE_SECONDS = 0.05  # a voice that sounds from so early on had begun before
_EDGE_DB = -20.0  # below the loudest piece: louder is voice, not breath
_FASTEST, _SLOWEST = 10.0, 1.0  # syllables a second of one who reads aloud


@dataclass(frozen=True)
class Take:
    """What was recorded of a text, and what is wrong with it; levels are in dB of full scale.

    Attributes:
        wave: (samples,) at sample_rate.
        loudest_db, faintest_db: of its pieces of 10 ms.
        faults: why it should be read again; none for a good one.
    """

    wave: Float[np.ndarray, " samples"]
    sample_rate: int
    loudest_db: float
    faintest_db: float
    faults: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.wave) / self.sample_rate

    def told(self) -> str:
        """Return it in a line."""
        return f"{self.seconds:.1f} s, loudest {self.loudest_db:.0f} dB, background {self.faintest_db:.0f} dB"


def judge_take(wave: Float[np.ndarray, " samples"], sample_rate: int, text: str) -> Take:
    """Return a take, without its ends, and what is wrong with it by the limits of `malsori corpus check`."""
    cut = round(KEY_SECONDS * sample_rate)
    wave = wave[cut : len(wave) - cut]
    if len(wave) < 0.1 * sample_rate or not np.any(wave):
        return Take(wave, sample_rate, -200.0, -200.0, ("nothing was recorded: is it the right microphone?",))
    quality, limits = measure_audio_quality(wave, sample_rate, 1), CheckLimits()
    found = quality.loudest_db, quality.faintest_db
    span, rate = found[0] - found[1], sum(map(is_syllable, text)) / quality.sound_seconds
    faults = {
        "too loud: it is clipped; go back a little, or turn the microphone down": quality.clipped
        > limits.clipped_share * len(wave),
        f"too soft ({found[0]:.0f} dB): come closer, or turn the microphone up": found[0] < limits.faint_db,
        f"the background lies only {span:.0f} dB below the voice: look for a quieter place": span < limits.noise_db,
        f"{rate:.1f} syllables a second: was all of it read?": not _SLOWEST <= rate <= _FASTEST,
        "it begins or ends within a word: wait half a moment after the key": span >= limits.noise_db
        and _touches_the_edge(wave, sample_rate),
    }
    return Take(wave, sample_rate, *found, tuple(fault for fault, is_so in faults.items() if is_so))


class TakeFolder:
    """A folder of takes: which texts it has, and the next one's place.

    Args:
        folder: to make, or to go on with.
    Raises: CorpusError if what lies there is not of this making.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: list[tuple[str, str]] = []
        table = folder / _TABLE
        if table.exists():
            for number, line in enumerate(read_text(table).splitlines(), 1):
                name, bar, text = line.partition("|")
                if not bar or not (folder / "wavs" / f"{name}.flac").is_file():
                    raise CorpusError(
                        f"{table}:{number}: {line!r} is no take of 'malsori record' with its wavs/ID.flac; "
                        "give another folder"
                    )
                self._rows.append((name, text))
        elif folder.is_dir() and any(path for path in folder.iterdir() if path.name != "wavs"):
            raise CorpusError(f"{folder}: holds other files; give a new folder, or one that 'malsori record' made")

    def __len__(self) -> int:
        return len(self._rows)

    def unread(self, texts: Sequence[str]) -> Iterator[str]:
        """Yield the texts that no take is there of, once each, as they are to be read."""
        had = {text_key(text) for _, text in self._rows}
        for text in texts:
            text, key = _one_line(text), text_key(text)
            if key and key not in had:
                had.add(key)
                yield text

    def keep(self, take: Take, text: str) -> Path:
        """Write a take and its row, each whole, and return where the sound lies; the last one can be taken again.

        Raises: FileError if the disk does not take it.
        """
        name = f"{1 + max((int(name) for name, _ in self._rows if name.isdigit()), default=0):04d}"
        path = self.folder / "wavs" / f"{name}.flac"
        save_audio(path, take.wave, take.sample_rate)  # before its row: a sound without a row is written over
        self._write([*self._rows, (name, _one_line(text))])
        return path

    def drop_last(self) -> str:
        """Take the last take's row away, and return its text; its sound is written over by the next take."""
        _, text = self._rows[-1]
        self._write(self._rows[:-1])
        return text

    def _write(self, rows: list[tuple[str, str]]) -> None:
        write_text(self.folder / _TABLE, "".join(f"{name}|{text}\n" for name, text in rows))
        self._rows = rows


def _touches_the_edge(wave: Float[np.ndarray, " samples"], sample_rate: int) -> bool:
    """Return whether the voice sounds at one end of a wave."""
    edge = round(_EDGE_SECONDS * sample_rate)
    loudest = float(np.abs(wave).max())
    return max(float(np.abs(part).max()) for part in (wave[:edge], wave[-edge:])) > loudest * 10 ** (_EDGE_DB / 20)


def _one_line(text: str) -> str:
    """Return a text on one line and without what parts the table's columns."""
    return unicodedata.normalize("NFC", " ".join(text.replace("|", " ").split()))
