"""From CTC scores to token ids: collapse, the greedy path, and a beam over prefixes.

frames   _ _ h e _ l l o _ _        each frame has one symbol, _ is the blank
runs     _   h e _ l   o _          equal neighbours become one
text         h e   l   o            blanks go: "helo"; two l's would need a blank between them
"""

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from malsori.alignment.ctc import align_ctc
from malsori.annotations import Float

Symbol = TypeVar("Symbol", int, str)


@dataclass(frozen=True)
class Hypothesis:
    """A decoded text, with its times.

    Attributes:
        ids: token ids, without blanks.
        starts: first frame of each token, on the most probable path of these tokens.
        ends: one past the last frame of each token.
        confidences: geometric mean of the token's probability over its frames, 0 to 1.
        score: what the search ranked it by; a log-probability, with the language model's share where there was one.
    """

    ids: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    confidences: tuple[float, ...]
    score: float


@runtime_checkable
class LanguageModel(Protocol):
    """What a beam search asks of a language model; a state is whatever the model wants to be given back."""

    def start(self) -> Any:
        """Return the state before the first token."""

    def step(self, state: Any, token_id: int) -> tuple[float, Any]:
        """Return the log-probability of a token after a state, and the state behind the token."""

    def finish(self, state: Any) -> float:
        """Return the log-probability that the text ends after a state."""


@dataclass(frozen=True)
class BeamOptions:
    """Settings of a prefix beam search: its width, its weights, and what it prunes.

    Attributes:
        width: prefixes kept after each frame.
        language_weight: what a language model's log-probability counts beside the sound's.
        token_bonus: added for each token, against a language model's liking for short texts.
        token_floor: tokens less probable than this in a frame (a log-probability) are not tried there; -inf tries all.
    """

    width: int = 16
    language_weight: float = 0.5
    token_bonus: float = 0.0
    token_floor: float = -10.0


def collapse(ids: Sequence[Symbol], blank: Symbol) -> list[Symbol]:
    """Return the tokens of a path: runs become one, then blanks go.

    >>> "".join(collapse("__he_llo__", "_"))
    'helo'
    """
    return [symbol for symbol, _ in itertools.groupby(ids) if symbol != blank]


def greedy(log_probs: Float[np.ndarray, "frames vocab"], blank: int = 0) -> list[int]:
    """Return the tokens of the most probable path: each frame's best symbol (the lowest id of equals), collapsed."""
    return collapse(log_probs.argmax(axis=-1).tolist(), blank)


def greedy_hypothesis(log_probs: Float[np.ndarray, "frames vocab"], blank: int = 0) -> Hypothesis:
    """Return `greedy`'s tokens with the frames they stand in, their confidence and the path's log-probability."""
    best = log_probs.argmax(axis=-1)
    edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    runs = [(int(best[begin]), int(begin), int(end)) for begin, end in itertools.pairwise(edges)]
    runs = [run for run in runs if run[0] != blank]
    confidences = tuple(math.exp(log_probs[begin:end, token].mean(dtype=np.float64)) for token, begin, end in runs)
    score = float(log_probs.max(axis=-1).sum(dtype=np.float64)) if len(log_probs) else 0.0
    ids, starts, ends = zip(*runs, strict=True) if runs else ((), (), ())
    return Hypothesis(ids, starts, ends, confidences, score)


def prefix_beam_search(
    log_probs: Float[np.ndarray, "frames vocab"],
    options: BeamOptions | None = None,
    language_model: LanguageModel | None = None,
    blank: int = 0,
    results: int = 1,
    hotwords: LanguageModel | None = None,
) -> list[Hypothesis]:
    """Return the best texts, best first; a text's score sums all its paths, where greedy sees only one.

    A text's score is  log P(text | sound) + language_weight * log P(text) + token_bonus * tokens + hotwords. With a
    beam as wide as there are prefixes, and no floor, it is exact. Of equal scores the text found first stands first:
    at a frame, kept prefixes in their order, then their extensions by rising id.

    Args:
        log_probs: a score for each symbol and frame.
        options: the beam's width and weights.
        language_model: asked for each token once a prefix.
        blank: the blank's id.
        results: how many texts to return at most.
        hotwords: what is added for them, letter by letter (`decode.hotwords.Hotwords`).
    Source: A. Hannun et al. 2014, First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional
        Recurrent DNNs (arXiv:1408.2873), algorithm 1.
    """
    options = options or BeamOptions()
    weighted = ((language_model, options.language_weight), (hotwords, 1.0))
    search = _Search(options, tuple((scorer, weight) for scorer, weight in weighted if scorer))
    beam = {_Prefix(states=tuple(scorer.start() for scorer, _ in search.scorers)): _Paths(0.0, -math.inf)}
    for row in log_probs.astype(np.float64):
        beam = search.advance(beam, row, blank)
    finals = [(search.final_score(prefix, paths), prefix) for prefix, paths in beam.items()]
    best = heapq.nlargest(results, finals, key=lambda final: final[0])
    return [_timed(log_probs, prefix.ids(), score, blank) for score, prefix in best if score > -math.inf]


@dataclass(slots=True)
class _Paths:
    """Log-probabilities of all the paths of one prefix: of those that end in the blank, and of the rest."""

    in_blank: float = -math.inf
    in_token: float = -math.inf

    @property
    def total(self) -> float:
        return _log_add(self.in_blank, self.in_token)


@dataclass(slots=True, eq=False)
class _Prefix:
    """A node of the tree of prefixes: one object a prefix, so that paths which meet again are added up."""

    parent: "_Prefix | None" = None
    token: int = -1
    prior: float = 0.0  # the scorers' and the bonus's share of the score
    states: tuple[Any, ...] = ()  # of each scorer
    children: dict[int, "_Prefix"] = field(default_factory=dict)

    def ids(self) -> list[int]:
        tokens, node = [], self
        while node.parent is not None:
            tokens.append(node.token)
            node = node.parent
        return tokens[::-1]


@dataclass(frozen=True)
class _Search:
    """One frame's work, with what it needs to know."""

    options: BeamOptions
    scorers: tuple[tuple[LanguageModel, float], ...]  # with the weight of each

    def advance(self, beam: dict[_Prefix, _Paths], row: np.ndarray, blank: int) -> dict[_Prefix, _Paths]:
        """Return the beam after one more frame."""
        symbols = row.tolist()
        tokens = [token for token in np.flatnonzero(row >= self.options.token_floor).tolist() if token != blank]
        reached: dict[_Prefix, _Paths] = {}
        for prefix, paths in beam.items():  # first those that stay, so that they come first among equals
            stayed = reached[prefix] = _Paths()
            stayed.in_blank = paths.total + symbols[blank]
            stayed.in_token = paths.in_token + symbols[prefix.token] if prefix.parent else -math.inf
        for prefix, paths in beam.items():
            total = paths.total
            for token in tokens:
                before = paths.in_blank if token == prefix.token else total
                if before > -math.inf:
                    extended = reached.setdefault(self._extend(prefix, token), _Paths())
                    extended.in_token = _log_add(extended.in_token, before + symbols[token])
        kept = dict(heapq.nlargest(self.options.width, reached.items(), key=lambda item: item[1].total + item[0].prior))
        for prefix in beam.keys() - kept.keys():  # keeps the tree small: only what can be met again stays in it
            known = prefix.children.items()
            prefix.children = {token: child for token, child in known if child in kept or child.children}
        return kept

    def final_score(self, prefix: _Prefix, paths: _Paths) -> float:
        """Return what a prefix is worth as a whole text."""
        pairs = zip(self.scorers, prefix.states, strict=True)
        return paths.total + prefix.prior + sum(weight * scorer.finish(state) for (scorer, weight), state in pairs)

    def _extend(self, prefix: _Prefix, token: int) -> _Prefix:
        child = prefix.children.get(token)
        if child is None:
            prior, states = prefix.prior + self.options.token_bonus, []
            for (scorer, weight), before in zip(self.scorers, prefix.states, strict=True):
                gain, state = scorer.step(before, token)
                prior += weight * gain
                states.append(state)
            child = prefix.children[token] = _Prefix(prefix, token, prior, tuple(states))
        return child


def _log_add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def _timed(log_probs: np.ndarray, ids: list[int], score: float, blank: int) -> Hypothesis:
    path = align_ctc(log_probs, ids, blank)
    confidences = tuple(np.exp(path.token_log_probs).tolist())
    return Hypothesis(tuple(ids), tuple(path.starts.tolist()), tuple(path.ends.tolist()), confidences, score)
