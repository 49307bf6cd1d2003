"""Reading references and hypotheses: lines, id and text, TSV or JSON lines, paired without losing any."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from malsori.errors import MetricError
from malsori.metrics.error_rate import TextNormalizer

#: Columns and keys that name an utterance, and those that hold its words; the first that is there is taken.
ID_NAMES, TEXT_NAMES = ("id", "file"), ("text", "heard", "hypothesis", "transcript")


@dataclass(frozen=True)
class TranscriptLine:
    """One text of a file, with what else its line tells: a speaker, a duration in seconds."""

    id: str
    text: str
    speaker: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class TextPairs:
    """References and hypotheses in the same order."""

    references: tuple[TranscriptLine, ...]
    hypotheses: tuple[TranscriptLine, ...]

    @property
    def reference_texts(self) -> list[str]:
        """The references' texts."""
        return [utterance.text for utterance in self.references]

    @property
    def hypothesis_texts(self) -> list[str]:
        """The hypotheses' texts."""
        return [utterance.text for utterance in self.hypotheses]

    def normalized(self, normalizer: TextNormalizer) -> "TextPairs":
        """Return the same pairs with texts as the normalizer compares them."""
        ours, theirs = normalizer.apply_pairs(self.reference_texts, self.hypothesis_texts)
        return TextPairs(
            tuple(replace(line, text=text) for line, text in zip(self.references, ours, strict=True)),
            tuple(replace(line, text=text) for line, text in zip(self.hypotheses, theirs, strict=True)),
        )


def read_pairs(reference: str, hypothesis: str) -> TextPairs:
    """Return the pairs in two files, or the pair of two texts.

    Files: `.jsonl` with an id (or file) and a text in each line; `id<TAB>text` in each line, or a table with a header
    that names such columns; else a text in each line, empty ones included.
    Raises: MetricError if one is a file and the other is none, if the numbers of lines differ, or if an id stands in
        one file only or twice in one: none is skipped silently.
    """
    files = [_is_file(side) for side in (reference, hypothesis)]
    if not any(files):
        for side in (reference, hypothesis):
            if Path(side).suffix.lower() in (".txt", ".tsv", ".jsonl", ".json"):
                raise MetricError(f"{side}: no such file")
        return TextPairs((TranscriptLine("1", reference),), (TranscriptLine("1", hypothesis),))
    if not all(files):
        text, file = (hypothesis, reference) if files[0] else (reference, hypothesis)
        raise MetricError(f"{file} is a file, but there is no file '{text[:40]}': give two files or two texts")
    return pair(reference, read_transcript(Path(reference)), hypothesis, read_transcript(Path(hypothesis)))


def pair(reference: str, ours: list[TranscriptLine], hypothesis: str, theirs: list[TranscriptLine]) -> TextPairs:
    """Return the utterances of two files paired by id, or by line where either has no ids."""
    if all(each.id for each in ours) and all(each.id for each in theirs):
        by_id = _by_id(hypothesis, theirs)
        alone = _by_id(reference, ours).keys() ^ by_id.keys()
        if alone:
            names = ", ".join(sorted(alone)[:3]) + (", ..." if len(alone) > 3 else "")
            raise MetricError(f"ids that stand in only one of {reference} and {hypothesis}: {len(alone)} ({names})")
        return TextPairs(tuple(ours), tuple(by_id[each.id] for each in ours))
    if len(ours) != len(theirs):
        raise MetricError(
            f"{reference} has {len(ours)} lines, {hypothesis} has {len(theirs)}: each line needs its partner "
            "(an empty one where nothing was recognized)"
        )
    return TextPairs(tuple(ours), tuple(theirs))


def read_transcript(path: Path) -> list[TranscriptLine]:
    """Return the utterances of one file; ids are empty where it has none. Raises: MetricError naming file and line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise MetricError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    lines = [line.removesuffix("\r") for line in lines]
    if lines == [""]:
        raise MetricError(f"{path}: is empty; a text in each line is needed")
    if path.suffix.lower() in (".jsonl", ".json"):
        return [_from_json(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if all("\t" in line for line in lines if line.strip()) and any("\t" in line for line in lines):
        return _from_table(path, lines)
    return [TranscriptLine("", line) for line in lines]


def _from_table(path: Path, lines: list[str]) -> list[TranscriptLine]:
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    header = [cell.strip().lower() for cell in rows[0]]
    if set(ID_NAMES) & set(header) and set(TEXT_NAMES) & set(header):
        named = [(number, dict(zip(header, row, strict=False))) for number, row in enumerate(rows[1:], 2) if row]
        return [_from_mapping(f"{path}:{number}", row) for number, row in named]
    return [TranscriptLine(row[0].strip(), row[1]) for row in rows if row]


def _from_json(place: str, line: str) -> TranscriptLine:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise MetricError(
            f"{place}: not JSON: {error.msg}; each line must be an object with an id and a text"
        ) from error
    if not isinstance(values, dict):
        raise MetricError(f"{place}: {type(values).__name__} is no object; an id and a text are needed")
    return _from_mapping(place, values)


def _from_mapping(place: str, values: dict[str, Any]) -> TranscriptLine:
    """Return the utterance of named cells; a file's name without folder and ending is its id."""
    text = next((values[name] for name in TEXT_NAMES if values.get(name) is not None), None)
    if not isinstance(text, str):
        raise MetricError(f"{place}: no text ({', '.join(TEXT_NAMES)}) among {', '.join(values)}")
    identity = str(values["id"]) if values.get("id") else Path(str(values.get("file", ""))).stem
    seconds = values.get("seconds") or values.get("duration")
    speaker = values.get("speaker")
    return TranscriptLine(identity, text, str(speaker) if speaker else None, float(seconds) if seconds else None)


def _by_id(path: str, utterances: list[TranscriptLine]) -> dict[str, TranscriptLine]:
    found: dict[str, TranscriptLine] = {}
    for utterance in utterances:
        if utterance.id in found:
            raise MetricError(f"{path}: id '{utterance.id}' stands there twice")
        found[utterance.id] = utterance
    return found


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):  # too long, or of characters that no name has: a text
        return False
