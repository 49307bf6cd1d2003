"""The checks of a corpus: what each measures, from which limit on that is a finding, and what to do then."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from malsori.config import RECOGNITION_AUDIO, Config
from malsori.corpus.audio_quality import AudioQuality
from malsori.corpus.layouts import SPLITS
from malsori.models.conformer import FRAME_STRIDE
from malsori.readers.records import Utterance, text_key


class CheckLimits(Config):
    """The limits of the checks. Real studio and stage recordings lie well inside all of them."""

    clipped_share: float = 2e-4  # samples at the ceiling; a hard consonant may touch it once
    offset: float = 0.005  # mean of the samples; converters leave less than 0.0005
    faint_db: float = -36.0  # loudest 10 ms, dB of full scale
    noise_db: float = 15.0  # loudest 5 % over faintest 5 %: less, and pauses are as loud as speech
    pause_share: float = 0.6
    pause_seconds: float = 2.0  # inside a sentence
    bandwidth_share: float = 0.7  # of half the sample rate
    max_deviations: float = 4.5  # robust standard deviations from the corpus's own median, for outliers
    min_utterances: int = 20  # from which outliers are looked for
    syllables_per_second: float = 12.0  # the fastest Korean; broadcast speech has 7
    recognizer_frame_seconds: float = FRAME_STRIDE * RECOGNITION_AUDIO.frame_seconds
    long_seconds: float = 30.0  # Whisper's window
    recipe_seconds: float = 20.0  # what most recipes leave out beyond (data.max_seconds)
    max_tokens: int = 448  # what its decoder has positions for
    min_fit: float = -4.5  # of text and sound, nats a phoneme
    fit_below_median: float = 2.5  # the same, beside the corpus's own: clear speech is held to more


@dataclass(frozen=True)
class UtteranceStats:
    """The measurements of one utterance.

    Attributes:
        jamo: what CTC needs: symbols, and a blank between equal ones.
        pitch_hz: geometric mean over its voiced frames.
        tokens: of Whisper, where its tokenizer is at hand.
        fit: of text and sound, where a recognizer was given (see `audio_quality.text_fit`).
    """

    utterance: Utterance
    quality: AudioQuality
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
class CorpusCheck:
    """One check: the severity of its findings, the function that yields them, and what to do then."""

    severity: str
    find: Callable[[list[UtteranceStats], CheckLimits], Found]
    advice: str


def _infeasible(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        frames = int(item.quality.sound_seconds / limits.recognizer_frame_seconds)
        if frames < item.jamo:
            yield (
                item.id,
                f"{item.quality.sound_seconds:.2f} s of sound give {frames} frames, its jamo need {item.jamo}",
            )


def _same_sound(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    alike = defaultdict(list)
    for item in stats:
        alike[item.quality.digest].append(item)
    for group in alike.values():
        for item in group[1:]:
            yield item.id, f"sounds exactly like {group[0].id} ({group[0].utterance.split} and {item.utterance.split})"


def _text_leak(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    """A text of train that is held out too: named at the held-out utterance."""
    learnt = {text_key(item.utterance.spoken): item.id for item in stats if item.utterance.split == "train"}
    for item in stats:
        key = text_key(item.utterance.spoken)
        if item.utterance.split != "train" and key in learnt:
            yield item.id, f"its text stands in train too, as {learnt[key]}: '{item.utterance.spoken}'"


def _speaker_leak(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    splits: dict[str, set[str]] = defaultdict(set)
    for item in stats:
        splits[item.utterance.speaker].add(item.utterance.split)
    for speaker, found in sorted(splits.items()):
        if len(found) > 1:
            yield speaker, f"speaks in {', '.join(split for split in SPLITS if split in found)}"


def _clipped(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        share = item.quality.clipped / (item.quality.seconds * item.quality.sample_rate)
        if share > limits.clipped_share:
            yield item.id, f"{item.quality.clipped} samples ({share:.2%}) lie at the ceiling"


def _offset(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if abs(item.quality.offset) > limits.offset:
            yield item.id, f"the mean of the samples is {item.quality.offset:+.4f}"


def _faint(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.quality.loudest_db < limits.faint_db:
            yield item.id, f"its loudest 10 ms are {item.quality.loudest_db:.0f} dB of full scale"


def _noisy(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        span = item.quality.loudest_db - item.quality.faintest_db
        if span < limits.noise_db:
            yield item.id, f"its pauses lie {span:.0f} dB below its loudest sound"


def _mostly_silent(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.quality.pause_share > limits.pause_share:
            yield item.id, f"{item.quality.pause_share:.0%} of {item.quality.seconds:.1f} s is silence"


def _long_pause(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.quality.longest_pause_seconds > limits.pause_seconds:
            yield item.id, f"a pause of {item.quality.longest_pause_seconds:.1f} s inside"


def _narrow(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.quality.bandwidth_hz < limits.bandwidth_share * item.quality.sample_rate / 2:
            rate, hertz = item.quality.sample_rate, item.quality.bandwidth_hz
            yield item.id, f"{rate} Hz, yet empty above {hertz:.0f} Hz: upsampled from {2 * hertz:.0f} Hz or so"


def _other_rate(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    counts = Counter(item.quality.sample_rate for item in stats)
    for item in stats:
        usual = counts.most_common(1)[0][0]
        if item.quality.sample_rate != usual:
            yield item.id, f"{item.quality.sample_rate} Hz, most have {usual}"


def _several_channels(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.quality.channels > 1:
            yield item.id, f"{item.quality.channels} channels, which are averaged"


def _outlying(
    stats: list[UtteranceStats], limits: CheckLimits, values: list[float], unit: str, min_spread: float
) -> Found:
    """Yield values far from the median of their logarithms, in robust standard deviations (1.4826 x the median one).

    The deviation counts as `min_spread` at least: where all are alike, what differs a little is no outlier yet.
    """
    if len(stats) < limits.min_utterances:
        return
    logs = np.log(np.maximum(values, 1e-3))
    median = np.median(logs)
    spread = max(min_spread, 1.4826 * float(np.median(np.abs(logs - median))))
    for item, value, away in zip(stats, values, (logs - median) / spread, strict=True):
        if abs(away) > limits.max_deviations:
            yield item.id, f"{value:.2f} {unit}, where {np.exp(median):.2f} is usual"


def _odd_length(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    lengths = [item.quality.sound_seconds for item in stats]
    yield from _outlying(stats, limits, lengths, "s of sound", min_spread=0.3)


def _odd_rate(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    rates = [item.syllables / item.quality.sound_seconds for item in stats]
    odd = dict(_outlying(stats, limits, rates, "syllables a second", min_spread=0.1))
    for item, rate in zip(stats, rates, strict=True):
        if rate > limits.syllables_per_second:
            odd[item.id] = f"{rate:.2f} syllables a second, nobody speaks so fast"
    yield from odd.items()


def _other_text(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    """Yield texts much less probable than the recognizer's own best path (see `audio_quality.text_fit`).

    With these limits, on 277 recordings of emotiontts and 820 of tedxkr: another utterance's text is found in 95 and 90
    of 100, a text that lacks its second half in 100 and 87, one whose second half is another's in 86 and 21, one
    that lacks a single word in 9 and 4. Of the true texts none is named in emotiontts, and 7 in tedxkr.
    """
    fits = {item.id: item.fit for item in stats if item.fit is not None}
    median = float(np.median([*fits.values()])) if fits else 0.0
    enough = len(fits) >= limits.min_utterances
    lowest = max(limits.min_fit, median - limits.fit_below_median) if enough else limits.min_fit
    for place, fit in fits.items():
        if fit == -math.inf:
            yield place, "its text cannot be laid over the sound at all"
        elif fit < lowest:
            yield place, f"text and sound fit by {fit:.1f} nats a phoneme, where {median:.1f} is usual"


def _too_long(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.quality.seconds > limits.long_seconds:
            yield item.id, f"lasts {item.quality.seconds:.1f} s"


def _too_many_tokens(stats: list[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.tokens > limits.max_tokens:
            yield item.id, f"{item.tokens} tokens, at most {limits.max_tokens} have a place"


#: All checks beside those for use at all, whose names are the reasons for which `prepare` skips an utterance.
CHECKS: dict[str, CorpusCheck] = {
    "too fast for CTC": CorpusCheck("fault", _infeasible, "the text is longer than what is said: mend or remove it"),
    "same recording twice": CorpusCheck("fault", _same_sound, "remove one: it counts twice, or its test is known"),
    "text in train and held out": CorpusCheck(
        "warning", _text_leak, "its score is too good: move it to train, or say so"
    ),
    "clipping": CorpusCheck("warning", _clipped, "record again with less gain, or do not use it for a voice"),
    "offset": CorpusCheck("warning", _offset, "subtract the mean, or filter below 20 Hz"),
    "faint": CorpusCheck("warning", _faint, "raise the level, if the noise allows"),
    "noise": CorpusCheck("warning", _noisy, "use it for recognition, not for a voice"),
    "mostly silence": CorpusCheck("warning", _mostly_silent, "'prepare' trims the ends; listen whether all is there"),
    "long pause": CorpusCheck("warning", _long_pause, "cut it, or write a mark into the text where it stands"),
    "narrow band": CorpusCheck("warning", _narrow, "find the original, or use it at its true rate"),
    "another sample rate": CorpusCheck("warning", _other_rate, "'prepare' resamples it; is it the same voice chain?"),
    "several channels": CorpusCheck("warning", _several_channels, "take one channel, if they differ"),
    "odd length": CorpusCheck("warning", _odd_length, "listen: is it one sentence?"),
    "odd speaking rate": CorpusCheck("warning", _odd_rate, "listen: does the text say what is said?"),
    "text not said": CorpusCheck("warning", _other_text, "listen: is this text said, all of it and nothing else?"),
    "longer than 30 s": CorpusCheck("note", _too_long, "Whisper's window is 30 s; cut it for Whisper"),
    "more tokens than Whisper writes": CorpusCheck("warning", _too_many_tokens, "cut sound and text, or it is skipped"),
    "speaker in several splits": CorpusCheck("note", _speaker_leak, "test a recognizer on speakers not in train"),
}
