"""From a decoder that writes token after token to a text: greedy, by beam or by chance; and whether to believe it.

    writer ─► logits ─► rules (what may stand here) ─► choice ─► writer ─► ...  ─► written ─► trust ─► text, or nothing

A decoder has read more text than it has heard speech, and where there is none to hear it goes on writing what it has
read. So a text is believed only if
- the decoder does not itself say that nobody speaks, in doubt of its words       (the paper's rule)
- it is no loop, which would compress far too well                                 (the paper's rule)
- the sound speaks for it: the same words are clearly less probable under silence, noise and a chord. Words that would
  have been written whatever was heard gain nothing from this sound.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from malsori.alignment.monotonic import align_monotonic
from malsori.errors import ModelError, TextError
from malsori.text.tokenizer import Tokenizer

_MEDIAN_STEPS = 7
_UNSEEN = 0.1  # deviations above the mean: where no token is looked from more than so, the first has not begun yet
_FIRST_TIMESTAMPS = 50  # a text begins within its first second (the authors' max_initial_timestamp)


@runtime_checkable
class Writer(Protocol):
    """What is asked of a decoder that has heard its sounds; `models.whisper.Writer` is one."""

    def write(self, token_ids: Int[Tensor, "rows new"]) -> tuple[Float[Tensor, "rows new vocab"], Any]:
        """Return the logits behind each new token of every row, and the writer that has written them."""

    def select(self, rows: Int[Tensor, " kept"]) -> Any:
        """Return a writer of some of the rows, in that order, a row any number of times."""


@dataclass(frozen=True)
class Rules:
    """What may be written, and where.

    Attributes:
        prefix: ids that every text begins with.
        end: id that ends it.
        longest: tokens behind the prefix at most.
        never, never_first: ids that stand nowhere, and that do not stand first.
        no_speech: id whose probability behind the first token says that nobody speaks.
        first_timestamp: id of <|0.00|> where timestamps are wanted.
    """

    prefix: tuple[int, ...]
    end: int
    longest: int
    never: tuple[int, ...] = ()
    never_first: tuple[int, ...] = ()
    no_speech: int | None = None
    first_timestamp: int | None = None

    def allowed(
        self, logits: Float[Tensor, "rows vocab"], texts: Sequence[Sequence[int]]
    ) -> Float[Tensor, "rows vocab"]:
        """Return log-probabilities of what may follow each text, the rest at -inf."""
        logits = logits.clone()
        logits[:, list(self.never)] = -torch.inf
        for row, text in zip(logits, texts, strict=True):
            if not text:
                row[list(self.never_first)] = -torch.inf
            if self.first_timestamp is not None:
                _keep_time(row, text, self.first_timestamp, self.end)
        return logits.log_softmax(-1)


def rules_of(
    tokenizer: Tokenizer,
    vocab: int,
    positions: int,
    language: str = "ko",
    task: str = "transcribe",
    timestamps: bool = False,
) -> Rules:
    """Return the rules that a checkpoint's own files give.

    Args:
        vocab, positions: tokens that the decoder knows, and has positions for.
    Raises: TextError as `Tokenizer.prefix`, or if timestamps are asked of a model that has none; ModelError if the
        tokenizer is none of this decoder's.
    """
    if vocab <= max(tokenizer.end, tokenizer.no_timestamps):
        raise ModelError(f"the decoder knows {vocab} tokens, its tokenizer more: they do not belong together")
    if timestamps and vocab <= tokenizer.first_timestamp:
        raise TextError("the model has no tokens for times; ask it for a text without timestamps")
    prefix, suppressed_ids = tokenizer.prefix(language, task, timestamps), tokenizer.suppressed_ids
    behind = range(min(tokenizer.start, tokenizer.end), vocab)  # the special tokens, and the times unless asked for
    spared = behind[tokenizer.first_timestamp - behind.start :] if timestamps else ()
    steering = tuple(index for index in behind if index != tokenizer.end and index not in spared)
    return Rules(
        prefix=prefix,
        end=tokenizer.end,
        longest=positions - len(prefix),
        never=(*suppressed_ids("suppress_tokens"), *steering),
        never_first=suppressed_ids("begin_suppress_tokens"),
        no_speech=tokenizer.no_speech,
        first_timestamp=tokenizer.first_timestamp if timestamps else None,
    )


@dataclass(frozen=True)
class Written:
    """A text that was written under a sound.

    Attributes:
        ids: tokens, without prefix and end.
        log_probs: of each token, and last of the end, if it was written.
        no_speech: probability that nobody speaks, 0 where the decoder does not say.
        ended: whether it came to an end by itself.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    no_speech: float = 0.0
    ended: bool = True

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability of a token."""
        return sum(self.log_probs) / max(1, len(self.log_probs))


@dataclass(frozen=True)
class Trust:
    """How a text is sought, and from where on it is believed.

    Attributes:
        beam: texts kept in mind at temperature 0; 1 takes the most probable next token.
        temperatures: tried one after the other while a text is doubtful; above 0 tokens are drawn.
        least_log_prob: a mean log-probability below it is doubtful.
        most_repetitive: a text's bytes over those it compresses to; above it is a loop.
        no_speech: a probability above it, of a doubtful text, says that nobody speaks.
        least_evidence: nats a token by which the sound must make the text more probable than no speech does. The
            paper knows no such rule. In a network that knew six sentences by heart, their own sounds gave five of them
            0.35 to 0.71, other noise, tones and silence at most 0.02; the sixth it wrote whatever it heard. On public
            checkpoints it has not been measured.
    Source: Whisper (Radford et al. 2022, arXiv:2212.04356), 4.5, for all but the last.
    """

    beam: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    least_log_prob: float = -1.0
    most_repetitive: float = 2.4
    no_speech: float = 0.6
    least_evidence: float = 0.3


def write_with_trust(writer: Writer, rules: Rules, trust: Trust, read: Callable[[Sequence[int]], str]) -> Written:
    """Return the first text that is not doubtful, from certainty to chance; the last one if all are.

    Args:
        read: gives the text of tokens.
    """
    for temperature in trust.temperatures:
        if temperature or trust.beam == 1:
            (written,) = write_greedily(writer, rules, temperature=temperature)
        else:
            written = write_by_beam(writer, rules, trust.beam)[0]
        doubtful = written.mean_log_prob < trust.least_log_prob
        if written.no_speech > trust.no_speech and doubtful:
            break  # it is not the words that are in doubt
        if not doubtful and repetitiveness(read(written.ids)) <= trust.most_repetitive:
            break
    return written


def disbelief(written: Written, text: str, evidence: float, trust: Trust) -> str:
    """Return why a text must not be given out, or "" where nothing speaks against it."""
    if written.no_speech > trust.no_speech and written.mean_log_prob < trust.least_log_prob:
        return "no speech"
    if repetitiveness(text) > trust.most_repetitive:
        return "loop"
    return "no evidence" if text and evidence < trust.least_evidence else ""


def evidence(writer: Writer, nothing: Writer, kinds: int, rules: Rules, ids: Sequence[int]) -> float:
    """Return by how many nats a token a sound makes a text more probable than the best of several that hold no speech.

    Args:
        writer: has heard the sound.
        nothing: has heard `kinds` sounds without speech.
    """
    under_nothing = _log_likelihood(nothing, kinds, rules, ids).max()
    return (_log_likelihood(writer, 1, rules, ids)[0] - under_nothing).item() / (len(ids) + 1)


def token_starts(attention: Float[Tensor, "heads tokens time"]) -> Int[np.ndarray, " tokens"] | None:
    """Return the step at which each token begins, by where the decoder looks when it writes it; None if too few steps.

    Args:
        attention: from the token before each one, over the real steps of the sound.
    Source: the authors' code (timing.py): heads are brought to mean 0 and deviation 1 over the tokens, smoothed by a
        median over 7 steps and averaged. The path through them is ours: the best monotonic one, which begins with what
        no token looks at more than the others do.
    """
    tokens, time = attention.shape[1:]
    if time < max(tokens + 1, _MEDIAN_STEPS):
        return None
    deviation = attention.std(1, correction=0, keepdim=True).clamp(min=1e-9)
    standard = (attention - attention.mean(1, keepdim=True)) / deviation
    padded = torch.nn.functional.pad(standard, (_MEDIAN_STEPS // 2, _MEDIAN_STEPS // 2), mode="reflect")
    smooth = padded.unfold(-1, _MEDIAN_STEPS, 1).median(-1).values.mean(0)
    lasts = align_monotonic(torch.cat([torch.full((1, time), _UNSEEN), smooth]).T.double().numpy())
    return np.cumsum(lasts[:-1])


def repetitiveness(text: str) -> float:
    """Return how many times shorter a text's bytes become when zlib packs them.

    >>> repetitiveness("네 " * 60) > 2.4 > repetitiveness("오늘은 아침부터 비가 내려서 우산을 들고 나갔어요.")
    True
    """
    packed = text.encode()
    return len(packed) / len(zlib.compress(packed)) if packed else 0.0


def write_greedily(
    writer: Writer, rules: Rules, rows: int = 1, temperature: float = 0.0, seed: int = 0
) -> list[Written]:
    """Return a text for each row: the most probable next token, or at a temperature one that is drawn."""
    device = torch.device("cpu")
    chance = torch.Generator(device).manual_seed(seed)
    last, no_speech, writer = _begin(writer, rules, rows)
    texts: list[list[int]] = [[] for _ in range(rows)]
    scores: list[list[float]] = [[] for _ in range(rows)]
    ended = [False] * rows
    for _ in range(rules.longest):
        log_probs = rules.allowed(last, texts)
        if temperature:
            flat = (log_probs / temperature).softmax(-1).cpu()
            chosen = torch.multinomial(flat, 1, generator=chance).to(last.device)
        else:
            chosen = log_probs.argmax(-1, keepdim=True)
        gained = log_probs.gather(-1, chosen)[:, 0].tolist()
        for row, token in enumerate(chosen[:, 0].tolist()):
            if not ended[row]:
                scores[row].append(gained[row])
                ended[row] = token == rules.end
                texts[row] += [] if ended[row] else [token]
        if all(ended):
            break
        logits, writer = writer.write(chosen)
        last = logits[:, -1]
    return [Written(tuple(texts[row]), tuple(scores[row]), no_speech[row], ended[row]) for row in range(rows)]


def write_by_beam(writer: Writer, rules: Rules, width: int) -> list[Written]:
    """Return the texts that a beam finds for one sound, the greatest mean log-probability first.

    It ends when as many texts as the beam is wide have come to their end, and none that goes on is better by now.
    """
    last, (no_speech,), writer = _begin(writer, rules, 1)
    live = [Written((), (), no_speech, ended=False)]
    ended: list[Written] = []
    for _ in range(rules.longest):
        log_probs = rules.allowed(last, [text.ids for text in live])
        kept: list[tuple[int, Written]] = []
        for row, text in _extended(live, log_probs, width + 1, rules.end):
            if len(kept) == width:
                break  # what is less probable than all that are kept has not come to its end either
            if text.ended:
                ended.append(text)
            else:
                kept.append((row, text))
        live = [text for _, text in kept]
        settled = len(ended) >= width and max(map(_goodness, ended)) >= max(map(_goodness, live), default=-torch.inf)
        if settled or not kept:
            break
        writer = writer.select(torch.tensor([row for row, _ in kept], device=last.device))
        logits, writer = writer.write(torch.tensor([[text.ids[-1]] for text in live], device=last.device))
        last = logits[:, -1]
    return sorted(ended or live, key=_goodness, reverse=True)


def _goodness(text: Written) -> float:
    return text.mean_log_prob


def _extended(live: list[Written], log_probs: Tensor, each: int, end: int) -> list[tuple[int, Written]]:
    """Return every text's best extensions with the row they come from, the best first."""
    best = log_probs.topk(min(each, log_probs.shape[1]), dim=-1)
    found = []
    for row, (text, gains, tokens) in enumerate(zip(live, best.values.tolist(), best.indices.tolist(), strict=True)):
        for gain, token in zip(gains, tokens, strict=True):
            ids = text.ids if token == end else (*text.ids, token)
            extended = Written(ids, (*text.log_probs, gain), text.no_speech, token == end)
            found.append((sum(extended.log_probs), row, extended))
    found.sort(key=lambda item: -item[0])
    return [(row, text) for score, row, text in found if score > -torch.inf]


def _begin(writer: Writer, rules: Rules, rows: int) -> tuple[Tensor, list[float], Writer]:
    """Write the prefix; return the logits behind it, the probability that nobody speaks, and the writer."""
    prefix = torch.tensor([rules.prefix]).expand(rows, -1)
    logits, writer = writer.write(prefix)
    no_speech = [0.0] * rows
    if rules.no_speech is not None:
        no_speech = logits[:, 0].softmax(-1)[:, rules.no_speech].tolist()
    return logits[:, -1], no_speech, writer


def _log_likelihood(writer: Writer, rows: int, rules: Rules, ids: Sequence[int]) -> Tensor:
    """Return the log-probability of a text and its end under each of a writer's sounds (rows,)."""
    logits, _ = writer.write(torch.tensor([[*rules.prefix, *ids]]).expand(rows, -1))
    log_probs = logits[:, len(rules.prefix) - 1 :].log_softmax(-1)
    wanted = torch.tensor([*ids, rules.end], device=logits.device)
    return log_probs.gather(-1, wanted.expand(rows, -1)[..., None])[..., 0].sum(1)


def _keep_time(row: Tensor, text: Sequence[int], first: int, end: int) -> None:
    """Forbid what timestamps forbid: they open a text, come in pairs, never fall, and come when they are due.

    Source: Whisper, 4.5, and the authors' code.
    """
    if not text:
        row[:first] = -torch.inf
        row[first + _FIRST_TIMESTAMPS + 1 :] = -torch.inf
        return
    times = [token for token in text if token >= first]
    opened = text[-1] >= first and (len(text) < 2 or text[-2] >= first)
    if opened:
        row[first:] = -torch.inf  # words follow the second of a pair
    elif text[-1] >= first:
        row[:end] = -torch.inf  # another time follows the first of a pair, or the end
    if times:
        row[first : times[-1] + (text[-1] < first or opened)] = -torch.inf
    log_probs = row.log_softmax(-1)
    if log_probs[first:].logsumexp(-1) > log_probs[:first].max():
        row[:first] = -torch.inf
