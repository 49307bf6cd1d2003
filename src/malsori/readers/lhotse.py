"""lhotse's manifests, JSON lines plain or gzipped: recordings beside supervisions, or cuts, which hold both.

    recordings  {"id", "sources": [{"type", "source"}], "sampling_rate", "duration"}
    supervisions  {"id", "recording_id", "start", "duration", "text", "speaker", "custom"}
    cuts  {"id", "start", "duration", "supervisions": [...], "recording": {...}, "type": "MonoCut"}

Source: lhotse's documentation, 'Corpus representation' (https://lhotse.readthedocs.io/en/latest/corpus.html).
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from malsori.errors import CorpusError
from malsori.readers.files import Tree, head_of, lines_of
from malsori.readers.json_rows import manifest_of_lhotse
from malsori.readers.records import Found, Note, Refusal, Utterance, to_nfc, utterance
from malsori.readers.tables import split_of

_ENDINGS = (".jsonl", ".jsonl.gz")
_SLACK_SECONDS = 0.1  # by which a supervision of the whole recording may be shorter


def lhotse_files(tree: Tree) -> list[Path]:
    """Return the manifests below a folder that hold texts: cuts and supervisions."""
    return [path for path in tree.files if _kind(path) in ("cuts", "supervisions")]


def read_lhotse(tree: Tree) -> Found:
    """Yield the utterance of each supervision; one of a part of a recording is refused, saying so."""
    recordings: dict[str, dict[str, Any]] = {}
    for path in (path for path in tree.files if _kind(path) == "recordings"):
        for found in _lines(path):
            if isinstance(found, Refusal):
                yield found
            else:
                recordings[str(found.get("id"))] = found
    for path in lhotse_files(tree):
        yield Note(f"{path}: lhotse's {_kind(path)}")
        for found in _lines(path):
            yield from [found] if isinstance(found, Refusal) else _spoken(tree, path, found, recordings)


def _spoken(tree: Tree, path: Path, line: dict[str, Any], recordings: dict[str, dict[str, Any]]) -> Found:
    """Yield what a line of a manifest says: a cut may hold several supervisions."""
    is_cut = "recording_id" not in line
    supervisions = line.get("supervisions") if is_cut else [line]
    if not supervisions:
        yield Refusal(to_nfc(str(line.get("id"))), "no text", f"{path}: the cut has no supervision")
    for said in supervisions or ():
        recording = line.get("recording") if is_cut else recordings.get(str(said.get("recording_id")))
        begin = float(line.get("start", 0)) + float(said.get("start", 0)) if is_cut else float(said.get("start", 0))
        yield _utterance(tree, path, said, recording, begin)


def _utterance(
    tree: Tree, path: Path, said: dict[str, Any], recording: dict[str, Any] | None, begin: float
) -> Utterance | Refusal:
    name, place = to_nfc(str(said.get("id"))), f"{path}: '{said.get('id')}'"
    if recording is None:
        return Refusal(name, "no recording", f"{place}: no manifest has its recording '{said.get('recording_id')}'")
    sources = recording.get("sources") or [{}]
    if len(sources) > 1 or sources[0].get("type") != "file":
        return Refusal(name, "no recording", f"{place}: its sound is no single file but {sources[0].get('type')!r}")
    seconds = float(said.get("duration", 0))
    if begin > _SLACK_SECONDS or begin + seconds < float(recording.get("duration", 0)) - _SLACK_SECONDS:
        part = f"{begin:.2f} to {begin + seconds:.2f} s of {recording.get('duration')}"
        return Refusal(name, "a part of a recording", f"{place}: {part}; write it with lhotse's save_audios first")
    try:
        sound = tree.sounds.find(str(sources[0].get("source")), path.parent)
    except CorpusError as error:
        return Refusal(name, "several recordings of that name", f"{place}: {error}")
    if sound is None:
        return Refusal(name, "no recording", f"{place}: no sound file '{sources[0].get('source')}'")
    text, custom = str(said.get("text") or ""), said.get("custom") or {}
    speaker = str(said.get("speaker") or path.resolve().parent.name)
    return replace(utterance(sound, str(custom.get("written") or text), text, speaker, split_of(path)), id=name)


def _kind(path: Path) -> str:
    """Return which manifest a file is, by its first line; "" if it is none."""
    if not path.name.lower().endswith(_ENDINGS):
        return ""
    first = next(iter(lines_of(_head(path))), "")
    try:
        return manifest_of_lhotse(json.loads(first))
    except (ValueError, RecursionError):
        return ""


def _head(path: Path) -> str:
    if path.suffix.lower() != ".gz":
        return head_of(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.readline(1 << 20)
    except (OSError, EOFError, ValueError, zlib.error):
        return ""


def _lines(path: Path) -> Iterator[dict[str, Any] | Refusal]:
    """Yield the objects of a manifest, and a refusal for what is none."""
    opened, number = gzip.open if path.suffix.lower() == ".gz" else open, 1
    try:
        with opened(path, "rb") as file:
            for line in file:
                found = json.loads(line) if line.strip() else None
                if isinstance(found, dict):
                    yield found
                number += 1
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        yield Refusal(f"{to_nfc(path.name)}:{number}", "manifest is damaged", f"{path}:{number}: {error}")
