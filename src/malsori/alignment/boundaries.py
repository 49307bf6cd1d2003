"""Where one phoneme turns into the next, to 5 ms: a second look at a sound, after a recognizer's or instead of it.

A recognizer's spikes, where there are any, only bound the search: each phoneme is sought within a quarter of a second
of its spike, and where the path leans on such a bound the search is moved there and made again, as the recognizer may
err by more. Silence is placed twice: first wherever the text has a boundary; then only where it lasted long enough to
be a pause, so that a stop keeps its closure. Last, a boundary goes to where the spectrum changes most within 15 ms.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from malsori.alignment.gmm import (
    AUDIO,
    GmmHmm,
    built_in,
    extract_mfcc,
    initialize_flat,
    reestimate,
    spectral_change,
    with_deltas,
)
from malsori.alignment.hmm import STATES, StateGraph, best_path, build_state_graph
from malsori.alignment.phonemes import COMMA_PAUSE_SECONDS, WORD_PAUSE_SECONDS
from malsori.annotations import Bool, Float
from malsori.errors import AlignmentError
from malsori.text.frontend import Reading
from malsori.text.symbols import SPACE

#: How far from a recognizer's spike a phoneme is sought: CTC is up to a tenth of a second late, and errs.
SEARCH_RADIUS_SECONDS = 0.25
#: A path that leaves a boundary further behind than this leans on the bounds: they are moved, so many times at most.
_SETTLED_SECONDS, _MAX_MOVES = SEARCH_RADIUS_SECONDS / 2, 4
#: EM passes from a flat start: any state at any time; then near the path found so far, with one, two and
#: four components a state.
FLAT_PASSES = (6, 4, 4, 4)
#: Passes of MAP adaptation to a speaker, and the frames that the model counts for beside the speaker's own.
ADAPTATION_PASSES, PRIOR_FRAMES = 3, 20.0
#: The first stage, in which a frame may be in any state, is the slowest: it is given so much speech at most.
MAX_FIRST_STAGE_SECONDS = 600.0
_PASSES_FOR_DELAY, _RECORDINGS_FOR_DELAY = 3, 60
#: How far a boundary may be moved to a greater change of the spectrum, and what each step must gain, in its deviations.
_MAX_FRAMES_MOVED, _MOVE_PENALTY = 3, 0.1
#: Less speech than this trains no model from a flat start: one trained before is adapted to it.
MIN_SECONDS = 120.0
#: A long recording is aligned so much at a time.
CHUNK_SECONDS = 30.0
#: More speech than this makes boundaries no better, and takes its time.
MAX_SECONDS = 1800.0


@dataclass(frozen=True)
class AlignmentInput:
    """A recording to be aligned: its reading, what its features follow from, and what bounds the search.

    Attributes:
        reading: what is said in it.
        cepstra: what `extract_mfcc` makes of it (frames, cepstra); half an hour of these is held at once.
        change: `spectral_change` of it (frames,).
        seconds: its length.
        initial_boundaries: where each phoneme ends by an earlier alignment (CTC, or a pass before), in seconds
            (tokens,): the search goes SEARCH_RADIUS_SECONDS beyond; None if there is none.
    """

    reading: Reading
    cepstra: Float[np.ndarray, "frames cepstra"]
    change: Float[np.ndarray, " frames"]
    seconds: float
    initial_boundaries: Float[np.ndarray, " tokens"] | None = None

    @property
    def features(self) -> Float[np.ndarray, "frames features"]:
        """What the models score, made anew each time: that takes some hundredths of their time."""
        return with_deltas(self.cepstra)

    def state_graph(self, silences: Bool[np.ndarray, " tokens"] | None = None) -> StateGraph:
        """Return its state graph, with silence where it is allowed: at all boundaries, or at those that are True.

        Raises: AlignmentError if the sound is too short for the reading.
        """
        tokens, frames = len(self.reading.phonemes), len(self.cepstra)
        needed = STATES * sum(word >= 0 for word in self.reading.phoneme_words)
        if needed > frames or not needed:
            raise AlignmentError(
                f"{self.seconds:.2f} s cannot hold the {needed // STATES} phonemes of {self.reading.written!r}"
            )
        bounds = None
        if self.initial_boundaries is not None:
            ends, reach = (
                np.round(self.initial_boundaries / AUDIO.frame_seconds).astype(int),
                round(SEARCH_RADIUS_SECONDS / AUDIO.frame_seconds),
            )
            bounds = np.concatenate([[0], ends[:-1]]) - reach, ends + reach
        allowed = np.ones(tokens, dtype=bool) if silences is None else silences
        return build_state_graph(self.reading, allowed, bounds, frames)


def alignment_input(
    reading: Reading,
    wave: Float[np.ndarray, " samples"],
    sample_rate: int,
    initial_boundaries: Float[np.ndarray, " tokens"] | None = None,
) -> AlignmentInput:
    """Return a wave and its reading, ready to be aligned. Raises: AlignmentError if it is shorter than a window."""
    change = spectral_change(wave, sample_rate)
    return AlignmentInput(reading, extract_mfcc(wave, sample_rate), change, len(wave) / sample_rate, initial_boundaries)


def train_flat_start(sounds: Sequence[AlignmentInput]) -> GmmHmm:
    """Return a phone model trained on recordings and their texts alone, from a flat start.

    Where CTC boundaries are given, their delay is estimated first and taken off.

    Raises: AlignmentError if there is no sound, or one that cannot hold its reading.
    """
    if not sounds:
        raise AlignmentError("there is no recording to train phone models on")
    delay = _ctc_delay(sounds)
    sounds = [
        sound
        if sound.initial_boundaries is None
        else replace(sound, initial_boundaries=sound.initial_boundaries - delay)
        for sound in sounds
    ]
    model = initialize_flat([sound.cepstra for sound in sounds])
    for stage, passes in enumerate(FLAT_PASSES):
        if stage:
            model = model.split() if stage > 1 else model
            sounds = [replace(sound, initial_boundaries=_viterbi_ends(model, sound, None)) for sound in sounds]
        some = (
            sounds if stage else sounds[:: math.ceil(sum(sound.seconds for sound in sounds) / MAX_FIRST_STAGE_SECONDS)]
        )
        model = _run_em(model, some, passes)
    return model


def map_adapt(model: GmmHmm, sounds: Sequence[AlignmentInput]) -> GmmHmm:
    """Return the model after MAP adaptation to recordings of a speaker or a room; the more of them the further.

    Raises: AlignmentError if a sound cannot hold its reading.
    """
    return _run_em(model, sounds, ADAPTATION_PASSES, PRIOR_FRAMES) if sounds else model


def select_recordings(seconds: Sequence[float]) -> list[int]:
    """Return the indices of recordings, evenly spread, that sum to MAX_SECONDS at most: what models are trained on.

    >>> select_recordings([1200.0, 1200.0, 1200.0])
    [1]
    """
    share = min(1.0, MAX_SECONDS / max(sum(seconds), 1e-9))
    return [place for place in range(len(seconds)) if math.floor((place + 1) * share) > math.floor(place * share)]


def force_align(model: GmmHmm, sound: AlignmentInput) -> Float[np.ndarray, " tokens"]:
    """Return where each phoneme of a sound's reading ends, in seconds; the last at its very end.

    Raises: AlignmentError if the sound is too short for the reading, or no path leads through it.
    """
    sound, first, _ = _settle(model, sound)
    lasted = np.diff(first, prepend=0.0)
    min_seconds = [COMMA_PAUSE_SECONDS if symbol != SPACE else WORD_PAUSE_SECONDS for symbol in sound.reading.phonemes]
    silences = lasted >= np.array(min_seconds)
    silences[[0, -1]] = True
    return _snap_to_spectral_change(_viterbi_ends(model, sound, silences), sound)


def select_model(models: Sequence[GmmHmm], sounds: Sequence[AlignmentInput]) -> GmmHmm:
    """Return the one of some phone models under which recordings are most probable: whose speakers they resemble."""

    def log_likelihood(model: GmmHmm) -> float:
        total = 0.0
        for sound in sounds:
            try:
                total += _settle(model, sound)[2]
            except AlignmentError:  # told when it is aligned itself
                continue
        return total

    return max(models, key=log_likelihood) if len(models) > 1 else models[0]


def refine(
    reading: Reading,
    pieces: Iterable[Float[np.ndarray, " _"]],
    sample_rate: int,
    ctc_boundaries: Float[np.ndarray, " tokens"],
) -> Float[np.ndarray, " tokens"]:
    """Return where each phoneme ends in a recording that stands alone, by the models that come with malsori.

    A long one is aligned chunk by chunk, from pause to pause: the first chooses the model, which adapts as it goes.

    Args:
        pieces: the sound, one after another; a single one will do.
        ctc_boundaries: where each phoneme ends by CTC, in seconds (`time_phonemes`).
    Raises: AlignmentError as `force_align`.
    """
    model, ends = None, ctc_boundaries.copy()
    edges, pending, begun = _pauses(reading, ctc_boundaries), np.zeros(0, dtype=np.float32), 0
    waiting = iter(pieces)
    for (first, begin), (last, end) in itertools.pairwise(edges):
        final = last == len(ctc_boundaries) - 1
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
        sound = alignment_input(part, wave, sample_rate, ctc_boundaries[first : last + 1] - begin)
        model = model or select_model(built_in(), [sound])
        sound = _settle(model, sound)[0]
        model = map_adapt(model, [sound])
        placed = force_align(model, sound) + begin
        ends[first : last + final] = placed if final else placed[:-1]
    return ends


def _pauses(reading: Reading, ctc_boundaries: np.ndarray) -> list[tuple[int, float]]:
    """Return the boundaries, and a moment in each, that cut a sound into chunks: the first, some, the last.

    Within the time that a chunk may last, the longest pause is taken, a late one before an early one.
    """
    starts = np.concatenate([[0.0], ctc_boundaries[:-1]])
    boundaries = [place for place, word in enumerate(reading.phoneme_words) if word < 0]
    edges, last = [(0, 0.0)], len(ctc_boundaries) - 1
    while ctc_boundaries[last] - edges[-1][1] > CHUNK_SECONDS:
        since = edges[-1][1]
        near = [b for b in boundaries if b > edges[-1][0] and CHUNK_SECONDS / 4 < starts[b] - since < CHUNK_SECONDS]
        if not near:  # nothing but one endless word: it is taken whole
            break
        best = max(near, key=lambda b: (ctc_boundaries[b] - starts[b], b))
        edges.append((best, float(starts[best] + ctc_boundaries[best]) / 2))
    return [*edges, (last, float(ctc_boundaries[last]))]


def _snap_to_spectral_change(ends: np.ndarray, sound: AlignmentInput) -> np.ndarray:
    """Return the ends, each moved to where the spectrum changes most nearby, if that is no further than half a phoneme.

    A hidden Markov model is free to give the passage from one sound to the next to either of them.
    """
    frames = np.round(ends[:-1] / AUDIO.frame_seconds).astype(int)
    edges, places = np.unique(frames, return_inverse=True)
    room = (np.diff(edges, prepend=0, append=len(sound.change)) - 1).clip(0) // 2
    moved = edges.copy()
    for number, (edge, before, after) in enumerate(zip(edges, room[:-1], room[1:], strict=True)):
        steps = np.arange(-min(before, _MAX_FRAMES_MOVED), min(after, _MAX_FRAMES_MOVED) + 1)
        if 0 < edge < len(sound.change):
            moved[number] += steps[np.argmax(sound.change[edge + steps] - _MOVE_PENALTY * np.abs(steps))]
    return np.append(moved[places] * AUDIO.frame_seconds, ends[-1])


def _run_em(model: GmmHmm, sounds: Sequence[AlignmentInput], passes: int, prior_frames: float = 0.0) -> GmmHmm:
    graphs = [sound.state_graph() for sound in sounds]
    for _ in range(passes):
        pairs = ((sound.features, graph) for sound, graph in zip(sounds, graphs, strict=True))
        model, _ = reestimate(model, pairs, prior_frames)
    return model


def _ctc_delay(sounds: Sequence[AlignmentInput]) -> float:
    """Return the seconds that CTC boundaries are late, against a first, rough HMM alignment; 0 without any."""
    some = [
        sound
        for sound in sounds[:: max(1, len(sounds) // _RECORDINGS_FOR_DELAY)]
        if sound.initial_boundaries is not None
    ]
    if not some:
        return 0.0
    model = _run_em(initialize_flat([sound.cepstra for sound in some]), some, _PASSES_FOR_DELAY)
    late = []
    for sound in some:
        sounded = np.array(sound.reading.phoneme_words[1:]) >= 0  # each begins where the one before ends
        late.append((sound.initial_boundaries - _viterbi_ends(model, sound, None))[:-1][sounded])
    return float(np.median(np.concatenate(late)))


def _settle(model: GmmHmm, sound: AlignmentInput) -> tuple[AlignmentInput, np.ndarray, float]:
    """Return the sound with bounds around its best path, which does not lean on them, its ends and log-likelihood."""
    for _ in range(_MAX_MOVES):
        ends, score = _viterbi(model, sound, None)
        if sound.initial_boundaries is None:
            break
        moved = np.abs(ends - sound.initial_boundaries).max()
        sound = replace(sound, initial_boundaries=ends)
        if moved < _SETTLED_SECONDS:
            break
    return sound, ends, score


def _viterbi_ends(model: GmmHmm, sound: AlignmentInput, silences: np.ndarray | None) -> np.ndarray:
    return _viterbi(model, sound, silences)[0]


def _viterbi(model: GmmHmm, sound: AlignmentInput, silences: np.ndarray | None) -> tuple[np.ndarray, float]:
    graph = sound.state_graph(silences)
    path, score = best_path(graph, model.window_scores(sound.features, graph), model.exit_probability)
    if not math.isfinite(score):
        raise AlignmentError(f"no way through {sound.seconds:.2f} s of sound for {sound.reading.written!r}")
    ends = np.searchsorted(path, np.arange(len(sound.reading.phonemes)), "right") * AUDIO.frame_seconds
    ends[-1] = sound.seconds
    return np.minimum(ends, sound.seconds), score
