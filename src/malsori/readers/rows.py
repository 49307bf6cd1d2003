"""The rows of a table file: which sign parts its columns, and quoting, by what its lines hold."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from malsori.errors import CorpusError
from malsori.readers.columns import is_reading
from malsori.readers.files import NAMED_SUFFIXES, lines_of, read_text
from malsori.readers.records import Refusal

#: Signs between columns, and how messages name them.
SEPARATORS = {"|": "'|'", "\t": "tabs", ",": "commas", ";": "semicolons", " ": "the first space"}

_BAR_IN_TEXT = re.compile(r"(?<=\S) +\| +(?=\S)")
_BAR = "\ue000"  # stands for a bar that is text; private use, in no corpus


@dataclass(frozen=True)
class TableRow:
    """One line of a table: where it begins, and its cells."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of a table, those lines that are none, and what was done that a reader should know."""

    separator: str
    rows: tuple[TableRow, ...]
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    def usual(self) -> int:
        """How many cells most rows have; of equally frequent numbers, the one that comes first."""
        return Counter(len(row.cells) for row in self.rows).most_common(1)[0][0] if self.rows else 0


def find_separator(lines: Sequence[str], is_sound: Callable[[str], bool]) -> tuple[str, int]:
    """Return the sign that parts the columns of lines ("" for none), and in how many lines a cell names a sound."""
    best, most = "", -1
    for separator in SEPARATORS:
        rows = [_cells(line, separator) for line in lines]
        parted = [row for row in rows if len(row) > 1 and (separator != " " or _is_path(row[0]) or is_sound(row[0]))]
        if 2 * len(parted) < len(lines) or not lines:
            continue
        found = sum(any(is_sound(cell) for cell in row) for row in parted)
        if found > most:
            best, most = separator, found
    return best, max(0, most)


def read_rows(table: Path, is_sound: Callable[[str], bool]) -> Rows:
    """Return the rows of a table file.

    Raises: CorpusError if it is no text, or nothing parts its columns.
    """
    text = read_text(table)
    lines = lines_of(text)
    separator, _ = find_separator([line for line in lines if line.strip()][:200], is_sound)
    if not separator:
        raise CorpusError(f"{table}: nothing parts the columns; {', '.join(SEPARATORS.values())} are accepted")
    if separator in ",;":
        return _quoted_rows(table, text, separator)
    notes = []
    if separator == "|" and _bars_are_text(lines):
        lines = [_BAR_IN_TEXT.sub(_BAR, line) for line in lines]
        notes.append("bars with spaces around them are text")
    rows = (TableRow(number, _cells(line, separator)) for number, line in enumerate(lines, 1) if line.strip())
    return Rows(separator, tuple(rows), (), tuple(notes))


def _quoted_rows(table: Path, text: str, separator: str) -> Rows:
    """Return the rows of a CSV file; where its quotes do not pair, each line is one for itself."""
    try:
        return Rows(separator, tuple(_parsed(text, separator)))
    except csv.Error:
        pass
    rows, refused = [], []
    for number, line in enumerate(lines_of(text), start=1):
        try:
            rows += [TableRow(number, row.cells) for row in _parsed(line, separator)]
        except csv.Error as error:
            detail = f"{table}:{number}: {error}: {line:.60}"
            refused.append(Refusal(f"{table.name}:{number}", "not a table line", detail))
    return Rows(separator, tuple(rows), tuple(refused), ("its quotes do not pair: read line by line",))


def _parsed(text: str, separator: str) -> Iterator[TableRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield TableRow(number, tuple(cells))
        number = reader.line_num + 1


def _cells(line: str, separator: str) -> tuple[str, ...]:
    if separator in ",;":
        try:
            return tuple(next(csv.reader([line], delimiter=separator), []))
        except csv.Error:
            return tuple(line.split(separator))
    if separator == " ":
        return tuple(line.strip().split(None, 1))
    return tuple(_unquoted(cell).replace(_BAR, " | ") for cell in line.split(separator))


def _unquoted(cell: str) -> str:
    """Return a cell without quotes around it, as spreadsheets write them: those inside are doubled."""
    inner = cell.strip()[1:-1]
    quoted = len(cell.strip()) > 1 and cell.strip()[0] == cell.strip()[-1] == '"'
    return inner.replace('""', '"') if quoted and '"' not in inner.replace('""', "") else cell


def _bars_are_text(lines: Sequence[str]) -> bool:
    """Return whether bars with spaces stand in texts: the first bar of a line has none, and no reading follows."""
    with_more = [line for line in lines if line.count("|") > 1]
    spaced = [line for line in with_more if line.count("|") == len(_BAR_IN_TEXT.findall(line)) + 1]
    tight = [line for line in spaced if not re.match(r"[^|]* \||[^|]*\| ", line)]
    if not tight:
        return False
    parts = [[part.strip() for part in line.split("|")] for line in tight[:50]]
    return 2 * sum(is_reading(part[1], part[2]) for part in parts) < len(parts)


def _is_path(cell: str) -> bool:
    return cell.lower().endswith(NAMED_SUFFIXES)
