"""How many of a user's terms a recognizer got: recall and precision, a term found with whatever particle it takes.

    recall = right / said        precision = right / recognized

counted utterance by utterance: of a term that is said twice and recognized once, one is right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malsori.errors import MetricError
from malsori.metrics.error_rate import AS_WRITTEN, TextNormalizer, paired
from malsori.text.hangul import to_nfc
from malsori.text.userwords import word_pattern


@dataclass(frozen=True)
class TermCounts:
    """How often a term was said, recognized, and recognized where it was said."""

    term: str
    said: int
    recognized: int
    right: int


@dataclass(frozen=True)
class KeywordScore:
    """The counts of each term, and what they make together."""

    terms: tuple[TermCounts, ...]

    @property
    def recall(self) -> float | None:
        """Of the terms that were said, how many were recognized; None if none was said."""
        return _share(sum(each.right for each in self.terms), sum(each.said for each in self.terms))

    @property
    def precision(self) -> float | None:
        """Of the terms that were recognized, how many were said there; None if none was recognized."""
        return _share(sum(each.right for each in self.terms), sum(each.recognized for each in self.terms))

    def as_json(self) -> dict[str, Any]:
        """Return {"recall", "precision", "terms": [{"term", "said", "recognized", "right"}]}."""
        return {"recall": self.recall, "precision": self.precision, "terms": [vars(each) for each in self.terms]}


def read_keywords(path: Path) -> list[str]:
    """Return the terms of a file, one a line, each once. Raises: MetricError if it cannot be read or holds none."""
    try:
        lines = to_nfc(path.read_text(encoding="utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MetricError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    terms = [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("# ")]
    if not terms:
        raise MetricError(f"{path}: holds no term; give one a line")
    return list(dict.fromkeys(terms))


def score_keywords(
    terms: Sequence[str],
    references: str | Sequence[str],
    hypotheses: str | Sequence[str],
    normalizer: TextNormalizer = AS_WRITTEN,
) -> KeywordScore:
    """Return how many of some terms were recognized.

    Args:
        terms: words as they are written; spaces within one may be missing or more in a text.
        references, hypotheses, normalizer: as `score_card.score` takes them; the terms are normalized too.
    Raises: MetricError if the numbers of texts differ.

    >>> score_keywords(["코엑스"], ["코엑스에서 보자", "코엑스몰"], ["코엑스에 서 보자", "코엑스몰"]).recall
    1.0
    """
    references, hypotheses = normalizer.apply_pairs(*paired(references, hypotheses))
    plain, _ = normalizer.apply_pairs(terms, terms)
    counts = []
    for term, sought in zip(terms, plain, strict=True):
        pattern = re.compile(word_pattern(sought.strip(" ,.?!…")).replace(r"\ ", r"\s*"))
        found = [
            (len(pattern.findall(ours)), len(pattern.findall(theirs)))
            for ours, theirs in zip(references, hypotheses, strict=True)
        ]
        said, recognized = (sum(side) for side in zip(*found, strict=True)) if found else (0, 0)
        counts.append(TermCounts(term, said, recognized, sum(map(min, found))))
    return KeywordScore(tuple(counts))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
