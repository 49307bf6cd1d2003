"""Parquet as data sets of the Hugging Face hub have it: a row a recording, its sound as bytes in the row.

The other columns are read as a table's (`malsori.readers.tables`); a sound without a name takes the file's and its row.
Where no column holds bytes, one names sound files, which are looked for as a table's are.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from malsori.audio.stored import PARQUET, UNREADABLE, open_parquet, sound_column, stored_path
from malsori.errors import CorpusError
from malsori.readers.files import Tree
from malsori.readers.records import Found, Note, Refusal, to_nfc
from malsori.readers.rows import Rows, TableRow
from malsori.readers.tables import utterances_of


@dataclass(frozen=True)
class StoredSounds:
    """The sounds in the rows of a Parquet file, which its table names by their row's number."""

    by_row: dict[str, Path]

    def find(self, name: str, beside: Path) -> Path | None:
        """Return the path of the sound in a row; None where there is none."""
        return self.by_row.get(name)


def parquet_files(tree: Tree) -> list[Path]:
    """Return the Parquet files below a folder."""
    return [path for path in tree.files if path.suffix.lower() == PARQUET]


def read_parquet(tree: Tree) -> Found:
    """Yield the utterance of each row of every Parquet file.

    Raises: CorpusError if none of them is of recordings and texts; MissingExtraError without pyarrow.
    """
    faults: list[CorpusError] = []
    for path in (paths := parquet_files(tree)):
        try:
            yield from list(_utterances(path, tree))
        except CorpusError as error:  # of something else, beside those of recordings
            faults.append(error)
    if faults and len(faults) == len(paths):
        raise faults[0]
    yield from (Note(f"not read: {error}") for error in faults)


def _utterances(path: Path, tree: Tree) -> Found:
    try:
        file = open_parquet(path)
        found = sound_column(file.schema_arrow)
        cells = _cells(file, found[0] if found else "")
        names = _names(file, *found) if found else []
    except UNREADABLE as error:
        yield Refusal(to_nfc(path.name), "table cannot be read", f"{path}: {error}".splitlines()[0])
        return
    if not found:
        yield from utterances_of(path, Rows("", tuple(TableRow(*row) for row in enumerate(cells))), tree.sounds)
        return
    stored = StoredSounds({f"#{row}": stored_path(path, row, _name(path, row, name)) for row, name in enumerate(names)})
    numbered = (("audio", *cells[0]), *((f"#{row}", *line) for row, line in enumerate(cells[1:])))
    yield from utterances_of(path, Rows("", tuple(TableRow(*row) for row in enumerate(numbered))), stored)


def _cells(file: Any, but: str) -> list[tuple[str, ...]]:
    """Return the names of the columns that hold texts, numbers and names, and below them what each row holds."""
    import pyarrow.types as kinds

    tests = (kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_floating, kinds.is_dictionary)
    plain = [column.name for column in file.schema_arrow if any(test(column.type) for test in tests)]
    columns = file.read(columns=[name for name in plain if name != but]).to_pydict()
    rows = zip(*columns.values(), strict=True)
    return [tuple(columns), *(tuple("" if value is None else str(value) for value in row) for row in rows)]


def _names(file: Any, column: str, named: bool) -> list[str | None]:
    """Return the name beside each row's sound; None where there is none."""
    if not named:
        return [None] * int(file.metadata.num_rows)
    pairs = file.read(columns=[f"{column}.path"]).column(0).to_pylist()
    return [pair and pair["path"] for pair in pairs]


def _name(table: Path, row: int, named: str | None) -> str:
    last = PurePosixPath((named or "").replace("\\", "/")).name
    return last if last.strip(".") else f"{table.stem.replace('.', '_')}-{row:07d}.bin"
