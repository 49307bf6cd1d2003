"""The prepared corpus: one self-contained folder of waves, ground truth and lhotse cuts.

    corpus.json             what it was made from and how: audio settings, speakers, counts, what was skipped and why
    cuts.jsonl.gz           one lhotse MonoCut a line; paths are relative to the folder
    wave/ID.flac            16 bits, one channel, a whole number of hops long
    ground_truth/ID.safetensors
                            mel (frames, mel_channels), pitch_hz (frames,), energy (frames,), all float32;
                            alignment adds durations (tokens,) and token_ids (tokens,), int32

The folder can be moved and copied as it is.
"""

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malsori.config import AudioConfig
from malsori.corpus import shards
from malsori.corpus.layouts import SPLITS
from malsori.errors import CorpusError
from malsori.files import atomic_file, read_json
from malsori.object_store import is_remote, open_store
from malsori.text.userwords import UserLexicon, lexicon_of_rows

if TYPE_CHECKING:
    from lhotse import CutSet, MonoCut

#: Written into corpus.json; raised when a reader of the older kind would read the folder wrongly.
FORMAT = "malsori-corpus-1"

#: Who found F0 in the corpora that do not say so.
OLD_TRACKER = "praat"


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus: its settings, and its cuts by split ("train", "dev", "test"; a split may be empty).

    `path` is a folder, or the s3:// address of a corpus in shards; a cut's sound is read where its recording's source
    says, by `malsori.audio.io`.
    `pitch_tracker` says who found F0: what was learnt of one tracker's pitch is not quite that of another's.
    `lexicon` holds the user's words that its texts are read by.
    """

    path: Path | str
    name: str
    audio: AudioConfig
    cuts: "dict[str, CutSet]"
    speakers: tuple[str, ...]
    pitch_tracker: str = OLD_TRACKER
    lexicon: UserLexicon = field(default_factory=UserLexicon)

    def ground_truth(self, cut: "MonoCut", names: Sequence[str] = shards.ARRAYS) -> dict[str, np.ndarray]:
        """Return a cut's arrays by name: mel, pitch_hz, energy, and durations and token_ids once it is aligned.

        Args:
            names: of those that are needed, where shards are read from afar; others may come too.
        """
        if shards.is_sharded(cut):
            return shards.read_arrays(self.path, cut, names)
        return read_ground_truth(self.ground_truth_path(cut))

    def has_durations(self, cut: "MonoCut") -> bool:
        """Return whether a cut is aligned. Raises: CorpusError as `read_ground_truth`."""
        if shards.is_sharded(cut):
            return "durations" in cut.custom["parts"]
        return has_durations(self.ground_truth_path(cut))

    def ground_truth_path(self, cut: "MonoCut") -> Path:
        """Return the file that holds a cut's ground truth, in a corpus that is not in shards."""
        return Path(self.path) / str(cut.custom["ground_truth"])


def load_corpus(path: Path | str) -> Corpus:
    """Return the prepared corpus in a folder, or the one whose shards lie in a folder or under s3://BUCKET/PREFIX.

    Raises: CorpusError if it is no prepared corpus, of another format, or its preparation was interrupted;
        ConfigError if its settings cannot be read; FileError if the storage refuses.
    """
    from lhotse import CutSet

    path = str(path) if is_remote(path) else Path(path)
    facts, found = _sharded(path) if is_remote(path) or _format(Path(path)) == shards.FORMAT else _whole(Path(path))
    audio = AudioConfig.parse(facts["audio"], f"{path}/corpus.json (audio)")
    cuts: dict[str, list[MonoCut]] = {split: [] for split in SPLITS}
    for cut in found:
        cuts[cut.supervisions[0].custom["split"]].append(cut)
    by_split = {split: CutSet.from_cuts(found) for split, found in cuts.items()}
    tracker = facts.get("pitch_tracker", OLD_TRACKER)
    words = lexicon_of_rows(facts.get("lexicon", []), f"{path}/corpus.json")
    return Corpus(path, facts["source"], audio, by_split, tuple(facts["speakers"]), tracker, words)


def _whole(path: Path) -> "tuple[dict[str, Any], Iterable[MonoCut]]":
    from lhotse import CutSet

    facts = read_facts(path)
    if not (path / "cuts.jsonl.gz").is_file():
        raise CorpusError(f"{path / 'cuts.jsonl.gz'}: no such file; run 'malsori corpus prepare' again")
    return facts, (cut.with_recording_path_prefix(path) for cut in CutSet.from_jsonl(path / "cuts.jsonl.gz"))


def _sharded(path: Path | str) -> "tuple[dict[str, Any], Iterable[MonoCut]]":
    store = open_store(path)
    facts = shards.read_facts(path, store)
    return facts, shards.read_cuts(path, store, facts)


def _format(path: Path) -> str:
    return read_json(path / "corpus.json").get("format", "") if (path / "corpus.json").is_file() else ""


def read_facts(path: Path) -> dict[str, Any]:
    """Return what corpus.json says. Raises: CorpusError if the folder is no prepared corpus of this format."""
    place = path / "corpus.json"
    if not place.is_file():
        begun = (path / MARKER).is_file()
        what = "its preparation was interrupted; run the same" if begun else "not a prepared corpus; make one with"
        raise CorpusError(f"{path}: {what} 'malsori corpus prepare SOURCE {path}'")
    facts = read_json(place)
    if facts.get("format") != FORMAT:
        raise CorpusError(f"{place}: format {facts.get('format')!r}, this malsori reads '{FORMAT}'; prepare it again")
    return facts


#: Stands in a corpus folder while it is being made, and says from what.
MARKER = ".preparing.json"


#: zlib's way to say: the longest window, with gzip's header and no time in it.
_GZIP = 16 + zlib.MAX_WBITS


def write_cuts(path: Path, cuts: "Iterable[MonoCut]") -> None:
    """Write cuts as gzipped JSON lines; the same cuts give the same bytes (no time stamp, no file name inside)."""
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, wbits=_GZIP)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for cut in cuts:
            file.write(packer.compress(json.dumps(cut.to_dict(), ensure_ascii=False).encode() + b"\n"))
        file.write(packer.flush())


def read_ground_truth(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a ground truth file by name. Raises: CorpusError if it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise CorpusError(f"{path}: {error}; run 'malsori corpus prepare' again") from error


def write_ground_truth(path: Path, arrays: dict[str, np.ndarray], key: str, aligned_by: str = "") -> None:
    """Write arrays by name, whole or not at all, with the key of what they were made from and that of their aligner."""
    from safetensors.numpy import save_file

    # one entry: safetensors writes several in an order that changes from run to run, and so would the bytes
    notes = {"keys": f"{key} {aligned_by}"}
    with atomic_file(path) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, notes)


def add_ground_truth(path: Path, arrays: dict[str, np.ndarray], aligned_by: str = "") -> None:
    """Add arrays to a ground truth file, or replace those of the same name, its key kept: preparing again keeps them.

    Args:
        aligned_by: names what the durations among the arrays come from.
    Raises: CorpusError if durations are among them and do not sum to the frames of the mel spectrogram.
    """
    merged = read_ground_truth(path) | arrays
    frames = len(merged["mel"])
    if "durations" in merged and int(merged["durations"].sum()) != frames:
        raise CorpusError(f"{path}: durations sum to {int(merged['durations'].sum())}, the mel has {frames} frames")
    key, aligner = read_keys(path)
    write_ground_truth(path, merged, key, aligned_by or aligner)


def read_keys(path: Path) -> tuple[str, str]:
    """Return the key a ground truth file was written with, and its aligner's; "" each if there is no whole file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            key, _, aligned_by = (file.metadata() or {}).get("keys", "").partition(" ")
    except (FileNotFoundError, SafetensorError):
        return "", ""
    return key, aligned_by


def count_frames(path: Path) -> int:
    """Return how many frames a ground truth file holds, from its header alone."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return int(file.get_slice("mel").get_shape()[0])


def has_durations(path: Path) -> bool:
    """Return whether a ground truth file holds durations, from its header alone.

    Raises: CorpusError as `read_ground_truth`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return "durations" in file.keys()  # noqa: SIM118 - a handle of safetensors is no mapping
    except (FileNotFoundError, SafetensorError) as error:
        raise CorpusError(f"{path}: {error}; run 'malsori corpus prepare' again") from error


def sweep(folder: Path, wanted: set[str]) -> None:
    """Remove files that are not wanted by name: those of utterances that are gone, and halves left by a kill."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in wanted:
            os.unlink(path)
