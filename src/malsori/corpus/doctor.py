"""A corpus examined before any training: what would break it, what would spoil it, and what to know about it.

    fault    training must not start: an utterance is of no use, or results would be untrue
    warning  worth a listen: quality, or a text that may not be what is said
    note     a fact that some uses must know

Every check is one function over all patients, entered in CHECKS; a finding names the utterance and the measure.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from malsori.audio.io import audio_info, load_audio
from malsori.audio.pitch import pitch_hz
from malsori.config import AudioConfig, Config
from malsori.corpus import folder
from malsori.corpus.ground_truth import reading, usable_wave
from malsori.corpus.layouts import SPLITS, Refusal, Utterance, read_layout, text_key
from malsori.corpus.pool import run_in_order
from malsori.corpus.vitals import Vitals, measure_vitals
from malsori.errors import CorpusError, TextError
from malsori.text.hangul import is_syllable, only_hangul, to_jamo
from malsori.text.tokenizer import Tokenizer

#: From the gravest on.
SEVERITIES = ("fault", "warning", "note")


class Limits(Config):
    """Where a measurement becomes a finding. Real studio and stage recordings lie well inside all of them."""

    clipped_share: float = 2e-4  # samples at the ceiling; a hard consonant may touch it once
    offset: float = 0.005  # mean of the samples; converters leave less than 0.0005
    faint_db: float = -36.0  # loudest 10 ms, dB of full scale
    noise_db: float = 15.0  # loudest 5 % over faintest 5 %: less, and pauses are as loud as speech
    pause_share: float = 0.6
    pause_seconds: float = 2.0  # inside a sentence
    bandwidth_share: float = 0.7  # of half the sample rate
    deviations: float = 4.5  # robust standard deviations from the corpus's own median, for outliers
    fewest: int = 20  # utterances from which outliers are judged
    syllables_per_second: float = 12.0  # the fastest Korean; broadcast speech has 7
    recogniser_frame_seconds: float = 0.02  # one output of the recogniser
    long_seconds: float = 30.0  # what Whisper hears at once
    most_tokens: int = 448  # what its decoder has positions for


@dataclass(frozen=True)
class Patient:
    """One utterance with its measurements; `jamo` counts CTC's need: symbols, and a blank between equal ones."""

    utterance: Utterance
    vitals: Vitals
    syllables: int
    jamo: int
    tokens: int = 0  # of Whisper, where its tokenizer is at hand

    @property
    def id(self) -> str:
        """The utterance's id."""
        return self.utterance.id


@dataclass(frozen=True)
class Finding:
    """One utterance (or line of a table) that a check found, and what it measured."""

    check: str
    severity: str
    id: str
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings of a corpus; training can start when none is a fault."""

    source: Path
    utterances: int
    hours: float
    findings: tuple[Finding, ...]

    @property
    def can_train(self) -> bool:
        """True if there are utterances and no finding is a fault."""
        return self.utterances > 0 and not any(item.severity == "fault" for item in self.findings)

    def by_check(self) -> dict[str, list[Finding]]:
        """The findings by check: faults first, then warnings, then notes."""
        grouped: dict[str, list[Finding]] = {}
        for item in sorted(self.findings, key=lambda item: (SEVERITIES.index(item.severity), item.check, item.id)):
            grouped.setdefault(item.check, []).append(item)
        return grouped

    def lines(self, shown: int = 3) -> Iterator[str]:
        """Yield the diagnosis as text: a row a check, with its first findings below."""
        for check, found in self.by_check().items():
            yield f"{found[0].severity:8} {check:28} {len(found):5}  {advice(check)}"
            yield from (f"{'':10}{item.id}: {item.detail}" for item in found[:shown])
            if len(found) > shown:
                yield f"{'':10}and {len(found) - shown} more; --json names all"
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
        return {**facts, "can_train": self.can_train, "checks": checks}


def examine(
    source: Path,
    audio: AudioConfig | None = None,
    workers: int = 0,
    layout: str = "auto",
    limits: Limits | None = None,
    tokenizer: Tokenizer | None = None,
) -> Diagnosis:
    """Return the diagnosis of a folder of recordings, or of a corpus prepared from one.

    Args:
        source: folder in one of the layouts, or with a corpus.json.
        audio: what it is to be used with; a prepared corpus brings its own.
        workers: processes; 0 is one for each processor.
        tokenizer: of the Whisper that is to learn from it.
    Raises: CorpusError if the folder is missing or of no known layout.
    """
    limits = limits or Limits()
    prepared = (source / "corpus.json").is_file()
    if prepared:
        corpus = folder.load_corpus(source)
        audio = corpus.audio
        utterances, refused = _prepared_utterances(corpus), list(_damaged_truths(corpus))
    else:
        listing = read_layout(source, layout)
        utterances, refused = list(listing.utterances), list(listing.refused)
    jobs = [(item, audio or AudioConfig()) for item in utterances]
    results = list(run_in_order(_admit, jobs, workers, "examining"))
    patients = [item for item in results if isinstance(item, Patient)]
    if tokenizer is not None:
        patients = [replace(item, tokens=_tokens(tokenizer, item.utterance)) for item in patients]
    refused += [item for item in results if isinstance(item, Refusal)]
    findings = [Finding(item.reason, "fault", item.id, item.detail) for item in refused]
    for name, check in CHECKS.items():
        findings += [Finding(name, check.severity, place, detail) for place, detail in check.find(patients, limits)]
    hours = sum(item.vitals.seconds for item in patients) / 3600
    return Diagnosis(source, len(patients), hours, tuple(findings))


def advice(check: str) -> str:
    """Return what to do about a check's findings."""
    return CHECKS[check].advice if check in CHECKS else "mend or remove it; 'malsori corpus prepare' leaves it out"


def _admit(job: tuple[Utterance, AudioConfig]) -> Patient | Refusal:
    """Measure an utterance, or refuse it as `prepare` would."""
    utterance, audio = job
    try:
        normalized = reading(utterance.spoken).normalized
    except TextError as error:
        return Refusal(utterance.id, "text cannot be read", str(error))
    wave = usable_wave(utterance, audio)
    if isinstance(wave, Refusal):
        return wave
    if not pitch_hz(wave, audio).any():
        return Refusal(utterance.id, "no voice", f"{utterance.audio_path}: no frame has a pitch: noise or a whisper")
    header = audio_info(utterance.audio_path)
    vitals = measure_vitals(load_audio(utterance.audio_path), header.sample_rate, header.channels)
    jamo = to_jamo("".join(sign for sign in normalized if is_syllable(sign) or sign == " "))
    needed = len(jamo) + sum(one == other for one, other in itertools.pairwise(jamo))
    return Patient(utterance, vitals, sum(map(is_syllable, normalized)), needed)


def _tokens(tokenizer: Tokenizer, utterance: Utterance) -> int:
    """Return how many tokens an utterance's text takes with its prefix and end; 0 where it cannot be written."""
    text = utterance.written if tokenizer.knows("1") else only_hangul(reading(utterance.spoken).normalized)
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


Found = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Check:
    """One check: how bad what it finds is, how it finds it, and what to do then."""

    severity: str
    find: Callable[[list[Patient], Limits], Found]
    advice: str


def _infeasible(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        frames = int(item.vitals.sound_seconds / limits.recogniser_frame_seconds)
        if frames < item.jamo:
            yield item.id, f"{item.vitals.sound_seconds:.2f} s of sound give {frames} frames, its jamo need {item.jamo}"


def _same_sound(patients: list[Patient], limits: Limits) -> Found:
    alike = defaultdict(list)
    for item in patients:
        alike[item.vitals.digest].append(item)
    for group in alike.values():
        for item in group[1:]:
            yield item.id, f"sounds exactly like {group[0].id} ({group[0].utterance.split} and {item.utterance.split})"


def _text_leak(patients: list[Patient], limits: Limits) -> Found:
    """A text of train that is held out too: named at the held-out utterance."""
    learnt = {text_key(item.utterance.spoken): item.id for item in patients if item.utterance.split == "train"}
    for item in patients:
        key = text_key(item.utterance.spoken)
        if item.utterance.split != "train" and key in learnt:
            yield item.id, f"its text stands in train too, as {learnt[key]}: '{item.utterance.spoken}'"


def _speaker_leak(patients: list[Patient], limits: Limits) -> Found:
    splits: dict[str, set[str]] = defaultdict(set)
    for item in patients:
        splits[item.utterance.speaker].add(item.utterance.split)
    for speaker, found in sorted(splits.items()):
        if len(found) > 1:
            yield speaker, f"speaks in {', '.join(split for split in SPLITS if split in found)}"


def _clipped(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        share = item.vitals.clipped / (item.vitals.seconds * item.vitals.sample_rate)
        if share > limits.clipped_share:
            yield item.id, f"{item.vitals.clipped} samples ({share:.2%}) lie at the ceiling"


def _offset(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if abs(item.vitals.offset) > limits.offset:
            yield item.id, f"the mean of the samples is {item.vitals.offset:+.4f}"


def _faint(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if item.vitals.loudest_db < limits.faint_db:
            yield item.id, f"its loudest 10 ms are {item.vitals.loudest_db:.0f} dB of full scale"


def _noisy(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        span = item.vitals.loudest_db - item.vitals.faintest_db
        if span < limits.noise_db:
            yield item.id, f"its pauses lie {span:.0f} dB below its loudest sound"


def _mostly_silent(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if item.vitals.pause_share > limits.pause_share:
            yield item.id, f"{item.vitals.pause_share:.0%} of {item.vitals.seconds:.1f} s is silence"


def _long_pause(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if item.vitals.longest_pause_seconds > limits.pause_seconds:
            yield item.id, f"a pause of {item.vitals.longest_pause_seconds:.1f} s inside"


def _narrow(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if item.vitals.bandwidth_hz < limits.bandwidth_share * item.vitals.sample_rate / 2:
            rate, hertz = item.vitals.sample_rate, item.vitals.bandwidth_hz
            yield item.id, f"{rate} Hz, yet empty above {hertz:.0f} Hz: upsampled from {2 * hertz:.0f} Hz or so"


def _other_rate(patients: list[Patient], limits: Limits) -> Found:
    counts = Counter(item.vitals.sample_rate for item in patients)
    for item in patients:
        usual = counts.most_common(1)[0][0]
        if item.vitals.sample_rate != usual:
            yield item.id, f"{item.vitals.sample_rate} Hz, most have {usual}"


def _several_channels(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if item.vitals.channels > 1:
            yield item.id, f"{item.vitals.channels} channels, which are averaged"


def _outlying(patients: list[Patient], limits: Limits, values: list[float], unit: str, least: float) -> Found:
    """Yield values far from the median of their logarithms, in robust standard deviations (1.4826 x the median one).

    The deviation counts as `least` at least: where all are alike, what differs a little is no outlier yet.
    """
    if len(patients) < limits.fewest:
        return
    logs = np.log(np.maximum(values, 1e-3))
    median = np.median(logs)
    spread = max(least, 1.4826 * float(np.median(np.abs(logs - median))))
    for item, value, away in zip(patients, values, (logs - median) / spread, strict=True):
        if abs(away) > limits.deviations:
            yield item.id, f"{value:.2f} {unit}, where {np.exp(median):.2f} is usual"


def _odd_length(patients: list[Patient], limits: Limits) -> Found:
    lengths = [item.vitals.sound_seconds for item in patients]
    yield from _outlying(patients, limits, lengths, "s of sound", least=0.3)


def _odd_rate(patients: list[Patient], limits: Limits) -> Found:
    rates = [item.syllables / item.vitals.sound_seconds for item in patients]
    odd = dict(_outlying(patients, limits, rates, "syllables a second", least=0.1))
    for item, rate in zip(patients, rates, strict=True):
        if rate > limits.syllables_per_second:
            odd[item.id] = f"{rate:.2f} syllables a second, nobody speaks so fast"
    yield from odd.items()


def _too_long(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if item.vitals.seconds > limits.long_seconds:
            yield item.id, f"lasts {item.vitals.seconds:.1f} s"


def _too_many_tokens(patients: list[Patient], limits: Limits) -> Found:
    for item in patients:
        if item.tokens > limits.most_tokens:
            yield item.id, f"{item.tokens} tokens, at most {limits.most_tokens} have a place"


#: All checks beside those for use at all, whose names are the reasons why `prepare` skips an utterance.
CHECKS: dict[str, Check] = {
    "too fast for CTC": Check("fault", _infeasible, "the text is longer than what is said: mend or remove it"),
    "same recording twice": Check("fault", _same_sound, "remove one: it is learnt twice, and a copy held out is known"),
    "text in train and held out": Check("warning", _text_leak, "its score is too good: move it to train, or say so"),
    "clipping": Check("warning", _clipped, "record again with less gain, or leave it out of a voice"),
    "offset": Check("warning", _offset, "subtract the mean, or filter below 20 Hz"),
    "faint": Check("warning", _faint, "raise the level, if the noise allows"),
    "noise": Check("warning", _noisy, "use it for recognition, not for a voice"),
    "mostly silence": Check("warning", _mostly_silent, "ends are trimmed by 'prepare'; listen whether all is there"),
    "long pause": Check("warning", _long_pause, "cut it, or write a mark into the text where it stands"),
    "narrow band": Check("warning", _narrow, "find the original, or use it at its true rate"),
    "another sample rate": Check("warning", _other_rate, "'prepare' resamples it; is it the same voice chain?"),
    "several channels": Check("warning", _several_channels, "take one channel, if they differ"),
    "odd length": Check("warning", _odd_length, "listen: is it one sentence?"),
    "odd speaking rate": Check("warning", _odd_rate, "listen: does the text say what is said?"),
    "longer than 30 s": Check("note", _too_long, "Whisper hears 30 s at once; cut it for Whisper"),
    "more tokens than Whisper writes": Check("warning", _too_many_tokens, "cut sound and text, or it is left out"),
    "speaker in several splits": Check("note", _speaker_leak, "a recogniser's test wants speakers it never heard"),
}
