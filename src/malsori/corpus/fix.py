"""A clean copy of a corpus: what the check finds at fault is left out, what can be mended is, and all of it is listed.

OUT/ID.wav            16 bits, one channel, at the recording's own rate
OUT/metadata.tsv      path, text, spoken, speaker, split: what `malsori corpus prepare OUT` reads
OUT/changes.md        for each change its id, what, and why; an utterance that is not named is as it was
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from malsori.audio.io import read_sound, save_audio
from malsori.corpus.check import CheckReport
from malsori.corpus.check_rules import UtteranceStats
from malsori.corpus.ground_truth import safe_name
from malsori.errors import CorpusError
from malsori.files import atomic_folder, write_text

_CHANGES = "changes.md"  # no table: a reader would take it for one of recordings


def write_fixed(report: CheckReport, out: Path) -> list[tuple[str, str, str]]:
    """Write a clean copy of a checked corpus, whole or not at all, and return its changes: id, what, why.

    Raises: CorpusError if nothing is left, or the folder holds something already; FileError if the disk refuses it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: is there already; --fix writes a folder that is new or empty")
    faults = {item.id: item for item in report.findings if item.severity == "fault"}
    whole = [item for item in faults.values() if item.id in ("all", "train", "dev")]
    kept = [item for item in report.stats if item.id not in faults]
    if whole or not kept:
        why = f"{whole[0].check}: {whole[0].detail}" if whole else "no utterance is without fault"
        raise CorpusError(f"{report.source}: cannot be mended by a copy: {why}")
    changes = [(item.id, "left out", f"{item.check}: {item.detail}") for item in faults.values()]
    with atomic_folder(out) as partial:
        rows = [["path", "text", "spoken", "speaker", "split"]]
        for item in kept:
            name = f"{safe_name(item.id)}.wav"
            changes += _copied(item, partial / name)
            said = item.utterance
            rows.append([name, said.written, said.spoken, said.speaker, said.split])
        write_text(partial / "metadata.tsv", _table(rows))
        write_text(partial / _CHANGES, "".join(f"- {name}: {what} ({why})\n" for name, what, why in changes))
    return changes


def _copied(item: UtteranceStats, path: Path) -> Iterator[tuple[str, str, str]]:
    """Write one recording, mended, and yield what was changed in it."""
    sound = read_sound(item.utterance.audio_path)
    wave = sound.wave
    if abs(item.quality.offset) > 0.005:
        wave = np.clip(wave - wave.mean(), -1.0, 1.0)
        yield item.id, "offset taken out", f"the mean of its samples was {item.quality.offset:+.4f}"
    if item.quality.channels > 1:
        yield item.id, "one channel", f"it had {item.quality.channels}, which were averaged"
    save_audio(path, wave, sound.sample_rate)


def _table(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    return text.getvalue()
