"""Whose a corpus folder is: what it was begun from, and whether a preparation may go on in it.

`corpus.json`, or the marker of an unfinished preparation, names the source by its resolved path. The same source goes
on, whatever has changed in it. Another one is refused, whatever its name, unless it is the same recordings moved or
copied: every utterance that the folder holds is there, byte for byte and with the same text.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from malsori.audio.pitch import DEFAULT_TRACKER, PitchTracker
from malsori.config import AudioConfig
from malsori.corpus import folder
from malsori.corpus.folder import OLD_TRACKER
from malsori.errors import CorpusError
from malsori.files import read_json, write_json
from malsori.text.userwords import UserLexicon, lexicon_of_rows

_ELSEWHERE = "give a folder that is new or empty"


def tracker_of(out: Path) -> PitchTracker:
    """Return the pitch tracker that a corpus folder was begun with; our own for a new one."""
    found = _begun(out)
    return DEFAULT_TRACKER if found is None else found.get("pitch_tracker", OLD_TRACKER)


def lexicon_of(out: Path) -> UserLexicon:
    """Return the user's words that a corpus folder was begun with."""
    return lexicon_of_rows((_begun(out) or {}).get("lexicon", []), str(out))


def claim(
    source: Path, out: Path, audio: AudioConfig, tracker: PitchTracker, keys: Callable[[], Mapping[str, str]]
) -> dict[str, Any]:
    """Mark `out` as being made from this source, and return what the mark says.

    Args:
        keys: returns file id → key of all that the utterance's files depend on; called where the path alone does not
            say that the source is the one that the folder was begun from.
    Raises: CorpusError if it holds anything else; nothing is changed then.
    """
    if out.resolve() == source.resolve():
        raise CorpusError(f"{out}: is the source itself; {_ELSEWHERE}")
    place = source.resolve()
    wanted: dict[str, Any] = {"source": place.name, "source_path": str(place)}
    wanted |= {"audio": audio.model_dump(mode="json"), "pitch_tracker": tracker}
    found = _begun(out)
    if found is not None:
        _refuse_another(out, wanted, found)
        if found.get("source_path") != wanted["source_path"]:
            _refuse_a_loss(source, out, found, keys())
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: exists and is not a corpus; {_ELSEWHERE}")
    write_json(out / folder.MARKER, wanted)
    (out / "corpus.json").unlink(missing_ok=True)
    return wanted


def _begun(out: Path) -> dict[str, Any] | None:
    """Return what the mark or corpus.json of a folder says; None where there is neither."""
    found = (place for place in (out / folder.MARKER, out / "corpus.json") if place.is_file())
    place = next(found, None)
    return read_json(place) if place else None


def _refuse_another(out: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    if found.get("source") != wanted["source"]:
        raise CorpusError(f"{out}: holds a corpus of '{found.get('source')}', not '{wanted['source']}'; {_ELSEWHERE}")
    if found.get("audio") != wanted["audio"]:
        rate, asked = (facts.get("audio", {}).get("sample_rate") for facts in (found, wanted))
        raise CorpusError(f"{out}: was made at {rate} Hz, not {asked}, or with other bands; {_ELSEWHERE}")
    before, tracker = found.get("pitch_tracker", OLD_TRACKER), wanted["pitch_tracker"]
    if before != tracker:
        raise CorpusError(f"{out}: its pitch is by '{before}', not '{tracker}': leave the tracker out, or {_ELSEWHERE}")


def _refuse_a_loss(source: Path, out: Path, found: dict[str, Any], keys: Mapping[str, str]) -> None:
    """Refuse a source of another path if going on would remove or replace what the folder holds."""
    held = sorted(path.stem for path in (out / "ground_truth").glob("*.safetensors") if not path.name.startswith("."))
    gone = [name for name in held if name not in keys]
    # corpora made before paths were kept say only a name: their texts may have been mended since
    known = "source_path" in found
    other = [name for name in held if known and name in keys and not _made_by(out, name, keys[name])]
    if gone or other:
        why = "is not there" if gone else "is another recording or text there"
        before = found.get("source_path", f"another '{found.get('source')}'")
        raise CorpusError(
            f"{out}: holds a corpus of {before}, not of {source.resolve()}: {(gone or other)[0]} {why}, and "
            f"{len(gone) + len(other)} of {len(held)} utterances would be lost; {_ELSEWHERE}"
        )


def _made_by(out: Path, name: str, key: str) -> bool:
    return folder.read_keys(out / "ground_truth" / f"{name}.safetensors")[0] == key
