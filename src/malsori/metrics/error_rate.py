"""How far a transcript is from its reference: character, word and jamo error rates, counts first.

    rate = (substitutions + deletions + insertions) / reference_length

A corpus's rate is the rate of its summed counts, never the mean of its utterances' rates. Text is NFC before anything
is compared: in NFD one wrong syllable of five (20 %) becomes one wrong jamo of twelve (8.3 %). Runs of white space are
one space, and none stands at the ends. An empty reference has no length of its own: its hypothesis counts as
insertions, and the rate is taken over one unit (0 if that is empty too), so that silence is scored and never fails.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from malsori.annotations import Int
from malsori.config import Config
from malsori.errors import MetricError

#: What is counted: characters with spaces, without them, words, or jamo (onset with silent ㅇ, nucleus, coda).
Unit = Literal["characters", "letters", "words", "jamo"]

#: Above so many utterances, or characters, the compiled pass pays for its start; below, rapidfuzz is called for each.
_COMPILED_ABOVE = 2_000, 50_000

_Text = str | Sequence[str]


@dataclass(frozen=True)
class ErrorRate:
    """Counts of edits that lead from reference to hypothesis, and the rate they make.

    >>> ErrorRate(substitutions=1, deletions=0, insertions=0, reference_length=3).rate
    0.3333333333333333
    """

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int

    @property
    def edits(self) -> int:
        """The number of edits of all three kinds."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits over the reference's length, which counts as 1 when it is 0; above 1 when much is inserted."""
        return self.edits / max(self.reference_length, 1)

    def __add__(self, other: "ErrorRate") -> "ErrorRate":
        return ErrorRate(*(mine + theirs for mine, theirs in zip(self._counts(), other._counts(), strict=True)))

    def as_json(self) -> dict[str, float | int]:
        """Return the rate and its counts."""
        return {"rate": self.rate, **asdict(self)}

    def _counts(self) -> tuple[int, int, int, int]:
        return self.substitutions, self.deletions, self.insertions, self.reference_length


class TextNormalizer(Config):
    """Normalization before scoring, besides NFC and white space: what of punctuation and capital letters counts.

    numbers: "read" compares both sides as they are read aloud, in the readings that fit each other best: 3시 is 세 시.
    """

    punctuation: Literal["kept", "removed"] = "kept"
    case: Literal["kept", "folded"] = "kept"
    numbers: Literal["written", "read"] = "written"

    def apply_pairs(self, references: Sequence[str], hypotheses: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return both sides in NFC, normalized."""
        if self.numbers == "read":
            from malsori.metrics.spoken_form import spoken_pairs

            references, hypotheses = spoken_pairs(references, hypotheses)
        return self.apply(references), self.apply(hypotheses)

    def apply(self, texts: Sequence[str]) -> list[str]:
        """Return the texts in NFC, normalized each by itself: whatever `numbers` says, they stay as they are."""
        joined = "\n".join(texts)
        nfc = list(texts) if joined.isascii() or unicodedata.is_normalized("NFC", joined) else list(map(_nfc, texts))
        if self.punctuation == "removed":
            nfc = [text.translate(_WITHOUT_PUNCTUATION) for text in nfc]
        return [_nfc(text.casefold()) for text in nfc] if self.case == "folded" else nfc


#: Texts as they are, NFC and white space apart.
AS_WRITTEN = TextNormalizer()


def cer(reference: _Text, hypothesis: _Text, spaces: bool = True, normalizer: TextNormalizer = AS_WRITTEN) -> ErrorRate:
    """Return the character error rate; for lists, of the whole corpus.

    Args:
        reference: one text, or a list of them.
        hypothesis: the recognizer's: the same.
        spaces: whether a space between words counts as a character.
        normalizer: applied to both sides first.
    Raises: MetricError if the lists are of different lengths.

    >>> cer("사랑해", "사량해")
    ErrorRate(substitutions=1, deletions=0, insertions=0, reference_length=3)
    """
    return total(count_utterances(reference, hypothesis, "characters" if spaces else "letters", normalizer))


def wer(reference: _Text, hypothesis: _Text, normalizer: TextNormalizer = AS_WRITTEN) -> ErrorRate:
    """Return the word error rate; words (eojeol) are what stands between spaces. Arguments as in `cer`.

    >>> wer("I love you", "I like you")
    ErrorRate(substitutions=1, deletions=0, insertions=0, reference_length=3)
    """
    return total(count_utterances(reference, hypothesis, "words", normalizer))


def jamo_error_rate(reference: _Text, hypothesis: _Text, normalizer: TextNormalizer = AS_WRITTEN) -> ErrorRate:
    """Return the error rate over jamo: onset and coda ㄱ differ, the silent onset ㅇ counts, spaces do not.

    >>> jamo_error_rate("사랑해", "사량해").reference_length
    7
    """
    return total(count_utterances(reference, hypothesis, "jamo", normalizer))


def count_utterances(
    reference: _Text, hypothesis: _Text, unit: Unit, normalizer: TextNormalizer = AS_WRITTEN
) -> Int[np.ndarray, "utterances 4"]:
    """Return substitutions, deletions, insertions and reference length, a row for each pair.

    Raises: MetricError if the lists are of different lengths.
    """
    references, hypotheses = paired(reference, hypothesis)
    references, hypotheses = normalizer.apply_pairs(references, hypotheses)
    if unit == "jamo":
        references, hypotheses = list(map(to_jamo, references)), list(map(to_jamo, hypotheses))
        unit = "letters"
    if len(references) > _COMPILED_ABOVE[0] or sum(map(len, references)) > _COMPILED_ABOVE[1]:
        from malsori.alignment.edits import count_edits

        return count_edits(references, hypotheses, unit)
    pairs = zip(references, hypotheses, strict=True)
    rows = [_count_pair(units(ours, unit), units(theirs, unit)) for ours, theirs in pairs]
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def total(counts: Int[np.ndarray, "utterances 4"]) -> ErrorRate:
    """Return the corpus's counts: the sum over its utterances."""
    return ErrorRate(*counts.sum(axis=0).tolist())


def paired(reference: _Text, hypothesis: _Text) -> tuple[Sequence[str], Sequence[str]]:
    """Return both sides as lists. Raises: MetricError if one has more texts than the other."""
    references = [reference] if isinstance(reference, str) else reference
    hypotheses = [hypothesis] if isinstance(hypothesis, str) else hypothesis
    if len(references) != len(hypotheses):
        raise MetricError(
            f"{len(references)} references, {len(hypotheses)} hypotheses: each reference needs one hypothesis "
            "(an empty one where nothing was recognized)"
        )
    return references, hypotheses


def units(text: str, unit: Literal["characters", "letters", "words"]) -> Sequence[str]:
    """Return what is compared of a normalized text: words, or characters with single spaces or without any."""
    words = text.split()
    return words if unit == "words" else (" " if unit == "characters" else "").join(words)


def to_jamo(text: str) -> str:
    """Return the text with every Hangul syllable spelled as its two or three conjoining jamo, all else as it is.

    >>> [f"{ord(jamo):X}" for jamo in to_jamo("각a")]
    ['1100', '1161', '11A8', '61']
    """
    return text.translate(_JAMO)


def _count_pair(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[int, int, int, int]:
    from rapidfuzz.distance import Levenshtein

    kinds = [operation.tag for operation in Levenshtein.editops(reference, hypothesis)]
    return kinds.count("replace"), kinds.count("delete"), kinds.count("insert"), len(reference)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


class _TranslationTable(dict[int, str]):
    """A table for str.translate that asks what becomes of a character when it first meets it."""

    def __init__(self, becomes: Callable[[str], str]) -> None:
        super().__init__()
        self.becomes = becomes

    def __missing__(self, code: int) -> str:
        self[code] = self.becomes(chr(code))
        return self[code]


_JAMO = _TranslationTable(
    lambda character: unicodedata.normalize("NFD", character) if "가" <= character <= "힣" else character
)

#: Punctuation and symbols (Unicode categories P and S) become nothing.
_WITHOUT_PUNCTUATION = _TranslationTable(
    lambda character: "" if unicodedata.category(character)[0] in "PS" else character
)
