"""The closed alphabets that models are trained on: sounded phonemes for speaking, written jamo for recognizing.

Ids are positions in a table and a saved model carries its table, so a table may grow only under a new version.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from malsori.errors import TextError
from malsori.files import write_json
from malsori.text.hangul import CODAS, NUCLEI, ONSETS

BLANK = "_"
START = "^"
SPACE = " "
PAUSE = ","
SENTENCE_ENDS = (".", "?", "!", "…")
SOUNDED_CODAS = "ㄱㄴㄷㄹㅁㅂㅇ"

#: A longer sentence is parted before it is spoken: at its last comma before, or else between two words.
MAX_PHONEMES = 400
#: Spoken sentences are joined with this much silence between them, beside that which each has at its ends.
BETWEEN_SENTENCES_SECONDS = 0.15


@dataclass(frozen=True)
class SymbolTable:
    """Symbols and their ids; symbol 0 is padding and the CTC blank."""

    kind: str
    version: str
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.symbols)) != len(self.symbols):
            raise TextError(f"symbol table {self.kind} {self.version}: a symbol stands twice; each may stand once.")

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    def encode(self, symbols: Iterable[str]) -> list[int]:
        """Return the ids of symbols. Raises: TextError naming an unknown symbol and its position."""
        ids = []
        for position, symbol in enumerate(symbols):
            if symbol not in self._index:
                raise TextError(
                    f"symbol {symbol!r} at position {position} is not in table {self.kind} {self.version}; "
                    f"accepted: {' '.join(self.symbols)}"
                )
            ids.append(self._index[symbol])
        return ids

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Return the symbols of ids. Raises: TextError naming an id outside the table."""
        for position, index in enumerate(ids):
            if not 0 <= index < len(self.symbols):
                raise TextError(
                    f"id {index} at position {position} is outside table {self.kind} {self.version}; "
                    f"accepted: 0 to {len(self.symbols) - 1}."
                )
        return [self.symbols[index] for index in ids]

    def save(self, path: Path) -> None:
        """Write the table as JSON; a reader sees the whole file or none."""
        content = {"kind": self.kind, "version": self.version, "symbols": list(self.symbols)}
        write_json(path, content)

    @staticmethod
    def load(path: Path) -> "SymbolTable":
        """Return the table saved at a path. Raises: TextError if it is missing or not a symbol table."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise TextError(f"{path}: no such symbol table.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise TextError(f"{path}: not JSON: {error}") from error
        if not isinstance(content, dict) or set(content) != {"kind", "version", "symbols"}:
            raise TextError(f"{path}: not a symbol table; accepted: an object with kind, version and symbols.")
        symbols = content["symbols"]
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise TextError(f"{path}: symbols must be a list of strings.")
        return SymbolTable(str(content["kind"]), str(content["version"]), tuple(symbols))


#: What a voice speaks. The silent onset keeps its place in the table and is never emitted.
PHONEMES = SymbolTable(
    "phonemes",
    "1",
    (BLANK, START, SPACE, PAUSE, *SENTENCE_ENDS, *ONSETS, *NUCLEI, *(f"-{coda}" for coda in SOUNDED_CODAS)),
)

#: What a recognizer writes.
JAMO = SymbolTable("jamo", "1", (BLANK, SPACE, *ONSETS, *NUCLEI, *(f"-{coda}" for coda in CODAS)))
