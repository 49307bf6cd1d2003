"""Symbol tables: stable ids, exact round trips, files that are whole or absent."""

from pathlib import Path

import pytest

from malsori.errors import TextError
from malsori.text.symbols import JAMO, PHONEMES, SymbolTable


def test_ids_of_version_1_never_move() -> None:
    """Models in the world carry these ids; a change of any of them is a new version."""
    assert (len(PHONEMES), len(JAMO)) == (55, 69)
    assert PHONEMES.encode(["_", "^", " ", ",", ".", "?", "!", "…", "ㄱ", "ㅇ", "ㅎ", "ㅏ", "ㅣ", "-ㄱ", "-ㅇ"]) == [
        *range(9), 19, 26, 27, 47, 48, 54,
    ]  # fmt: skip
    assert JAMO.encode(["_", " ", "ㄱ", "ㅎ", "ㅏ", "ㅣ", "-ㄱ", "-ㅎ"]) == [0, 1, 2, 20, 21, 41, 42, 68]


@pytest.mark.parametrize("table", [PHONEMES, JAMO])
def test_a_saved_table_loads_as_itself(table: SymbolTable, tmp_path: Path) -> None:
    table.save(tmp_path / "symbols.json")
    assert SymbolTable.load(tmp_path / "symbols.json") == table
    assert [path.name for path in tmp_path.iterdir()] == ["symbols.json"]


def test_an_unknown_symbol_is_named_with_its_position() -> None:
    with pytest.raises(TextError, match="'ㄳ' at position 1"):
        PHONEMES.encode(["ㄱ", "ㄳ"])


@pytest.mark.parametrize("index", [-1, 55])
def test_an_id_outside_the_table_is_named(index: int) -> None:
    with pytest.raises(TextError, match=f"id {index} at position 0"):
        PHONEMES.decode([index])


@pytest.mark.parametrize("content", ["[]", "{", '{"kind": "x"}', '{"kind": "x", "version": "1", "symbols": [1]}'])
def test_a_file_that_is_no_table_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "symbols.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TextError, match=r"symbols\.json"):
        SymbolTable.load(path)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no such"):
        SymbolTable.load(tmp_path / "absent.json")


def test_a_symbol_stands_once() -> None:
    with pytest.raises(TextError, match="twice"):
        SymbolTable("x", "1", ("_", "a", "a"))
