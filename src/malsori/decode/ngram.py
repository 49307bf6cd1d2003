"""A language model over written jamo, counted from plain text: what a recognizer consults where the sound is unclear.

Interpolated Witten-Bell estimates (Witten and Bell 1991, The zero-frequency problem), kept as back-off tables:

    P(w | h) = (c(hw) + t(h) P(w | h')) / (c(h) + t(h))      t(h): different tokens seen after h; h': h less its oldest

A key packs up to nine ids of seven bits into one integer, so a table is sorted integers and two numbers each: small
on disk, and a look-up is a bisection.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from malsori.errors import ModelError, TextError
from malsori.files import atomic_file
from malsori.text.hangul import to_jamo
from malsori.text.symbols import JAMO

_BITS = 7
#: The longest n-gram whose ids fit into 63 bits.
MAX_ORDER = 9
#: The blank's id never stands in a text: here it marks where a text begins and ends.
_EDGE = 0


@dataclass(frozen=True)
class _NgramTable:
    """The n-grams of one order: sorted keys, log P(last | rest), and the back-off weight of the whole as a context."""

    keys: list[int]
    log_probs: list[float]
    backoffs: list[float]

    def find(self, key: int) -> int:
        """Return a key's place, or -1."""
        place = bisect_left(self.keys, key)
        return place if place < len(self.keys) and self.keys[place] == key else -1


class NgramModel:
    """Answers `decode.ctc.LanguageModel`; a state is the packed ids of the last order - 1 tokens, and their number."""

    def __init__(self, tables: list[_NgramTable]) -> None:
        self._tables = tables

    def __len__(self) -> int:
        return sum(len(table.keys) for table in self._tables)

    @property
    def order(self) -> int:
        """The length of the longest n-gram."""
        return len(self._tables)

    def start(self) -> tuple[int, int]:
        """Return the state before the first token."""
        return _EDGE, 1

    def step(self, state: tuple[int, int], token_id: int) -> tuple[float, tuple[int, int]]:
        """Return the log-probability of a token after a state, and the state behind the token."""
        packed, length = state
        kept = min(length + 1, self.order - 1)
        behind = ((packed << _BITS | token_id) & _mask(kept), kept)
        return self._log_prob(packed, length, token_id), behind

    def finish(self, state: tuple[int, int]) -> float:
        """Return the log-probability that the text ends after a state."""
        return self._log_prob(*state, _EDGE)

    def log_prob(self, text: str) -> float:
        """Return the log-probability of a whole text of Hangul and spaces."""
        state, total = self.start(), 0.0
        for token in JAMO.encode(to_jamo(text)):
            log_prob, state = self.step(state, token)
            total += log_prob
        return total + self.finish(state)

    def _log_prob(self, packed: int, length: int, token_id: int) -> float:
        penalty = 0.0
        for size in range(length, 0, -1):
            context = packed & _mask(size)
            place = self._tables[size].find(context << _BITS | token_id)
            if place >= 0:
                return penalty + self._tables[size].log_probs[place]
            place = self._tables[size - 1].find(context)
            penalty += self._tables[size - 1].backoffs[place] if place >= 0 else 0.0
        return penalty + self._tables[0].log_probs[token_id]


def count_model(texts: Iterable[str], order: int, min_count: int = 2) -> NgramModel:
    """Return the model of a text.

    Args:
        texts: sentences of Hangul and spaces.
        order: tokens in the longest n-gram, 2 to 9.
        min_count: n-grams of four tokens and more are kept from so many occurrences on.
    Raises: TextError if the order is out of range or there is no text.
    """
    if not 2 <= order <= MAX_ORDER:
        raise TextError(f"an order of {order} cannot be counted; 2 to {MAX_ORDER} can")
    lines = [JAMO.encode(to_jamo(text)) for text in texts]
    stream = np.array([_EDGE, *(token for line in lines if line for token in [*line, _EDGE])], dtype=np.int64)
    if len(stream) < 2:
        raise TextError("no text to count: every line is empty")
    singles = np.arange(len(JAMO)), np.bincount(stream, minlength=len(JAMO))  # every symbol, seen or not
    counted = [singles, *(_count(stream, size, min_count if size > 3 else 1) for size in range(2, order + 1))]
    return NgramModel(_estimate(counted))


def save_ngram(model: NgramModel, path: Path) -> None:
    """Write a model as safetensors, its numbers in steps of 1/16: whole or not at all."""
    arrays = {}
    for size, table in enumerate(model._tables, start=1):
        arrays[f"{size}.keys"] = np.array(table.keys, dtype=np.int64)
        for name, values in (("log_probs", table.log_probs), ("backoffs", table.backoffs)):
            arrays[f"{size}.{name}"] = np.clip(np.round(-16 * np.array(values)), 0, 255).astype(np.uint8)
    with atomic_file(path) as temporary:
        save_file(arrays, temporary)


def load_ngram(path: Path) -> NgramModel:
    """Return a saved model. Raises: ModelError if it cannot be read."""
    from safetensors import SafetensorError

    try:
        arrays = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ModelError(f"{path}: not a language model that can be read ({error})") from error
    return NgramModel([_table_of(arrays, size, path) for size in range(1, max(1, len(arrays) // 3) + 1)])


def _table_of(arrays: dict[str, np.ndarray], size: int, path: Path) -> _NgramTable:
    """Return the table of one order. Raises: ModelError if an array is missing, of another length or out of order."""
    names = [f"{size}.{name}" for name in ("keys", "log_probs", "backoffs")]
    missing = next((name for name in names if name not in arrays), None)
    if missing or size > MAX_ORDER:
        raise ModelError(f"{path}: not a language model: holds no '{missing}'; 2 to {MAX_ORDER} orders of n-grams do")
    keys, log_probs, backoffs = (arrays[name] for name in names)
    alike = keys.ndim == 1 and keys.shape == log_probs.shape == backoffs.shape and keys.dtype == np.int64
    numbers = log_probs.dtype == backoffs.dtype == np.uint8
    if not alike or not numbers or (size == 1 and len(keys) != len(JAMO)) or np.any(np.diff(keys) <= 0):
        raise ModelError(f"{path}: not a language model: the n-grams of {size} are damaged")
    return _NgramTable(keys.tolist(), (log_probs / -16.0).tolist(), (backoffs / -16.0).tolist())


def _count(stream: np.ndarray, size: int, min_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the packed n-grams of a stream that do not cross an edge, sorted, and how often each occurs."""
    windows = len(stream) - size + 1
    packed = np.zeros(windows, dtype=np.int64)
    for place in range(size):
        packed = packed << _BITS | stream[place : place + windows]
    edges = np.concatenate([[0], np.cumsum(stream == _EDGE)])
    inner = edges[size - 1 : size - 1 + windows] - edges[1 : 1 + windows] if size > 2 else np.zeros(windows)
    keys, counts = np.unique(packed[inner == 0], return_counts=True)
    return keys[counts >= min_count], counts[counts >= min_count]


def _estimate(counted: list[tuple[np.ndarray, np.ndarray]]) -> list[_NgramTable]:
    """Return the back-off tables of counted n-grams, from the shortest up."""
    tables: list[_NgramTable] = []
    shorter, shorter_keys = np.array([1 / len(JAMO)]), np.array([0])
    for size, (keys, counts) in enumerate(counted):
        contexts, first, which = np.unique(keys >> _BITS, return_index=True, return_inverse=True)
        totals, kinds = np.add.reduceat(counts, first), np.diff(np.append(first, len(keys)))
        if tables:
            given_back = dict(zip(contexts.tolist(), np.log(kinds / (totals + kinds)).tolist(), strict=True))
            last = tables[-1]
            tables[-1] = _NgramTable(last.keys, last.log_probs, [given_back.get(key, 0.0) for key in last.keys])
        below = shorter[np.searchsorted(shorter_keys, keys & _mask(size))]
        found = (counts + kinds[which] * below) / (totals + kinds)[which]
        tables.append(_NgramTable(keys.tolist(), np.log(found).tolist(), [0.0] * len(keys)))
        shorter, shorter_keys = found, keys
    return tables


def _mask(tokens: int) -> int:
    return (1 << _BITS * tokens) - 1
