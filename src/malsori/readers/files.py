"""Files below a folder: walked once, without circles; texts read as they are; sound files found by any name of theirs.

A table names a sound file with or without its ending, in either case, in NFC or NFD, with slashes of either kind, by a
path of the machine that it was made on. What is found is the file whose last folders agree best.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from malsori.audio.io import RAW_SUFFIX, SOUND_SUFFIXES
from malsori.errors import CorpusError
from malsori.readers.records import Refusal, to_nfc

#: Endings of recordings in a corpus.
NAMED_SUFFIXES = (*SOUND_SUFFIXES, RAW_SUFFIX)

#: Folders that are never looked into: what an unpacker leaves, and lists of splits.
_SKIPPED_FOLDERS = {"__MACOSX", "splits"}

#: Files that mark a folder as malsori's own output, whose waves are no recordings.
_PREPARED = {"corpus.json", ".preparing.json"}

_DRIVE = re.compile(r"^(?:file://)?(?:[A-Za-z]:(?=/))?")

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@dataclass(frozen=True)
class Tree:
    """The files below a folder in order of name, and those sound files by name that are no ordinary files."""

    root: Path
    files: tuple[Path, ...]
    refused: tuple[Refusal, ...]
    sounds: "SoundIndex"


@dataclass
class SoundIndex:
    """The sound files below a folder, by their names without ending in one form and case."""

    by_name: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Enter a sound file."""
        self.by_name.setdefault(_name_key(path.name), []).append(path)

    def __len__(self) -> int:
        return sum(map(len, self.by_name.values()))

    def paths(self) -> Iterator[Path]:
        """Yield every sound file, in order of name."""
        yield from sorted(path for paths in self.by_name.values() for path in paths)

    def find(self, name: str, beside: Path) -> Path | None:
        """Return the sound file that a table in the folder `beside` names; None where there is none.

        Raises: CorpusError if several fit equally well.
        """
        clean = _DRIVE.sub("", to_nfc(name.strip()).replace("\\", "/"))
        wanted = PurePosixPath(clean)
        candidates = self.by_name.get(_name_key(wanted.name), []) if wanted.name else []
        if not candidates:
            return _on_disk(name.strip(), beside)
        ranked = sorted(candidates, key=lambda path: self._rank(path, wanted, beside), reverse=True)
        best = self._rank(ranked[0], wanted, beside)
        equal = [path for path in ranked if self._rank(path, wanted, beside)[:-1] == best[:-1]]
        if len({path.parent for path in equal}) > 1:
            raise CorpusError(f"'{name}' could be {equal[0]} or {equal[1]}; write the folder in front")
        return ranked[0]

    def _rank(self, path: Path, wanted: PurePosixPath, beside: Path) -> tuple[int, bool, bool, bool, int]:
        """Return how well a file fits: folders that agree, exact name, same ending, nearness; then the usual kind."""
        folders = [to_nfc(part).casefold() for part in path.parts[:-1]][::-1]
        asked = [part.casefold() for part in wanted.parts[:-1] if part not in ("/", ".", "..")][::-1]
        agreeing = next(
            (count for count, (one, other) in enumerate(zip(folders, asked, strict=False)) if one != other),
            min(len(folders), len(asked)),
        )
        exact = to_nfc(path.name) == wanted.name or to_nfc(path.stem) == wanted.name
        kind = path.suffix.lower() == wanted.suffix.lower()
        near = path.parent == beside or path.parent.parent == beside
        return agreeing, exact, kind, near, -NAMED_SUFFIXES.index(path.suffix.lower())


def walk(source: Path) -> Tree:
    """Return what lies below a folder; links to folders are followed, each folder is entered once.

    Raises: CorpusError if the folder is missing.
    """
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder; give a folder of recordings")
    files: list[Path] = []
    refused: list[Refusal] = []
    sounds = SoundIndex()
    for folder, names in _folders(source):
        for name in sorted(names):
            path = Path(folder, name)
            is_sound = path.suffix.lower() in NAMED_SUFFIXES
            kind = _kind(path)
            if kind:
                if is_sound:
                    refused.append(Refusal(to_nfc(path.stem), "not an ordinary file", f"{path}: is {kind}"))
                continue
            files.append(path)
            if is_sound:
                sounds.add(path)
    return Tree(source, tuple(files), tuple(refused), sounds)


def read_text(path: Path) -> str:
    """Return a text file's content, in UTF-8 or, with its byte-order mark, UTF-16, without the mark.

    Raises: CorpusError if it is no ordinary file, cannot be opened, or is in another encoding.
    """
    kind = _kind(path)
    if kind:
        raise CorpusError(f"{path}: is {kind}, not a text file")
    try:
        content = path.read_bytes()
        marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: byte {error.start} is not UTF-8; convert it, for instance with 'iconv -f cp949 -t utf-8'"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error


def lines_of(text: str) -> list[str]:
    r"""Return the lines of a text, ended by \n, \r\n or \r alone: U+2028 and U+0085 stand inside a line."""
    return re.split(r"\r\n|\n|\r", text)


def table_lines(table: Path) -> Iterator[tuple[int, str] | Refusal]:
    """Yield the lines that hold something, with their numbers, or one refusal where the file is not text."""
    try:
        lines = lines_of(read_text(table))
    except CorpusError as error:
        yield Refusal(to_nfc(table.name), why_unread(error), str(error))
        return
    yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def why_unread(error: CorpusError) -> str:
    """Return the reason of a refusal for what `read_text` raised."""
    return "text is not UTF-8" if "not UTF-8" in str(error) else "text cannot be opened"


def head_of(path: Path, size: int = 65536) -> str:
    """Return the beginning of a text file; "" where it is no ordinary file or no text."""
    if _kind(path):
        return ""
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except OSError:
        return ""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content[: len(content) // 2 * 2].decode("utf-16", errors="ignore")
    return "" if 50 * content.count(b"\0") > len(content) else content.decode("utf-8-sig", errors="ignore")


def _folders(source: Path) -> Iterator[tuple[str, list[str]]]:
    entered = set()
    for folder, folders, names in os.walk(source, followlinks=True):
        place = os.path.realpath(folder)
        if place in entered or (folder != str(source) and _PREPARED & set(names)):
            folders[:] = []
            continue
        entered.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        yield folder, [name for name in names if not name.startswith(".")]


def _kind(path: Path) -> str:
    """Return what a path is that is no ordinary file; "" if it is one."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return "a link to nothing" if path.is_symlink() else "no file"
    return next((kind for test, kind in _KINDS if test(mode)), "")


def _name_key(name: str) -> str:
    name = to_nfc(name).casefold()
    return next((name.removesuffix(suffix) for suffix in NAMED_SUFFIXES if name.endswith(suffix)), name)


def _on_disk(name: str, beside: Path) -> Path | None:
    """Return a sound file outside of the tree that a path leads to, from the root or from the table."""
    try:
        path = beside / name
        return path if path.suffix.lower() in NAMED_SUFFIXES and path.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a NUL
        return None
