"""A reading as a graph of HMM states, three to a phoneme, and the paths through it.

    ^ (silence)      ㄴ          ㅏ       boundary (silence)     ㅁ
    ●─►●─►●  ─►  ●─►●─►●  ─►  ●─►●─►●  ─►  ●─►●─►●  ─►  ●─►●─►● ...     a state may last: ●⟲
                                      └──────────────────────┘           silence may be skipped

Each frame sees a window of states only: all of them, or those whose phonemes a first, rough alignment puts near it. So
time and memory grow with the length of the sound, not with its square.

Source: L. Rabiner 1989, A Tutorial on Hidden Markov Models, sections III and V; the topology, with its optional silence
between words, is that of HTK's flat start (Young et al., The HTK Book, 3.2).
"""

import math
from dataclasses import dataclass

import numpy as np

from malsori.alignment.compiled import compiled
from malsori.annotations import Bool, Float, Integer
from malsori.text.frontend import Reading
from malsori.text.symbols import PHONEMES

#: States of a phoneme, passed one after another: its beginning, middle and end.
STATES = 3
#: What pauses and the time around a sentence are made of: the model that stands where the table has padding.
SILENCE = 0

_FORBIDDEN = -1e30
_STAY, _NEXT, _SKIP = np.uint8(0), np.uint8(1), np.uint8(2)


@dataclass(frozen=True)
class StateGraph:
    """The states of a reading in order, and which of them each frame may be in.

    Attributes:
        states: the model's state that each one is: STATES * phoneme's id + 0, 1, 2 (states,).
        tokens: the place in the reading of the phoneme it belongs to (states,).
        skippable: True where the silence before it may be skipped (states,).
        first_states, last_states: the first and the last state that a frame may be in (frames,); neither ever falls.
    """

    states: Integer[np.ndarray, " states"]
    tokens: Integer[np.ndarray, " states"]
    skippable: Bool[np.ndarray, " states"]
    first_states: Integer[np.ndarray, " frames"]
    last_states: Integer[np.ndarray, " frames"]

    @property
    def width(self) -> int:
        """The most states that any frame may be in."""
        return int((self.last_states - self.first_states).max(initial=0)) + 1


def build_state_graph(
    reading: Reading,
    silences: Bool[np.ndarray, " tokens"],
    bounds: tuple[Integer[np.ndarray, " tokens"], Integer[np.ndarray, " tokens"]] | None,
    frames: int,
) -> StateGraph:
    """Return the state graph of a reading.

    Args:
        silences: True for the boundaries at which there may be silence; elsewhere their value counts for nothing.
        bounds: the first frame that each token may begin in, and the one that it must have ended before; None lets
            each frame be in any state.
        frames: length of the sound.
    """
    sounded = np.array(reading.phoneme_words) >= 0
    kept = np.flatnonzero(sounded | silences)
    phoneme_ids = np.where(sounded, PHONEMES.encode(reading.phonemes), SILENCE)[kept]
    states = (phoneme_ids[:, None] * STATES + np.arange(STATES)).reshape(-1)
    skippable = np.zeros((len(kept), STATES), dtype=bool)
    skippable[1:, 0] = ~sounded[kept[:-1]]
    first_states, last_states = np.zeros(frames, dtype=np.int64), np.full(frames, len(states) - 1)
    if bounds is not None:
        time = np.arange(frames)
        ends, begins = np.maximum.accumulate(bounds[1][kept]), np.minimum.accumulate(bounds[0][kept][::-1])[::-1]
        first_states = np.minimum(np.searchsorted(ends, time, "right"), len(kept) - 1) * STATES
        last_states = np.maximum(np.searchsorted(begins, time, "right"), 1) * STATES - 1
    return StateGraph(
        states, np.repeat(kept, STATES), skippable.reshape(-1), first_states, np.maximum(last_states, first_states)
    )


def occupancy(
    graph: StateGraph, scores: Float[np.ndarray, "frames width"], exit_probability: Float[np.ndarray, " all_states"]
) -> tuple[Float[np.ndarray, "frames width"], float]:
    """Return the posteriors of the states of each frame's window, and the log-likelihood; -inf if no path fits.

    Args:
        scores: log-likelihood of the frame in each state of its window.
        exit_probability: each model state's, of being left after a frame.
    """
    stay, go = np.log1p(-exit_probability)[graph.states], np.log(exit_probability)[graph.states]
    posteriors, total = _forward_backward(scores, stay, go, graph.skippable, graph.first_states, graph.last_states)
    return posteriors, total if total > _FORBIDDEN / 2 else -math.inf


def best_path(
    graph: StateGraph, scores: Float[np.ndarray, "frames width"], exit_probability: Float[np.ndarray, " all_states"]
) -> tuple[Integer[np.ndarray, " frames"], float]:
    """Return the token that each frame is in on the most probable path, and its log-likelihood; -inf if none fits."""
    stay, go = np.log1p(-exit_probability)[graph.states], np.log(exit_probability)[graph.states]
    path, total = _viterbi(scores, stay, go, graph.skippable, graph.first_states, graph.last_states)
    return graph.tokens[path], total if total > _FORBIDDEN / 2 else -math.inf


@compiled
def _forward_backward(scores, stay, go, skippable, first_states, last_states):  # type: ignore[no-untyped-def]
    """Return the posteriors of each frame's window, and the log-likelihood of all paths together."""
    frames, count = len(scores), len(stay)
    ahead = np.full(scores.shape, _FORBIDDEN)
    posteriors = np.zeros(scores.shape)
    for state in range(min(last_states[0] + 1, STATES + 1)):
        if state == 0 or skippable[state]:
            ahead[0, state] = scores[0, state]
    for t in range(1, frames):
        low, high = first_states[t - 1], last_states[t - 1]
        for s in range(first_states[t], last_states[t] + 1):
            a = ahead[t - 1, s - low] + stay[s] if low <= s <= high else _FORBIDDEN
            b = ahead[t - 1, s - 1 - low] + go[s - 1] if low <= s - 1 <= high else _FORBIDDEN
            p = s - 1 - STATES
            c = ahead[t - 1, p - low] + go[p] if skippable[s] and low <= p <= high else _FORBIDDEN
            top = max(a, b, c)
            if top > _FORBIDDEN / 2:
                total = math.exp(a - top) + math.exp(b - top) + math.exp(c - top)
                ahead[t, s - first_states[t]] = top + math.log(total) + scores[t, s - first_states[t]]
    behind = np.full(scores.shape[1], _FORBIDDEN)
    last, before_silence = count - 1 - first_states[-1], count - 1 - STATES - first_states[-1]
    behind[last], total = 0.0, ahead[-1, last]
    if before_silence >= 0:  # the closing silence may be skipped
        behind[before_silence], total = 0.0, np.logaddexp(total, ahead[-1, before_silence])
    for t in range(frames - 1, -1, -1):
        low, high = first_states[t], last_states[t]
        for j in range(high - low + 1):
            posteriors[t, j] = math.exp(min(0.0, ahead[t, j] + behind[j] - total))
        earlier = np.full(scores.shape[1], _FORBIDDEN)
        for s in range(first_states[t - 1], last_states[t - 1] + 1) if t else range(0):
            n = s + 1 + STATES
            a = behind[s - low] + scores[t, s - low] + stay[s] if low <= s <= high else _FORBIDDEN
            b = behind[s + 1 - low] + scores[t, s + 1 - low] + go[s] if low <= s + 1 <= high else _FORBIDDEN
            c = behind[n - low] + scores[t, n - low] + go[s] if low <= n <= high and skippable[n] else _FORBIDDEN
            top = max(a, b, c)
            if top > _FORBIDDEN / 2:
                earlier[s - first_states[t - 1]] = top + math.log(
                    math.exp(a - top) + math.exp(b - top) + math.exp(c - top)
                )
        behind = earlier
    return posteriors, total


@compiled
def _viterbi(scores, stay, go, skippable, first_states, last_states):  # type: ignore[no-untyped-def]
    """Return the state of each frame on the best path, and its log-likelihood; of equal ways the one that stays."""
    frames, count = len(scores), len(stay)
    pointers = np.zeros(scores.shape, dtype=np.uint8)
    best = np.full(scores.shape[1], _FORBIDDEN)
    for state in range(min(last_states[0] + 1, STATES + 1)):
        if state == 0 or skippable[state]:
            best[state] = scores[0, state]
    for t in range(1, frames):
        low, high = first_states[t - 1], last_states[t - 1]
        following = np.full(scores.shape[1], _FORBIDDEN)
        for s in range(first_states[t], last_states[t] + 1):
            j, p = s - first_states[t], s - 1 - STATES
            top = best[s - low] + stay[s] if low <= s <= high else _FORBIDDEN
            way = _STAY
            if low <= s - 1 <= high and best[s - 1 - low] + go[s - 1] > top:
                top, way = best[s - 1 - low] + go[s - 1], _NEXT
            if skippable[s] and low <= p <= high and best[p - low] + go[p] > top:
                top, way = best[p - low] + go[p], _SKIP
            following[j], pointers[t, j] = top + scores[t, j], way
        best = following
    state, low = count - 1, first_states[-1]
    total = best[state - low]
    if state - STATES >= low and best[state - STATES - low] > total:
        state, total = state - STATES, best[state - STATES - low]
    path = np.zeros(frames, dtype=np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        way = pointers[t, state - first_states[t]]
        state -= 0 if way == _STAY else 1 if way == _NEXT else 1 + STATES
    return path, total
