"""Where one phoneme turns into the next, to 5 ms: a second look at a sound, after a recogniser's or instead of it.

A recogniser's spikes, where there are any, only bound the search: each phoneme is sought within a quarter of a second
of its spike. Silence is looked for twice: first wherever the text has a boundary; then only where it lasted long
enough to be a pause, so that a stop keeps its closure. Last, a boundary goes to where the spectrum changes most within
15 ms.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from malsori.alignment.gmm import AUDIO, PhoneModels, built_in, flat_start, listen, reestimate, spectral_change
from malsori.alignment.hmm import STATES, Chain, best_path, chain_of
from malsori.alignment.phonemes import COMMA_PAUSE_SECONDS, WORD_PAUSE_SECONDS
from malsori.errors import AlignmentError
from malsori.text.frontend import Reading
from malsori.text.symbols import SPACE

#: How far from a recogniser's spike a phoneme is sought: CTC is up to a tenth of a second late, and errs.
REACH_SECONDS = 0.25
#: Passes of re-estimation from a flat start: any state at any time; then near the path found so far, with one, two and
#: four components a state.
FLAT_PASSES = (6, 4, 4, 4)
#: Passes that adapt models to a speaker, and what the models count for beside the speaker's frames.
ADAPTING_PASSES, PRIOR_FRAMES = 3, 20.0
#: The first of these, in which a frame may be in any state, takes the longest: it is content with so much speech.
FIRST_SECONDS = 600.0
_PASSES_FOR_LATENESS, _SOUNDS_FOR_LATENESS = 3, 60
#: How far a boundary may be moved to a greater change of the spectrum, and what each step must gain, in its deviations.
_MOST_FRAMES_MOVED, _MOVING_COSTS = 3, 0.1
#: Less speech than this teaches too little: models learnt before are adapted to it.
LEAST_SECONDS = 120.0
#: A long recording is taken so much at a time.
STRETCH_SECONDS = 30.0
#: More speech than this teaches phonemes nothing new, and takes its time.
MOST_SECONDS = 1800.0


@dataclass(frozen=True)
class Sound:
    """A recording to be aligned.

    Attributes:
        reading: what is said in it.
        features: what `listen` makes of it (frames, features).
        change: `spectral_change` of it (frames,).
        seconds: its length.
        coarse: where a recognizer has each phoneme end, in seconds (tokens,); None if none was asked.
    """

    reading: Reading
    features: Float[np.ndarray, "frames features"]
    change: Float[np.ndarray, " frames"]
    seconds: float
    coarse: Float[np.ndarray, " tokens"] | None = None

    def chain(self, silences: Bool[np.ndarray, " tokens"] | None = None) -> Chain:
        """Return its chain, with silence where it is allowed: at all boundaries, or at those that are True.

        Raises: AlignmentError if the sound is too short for the reading.
        """
        tokens, frames = len(self.reading.phonemes), len(self.features)
        needed = STATES * sum(word >= 0 for word in self.reading.phoneme_words)
        if needed > frames or not needed:
            raise AlignmentError(
                f"{self.seconds:.2f} s cannot hold the {needed // STATES} phonemes of {self.reading.written!r}"
            )
        bounds = None
        if self.coarse is not None:
            ends, reach = (
                np.round(self.coarse / AUDIO.frame_seconds).astype(int),
                round(REACH_SECONDS / AUDIO.frame_seconds),
            )
            bounds = np.concatenate([[0], ends[:-1]]) - reach, ends + reach
        allowed = np.ones(tokens, dtype=bool) if silences is None else silences
        return chain_of(self.reading, allowed, bounds, frames)


def sound_of(
    reading: Reading,
    wave: Float[np.ndarray, " samples"],
    sample_rate: int,
    coarse: Float[np.ndarray, " tokens"] | None = None,
) -> Sound:
    """Return a wave and its reading as something to align. Raises: AlignmentError if the wave is hardly there."""
    change = spectral_change(wave, sample_rate)
    return Sound(reading, listen(wave, sample_rate), change, len(wave) / sample_rate, coarse)


def learn(sounds: Sequence[Sound]) -> PhoneModels:
    """Return phone models learnt from recordings and their texts alone, from a flat start.

    Where a recogniser put the phonemes roughly, its lateness is found out first and taken off.

    Raises: AlignmentError if there is no sound, or one that cannot hold its reading.
    """
    if not sounds:
        raise AlignmentError("there is no recording to learn phonemes from")
    lateness = _lateness(sounds)
    sounds = [sound if sound.coarse is None else replace(sound, coarse=sound.coarse - lateness) for sound in sounds]
    models = flat_start([sound.features for sound in sounds])
    for stage, passes in enumerate(FLAT_PASSES):
        if stage:
            models = models.split() if stage > 1 else models
            sounds = [replace(sound, coarse=_ends(models, sound, None)) for sound in sounds]
        some = sounds if stage else sounds[:: math.ceil(sum(sound.seconds for sound in sounds) / FIRST_SECONDS)]
        models = _improved(models, some, passes)
    return models


def adapt(models: PhoneModels, sounds: Sequence[Sound]) -> PhoneModels:
    """Return models moved towards the speaker, or the room, of some recordings; the more of them the further.

    Raises: AlignmentError if a sound cannot hold its reading.
    """
    return _improved(models, sounds, ADAPTING_PASSES, PRIOR_FRAMES) if sounds else models


def some_of(seconds: Sequence[float]) -> list[int]:
    """Return the places of so many recordings, evenly spread, as there is anything to learn from.

    >>> some_of([1200.0, 1200.0, 1200.0])
    [1]
    """
    share = min(1.0, MOST_SECONDS / max(sum(seconds), 1e-9))
    return [place for place in range(len(seconds)) if math.floor((place + 1) * share) > math.floor(place * share)]


def place(models: PhoneModels, sound: Sound) -> Float[np.ndarray, " tokens"]:
    """Return where each phoneme of a sound's reading ends, in seconds; the last at its very end.

    Raises: AlignmentError if the sound is too short for the reading, or no path leads through it.
    """
    first = _ends(models, sound, None)
    lasted = np.diff(first, prepend=0.0)
    least = [COMMA_PAUSE_SECONDS if symbol != SPACE else WORD_PAUSE_SECONDS for symbol in sound.reading.phonemes]
    silences = lasted >= np.array(least)
    silences[[0, -1]] = True
    return _sharpened(_ends(models, sound, silences), sound)


def refine(
    reading: Reading,
    pieces: Iterable[Float[np.ndarray, " _"]],
    sample_rate: int,
    coarse: Float[np.ndarray, " tokens"],
) -> Float[np.ndarray, " tokens"]:
    """Return where each phoneme ends in a recording that stands alone, by the models that come with malsori.

    A long one is taken a stretch at a time, from pause to pause; the models adapt as they go.

    Args:
        pieces: the sound, one after another; a single one will do.
        coarse: where a recognizer has each phoneme end, in seconds.
    Raises: AlignmentError as `place`.
    """
    models, ends = built_in(), coarse.copy()
    edges, pending, begun = _pauses(reading, coarse), np.zeros(0, dtype=np.float32), 0
    waiting = iter(pieces)
    for (first, begin), (last, end) in itertools.pairwise(edges):
        final = last == len(coarse) - 1
        from_sample, to_sample = (round(edge * sample_rate) for edge in (begin, end))
        while final or begun + len(pending) < to_sample:
            piece = next(waiting, None)
            if piece is None:
                break
            pending = np.concatenate([pending, piece])
        pending, begun = pending[from_sample - begun :], from_sample
        wave = pending if final else pending[: to_sample - from_sample]
        part = replace(
            reading, phonemes=reading.phonemes[first : last + 1], phoneme_words=reading.phoneme_words[first : last + 1]
        )
        sound = sound_of(part, wave, sample_rate, coarse[first : last + 1] - begin)
        models = adapt(models, [sound])
        placed = place(models, sound) + begin
        ends[first : last + final] = placed if final else placed[:-1]
    return ends


def _pauses(reading: Reading, coarse: np.ndarray) -> list[tuple[int, float]]:
    """Return the boundaries, and a moment in each, between which a sound is taken at a time: the first, some, the last.

    Within the time that a stretch may last, the longest pause is taken, a late one before an early one.
    """
    starts = np.concatenate([[0.0], coarse[:-1]])
    boundaries = [place for place, word in enumerate(reading.phoneme_words) if word < 0]
    edges, last = [(0, 0.0)], len(coarse) - 1
    while coarse[last] - edges[-1][1] > STRETCH_SECONDS:
        since = edges[-1][1]
        near = [b for b in boundaries if b > edges[-1][0] and STRETCH_SECONDS / 4 < starts[b] - since < STRETCH_SECONDS]
        if not near:  # nothing but one endless word: it is taken whole
            break
        best = max(near, key=lambda b: (coarse[b] - starts[b], b))
        edges.append((best, float(starts[best] + coarse[best]) / 2))
    return [*edges, (last, float(coarse[last]))]


def _sharpened(ends: np.ndarray, sound: Sound) -> np.ndarray:
    """Return the ends, each moved to where the spectrum changes most nearby, if that is no further than half a phoneme.

    A hidden Markov model is free to give the passage from one sound to the next to either of them.
    """
    frames = np.round(ends[:-1] / AUDIO.frame_seconds).astype(int)
    edges, places = np.unique(frames, return_inverse=True)
    room = (np.diff(edges, prepend=0, append=len(sound.change)) - 1).clip(0) // 2
    moved = edges.copy()
    for number, (edge, before, after) in enumerate(zip(edges, room[:-1], room[1:], strict=True)):
        steps = np.arange(-min(before, _MOST_FRAMES_MOVED), min(after, _MOST_FRAMES_MOVED) + 1)
        if 0 < edge < len(sound.change):
            moved[number] += steps[np.argmax(sound.change[edge + steps] - _MOVING_COSTS * np.abs(steps))]
    return np.append(moved[places] * AUDIO.frame_seconds, ends[-1])


def _improved(models: PhoneModels, sounds: Sequence[Sound], passes: int, prior_frames: float = 0.0) -> PhoneModels:
    chains = [(sound.features, sound.chain()) for sound in sounds]
    for _ in range(passes):
        models, _ = reestimate(models, chains, prior_frames)
    return models


def _lateness(sounds: Sequence[Sound]) -> float:
    """Return how many seconds a recogniser is late, by a first, rough idea of where phonemes begin; 0 without one."""
    some = [sound for sound in sounds[:: max(1, len(sounds) // _SOUNDS_FOR_LATENESS)] if sound.coarse is not None]
    if not some:
        return 0.0
    models = _improved(flat_start([sound.features for sound in some]), some, _PASSES_FOR_LATENESS)
    late = []
    for sound in some:
        sounded = np.array(sound.reading.phoneme_words[1:]) >= 0  # each begins where the one before ends
        late.append((sound.coarse - _ends(models, sound, None))[:-1][sounded])
    return float(np.median(np.concatenate(late)))


def _ends(models: PhoneModels, sound: Sound, silences: np.ndarray | None) -> np.ndarray:
    chain = sound.chain(silences)
    path, score = best_path(chain, models.window_scores(sound.features, chain), models.leave)
    if not math.isfinite(score):
        raise AlignmentError(f"no way through {sound.seconds:.2f} s of sound for {sound.reading.written!r}")
    ends = np.searchsorted(path, np.arange(len(sound.reading.phonemes)), "right") * AUDIO.frame_seconds
    ends[-1] = sound.seconds
    return np.minimum(ends, sound.seconds)
