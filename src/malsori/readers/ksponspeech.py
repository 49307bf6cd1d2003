"""KsponSpeech's lists: *.trn, a line `FOLDER/ID.pcm :: transcription` each, with marks in the transcriptions.

(70%)/(칠십 퍼센트)   as written / as spoken
b/ n/ l/ o/ u/       breath, noise, laughter, another's voice, not understood: removed
아/  그+  뭐*         a filler, a word begun again, a word hard to hear: only the mark is removed
"""

import re
from pathlib import Path

from malsori.errors import CorpusError
from malsori.readers.files import Tree, table_lines
from malsori.readers.records import Found, Note, Refusal, utterance
from malsori.readers.tables import sound_id, split_of

_PAIR = re.compile(r"\(([^()]*)\)\s*/\s*\(([^()]*)\)")
_NOISE = re.compile(r"(?<![\w가-힣])[bnlou]/", re.IGNORECASE)


def trn_files(tree: Tree) -> list[Path]:
    """Return the lists below a folder."""
    return [path for path in tree.files if path.suffix.lower() == ".trn"]


def as_written_and_spoken(transcription: str) -> tuple[str, str]:
    """Return a transcription without its marks, as it is written and as it is spoken.

    >>> as_written_and_spoken("b/ 아/ (70%)/(칠십 퍼센트) 그+ 그래요. n/")
    ('아 70% 그 그래요.', '아 칠십 퍼센트 그 그래요.')
    """
    return _plain(_PAIR.sub(r"\1", transcription)), _plain(_PAIR.sub(r"\2", transcription))


def read_ksponspeech(tree: Tree) -> Found:
    """Yield the utterance of each line of every list; the speakers are not known, and are one."""
    for table in trn_files(tree):
        yield Note(
            f"{table}: KsponSpeech's transcriptions, as spoken; its marks are removed, the speakers are not known"
        )
        for found in table_lines(table):
            if isinstance(found, Refusal):
                yield found
                continue
            number, line = found
            name, parted, text = line.partition("::")
            place = f"{table}:{number}"
            try:
                path = tree.sounds.find(name, table.parent)
            except CorpusError as error:
                yield Refusal(sound_id(name), "several recordings of that name", f"{place}: {error}")
                continue
            if not parted:
                yield Refusal(f"{table.name}:{number}", "not a table line", f"{place}: no '::' in '{line:.60}'")
            elif path is None:
                yield Refusal(sound_id(name), "no recording", f"{place}: no sound file '{name.strip()}'")
            else:
                yield utterance(path, *as_written_and_spoken(text), "ksponspeech", split_of(table))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[/+*]", "", _NOISE.sub(" ", text)).split())
