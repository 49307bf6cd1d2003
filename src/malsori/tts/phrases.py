"""A text as phrases: what is synthesized at one go, and how long it is silent within and between them.

A phrase is a sentence; where the pace changes, or a sentence is longer than any that a voice has learnt, a part of one.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from malsori.config import AudioConfig
from malsori.text.frontend import Reading
from malsori.text.symbols import BETWEEN_SENTENCES_SECONDS, MAX_PHONEMES, PAUSE, SENTENCE_ENDS, START
from malsori.tts.markup import Script
from malsori.tts.roles import SynthesisInput, SynthesisOutput

_LEAD_SECONDS = 0.03  # of a pause between two phrases that the second begins with: its first sound may lie there
_FADE_SECONDS = 0.005  # where silence is put into a wave


@dataclass(frozen=True)
class Phrase:
    """What is synthesized at one go.

    Attributes:
        begin, end: its phonemes in the reading, without the boundaries around them.
        mark: the sign that closes it.
        rate: its pace, of the one asked for.
        pauses: place of a boundary among the phrase's own phonemes, 0 the opening one → seconds of silence there.
        gap: seconds of silence before it that belong to no phrase.
    """

    begin: int
    end: int
    mark: str
    rate: float = 1.0
    pauses: dict[int, float] = field(default_factory=dict)
    gap: float = 0.0

    def sentence(self, reading: Reading) -> SynthesisInput:
        """Return what is given to a voice."""
        words = dict.fromkeys(word for word in reading.phoneme_words[self.begin : self.end] if word >= 0)
        text = " ".join(reading.words[word].spoken for word in words)
        return SynthesisInput((START, *reading.phonemes[self.begin : self.end], self.mark), text)


def plan_phrases(reading: Reading, script: Script) -> list[Phrase]:
    """Return the phrases of a text, in order."""
    pauses = _pauses_by_place(reading, script)
    sentences = list(_sentences(reading))
    phrases: list[Phrase] = []
    for begin, end, mark in sentences:
        parts = list(_parted(reading, script, begin, end))
        for number, (first, last) in enumerate(parts):
            own = {place - first + 1: pauses[place] for place in range(first - 1, last + 1) if place in pauses}
            if 0 in own and phrases:  # the phrase before has had the rest of it
                own[0] = min(own[0], _LEAD_SECONDS)
            if (closing := last - first + 1) in own and last < len(reading.phonemes) - 1:
                own[closing] = max(0.0, own[closing] - _LEAD_SECONDS)
            gap = BETWEEN_SENTENCES_SECONDS if phrases and number == 0 and 0 not in own else 0.0
            rate = script.rate_at(reading.words[reading.phoneme_words[first]].start)
            closes = mark if number == len(parts) - 1 else SENTENCE_ENDS[0]
            phrases.append(Phrase(first, last, closes, rate, own, gap))
    return phrases


def with_pauses(output: SynthesisOutput, phrase: Phrase, audio: AudioConfig) -> SynthesisOutput:
    """Return what was synthesized of a phrase, silent for as long as was asked for, frames rounded."""
    for place, seconds in phrase.pauses.items():
        output = _resized(output, place, round(seconds / audio.frame_seconds), audio)
    return output


def _resized(output: SynthesisOutput, place: int, frames: int, audio: AudioConfig) -> SynthesisOutput:
    """Return an output whose boundary at a place lasts so many frames: silence is put in, or some taken out.

    Within a phrase that is done in the boundary's middle, at a phrase's ends at the outer side.
    """
    durations = output.durations.copy()
    begin, had = int(durations[:place].sum()), int(durations[place])
    kept = min(had, frames)
    head = 0 if place == 0 else kept if place == len(durations) - 1 else kept // 2
    durations[place] = frames
    before, after, more = begin + head, begin + had - (kept - head), frames - kept
    if output.mel is not None:
        silence = np.full((more, output.mel.shape[1]), audio.silence, dtype=output.mel.dtype)
        return SynthesisOutput(durations, mel=np.concatenate([output.mel[:before], silence, output.mel[after:]]))
    assert output.wave is not None, "a role gives a mel or a wave"
    hop, fade = audio.hop_samples, round(_FADE_SECONDS * audio.sample_rate)
    first, rest = output.wave[: before * hop].copy(), output.wave[after * hop :].copy()
    if len(first) + len(rest) + more * hop != len(output.wave):
        first[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)[-len(first) :] if len(first) else 1
        rest[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)[: len(rest)]
    return SynthesisOutput(durations, wave=np.concatenate([first, np.zeros(more * hop, dtype=np.float32), rest]))


def _boundaries(reading: Reading) -> list[int]:
    """Return where among the phonemes each word begins and the last one ends: places of the boundaries."""
    words = reading.phoneme_words
    return [0, *(place for place in range(1, len(words)) if words[place] < 0)]


def _pauses_by_place(reading: Reading, script: Script) -> dict[int, float]:
    """Return the pauses that were asked for, by the place of the boundary among the phonemes where they are."""
    places, ends = _boundaries(reading), [word.end for word in reading.words]
    pauses: dict[int, float] = {}
    for offset, seconds in script.pauses.items():
        place = places[bisect_right(ends, offset)]
        pauses[place] = pauses.get(place, 0.0) + seconds
    return pauses


def _sentences(reading: Reading) -> Iterator[tuple[int, int, str]]:
    """Yield where each sentence's phonemes begin and end, without the boundaries around them, and its closing mark."""
    begin = 1
    for place, signs in zip(_boundaries(reading)[1:-1], reading.breaks[:-1], strict=True):
        mark = next((mark for mark in ("?", "!", "…", ".") if mark in signs), None)
        if mark:
            yield begin, place, mark
            begin = place + 1
    yield begin, len(reading.phonemes) - 1, reading.phonemes[-1]


def _parted(reading: Reading, script: Script, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a sentence that are spoken at one pace and are not too long."""
    words = reading.phoneme_words
    breaks = [place for place in range(begin, end) if words[place] < 0]
    rates = [script.rate_at(reading.words[words[place + 1]].start) for place in (begin - 1, *breaks)]
    cuts = [place for place, (before, after) in zip(breaks, pairwise(rates), strict=True) if before != after]
    for stop in (*cuts, end):
        while stop - begin > MAX_PHONEMES:
            within = [place for place in breaks if begin < place <= begin + MAX_PHONEMES]
            commas = [place for place in within if reading.phonemes[place] == PAUSE]
            place = max(commas or within, default=stop)
            if place == stop:
                break
            yield begin, place
            begin = place + 1
        yield begin, stop
        begin = stop + 1
