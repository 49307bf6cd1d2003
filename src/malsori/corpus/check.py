"""Checks of a corpus before any training: what would break it, what would spoil it, and what to know about it.

    fault    training must not start: an utterance is of no use, or results would be untrue
    warning  worth a listen: quality, or a text that may not be what is said
    note     a fact that some uses must know

Every check is one function over the stats of all utterances (`corpus/check_rules.py`); a finding names the utterance
and the measure.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malsori.audio.io import audio_info, read_sound
from malsori.audio.pitch import pitch_hz
from malsori.config import AudioConfig
from malsori.corpus import folder
from malsori.corpus.audio_quality import measure_audio_quality, text_fit
from malsori.corpus.check_rules import CHECKS as RULES
from malsori.corpus.check_rules import CheckLimits, UtteranceStats
from malsori.corpus.check_whole import WHOLE_CHECKS
from malsori.corpus.ground_truth import reading, usable_wave
from malsori.corpus.layouts import read_layout
from malsori.corpus.pool import Executor, run_in_order
from malsori.errors import CorpusError, TextError
from malsori.object_store import is_remote
from malsori.readers.records import Refusal, Utterance
from malsori.text.hangul import is_syllable, only_hangul, to_jamo
from malsori.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from malsori.pretrained.folder import SavedModel

logger = logging.getLogger(__name__)

#: All checks, of utterances and of the whole.
CHECKS = RULES | WHOLE_CHECKS

#: From the gravest on.
SEVERITIES = ("fault", "warning", "note")

#: So many speakers have a line each in the table; JSON and page name all.
_SPEAKERS_SHOWN = 12


@dataclass(frozen=True)
class Finding:
    """One utterance (or line of a table) that a check found, and what it measured."""

    check: str
    severity: str
    id: str
    detail: str


@dataclass(frozen=True)
class CheckReport:
    """All findings of a corpus, and the stats of its utterances; training can start when none is a fault."""

    source: Path | str
    stats: tuple[UtteranceStats, ...]
    findings: tuple[Finding, ...]

    @property
    def utterances(self) -> int:
        """How many can be used."""
        return len(self.stats)

    @property
    def hours(self) -> float:
        """How long they last together."""
        return sum(item.quality.seconds for item in self.stats) / 3600

    @property
    def can_train(self) -> bool:
        """True if there are utterances and no finding is a fault."""
        return self.utterances > 0 and not any(item.severity == "fault" for item in self.findings)

    def speakers(self) -> dict[str, dict[str, float | int]]:
        """Statistics of each speaker: utterances, minutes, mean pitch, syllables a second of sound, loudness."""
        found: dict[str, list[UtteranceStats]] = {}
        for item in self.stats:
            found.setdefault(item.utterance.speaker, []).append(item)
        return {speaker: _statistics(found[speaker]) for speaker in sorted(found)}

    def by_check(self) -> dict[str, list[Finding]]:
        """The findings by check: faults first, then warnings, then notes."""
        grouped: dict[str, list[Finding]] = {}
        for item in sorted(self.findings, key=lambda item: (SEVERITIES.index(item.severity), item.check, item.id)):
            grouped.setdefault(item.check, []).append(item)
        return grouped

    def lines(self, shown: int = 3) -> Iterator[str]:
        """Yield the report as text: a row a check, with its first findings below."""
        for check, found in self.by_check().items():
            yield f"{found[0].severity:8} {check:28} {len(found):5}  {advice(check)}"
            yield from (f"{'':10}{item.id}: {item.detail}" for item in found[:shown])
            if len(found) > shown:
                yield f"{'':10}and {len(found) - shown} more; --json names all"
        for speaker, facts in self.speakers().items() if len(self.speakers()) <= _SPEAKERS_SHOWN else ():
            yield f"speaker  {speaker:12} " + ", ".join(f"{name} {value:g}" for name, value in facts.items())
        severities = Counter(item.severity for item in self.findings)
        counts = ", ".join(f"{severities[severity]} {severity}s" for severity in SEVERITIES)
        yield f"{self.utterances} utterances can be used, {self.hours:.2f} hours; {counts}"
        yield "training can start" if self.can_train else "training should not start before the faults are mended"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        checks = [
            {
                "check": check,
                "severity": found[0].severity,
                "advice": advice(check),
                "count": len(found),
                "utterances": [{"id": item.id, "detail": item.detail} for item in found],
            }
            for check, found in self.by_check().items()
        ]
        facts = {"source": str(self.source), "utterances": self.utterances, "hours": round(self.hours, 4)}
        return {**facts, "can_train": self.can_train, "checks": checks, "speakers": self.speakers()}


def check_corpus(
    source: Path | str,
    audio: AudioConfig | None = None,
    workers: int = 0,
    layout: str = "auto",
    columns: str | None = None,
    limits: CheckLimits | None = None,
    tokenizer: Tokenizer | None = None,
    recognizer: "SavedModel | None" = None,
    executor: Executor | None = None,
) -> CheckReport:
    """Return the report on a folder of recordings, or on a corpus prepared from one.

    Args:
        source: folder in one of the layouts, or with a corpus.json; the s3:// address of shards.
        audio: what it is to be used with; a prepared corpus brings its own.
        workers: processes; 0 is one for each processor.
        layout, columns: as in `malsori.corpus.layouts.read_layout`.
        tokenizer: of the Whisper that is to be trained on it.
        recognizer: with a phoneme output; measures how well each text fits its sound, as slowly as it transcribes.
        executor: does the work on other machines, which see the folder under this path.
    Raises: CorpusError if the folder is missing or of no known layout.
    """
    limits = limits or CheckLimits()
    if is_remote(source) or (Path(source) / "corpus.json").is_file():
        corpus = folder.load_corpus(source)
        audio = corpus.audio
        utterances, refused = _prepared_utterances(corpus), list(_damaged_truths(corpus))
    else:
        listing = read_layout(Path(source), layout, columns)
        for note in listing.notes:
            logger.info("%s", note)
        utterances, refused = list(listing.utterances), list(listing.refused)
    jobs = [(item, audio or AudioConfig()) for item in utterances]
    results = list(run_in_order(_measure_utterance, jobs, workers, "checking", executor=executor))
    stats = [item for item in results if isinstance(item, UtteranceStats)]
    if tokenizer is not None:
        stats = [replace(item, tokens=_tokens(tokenizer, item.utterance)) for item in stats]
    if recognizer is not None:
        heard = [item.utterance for item in stats]
        fits = run_in_order(partial(_fit, recognizer), heard, 1, "listening", executor=executor)
        stats = [replace(item, fit=fit) for item, fit in zip(stats, fits, strict=True)]
    refused += [item for item in results if isinstance(item, Refusal)]
    findings = [Finding(item.reason, "fault", item.id, item.detail) for item in refused]
    for name, check in CHECKS.items():
        findings += [Finding(name, check.severity, place, detail) for place, detail in check.find(stats, limits)]
    return CheckReport(source, tuple(stats), tuple(findings))


def advice(check: str) -> str:
    """Return what to do about a check's findings."""
    return CHECKS[check].advice if check in CHECKS else "mend or remove it; 'malsori corpus prepare' skips it"


def _measure_utterance(job: tuple[Utterance, AudioConfig]) -> UtteranceStats | Refusal:
    """Measure an utterance, or refuse it as `prepare` would."""
    utterance, audio = job
    try:
        normalized = reading(utterance.spoken).normalized
    except TextError as error:
        return Refusal(utterance.id, "text cannot be read", str(error))
    wave = usable_wave(utterance, audio)
    if isinstance(wave, Refusal):
        return wave
    pitch = pitch_hz(wave, audio)
    if not pitch.any():
        return Refusal(utterance.id, "no voice", f"{utterance.audio_path}: no frame has a pitch: noise or a whisper")
    header = audio_info(utterance.audio_path)
    quality = measure_audio_quality(read_sound(utterance.audio_path).wave, header.sample_rate, header.channels)
    jamo = to_jamo("".join(sign for sign in normalized if is_syllable(sign) or sign == " "))
    needed = len(jamo) + sum(one == other for one, other in itertools.pairwise(jamo))
    tone = float(np.exp(np.log(pitch[pitch > 0]).mean()))
    return UtteranceStats(utterance, quality, sum(map(is_syllable, normalized)), needed, tone)


def _fit(recognizer: "SavedModel", utterance: Utterance) -> float:
    rate = recognizer.facts.audio.sample_rate
    return text_fit(recognizer, read_sound(utterance.audio_path, rate).wave, rate, reading(utterance.spoken))


def _statistics(stats: list[UtteranceStats]) -> dict[str, float | int]:
    seconds = sum(item.quality.seconds for item in stats)
    sound = sum(item.quality.sound_seconds for item in stats)
    return {
        "utterances": len(stats),
        "minutes": round(seconds / 60, 2),
        "pitch_hz": round(float(np.exp(np.mean([np.log(item.pitch_hz) for item in stats]))), 1),
        "syllables_per_second": round(sum(item.syllables for item in stats) / sound, 2),
        "loudest_db": round(float(np.mean([item.quality.loudest_db for item in stats])), 1),
    }


def _tokens(tokenizer: Tokenizer, utterance: Utterance) -> int:
    """Return how many tokens an utterance's text takes with its prefix and end; 0 where it cannot be written."""
    text = utterance.written if tokenizer.is_token("1") else only_hangul(reading(utterance.spoken).normalized)
    try:
        return len(tokenizer.encode(text)) + len(tokenizer.prefix("ko"))
    except TextError:
        return 0


def _prepared_utterances(corpus: folder.Corpus) -> list[Utterance]:
    """Return a prepared corpus's utterances, by id."""
    cuts = sorted((cut for split in corpus.cuts.values() for cut in split), key=lambda cut: cut.id)
    return [
        Utterance(
            id=cut.id,
            audio_path=Path(cut.recording.sources[0].source),
            written=cut.supervisions[0].custom["written"],
            spoken=cut.supervisions[0].text,
            speaker=cut.supervisions[0].speaker,
            split=cut.supervisions[0].custom["split"],
        )
        for cut in cuts
    ]


def _damaged_truths(corpus: folder.Corpus) -> Iterator[Refusal]:
    """Yield utterances whose ground truth is missing, not finite, or of another length than the wave."""
    for cut in (cut for split in corpus.cuts.values() for cut in split):
        try:
            truth = corpus.ground_truth(cut)
        except CorpusError as error:
            yield Refusal(cut.id, "ground truth damaged", str(error))
            continue
        frames = cut.num_samples // corpus.audio.hop_samples
        lengths = {name: len(array) for name, array in truth.items() if name not in ("durations", "token_ids")}
        if "durations" in truth:
            lengths["durations"] = int(truth["durations"].sum())
        wrong = [f"{name} has {length} frames" for name, length in lengths.items() if length != frames]
        wrong += [f"{name} is not finite" for name, array in truth.items() if not np.isfinite(array).all()]
        wrong += [f"{name} is missing" for name in ("mel", "pitch_hz", "energy") if name not in truth]
        if wrong:
            yield Refusal(cut.id, "ground truth damaged", f"the wave has {frames} frames, {', '.join(wrong)}")
