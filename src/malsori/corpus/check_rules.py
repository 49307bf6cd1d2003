"""The doctor's checks: what each looks at, where a measurement becomes a finding, and what to do then."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from malsori.config import Config
from malsori.corpus.audio_quality import Vitals
from malsori.corpus.layouts import SPLITS, Utterance, text_key


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
    worst_fit: float = -4.5  # of text and sound, nats a phoneme
    fit_below_median: float = 2.5  # the same, beside the corpus's own: clear speech is held to more


@dataclass(frozen=True)
class Patient:
    """One utterance with its measurements.

    Attributes:
        jamo: what CTC needs: symbols, and a blank between equal ones.
        pitch_hz: geometric mean over its voiced frames.
        tokens: of Whisper, where its tokenizer is at hand.
        fit: of text and sound, where a recogniser listened (see `audio_quality.text_fit`).
    """

    utterance: Utterance
    vitals: Vitals
    syllables: int
    jamo: int
    pitch_hz: float
    tokens: int = 0
    fit: float | None = None

    @property
    def id(self) -> str:
        """The utterance's id."""
        return self.utterance.id


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


def _other_text(patients: list[Patient], limits: Limits) -> Found:
    """Texts much less likely than what the recogniser hears by itself (see `audio_quality.text_fit`).

    With these limits, on 277 recordings of emotiontts and 820 of tedxkr: another utterance's text is found in 95 and 90
    of 100, a text that lacks its second half in 100 and 87, one whose second half is another's in 86 and 21, one
    that lacks a single word in 9 and 4. Of the true texts none is named in emotiontts, and 7 in tedxkr.
    """
    fits = {item.id: item.fit for item in patients if item.fit is not None}
    median = float(np.median([*fits.values()])) if fits else 0.0
    enough = len(fits) >= limits.fewest
    least = max(limits.worst_fit, median - limits.fit_below_median) if enough else limits.worst_fit
    for place, fit in fits.items():
        if fit == -math.inf:
            yield place, "its text cannot be laid over the sound at all"
        elif fit < least:
            yield place, f"text and sound fit by {fit:.1f} nats a phoneme, where {median:.1f} is usual"


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
    "text not said": Check("warning", _other_text, "listen: is this text said, all of it and nothing else?"),
    "longer than 30 s": Check("note", _too_long, "Whisper hears 30 s at once; cut it for Whisper"),
    "more tokens than Whisper writes": Check("warning", _too_many_tokens, "cut sound and text, or it is left out"),
    "speaker in several splits": Check("note", _speaker_leak, "a recogniser's test wants speakers it never heard"),
}
