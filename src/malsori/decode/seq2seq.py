"""From a sequence decoder to a text: greedy or beam search, fallback to sampling, and whether to accept the result.

    state ─► logits ─► constraints (what may stand here) ─► choice ─► state ─► ...  ─► result ─► accepted, or why not

A decoder has read more text than it has heard speech, and where nobody speaks it goes on with what it has read
(Whisper's hallucinations). So a result is accepted only if
- the decoder does not itself say that nobody speaks, in doubt of its tokens      (the paper's rule)
- it is no loop, which would compress far too well                                (the paper's rule)
- the sound raises its likelihood: the same tokens are clearly less probable under silence, noise and a chord. Tokens
  that would have been decoded from any sound gain nothing from this one. No cheaper rule can stand in for it: a
  decoder is as sure of its thanks for watching as of what is said, which is why the first rule lets them pass.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from malsori.annotations import Float, Int
from malsori.decode.scores import greatest, log_softmax
from malsori.errors import ModelError, TextError
from malsori.text.tokenizer import Tokenizer

_FIRST_TIMESTAMPS = 50  # a text begins within its first second (the authors' max_initial_timestamp)


@runtime_checkable
class DecoderState(Protocol):
    """Tokens decoded so far under encoded sounds, with the cache that spares decoding them again."""

    def step(self, token_ids: Int[np.ndarray, "rows new"]) -> tuple[Float[np.ndarray, "rows new vocab"], Any]:
        """Return the logits behind each new token of every row, and the state after them."""

    def select(self, rows: Int[np.ndarray, " kept"]) -> Any:
        """Return the state of some of the rows, in that order, a row any number of times."""

    def score(
        self, token_ids: Int[np.ndarray, "rows new"], heads: tuple[tuple[int, int], ...]
    ) -> tuple[Float[np.ndarray, "rows new vocab"], Float[np.ndarray, "rows heads new time"]]:
        """Return the logits behind each token of every row, and where in the sound some heads, (block, head), look."""


@runtime_checkable
class SequenceDecoder(Protocol):
    """A network that decodes token by token with a cache, whatever runs it; `models.whisper.Whisper` is one."""

    def start(
        self, mel: Float[np.ndarray, "batch frames mel_channels"], mel_lengths: Int[np.ndarray, " batch"] | None = None
    ) -> DecoderState:
        """Return the state under the encoded sounds, before the first token."""


@dataclass(frozen=True)
class DecodingConstraints:
    """Which tokens may stand where.

    Attributes:
        prefix: ids that every text begins with; a text that came before may stand in front of <|startoftranscript|>.
        end: id that ends it.
        max_new_tokens: tokens behind the prefix at most.
        suppress_tokens, begin_suppress_tokens: ids that stand nowhere, and that do not stand first.
        no_speech: id whose probability behind the first token says that nobody speaks.
        first_timestamp: id of <|0.00|> where timestamps are wanted.
    """

    prefix: tuple[int, ...]
    end: int
    max_new_tokens: int
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    no_speech: int | None = None
    first_timestamp: int | None = None
    start: int = 0  # where <|startoftranscript|> stands in the prefix

    def apply(
        self, logits: Float[np.ndarray, "rows vocab"], texts: Sequence[Sequence[int]]
    ) -> Float[np.ndarray, "rows vocab"]:
        """Return log-probabilities of what may follow each text, the rest at -inf."""
        logits = np.array(logits, dtype=np.float32)
        logits[:, list(self.suppress_tokens)] = -np.inf
        for row, text in zip(logits, texts, strict=True):
            if not text:
                row[list(self.begin_suppress_tokens)] = -np.inf
            if self.first_timestamp is not None:
                _constrain_timestamps(row, text, self.first_timestamp, self.end)
        return log_softmax(logits)


def constraints_from_tokenizer(
    tokenizer: Tokenizer,
    vocab: int,
    positions: int,
    language: str = "ko",
    task: str = "transcribe",
    timestamps: bool = False,
    previous: str = "",
) -> DecodingConstraints:
    """Return the constraints that a checkpoint's own files set.

    Args:
        vocab, positions: tokens that the decoder knows, and has positions for.
        previous: a text that came before; what does not fit into half of the positions is left out at its beginning.
    Raises: TextError as `Tokenizer.prefix`, or if timestamps are asked of a model that has none; ModelError if the
        tokenizer is none of this decoder's.
    """
    if vocab <= max(tokenizer.end, tokenizer.no_timestamps):
        raise ModelError(f"the decoder knows {vocab} tokens, its tokenizer more: they do not belong together")
    if timestamps and vocab <= tokenizer.first_timestamp:
        raise TextError("the model has no tokens for times; ask it for a text without timestamps")
    before = tokenizer.previous(previous, positions // 2 - 1) if previous else ()
    prefix, suppressed_ids = (*before, *tokenizer.prefix(language, task, timestamps)), tokenizer.suppressed_ids
    behind = range(min(tokenizer.start, tokenizer.end), vocab)  # the special tokens, and the times unless asked for
    spared = behind[tokenizer.first_timestamp - behind.start :] if timestamps else ()
    steering = tuple(index for index in behind if index != tokenizer.end and index not in spared)
    return DecodingConstraints(
        prefix=prefix,
        end=tokenizer.end,
        max_new_tokens=positions - len(prefix),
        suppress_tokens=(*suppressed_ids("suppress_tokens"), *steering),
        begin_suppress_tokens=suppressed_ids("begin_suppress_tokens"),
        no_speech=tokenizer.no_speech,
        first_timestamp=tokenizer.first_timestamp if timestamps else None,
        start=len(before),
    )


def language_probabilities(state: DecoderState, start: int, languages: dict[str, int]) -> dict[str, float]:
    """Return the probability of each language of a sound, of those whose ids are given.

    Args:
        state: of one sound, before the first token.
        start: id of <|startoftranscript|>.
    Source: Whisper, 2.3: the token behind <|startoftranscript|> names the language.
    """
    logits, _ = state.step(np.array([[start]]))
    found = np.exp(log_softmax(logits[0, -1, list(languages.values())])).tolist()
    return dict(zip(languages, found, strict=True))


@dataclass(frozen=True)
class DecodingResult:
    """The tokens decoded from one sound.

    Attributes:
        ids: tokens, without prefix and end.
        log_probs: of each token, and last of the end, if it came to one.
        no_speech_prob: probability that nobody speaks, 0 where the decoder does not say.
        ended: whether it came to an end by itself.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    no_speech_prob: float = 0.0
    ended: bool = True

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability of a token."""
        return sum(self.log_probs) / max(1, len(self.log_probs))


@dataclass(frozen=True)
class FallbackOptions:
    """How a text is searched for, and from where on it is accepted.

    Attributes:
        beam: hypotheses kept at temperature 0; 1 takes the most probable next token.
        temperatures: tried one after the other while a result is doubtful; above 0 tokens are sampled.
        best_of: texts that are sampled at a temperature, of which the best is taken.
        logprob_threshold: a mean log-probability below it is doubtful.
        compression_ratio_threshold: a text's bytes over those it compresses to; above it is a loop.
        no_speech_threshold: a probability above it, of a doubtful result, says that nobody speaks.
        min_log_likelihood_ratio: nats a token by which the sound must make the text more probable than no speech
            does; -inf leaves the rule out. The paper knows no such rule. In a network that had overfitted six
            sentences, their own sounds gave five of them 0.35 to 0.71, other noise, tones and silence at most 0.02;
            the sixth it decoded from any sound. Of the built-in Whisper RESULTS.md has what is known.
    Source: Whisper (Radford et al. 2022, arXiv:2212.04356), 4.5, for all but the last.
    """

    beam: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    best_of: int = 5
    logprob_threshold: float = -1.0
    compression_ratio_threshold: float = 2.4
    no_speech_threshold: float = 0.6
    min_log_likelihood_ratio: float = 0.3


def decode_with_fallback(
    state: DecoderState,
    constraints: DecodingConstraints,
    options: FallbackOptions,
    text_of: Callable[[Sequence[int]], str],
) -> DecodingResult:
    """Return the first result that is not doubtful, from certainty to chance; the best one if all are.

    The best is no loop, if one of them is none, and then the most probable: what chance made up is seldom that.

    Args:
        text_of: gives the text of tokens.
    """

    def worth(result: DecodingResult) -> tuple[bool, float]:
        is_text = compression_ratio(text_of(result.ids)) <= options.compression_ratio_threshold
        return is_text, result.mean_log_prob

    attempts: list[DecodingResult] = []
    for temperature in options.temperatures:
        if temperature:
            hopeless = options.logprob_threshold * constraints.max_new_tokens
            result = max(greedy_search(state, constraints, options.best_of, temperature, 0, hopeless), key=worth)
        elif options.beam == 1:
            (result,) = greedy_search(state, constraints)
        else:
            result = beam_search(state, constraints, options.beam)[0]
        is_text, score = worth(result)
        doubtful = score < options.logprob_threshold
        if (is_text and not doubtful) or (doubtful and result.no_speech_prob > options.no_speech_threshold):
            return result  # where nobody may speak, it is not the words that are in doubt
        attempts.append(result)
    return max(attempts, key=worth)


def rejection_reason(
    result: DecodingResult, text: str, log_likelihood_ratio: Callable[[], float], options: FallbackOptions
) -> str:
    """Return why a text must not be given out, or "" where it is accepted.

    Args:
        log_likelihood_ratio: gives `speech_log_likelihood_ratio`; asked last, and only of a text that the cheap rules
            let pass.
    """
    if result.no_speech_prob > options.no_speech_threshold and result.mean_log_prob < options.logprob_threshold:
        return "no speech"
    if compression_ratio(text) > options.compression_ratio_threshold:
        return "loop"
    if not text or options.min_log_likelihood_ratio == -math.inf:
        return ""
    ratio = log_likelihood_ratio()
    return f"log-likelihood ratio {ratio:.2f}" if ratio < options.min_log_likelihood_ratio else ""


def speech_log_likelihood_ratio(
    logits: Float[np.ndarray, "1 tokens vocab"],
    no_speech: DecoderState,
    kinds: int,
    constraints: DecodingConstraints,
    ids: Sequence[int],
) -> float:
    """Return by how many nats a token a sound makes tokens more probable than the best of several without speech does.

    Args:
        logits: under the sound, behind each token of the prefix and the text.
        no_speech: the state of `kinds` sounds without speech, before the first token.
    """
    given = np.repeat(np.array([[*constraints.prefix, *ids]]), kinds, axis=0)
    without = _log_likelihood(no_speech.step(given)[0], constraints, ids).max()
    return float(_log_likelihood(logits, constraints, ids)[0] - without) / (len(ids) + 1)


def compression_ratio(text: str) -> float:
    """Return how many times shorter a text's bytes become when zlib packs them.

    >>> compression_ratio("네 " * 60) > 2.4 > compression_ratio("오늘은 아침부터 비가 내려서 우산을 들고 나갔어요.")
    True
    """
    packed = text.encode()
    return len(packed) / len(zlib.compress(packed)) if packed else 0.0


def greedy_search(
    state: DecoderState,
    constraints: DecodingConstraints,
    rows: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    min_total: float = -math.inf,
) -> list[DecodingResult]:
    """Return a result for each row: the most probable next token each time, or at a temperature one that is sampled.

    It stops where every text that has not ended is less probable, in all, than `min_total`.
    """
    chance = np.random.default_rng(seed)
    last, no_speech, state = _prefill(state, constraints, rows)
    texts: list[list[int]] = [[] for _ in range(rows)]
    scores: list[list[float]] = [[] for _ in range(rows)]
    ended = [False] * rows
    for _ in range(constraints.max_new_tokens):
        log_probs = constraints.apply(last, texts)
        if temperature:
            sums = np.exp(log_softmax(log_probs.astype(np.float64) / temperature)).cumsum(-1)
            chosen = (sums > chance.random((rows, 1)) * sums[:, -1:]).argmax(-1)[:, None]
        else:
            chosen = log_probs.argmax(-1)[:, None]
        gained = np.take_along_axis(log_probs, chosen, -1)[:, 0].tolist()
        for row, token in enumerate(chosen[:, 0].tolist()):
            if not ended[row]:
                scores[row].append(gained[row])
                ended[row] = token == constraints.end
                texts[row] += [] if ended[row] else [token]
        if all(done or sum(score) < min_total for done, score in zip(ended, scores, strict=True)):
            break
        logits, state = state.step(chosen)
        last = logits[:, -1]
    return [DecodingResult(tuple(texts[row]), tuple(scores[row]), no_speech[row], ended[row]) for row in range(rows)]


def beam_search(state: DecoderState, constraints: DecodingConstraints, width: int) -> list[DecodingResult]:
    """Return the results that a beam finds for one sound, the greatest mean log-probability first.

    It ends when as many texts as the beam is wide have come to their end, and none that goes on is better by now.
    """
    last, (no_speech,), state = _prefill(state, constraints, 1)
    live = [DecodingResult((), (), no_speech, ended=False)]
    ended: list[DecodingResult] = []
    for _ in range(constraints.max_new_tokens):
        log_probs = constraints.apply(last, [text.ids for text in live])
        kept: list[tuple[int, DecodingResult]] = []
        for row, text in _extended(live, log_probs, width + 1, constraints.end):
            if len(kept) == width:
                break  # what is less probable than all that are kept has not come to its end either
            if text.ended:
                ended.append(text)
            else:
                kept.append((row, text))
        live = [text for _, text in kept]
        settled = len(ended) >= width and max(map(_score, ended)) >= max(map(_score, live), default=-math.inf)
        if settled or not kept:
            break
        state = state.select(np.array([row for row, _ in kept]))
        logits, state = state.step(np.array([[text.ids[-1]] for text in live]))
        last = logits[:, -1]
    return sorted(ended or live, key=_score, reverse=True)


def _score(result: DecodingResult) -> float:
    return result.mean_log_prob


def _extended(
    live: list[DecodingResult], log_probs: np.ndarray, each: int, end: int
) -> list[tuple[int, DecodingResult]]:
    """Return every hypothesis's best extensions with the row they come from, the best first."""
    best = greatest(log_probs, min(each, log_probs.shape[1]))
    values = np.take_along_axis(log_probs, best, -1)
    found = []
    for row, (text, gains, tokens) in enumerate(zip(live, values.tolist(), best.tolist(), strict=True)):
        for gain, token in zip(gains, tokens, strict=True):
            ids = text.ids if token == end else (*text.ids, token)
            extended = DecodingResult(ids, (*text.log_probs, gain), text.no_speech_prob, token == end)
            found.append((sum(extended.log_probs), row, extended))
    found.sort(key=lambda item: -item[0])
    return [(row, text) for score, row, text in found if score > -math.inf]


def _prefill(
    state: DecoderState, constraints: DecodingConstraints, rows: int
) -> tuple[np.ndarray, list[float], DecoderState]:
    """Return the logits behind the prefix, the probability that nobody speaks, and the state behind the prefix."""
    prefix = np.repeat(np.array([constraints.prefix]), rows, axis=0)
    logits, state = state.step(prefix)
    no_speech = [0.0] * rows
    if constraints.no_speech is not None:
        no_speech = np.exp(log_softmax(logits[:, constraints.start]))[:, constraints.no_speech].tolist()
    return logits[:, -1], no_speech, state


def _log_likelihood(logits: np.ndarray, constraints: DecodingConstraints, ids: Sequence[int]) -> np.ndarray:
    """Return the log-probability of tokens and their end (rows,)."""
    log_probs = log_softmax(logits[:, len(constraints.prefix) - 1 :])
    wanted = np.array([*ids, constraints.end])
    return log_probs[:, np.arange(len(wanted)), wanted].sum(1)


def _constrain_timestamps(row: np.ndarray, text: Sequence[int], first: int, end: int) -> None:
    """Forbid what timestamps forbid: they open a text, come in pairs, never fall, and come when they are due.

    Source: Whisper, 4.5, and the authors' code.
    """
    if not text:
        row[:first] = -np.inf
        row[first + _FIRST_TIMESTAMPS + 1 :] = -np.inf
        return
    times = [token for token in text if token >= first]
    opened = text[-1] >= first and (len(text) < 2 or text[-2] >= first)
    if opened:
        row[first:] = -np.inf  # words follow the second of a pair
    elif text[-1] >= first:
        row[:end] = -np.inf  # another time follows the first of a pair, or the end
    if times:
        row[first : times[-1] + (text[-1] < first or opened)] = -np.inf
    log_probs = log_softmax(row)
    if np.logaddexp.reduce(log_probs[first:]) > log_probs[:first].max():
        row[:first] = -np.inf
