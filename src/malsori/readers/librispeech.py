"""LibriSpeech's folders: SPEAKER/CHAPTER/*.trans.txt, a line `ID text` each, the sound files of any kind beside it."""

import re
from pathlib import Path

from malsori.readers.files import Tree, table_lines
from malsori.readers.records import Found, Refusal, to_nfc, utterance


def trans_files(tree: Tree) -> list[Path]:
    """Return the transcript files below a folder."""
    return [path for path in tree.files if path.name.endswith(".trans.txt")]


def read_librispeech(tree: Tree) -> Found:
    """Yield the utterance of each line of every transcript file."""
    for table in trans_files(tree):
        folders = table.parent.relative_to(tree.root).parts
        # SPEAKER/CHAPTER/*.trans.txt, perhaps inside train-clean-100 and the like.
        speaker = folders[-2] if len(folders) > 1 else folders[0] if folders else tree.root.resolve().name
        if (
            folders and re.split(r"[-_.]", table.name)[0] == folders[-1]
        ):  # Zeroth: SCRIPT/SPEAKER/SPEAKER_SCRIPT.trans.txt
            speaker = folders[-1]
        for found in table_lines(table):
            if isinstance(found, Refusal):
                yield found
                continue
            name, _, text = found[1].strip().partition(" ")
            path = tree.sounds.find(name, table.parent)
            if path is not None and path.parent == table.parent:
                yield utterance(path, text, text, speaker)
            else:
                yield Refusal(to_nfc(name), "no recording", f"{table}: no sound file '{name}' beside it")
