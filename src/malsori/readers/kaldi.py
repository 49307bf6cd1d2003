"""Kaldi's data folders: wav.scp (recording → file or command), text and utt2spk (utterance → text, → speaker)."""

from dataclasses import replace
from pathlib import Path

from malsori.errors import CorpusError
from malsori.readers.files import Tree, table_lines
from malsori.readers.records import Found, Note, Refusal, to_nfc, utterance

_FILES = {"wav.scp", "text"}


def kaldi_folders(tree: Tree) -> list[Path]:
    """Return the folders that hold both wav.scp and text."""
    names: dict[Path, set[str]] = {}
    for path in tree.files:
        if path.name in _FILES:
            names.setdefault(path.parent, set()).add(path.name)
    return [folder for folder, found in names.items() if found == _FILES]


def read_kaldi(tree: Tree) -> Found:
    """Yield the utterance of each line of every text file; parts of recordings (segments) are refused, one by one."""
    files = set(tree.files)
    for folder in kaldi_folders(tree):
        columns: dict[str, dict[str, str]] = {}
        for name in ("wav.scp", "text", "utt2spk", "segments"):
            columns[name] = {}
            for found in table_lines(folder / name) if folder / name in files else ():
                if isinstance(found, Refusal):
                    yield found
                else:
                    key, _, rest = found[1].strip().replace("\t", " ").partition(" ")
                    columns[name][key] = rest.strip()
        yield Note(f"{folder}: Kaldi's wav.scp and text{', utt2spk' if columns['utt2spk'] else ''}")
        for key, text in columns["text"].items():
            place = f"{folder / 'text'}: '{key}'"
            if key in columns["segments"]:
                yield Refusal(to_nfc(key), "a part of a recording", f"{place}: cut it out as the file segments says")
            elif (named := columns["wav.scp"].get(key)) is None:
                yield Refusal(to_nfc(key), "no recording", f"{place}: wav.scp has no line '{key}'")
            elif (path := _sound(tree, named, folder)) is None:
                yield Refusal(to_nfc(key), "no recording", f"{place}: no sound file '{named}'")
            else:
                speaker = columns["utt2spk"].get(key, folder.resolve().name)
                yield replace(utterance(path, text, text, speaker), id=to_nfc(key))


def _sound(tree: Tree, named: str, folder: Path) -> Path | None:
    """Return the sound file of a line of wav.scp: a path, or a command ending in '|' that names one."""
    for word in (named, *named.split()):
        try:
            path = tree.sounds.find(word, folder)
        except CorpusError:
            path = None
        if path is not None:
            return path
    return None
