"""A prepared corpus in shards: some hundred utterances a file, in Lhotse Shar, in a folder or in object storage.

    corpus.json                     as in a corpus folder, and of which corpus these are the shards
    shards/cuts.NNNNNN.jsonl.gz     the cuts; each also says where its parts lie: field → first byte, bytes, CRC-32
    shards/recording.NNNNNN.tar     the sounds, byte for byte those of the corpus folder
    shards/FIELD.NNNNNN.tar         an array of the ground truth: mel, pitch_hz, energy, durations, token_ids

The tars are not compressed, so that any utterance is read by itself, wherever it lies: the order of training is that of
a corpus folder, and so are its batches. `lhotse.CutSet.from_shar(in_dir=".../shards")` reads them one after the other.

Source: lhotse's documentation, 'Lhotse Shar' (https://lhotse.readthedocs.io/en/latest/shar.html).
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malsori.audio.stored import damage, rewriting, tar_path
from malsori.errors import CorpusError, FileError
from malsori.object_store import Store, open_store

if TYPE_CHECKING:
    from lhotse import MonoCut

#: Written into corpus.json; raised when a reader of the older kind would read the shards wrongly.
FORMAT = "malsori-shards-1"

_READ_AT_A_TIME = 16
SOUND = "recording"
ARRAYS = ("mel", "pitch_hz", "energy", "durations", "token_ids")


def cuts_file(number: int) -> str:
    """Return the name of a shard's cuts, which are written last: a shard that has them is whole."""
    return f"shards/cuts.{number:06d}.jsonl.gz"


def tar_file(field: str, number: int) -> str:
    """Return the name of the tar that holds a field of a shard."""
    return f"shards/{field}.{number:06d}.tar"


def is_sharded(cut: "MonoCut") -> bool:
    """Return whether a cut lies in a shard."""
    return "parts" in cut.custom


def read_facts(place: Path | str, store: Store) -> dict[str, Any]:
    """Return what corpus.json says. Raises: CorpusError if there is none, or its shards are not all there."""
    if not store.has("corpus.json"):
        raise CorpusError(f"{place}: no shards of a corpus; make them with 'malsori corpus shard CORPUS {place}'")
    try:
        facts = json.loads(store.read("corpus.json"))
        found, whole = facts["format"], facts.get("whole")
    except (ValueError, LookupError, TypeError) as error:
        raise CorpusError(f"{place}/corpus.json: damaged: {error}; make the shards anew") from error
    if found != FORMAT:
        raise CorpusError(f"{place}/corpus.json: format {found!r}, this malsori reads '{FORMAT}' there")
    if not whole:
        raise CorpusError(f"{place}: not all shards are there yet; run the same 'malsori corpus shard' again")
    return facts


def read_cuts(place: Path | str, store: Store, facts: dict[str, Any]) -> "Iterator[MonoCut]":
    """Yield the cuts, each with its sound's address as its source. Raises: CorpusError if one is damaged or missing."""
    from lhotse import MonoCut

    found, names = 0, [cuts_file(number) for number in range(facts["shards"])]
    with ThreadPoolExecutor(_READ_AT_A_TIME) as pool:
        contents = list(pool.map(store.read, names))
    for number, (name, content) in enumerate(zip(names, contents, strict=True)):
        try:
            for line in gzip.decompress(content).splitlines():
                cut = MonoCut.from_dict(json.loads(line))
                parts, source = cut.custom["parts"], cut.recording.sources[0]
                source.type = "file"
                source.source = tar_path(f"{place}/{tar_file(SOUND, number)}", parts[SOUND], f"{cut.id}.flac")
                found += 1
                yield cut
        except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error) as error:
            raise CorpusError(f"{place}/{name}: damaged: {error}; {rewriting(Path(place) / name)}") from error
    if found != (told := sum(facts["utterances"].values())):
        raise CorpusError(f"{place}: its shards hold {found} utterances, corpus.json says {told}; make them anew")


def read_arrays(place: Path | str, cut: "MonoCut", names: Sequence[str] = ARRAYS) -> dict[str, np.ndarray]:
    """Return a cut's arrays by name, of those that it has. Raises: CorpusError if a shard is damaged or missing."""
    number, parts = cut.custom["shard"], cut.custom["parts"]
    wanted = {name: parts[name] for name in names if name in parts}
    files = {name: tar_file(name, number) for name in wanted}
    advice = rewriting(Path(place) / tar_file(SOUND, number))
    try:
        contents = open_store(place).read_parts([(files[name], *part[:2]) for name, part in wanted.items()])
    except FileError as error:
        raise CorpusError(f"{error}; {advice}") from error
    arrays = {}
    for (name, part), content in zip(wanted.items(), contents, strict=True):
        if fault := damage(content, part):
            raise CorpusError(f"{place}/{files[name]}: damaged at {cut.id} ({fault}); {advice}")
        arrays[name] = np.load(io.BytesIO(content), allow_pickle=False)
    return arrays
