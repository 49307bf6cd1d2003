"""What every reader yields: utterances, and what cannot be one, with the reason."""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNDECODED = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Utterance:
    """One recording with its text; texts are NFC, their spaces single. The split is "" where the source names none."""

    id: str
    audio_path: Path
    written: str
    spoken: str
    speaker: str
    split: str = ""


@dataclass(frozen=True)
class Refusal:
    """Something in the source that cannot be used: its id, the reason (one of few), and the particulars."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Note:
    """What a reader tells about how it read a folder or a table: the columns taken, what was passed over."""

    text: str


Found = Iterator[Utterance | Refusal | Note]


def utterance(path: Path, written: str, spoken: str, speaker: str, split: str = "") -> Utterance:
    """Return the utterance of a sound file, its texts and names composed; `spoken` is what is learnt."""
    written, spoken = (" ".join(to_nfc(text).split()) for text in (written, spoken))
    return Utterance(to_nfc(path.stem), path, written or spoken, spoken, to_nfc(speaker), split)


def text_key(text: str) -> str:
    """Return a text reduced to its letters and digits: two that differ only in spaces, marks or case are one text.

    >>> text_key("네, 그래요!") == text_key("네 그래요.")
    True
    """
    return "".join(sign for sign in to_nfc(text).casefold() if sign.isalnum())


def to_nfc(text: str) -> str:
    """Return a text, a name or a path in Unicode normal form C.

    A part of a path whose bytes are not UTF-8 is read as CP949, which is what archives made on a Korean Windows hold,
    or shows those bytes by their numbers.
    """
    if _UNDECODED.search(text):
        text = "/".join(map(_decoded, text.split("/")))
    return unicodedata.normalize("NFC", text)


def _decoded(part: str) -> str:
    """Return a name that Python could not decode, and keeps as surrogates, as text; another is returned as it is."""
    try:
        content = os.fsencode(part)
    except UnicodeEncodeError:  # surrogates of another kind
        return part
    try:
        return content.decode("cp949")
    except UnicodeDecodeError:
        return content.decode("utf-8", "backslashreplace")
