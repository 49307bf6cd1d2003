"""Whose a corpus folder is: what it was begun from, and whether a preparation may go on in it.

`corpus.json`, or the marker of an unfinished preparation, names the source by its resolved path. The same source goes
on, whatever has changed in it. Another one is refused, whatever its name, unless it is the same recordings moved or
copied: every utterance that the folder holds is there, byte for byte and with the same text. On request it is added to
what is there instead (`malsori.corpus.merge`); the first source's corpus stays whole and open meanwhile.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from malsori.audio.pitch import DEFAULT_TRACKER, PitchTracker
from malsori.config import AudioConfig
from malsori.corpus import folder, merge, shards
from malsori.corpus.folder import OLD_TRACKER
from malsori.errors import CorpusError
from malsori.files import LOCK, held, read_json, write_json
from malsori.text.userwords import UserLexicon, lexicon_of_rows

_ELSEWHERE = "give a folder that is new or empty"
_MERGING = "merging"  # in the mark: the path of the source that is being added


def tracker_of(out: Path) -> PitchTracker:
    """Return the pitch tracker that a corpus folder was begun with; our own for a new one."""
    found = _begun(out)
    return DEFAULT_TRACKER if found is None else found.get("pitch_tracker", OLD_TRACKER)


def lexicon_of(out: Path) -> UserLexicon:
    """Return the user's words that a corpus folder was begun with."""
    return lexicon_of_rows((_begun(out) or {}).get("lexicon", []), str(out))


@contextmanager
def held_corpus(source: Path, out: Path, merge: bool = False) -> Iterator[None]:
    """Hold a corpus folder for this process alone while it is made from a source.

    Raises: CorpusError if another process holds it, it is the source itself, holds what is no corpus, or none that
        could be merged into; nothing is changed then.
    """
    if out.resolve() == source.resolve():
        raise CorpusError(f"{out}: is the source itself; {_ELSEWHERE}")
    if merge and _begun(out) is None:
        raise CorpusError(f"{out}: holds no corpus to merge into; prepare the first source without --merge")
    if _begun(out) is None and out.exists() and (not out.is_dir() or any(item.name != LOCK for item in out.iterdir())):
        raise CorpusError(f"{out}: exists and is not a corpus; {_ELSEWHERE}")
    with held(out, CorpusError(f"{out}: another process is preparing it; wait for it, or {_ELSEWHERE}")):
        yield


def claim(
    source: Path, out: Path, audio: AudioConfig, tracker: PitchTracker, keys: Callable[[], Mapping[str, str]]
) -> dict[str, Any]:
    """Mark `out` as being made from this source, and return what the mark says.

    Args:
        keys: returns file id → key of all that the utterance's files depend on; called where the path alone does not
            say that the source is the one that the folder was begun from.
    Raises: CorpusError if it holds anything else; nothing is changed then.
    """
    place = source.resolve()
    wanted: dict[str, Any] = {"source": place.name, "source_path": str(place)}
    wanted |= {"audio": audio.model_dump(mode="json"), "pitch_tracker": tracker}
    found = _begun(out)
    if found is not None:
        _refuse_another(out, wanted, found)
        if found.get("source_path") != wanted["source_path"]:
            _refuse_a_loss(source, out, found, keys())
    write_json(out / folder.MARKER, wanted)
    (out / "corpus.json").unlink(missing_ok=True)
    return wanted


def claim_merge(source: Path, out: Path, audio: AudioConfig, tracker: PitchTracker) -> dict[str, Any]:
    """Mark `out` as taking up a second source, and return what is said of the first; its corpus.json stays.

    Raises: CorpusError if it is no whole corpus of another source, or one made otherwise; nothing is changed then.
    """
    found, place = _begun(out) or {}, str(source.resolve())
    waiting = found.get(_MERGING, place)
    if not (out / "corpus.json").is_file() or waiting != place:
        first = found["source_path"] if waiting == place else f"{waiting} --merge"
        raise CorpusError(f"{out}: its preparation from {first} was interrupted; finish that before {place} is merged")
    if found.get("source_path") == place:
        raise CorpusError(f"{out}: holds the corpus of {place} itself; leave --merge out")
    _refuse_settings(out, {"audio": audio.model_dump(mode="json"), "pitch_tracker": tracker}, found)
    facts = read_json(out / "corpus.json")
    origin: dict[str, Any] = {
        name: facts[name] for name in ("source", "source_path", "audio", "pitch_tracker") if name in facts
    }
    write_json(out / folder.MARKER, origin | {_MERGING: place})
    return origin


def _begun(out: Path) -> dict[str, Any] | None:
    """Return what the mark or corpus.json of a folder says; None where there is neither."""
    found = (place for place in (out / folder.MARKER, out / "corpus.json") if place.is_file())
    place = next(found, None)
    facts = read_json(place) if place else None
    if facts and facts.get("format") == shards.FORMAT:
        raise CorpusError(f"{out}: holds the shards of a corpus; go on in the folder that they were made from")
    return facts


def _refuse_another(out: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    if found.get("source") != wanted["source"]:
        before = found.get("source")
        raise CorpusError(
            f"{out}: holds a corpus of '{before}', not '{wanted['source']}'; add --merge, or {_ELSEWHERE}"
        )
    _refuse_settings(out, wanted, found)


def _refuse_settings(out: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    if found.get("audio") != wanted["audio"]:
        rate, asked = (facts.get("audio", {}).get("sample_rate") for facts in (found, wanted))
        raise CorpusError(f"{out}: was made at {rate} Hz, not {asked}, or with other bands; {_ELSEWHERE}")
    before, tracker = found.get("pitch_tracker", OLD_TRACKER), wanted["pitch_tracker"]
    if before != tracker:
        raise CorpusError(f"{out}: its pitch is by '{before}', not '{tracker}': leave the tracker out, or {_ELSEWHERE}")


def _refuse_a_loss(source: Path, out: Path, found: dict[str, Any], keys: Mapping[str, str]) -> None:
    """Refuse a source of another path if going on would remove or replace what the folder holds."""
    merged = {item.file_id for item in merge.kept(out, "")}
    files = (path for path in (out / "ground_truth").glob("*.safetensors") if not path.name.startswith("."))
    held = sorted(path.stem for path in files if path.stem not in merged)
    gone = [name for name in held if name not in keys]
    # corpora made before paths were kept say only a name: their texts may have been mended since
    known = "source_path" in found
    other = [name for name in held if known and name in keys and not merge.made_by(out, name, keys[name])]
    if gone or other:
        why = "is not there" if gone else "is another recording or text there"
        before = found.get("source_path", f"another '{found.get('source')}'")
        raise CorpusError(
            f"{out}: holds a corpus of {before}, not of {source.resolve()}: {(gone or other)[0]} {why}, and "
            f"{len(gone) + len(other)} of {len(held)} utterances would be lost; add --merge, or {_ELSEWHERE}"
        )
