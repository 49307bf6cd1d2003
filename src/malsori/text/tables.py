"""The tables a linguist can edit: tab-separated files beside this module, read once, the first time they are needed."""

from functools import cache
from pathlib import Path

from malsori.errors import TextError
from malsori.text.hangul import to_nfc

_FOLDER = Path(__file__).parent


def read_rows(path: Path, columns: int) -> list[tuple[str, ...]]:
    """Return the rows of a tab-separated file, as `numbered_rows` does, without their lines."""
    return list(numbered_rows(path, columns).values())


def numbered_rows(path: Path, columns: int) -> dict[int, tuple[str, ...]]:
    """Return the rows of a tab-separated file by the number of their line, padded with '' to the number of columns.

    Empty lines and lines that begin with '# ' are comments.

    Raises: TextError naming file and line if a row has no second column or too many, or the file cannot be read.
    """
    try:
        lines = to_nfc(path.read_text(encoding="utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"{path}: cannot be read as a UTF-8 table: {error}") from error
    rows = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("# "):
            continue
        cells = line.split("\t")
        if not 2 <= len(cells) <= columns:
            raise TextError(f"{path}:{number}: {line!r} has {len(cells)} columns; accepted: 2 to {columns}, by tabs.")
        rows[number] = (cells[0].strip(), cells[1].strip(), *cells[2:], *[""] * (columns - len(cells)))
    return rows


@cache
def table(name: str, columns: int = 2) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a table that comes with malsori, by file name."""
    return tuple(read_rows(_FOLDER / name, columns))


@cache
def words(name: str) -> frozenset[str]:
    """Return one list of the table of patterns; a space inside a word is written _ there."""
    return frozenset(word.replace("_", " ") for word in mapping("patterns.tsv")[name].split())


@cache
def choice(name: str) -> str:
    """Return a regular expression that matches any word of one list of the table of patterns, longest first."""
    return f"(?:{'|'.join(sorted(words(name), key=lambda word: (-len(word), word)))})"


@cache
def mapping(name: str) -> dict[str, str]:
    """Return a table that comes with malsori as a mapping from its first column to its second."""
    return {row[0]: row[1] for row in table(name, 3)}
