"""A corpus folder into shards: each is made whole in a place of its own, then put where it belongs, its cuts last.

So a shard whose cuts are there is whole, and an interrupted run goes on with the first that is not. corpus.json is
written before the first shard and says that not all are there, and again after the last.
"""

import hashlib
import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malsori.corpus import folder, shards
from malsori.corpus.pool import Executor, run_in_order
from malsori.errors import CorpusError, OptionError
from malsori.files import clear_interrupted, held
from malsori.object_store import Store, is_remote, open_store

if TYPE_CHECKING:
    from lhotse import MonoCut

_NEW = "give a folder, or an s3:// prefix, that is new or empty"


@dataclass(frozen=True)
class ShardSummary:
    """What a corpus became: utterances and hours in it, shards, of these written by an earlier run, and bytes now."""

    place: str
    utterances: int
    hours: float
    shards: int
    reused: int
    written_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return vars(self) | {"hours": round(self.hours, 4)}

    def line(self) -> str:
        """The same as a sentence."""
        counts = f"{self.utterances} utterances, {self.hours:.2f} hours, in {self.shards} shards"
        return f"{self.place}: {counts}; {self.reused} were there, {self.written_bytes / 1e6:.1f} MB written"


@dataclass(frozen=True)
class _Shard:
    number: int
    cuts: "tuple[MonoCut, ...]"


def shard_corpus(
    source: Path, out: Path | str, utterances: int = 500, workers: int = 1, executor: Executor | None = None
) -> ShardSummary:
    """Write a prepared corpus's shards, those that are not there yet, and return what was done.

    Args:
        out: a folder or s3://BUCKET/PREFIX, new or empty, or holding shards of the same corpus.
        utterances: in a shard; one holds those of one split.
        workers: processes, as `run_in_order` has it.
        executor: does the work on other machines, which see the corpus and the folder under these paths.
    Raises: CorpusError if the corpus or a ground truth is not whole, or `out` holds anything else; OptionError for
        `utterances` below 1; FileError if the disk or the storage refuses.
    """
    if utterances < 1:
        raise OptionError(f"utterances {utterances}: a shard holds 1 or more")
    facts = folder.read_facts(source)
    corpus, store = folder.load_corpus(source), open_store(out)
    cuts = [cut for split in corpus.cuts.values() for cut in split]
    parts = list(_divided(corpus, utterances))
    told = facts | {"format": shards.FORMAT, "utterances": {name: len(split) for name, split in corpus.cuts.items()}}
    told |= {"shards": len(parts), "shard_utterances": utterances, "made_from": _fingerprint(corpus, cuts)}
    with _held(out):
        there = _begun(store, out, told)
        missing = [part for part in parts if shards.cuts_file(part.number) not in there]
        if missing:
            _write_facts(store, told, whole=False)
        make = partial(_write_shard, corpus, out, _arrays(corpus, cuts))
        written = sum(run_in_order(make, missing, workers, "sharding", executor=executor))
        _write_facts(store, told, whole=True)
    hours, reused = sum(cut.duration for cut in cuts) / 3600, len(parts) - len(missing)
    return ShardSummary(str(out), len(cuts), hours, len(parts), reused, written)


def _divided(corpus: folder.Corpus, utterances: int) -> Iterator[_Shard]:
    number = 0
    for split in corpus.cuts.values():
        cuts = tuple(split)
        for start in range(0, len(cuts), utterances):
            yield _Shard(number, cuts[start : start + utterances])
            number += 1


def _fingerprint(corpus: folder.Corpus, cuts: "list[MonoCut]") -> str:
    """Return the digest of all that shards depend on: the texts, and the keys of ground truth and sound."""
    digest = hashlib.sha256()
    for cut in cuts:
        keys = folder.read_keys(corpus.ground_truth_path(cut))
        said = [supervision.to_dict() for supervision in cut.supervisions]
        digest.update(json.dumps([keys, said], ensure_ascii=False, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _arrays(corpus: folder.Corpus, cuts: "list[MonoCut]") -> tuple[str, ...]:
    """Return the arrays that get a tar: durations only where any utterance has them."""
    aligned = any(corpus.has_durations(cut) for cut in cuts)
    return tuple(name for name in shards.ARRAYS if aligned or name not in ("durations", "token_ids"))


@contextmanager
def _held(out: Path | str) -> Iterator[None]:
    """Hold a folder for this process alone; of two that write to one prefix, both write the same."""
    if is_remote(out):
        yield
        return
    with held(Path(out), CorpusError(f"{out}: another process is writing shards into it; wait for it")):
        clear_interrupted(Path(out))
        yield


def _begun(store: Store, out: Path | str, wanted: dict[str, Any]) -> set[str]:
    """Return the files of the shards that are there. Raises: CorpusError if they are another corpus's, or no shards."""
    if not store.has("corpus.json"):
        if any(not name.startswith(".") for name in store.names()):
            raise CorpusError(f"{out}: holds something else already; {_NEW}")
        return set()
    try:
        found = json.loads(store.read("corpus.json"))
        same = [found.get(name) == wanted[name] for name in ("format", "made_from", "shard_utterances")]
    except (ValueError, AttributeError) as error:
        raise CorpusError(f"{out}/corpus.json: damaged: {error}; {_NEW}") from error
    if not same[0]:
        raise CorpusError(f"{out}: holds a corpus that is not in shards; {_NEW}")
    if not all(same):
        raise CorpusError(
            f"{out}: holds shards of {found.get('shard_utterances')} of another corpus, or of this one before it "
            f"changed; {_NEW}"
        )
    return set(store.names("shards"))


def _write_facts(store: Store, facts: dict[str, Any], whole: bool) -> None:
    store.write("corpus.json", (json.dumps(facts | {"whole": whole}, ensure_ascii=False, indent=1) + "\n").encode())


def _write_shard(corpus: folder.Corpus, out: Path | str, arrays: tuple[str, ...], shard: _Shard) -> int:
    """Make one shard and put it where it belongs; return its bytes."""
    store, size = open_store(out), 0
    beside = None if is_remote(out) else out
    with tempfile.TemporaryDirectory(prefix=".shard.", suffix=".partial", dir=beside) as made:
        (Path(made) / "shards").mkdir()
        _write_tars(Path(made), corpus, arrays, shard)
        parts = {field: _parts(Path(made) / shards.tar_file(field, shard.number)) for field in (shards.SOUND, *arrays)}
        cuts = (_placed(cut, shard.number, parts) for cut in shard.cuts)
        folder.write_cuts(Path(made) / shards.cuts_file(shard.number), cuts)
        names = [shards.tar_file(field, shard.number) for field in parts]
        for name in (*names, shards.cuts_file(shard.number)):
            size += (Path(made) / name).stat().st_size
            store.put(name, Path(made) / name)
    return size


def _write_tars(place: Path, corpus: folder.Corpus, arrays: tuple[str, ...], shard: _Shard) -> None:
    """Write the tars of a shard as lhotse's SharWriter lays them out; that one would encode the sounds again."""
    from lhotse.array import Array
    from lhotse.shar.utils import to_shar_placeholder
    from lhotse.shar.writers import ArrayTarWriter, TarWriter

    def tar(kind: Any, field: str) -> Any:
        return opened.enter_context(kind(str(place / shards.tar_file(field, shard.number)), shard_size=None))

    with ExitStack() as opened:
        sounds = tar(TarWriter, shards.SOUND)
        writers = {name: tar(ArrayTarWriter, name) for name in arrays}
        for cut in shard.cuts:
            manifest = json.dumps(to_shar_placeholder(cut.recording).to_dict()).encode()
            content = Path(cut.recording.sources[0].source).read_bytes()
            sounds.write(f"{cut.id}.flac", io.BytesIO(content))
            sounds.write(f"{cut.id}.json", io.BytesIO(manifest), count=False)
            truth = corpus.ground_truth(cut)
            for name, writer in writers.items():
                if name in truth:
                    writer.write(cut.id, truth[name], Array("shar", "", "", list(truth[name].shape)))
                else:
                    writer.write_placeholder(cut.id)


def _parts(tar: Path) -> dict[str, tuple[int, int, int]]:
    """Return where the files of a tar lie, by the id of their cut: first byte, bytes, CRC-32."""
    found = {}
    with tarfile.open(tar) as opened:
        for member in opened:
            name, _, kind = member.name.rpartition(".")
            if kind in ("flac", "npy") and (file := opened.extractfile(member)):
                found[name] = (member.offset_data, member.size, zlib.crc32(file.read()))
    return found


def _placed(cut: "MonoCut", number: int, parts: dict[str, dict[str, tuple[int, int, int]]]) -> "MonoCut":
    """Return a cut as it stands in a shard."""
    from lhotse import fastcopy
    from lhotse.shar.utils import to_shar_placeholder

    own = {field: list(found[cut.id]) for field, found in parts.items() if cut.id in found}
    custom = {name: value for name, value in cut.custom.items() if name != "ground_truth"}
    custom |= {"shard": number, "parts": own}
    return fastcopy(cut, recording=to_shar_placeholder(cut.recording), custom=custom)
