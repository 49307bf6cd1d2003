"""A JSON file for each recording, as AI Hub has them: nested, the text under one of several names.

The recording is the one that the JSON names, or that has the JSON file's own name.
"""

import json
from pathlib import Path

from malsori.errors import CorpusError
from malsori.readers.columns import header_roles, is_reading
from malsori.readers.files import Tree, read_text
from malsori.readers.json_rows import flattened, looks_like_manifest
from malsori.readers.records import Found, Note, Refusal, Utterance, to_nfc, utterance


def label_files(tree: Tree) -> list[Path]:
    """Return the JSON files that may each be about one recording."""
    files = [path for path in tree.files if path.suffix.lower() == ".json" and not looks_like_manifest(path)]
    return [path for path in files if _labels(path)]


def read_labels(tree: Tree) -> Found:
    """Yield the utterance of each JSON file, and the recordings that none is about."""
    used: set[Path] = set()
    names: dict[str, None] = {}
    for path in label_files(tree):
        found = _read(path, tree, names)
        if isinstance(found, Utterance):
            used.add(found.audio_path)
        yield found
    for sound in tree.sounds.paths():
        if sound not in used:
            yield Refusal(to_nfc(sound.stem), "no transcript", f"{sound}: no JSON file is about it")
    yield Note(f"{tree.root}: a JSON file for each recording, of which were taken: {', '.join(names)}")


def _labels(path: Path) -> dict[str, str]:
    """Return an object's values by name if one is a text, else nothing."""
    try:
        values = json.loads(read_text(path))
    except (ValueError, RecursionError, CorpusError):
        return {}
    found = flattened(values) if isinstance(values, dict) else {}
    return found if {"text", "spoken"} & set(_roles(found).values()) else {}


def _roles(labels: dict[str, str]) -> dict[str, str]:
    """Return the role that each name says, "" for none; a text alone is enough."""
    return dict(zip(labels, header_roles((*labels, "")) or (), strict=False))


def _read(path: Path, tree: Tree, names: dict[str, None]) -> Utterance | Refusal:
    labels = _labels(path)
    roles = _roles(labels)
    by_role: dict[str, str] = {}
    for name, role in roles.items():
        if role and labels[name].strip():
            if role not in by_role:
                names[f"{name} ({role})"] = None
            by_role.setdefault(role, labels[name])
    try:
        named = [value for name, value in labels.items() if roles[name] == "path"]
        found = [tree.sounds.find(name, path.parent) for name in (*named, path.stem)]
    except CorpusError as error:
        return Refusal(to_nfc(path.stem), "several recordings of that name", f"{path}: {error}")
    sound = next((one for one in found if one), None)
    if sound is None:
        return Refusal(to_nfc(path.stem), "no recording", f"{path}: no sound file '{(*named, path.stem)[0]}'")
    written = by_role.get("text") or by_role.get("spoken", "")
    spoken = by_role.get("spoken", written)
    spoken = spoken if is_reading(written, spoken) else written
    return utterance(sound, written, spoken, by_role.get("speaker") or path.resolve().parent.name)
