"""Two systems compared by their outputs: transcripts, evaluations, or a number an utterance."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malsori.annotations import Float
from malsori.errors import MetricError
from malsori.metrics.error_rate import AS_WRITTEN, TextNormalizer
from malsori.metrics.score_card import RATES, score
from malsori.metrics.significance import Comparison, compare
from malsori.metrics.transcripts import pair, read_transcript

#: The file that `malsori evaluate` writes into a folder.
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Measured:
    """One measure of one system: for each utterance's id what it adds, and what is divided by."""

    sums: dict[str, float]
    sizes: dict[str, float]


def compare_outputs(
    a: Path, b: Path, measure: str = "cer", reference: Path | None = None, normalizer: TextNormalizer = AS_WRITTEN
) -> Comparison:
    """Return the comparison of two systems' outputs by one measure, less being better.

    Args:
        a, b: with a reference, each system's transcripts (files as `malsori score` takes); without, what `malsori
            evaluate` left (a folder, or its evaluation.json), JSON lines with an id and the measure (or with text and
            hypothesis) in each, or `id<TAB>number` lines.
        measure: a rate of the score card, or any name that the outputs hold, such as mcd_db.
        reference: the reference transcript.
        normalizer: applied to texts before they are compared.
    Raises: MetricError if the measure is not there, the two do not hold the same utterances, or a normalizer is asked
        of outputs that hold no texts.
    """
    if reference is not None:
        ours, theirs = (_measured_against(reference, side, measure, normalizer) for side in (a, b))
    else:
        ours, theirs = (_measured(side, measure, normalizer) for side in (a, b))
    alone = sorted(ours.sums.keys() ^ theirs.sums.keys())
    if alone:
        names = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
        raise MetricError(f"utterances that stand in only one of {a} and {b}: {len(alone)} ({names})")
    for name, size in ours.sizes.items():
        if theirs.sizes[name] != size:
            raise MetricError(f"{name}: {a} and {b} have it with different references; both must be of one test set")
    return compare(measure, _column(ours.sums, ours), _column(theirs.sums, ours), _column(ours.sizes, ours))


def _column(values: dict[str, float], order: Measured) -> Float[np.ndarray, " utterances"]:
    return np.array([values[name] for name in order.sums], dtype=float)


def _measured_against(reference: Path, hypothesis: Path, measure: str, normalizer: TextNormalizer) -> Measured:
    pairs = pair(str(reference), read_transcript(reference), str(hypothesis), read_transcript(hypothesis))
    names = [utterance.id or str(line) for line, utterance in enumerate(pairs.references, 1)]
    return _counted(names, pairs.reference_texts, pairs.hypothesis_texts, measure, normalizer)


def _counted(
    names: list[str], references: list[str], hypotheses: list[str], measure: str, normalizer: TextNormalizer
) -> Measured:
    if measure not in RATES:
        raise MetricError(f"'{measure}' is no measure of transcripts: {', '.join(RATES)}")
    counts = score(references, hypotheses, normalizer, draws=1).counts[measure]
    edits, lengths = counts[:, :3].sum(axis=1).astype(float), counts[:, 3].astype(float)
    if normalizer.numbers == "read":  # a reading that fits one system's output is no shorter reference for it
        lengths = score(references, references, normalizer, draws=1).counts[measure][:, 3].astype(float)
    return Measured(dict(zip(names, edits.tolist(), strict=True)), dict(zip(names, lengths.tolist(), strict=True)))


def _measured(path: Path, measure: str, normalizer: TextNormalizer) -> Measured:
    path = path / EVALUATION if path.is_dir() else path
    rows = _rows(path, measure)
    names = [str(row.get("id") or line) for line, row in enumerate(rows, 1)]
    if len(set(names)) < len(names):
        raise MetricError(f"{path}: an id stands there twice")
    if measure in RATES and all({"text", _hypothesis_key(row)} <= row.keys() for row in rows):
        hypotheses = [row[_hypothesis_key(row)] for row in rows]
        return _counted(names, [row["text"] for row in rows], hypotheses, measure, normalizer)
    if normalizer != AS_WRITTEN:
        raise MetricError(f"{path}: holds numbers of {measure!r}, no texts: how they are normalized cannot be chosen")
    values = [row.get(measure) for row in rows]
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            known = ", ".join(sorted({key for row in rows for key in row} - {"id", "text", "hypothesis", "heard"}))
            raise MetricError(f"{path}: utterance {name} has no number '{measure}'; there are: {known or 'none'}")
    numbers = [float(value) for value in values if value is not None]
    return Measured(dict(zip(names, numbers, strict=True)), dict.fromkeys(names, 1.0))


def _hypothesis_key(row: dict[str, Any]) -> str:
    """Return the key of the recognizer's text; earlier evaluations call it "heard"."""
    return "heard" if "heard" in row else "hypothesis"


def _rows(path: Path, measure: str) -> list[dict[str, Any]]:
    """Return an object for each utterance of an evaluation, of JSON lines, or of id<TAB>number lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            rows = json.loads(text)["rows"]
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            cells = [line.split("\t") for line in text.splitlines() if line.strip()]
            rows = [{"id": name, measure: float(value)} for name, value in cells]
    except (KeyError, TypeError, ValueError) as error:
        raise MetricError(
            f"{path}: not an evaluation, JSON lines or id<TAB>number lines ({error}); "
            "for files of transcripts name the --reference"
        ) from error
    if not rows:
        raise MetricError(f"{path}: holds no utterances")
    return rows
