"""Tables of recordings: a line names a sound file and its text, and perhaps a speaker, a reading, a split.

    FILE|text  FILE|text|reading  FILE|speaker|text  FILE|speaker|language|text    LJSpeech, KSS, Piper, VITS ...
    CSV and TSV, with a header or without, quoted or not                           Common Voice, audiofolder, F5-TTS
    JSON, an object a line or a list of them                                       NeMo, Hugging Face, ClovaCall
    FILE text                                                                      a path, a space, the text

Which column is which is decided by what stands in it, and said (`malsori.readers.columns`).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from malsori.errors import CorpusError
from malsori.readers.columns import SPLIT_NAMES, Columns, decide_columns, header_roles, is_reading
from malsori.readers.files import NAMED_SUFFIXES, SoundIndex, Tree, head_of, lines_of, why_unread
from malsori.readers.json_rows import JSON_ENDINGS, looks_like_manifest, read_json_rows
from malsori.readers.records import Found, Note, Refusal, Utterance, to_nfc, utterance
from malsori.readers.rows import SEPARATORS, Rows, TableRow, find_separator, read_rows


@runtime_checkable
class Sounds(Protocol):
    """What a table's names of sounds lead to."""

    def find(self, name: str, beside: Path) -> Path | None:
        """Return the path of the sound that a table in the folder `beside` names; None where there is none."""


_ENDINGS = (".csv", ".tsv", ".txt", ".list", ".lst", ".psv", ".tab")
_USUAL_STEMS = ("metadata", "transcript", "filelist", "train", "val", "dev", "test", "esd", "script", "validated")
_NO_TABLES = ("readme", "license", "licence", "notice", "speakers", "speaker-info", "requirements", "changelog")
_NO_SPEAKER_FOLDERS = {"filelists", "filelist", "metadata", "lists", "manifests", "data"}
_FEW = 12  # text files of a folder: of more, each is the text of one recording
_SHOWN = 3  # lines in a message


def table_files(tree: Tree, any_name: bool = False) -> list[Path]:
    """Return the files that may be tables of sound files, those of a split first: by name, and by their first lines.

    With any_name, whatever has columns is one.
    """
    texts = Counter(path.parent for path in tree.files if path.suffix.lower() == ".txt")
    found = [
        path for path in tree.files if _may_be_table(path, texts) and _looks_like_table(path, tree.sounds, any_name)
    ]
    return sorted(found, key=lambda path: (not split_of(path), str(path)))


def split_of(table: Path) -> str:
    """Return the split that a table's name or its folder's says, "" for none: train.txt, val/metadata.jsonl.

    >>> split_of(Path("filelists/ko_val.list"))
    'dev'
    """
    words = to_nfc(table.stem).casefold().replace("-", "_").replace(".", "_").split("_")
    words.append(table.parent.name.casefold())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")


def read_tables(tree: Tree, columns: Columns | None = None, any_name: bool = False) -> Found:
    """Yield what every table below a folder tells; a recording that two lines name with the same text is one.

    Args:
        columns: what each column is, where a user says it.
        any_name: as in table_files.
    Raises: CorpusError if a table's text column cannot be told from another.
    """
    seen: dict[Path, str] = {}
    tables = table_files(tree, any_name)
    spare = [path for path in tables if _is_spare(path, tables)]
    faults: list[CorpusError] = []
    for path in (path for path in tables if path not in spare):
        repeated = 0
        try:
            found = list(read_table(path, tree.sounds, columns))
        except CorpusError as error:  # a table of something else, such as lengths, beside the one of texts
            faults.append(error)
            continue
        for item in found:
            before = seen.get(item.audio_path) if isinstance(item, Utterance) else None
            if not isinstance(item, Utterance) or before is None:
                yield item
                seen |= {item.audio_path: item.spoken} if isinstance(item, Utterance) else {}
            elif before == item.spoken:
                repeated += 1
            else:
                yield Refusal(item.id, "two texts for one recording", f"{path}: '{item.spoken}', before '{before}'")
        if repeated:
            yield Note(f"{path}: {repeated} lines name a recording again with the same text")
    if faults and not seen:
        raise faults[0]
    yield from (Note(f"not read: {error}") for error in faults)
    if spare:
        yield Note(f"not read, as the splits stand beside them: {', '.join(map(str, spare))}")


def read_table(table: Path, sounds: SoundIndex, columns: Columns | None = None) -> Found:
    """Yield what each line of one table tells, and first how it was read.

    Args:
        sounds: where the sound files lie.
        columns: as in read_tables.
    Raises: as read_tables.
    """
    try:
        is_json = table.suffix.lower() in JSON_ENDINGS
        rows = read_json_rows(table) if is_json else read_rows(table, _sound_test(sounds, table))
    except CorpusError as error:
        yield Refusal(to_nfc(table.name), why_unread(error), str(error))
        return
    yield from utterances_of(table, rows, sounds, columns)


def utterances_of(table: Path, rows: Rows, sounds: Sounds, columns: Columns | None = None) -> Found:
    """Yield what each row of a table tells, and first how it is read; arguments and errors as `read_table`."""
    read = _decided(table, rows, columns, _sound_test(sounds, table))
    yield Note(read.described())
    yield from rows.refused
    for row in read.body:
        yield _from_row(read, row, sounds)


@dataclass(frozen=True)
class _Table:
    """A table whose columns are known; `body` is its rows without a header."""

    path: Path
    rows: Rows
    columns: Columns
    body: tuple[TableRow, ...]

    def described(self) -> str:
        """How the table is read, in words."""
        header = "a header, " if len(self.body) < len(self.rows.rows) else ""
        names = self.rows.rows[0].cells if header else ()
        notes = "".join(f"; {note}" for note in self.rows.notes)
        parted = f"{header}{SEPARATORS[self.rows.separator]} between columns" if self.rows.separator else self.kind
        return f"{self.path}: {parted}: {self.columns.described(names)}{notes}"

    @property
    def kind(self) -> str:
        """What a table without separators is."""
        return "JSON" if self.path.suffix.lower() in JSON_ENDINGS else self.path.suffix[1:].capitalize()

    @property
    def speaker(self) -> str:
        """Who speaks where no column says it: the table's folder, or the one around it."""
        folder = self.path.resolve().parent
        name = folder.name.casefold()
        return folder.parent.name if name in _NO_SPEAKER_FOLDERS or name in SPLIT_NAMES else folder.name


def _decided(table: Path, rows: Rows, columns: Columns | None, is_sound: Callable[[str], bool]) -> _Table:
    """Return a table with what its columns are. Raises: CorpusError, with its first lines, if none holds a text."""
    first = rows.rows[0].cells if rows.rows else ()
    named = header_roles(first) if first and not any(map(is_sound, first)) else None
    usual = len(first) if named else rows.usual()
    body = rows.rows[1:] if named else rows.rows
    whole = [row.cells for row in body if len(row.cells) == usual]
    try:
        taken = columns or decide_columns(whole, named, is_sound)
        if "text" not in taken.roles:
            raise CorpusError(
                f"no column holds a text ({taken.described()}); say what each is with --columns path,text"
            )
    except CorpusError as error:
        shown = " / ".join(" ".join(row.cells)[:80] for row in rows.rows[:_SHOWN])
        raise CorpusError(f"{table}: {error}; its first lines: {shown}") from error
    if columns is None and named is None and _is_other_header(body, is_sound):
        body = body[1:]
    return _Table(table, rows, taken, body)


def _is_other_header(body: tuple[TableRow, ...], is_sound: Callable[[str], bool]) -> bool:
    """Return whether a first line is a header in other words: it names no sound file, and all others do."""
    rest = body[1:21]
    if not body or any(map(is_sound, body[0].cells)):
        return False
    short = all(len(cell) <= 30 and " " not in cell.strip() for cell in body[0].cells)
    return short and len(rest) > 1 and all(any(map(is_sound, row.cells)) for row in rest)


def _from_row(table: _Table, row: TableRow, sounds: Sounds) -> Utterance | Refusal:
    place = f"{table.path}:{row.number}"
    roles, cells = table.columns.roles, row.cells
    needed = 1 + max(roles.index("path"), roles.index("text"))
    if len(cells) > len(roles) and table.rows.separator in ",; " and roles[-1] == "text":
        cells = (*cells[: len(roles) - 1], table.rows.separator.join(cells[len(roles) - 1 :]))  # commas in the text
    text = table.columns.cell(cells, "text")
    more = [cell.strip() for cell in cells[len(roles) :] if cell.strip()]  # readings that few lines have
    if len(cells) < needed or not all(is_reading(text, cell) for cell in more):
        detail = f"{place}: {len(cells)} columns, where {len(roles)} are usual"
        return Refusal(f"{table.path.name}:{row.number}", "not a table line", detail)
    name = table.columns.cell(cells, "path")
    try:
        path = sounds.find(name, table.path.parent)
    except CorpusError as error:
        return Refusal(sound_id(name), "several recordings of that name", f"{place}: {error}")
    if path is None:
        return Refusal(sound_id(name), "no recording", f"{place}: no sound file '{name}'")
    split = SPLIT_NAMES.get(table.columns.cell(cells, "split").casefold(), split_of(table.path))
    speaker = table.columns.cell(cells, "speaker") or table.speaker
    return utterance(path, text, table.columns.cell(cells, "spoken") or (*more, text)[0], speaker, split)


def _sound_test(sounds: Sounds, table: Path) -> Callable[[str], bool]:
    """Return a test of whether a cell of a table names a sound file, or several."""

    def is_sound(cell: str) -> bool:
        try:
            return 0 < len(cell) < 4096 and sounds.find(cell, table.parent) is not None
        except CorpusError:
            return True

    return is_sound


def sound_id(name: str) -> str:
    """Return the id that a table's name of a sound file would have."""
    last = PurePosixPath(to_nfc(name.strip()).replace("\\", "/")).name
    return next((last[: -len(suffix)] for suffix in NAMED_SUFFIXES if last.lower().endswith(suffix)), last)


def _may_be_table(path: Path, texts: Counter[Path]) -> bool:
    name = path.name.casefold()
    if (
        path.suffix.lower() not in (*_ENDINGS, *JSON_ENDINGS)
        or name.endswith(".trans.txt")
        or name.startswith(_NO_TABLES)
    ):
        return False
    return path.suffix.lower() != ".txt" or _has_usual_name(path) or texts[path.parent] <= _FEW


def _has_usual_name(path: Path) -> bool:
    return bool(split_of(path)) or path.stem.casefold().startswith(_USUAL_STEMS) or "filelist" in path.stem.casefold()


def _looks_like_table(path: Path, sounds: SoundIndex, any_name: bool) -> bool:
    """Return whether columns are parted in a file's first lines, and cells name sound files, or its name is usual."""
    if path.suffix.lower() in JSON_ENDINGS:
        return looks_like_manifest(path)
    lines = [line for line in lines_of(head_of(path)) if line.strip()][:50]
    separator, found = find_separator(lines, _sound_test(sounds, path))
    # a table of which no recording is there must still be told: its name or ending says what it is
    usual = any_name or _has_usual_name(path) or path.suffix.lower() == ".list"
    return bool(separator) and (3 * found >= len(lines) or (usual and (separator in "|\t," or not len(sounds))))


def _is_spare(path: Path, tables: list[Path]) -> bool:
    """Return whether Common Voice's splits stand beside a table of it, or it holds what was not accepted."""
    if path.suffix.lower() != ".tsv":
        return False
    beside = {table.name for table in tables if table.parent == path.parent}
    if path.stem in ("invalidated", "other", "reported", "validated_sentences", "unvalidated_sentences"):
        return bool(beside & {"train.tsv", "validated.tsv"})
    return path.stem == "validated" and "train.tsv" in beside
