"""Numbers of the lessons on recognizers' other loss, cross-entropy, and on CER, WER, MCD and their intervals."""

from functools import cache

import numpy as np
import torch

from malsori.alignment.dtw import dtw
from malsori.learn import figures
from malsori.learn.lesson import Language
from malsori.losses.sequence import cross_entropy_loss
from malsori.metrics.cepstral import mel_cepstral_distortion
from malsori.metrics.error_rate import ErrorRate, cer, jamo_error_rate, wer
from malsori.metrics.significance import Comparison, bootstrap_intervals, compare
from malsori.report.plots import as_png

#: A decoder's scores for the next token after "사랑", over 해 했 하 ?
TOKENS = ("해", "했", "하", "?")
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])

REFERENCE, HYPOTHESIS = [1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3]


def next_token() -> torch.Tensor:
    """Return the probabilities of the next token."""
    return LOGITS.softmax(-1)


@cache
def cross_entropy() -> dict[str, str]:
    """Return the loss of each possible right token, with and without smoothing, and that of knowing nothing."""
    logits = LOGITS[None, None]
    losses = [cross_entropy_loss(logits, torch.tensor([[token]])).item() for token in range(len(TOKENS))]
    return {
        "tokens": " | ".join(TOKENS),
        "probabilities": " | ".join(f"{value:.3f}" for value in next_token().tolist()),
        "loss_right": f"{losses[0]:.3f}",
        "loss_second": f"{losses[1]:.3f}",
        "loss_last": f"{losses[3]:.3f}",
        "loss_smoothed": f"{cross_entropy_loss(logits, torch.tensor([[0]]), label_smoothing=0.1).item():.3f}",
        "loss_even": f"{cross_entropy_loss(torch.zeros(1, 1, 4), torch.tensor([[0]])).item():.3f}",
        "loss_whisper": f"{np.log(51865):.2f}",
    }


def cross_entropy_answer() -> float:
    """Return the loss if the right token has the probability 0.5."""
    return round(cross_entropy_loss(torch.zeros(1, 1, 2), torch.tensor([[0]])).item(), 3)


def draw_cross_entropy(language: Language) -> bytes:
    """Return -ln p over p."""
    places = np.linspace(0.01, 1, 100)
    lines = {"−ln p": (-np.log(places)).tolist()}
    labels = {"ko": ("정답에 준 확률 p", "손실"), "en": ("probability of the right token", "loss")}[language]
    return figures.curves(lines, labels, places=places.tolist())


def simulated(rate_a: float, rate_b: float, utterances: int, seed: int = 3) -> Comparison:
    """Return the comparison of two systems with true error rates, on so many sentences of 20 characters."""
    random = np.random.default_rng(seed)
    difficulty = random.gamma(2.0, 0.5, utterances)
    errors = [random.binomial(20, np.clip(rate * difficulty, 0, 1)) for rate in (rate_a, rate_b)]
    return compare("CER", errors[0].astype(float), errors[1].astype(float), np.full(utterances, 20.0))


def mcd_by_hand(include_c0: bool) -> float:
    """Return the syllabus's distortion from its formula alone: 10 / ln 10 √(2 Σ d²)."""
    squares = [(a - b) ** 2 for a, b in zip(REFERENCE, HYPOTHESIS, strict=True)]
    return float(10 / np.log(10) * np.sqrt(2 * sum(squares if include_c0 else squares[1:])))


@cache
def metrics() -> dict[str, str]:
    """Return the rates and distortions of the lesson, and whether differences may be published."""
    one, words = cer("사랑해", "사량해"), wer("I love you", "I like you")
    few, many = simulated(0.10, 0.08, 20), simulated(0.10, 0.08, 400)
    [interval] = bootstrap_intervals(np.array([[2.0], [0.0], [1.0], [0.0], [3.0]]), np.full((5, 1), 20.0))
    path = dtw(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [1.0], [2.0]]))
    return {
        "cer": f"{one.rate:.3f}",
        "cer_percent": f"{100 * one.rate:.1f}",
        "cer_counts": _counts(one),
        "jamo_rate": f"{100 * jamo_error_rate('사랑해', '사량해').rate:.1f}",
        "wer_percent": f"{100 * words.rate:.1f}",
        "wer_counts": _counts(words),
        "inserted_percent": f"{100 * cer('네', '네 맞아요').rate:.0f}",
        "spacing_wer": f"{100 * wer('할 수 있다', '할수있다').rate:.0f}",
        "spacing_cer": f"{100 * cer('할 수 있다', '할수있다', spaces=False).rate:.0f}",
        "mcd_squares": f"{sum((a - b) ** 2 for a, b in zip(REFERENCE, HYPOTHESIS, strict=True)):.2f}",
        "mcd_all": f"{mel_cepstral_distortion(REFERENCE, HYPOTHESIS, include_c0=True):.2f}",
        "mcd": f"{mel_cepstral_distortion(REFERENCE, HYPOTHESIS):.2f}",
        "mcd_hand": f"{mcd_by_hand(True):.2f}",
        "dtw_pairs": " ".join(
            f"{a}-{b}" for a, b in zip(path.reference_frames.tolist(), path.hypothesis_frames.tolist(), strict=True)
        ),
        "interval": f"{interval[0]:.3f}-{interval[1]:.3f}" if interval else "",
        **_compared("few", few),
        **_compared("many", many),
    }


def metrics_answer() -> float:
    """Return the CER in per cent of 안녕하세요 heard as 안녕하세오."""
    return 100 * cer("안녕하세요", "안녕하세오").rate


def draw_metrics(language: Language) -> bytes:
    """Return the interval of a difference of two points over the number of sentences."""
    sizes = [10, 20, 50, 100, 200, 400, 800]
    found = [simulated(0.10, 0.08, size) for size in sizes]
    figure = figures.new_figure(3.2)
    axes = figure.subplots()
    for place, one in enumerate(found):
        axes.plot([place, place], [100 * one.low, 100 * one.high], color=figures.COLORS[0], linewidth=3)
        axes.plot(place, 100 * one.difference, "o", color=figures.COLORS[1])
    axes.axhline(0, color="gray", linewidth=1)
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    labels = {"ko": ("문장 수", "CER 차이 B − A (점)"), "en": ("sentences", "difference in CER, B − A (points)")}
    axes.set_xlabel(labels[language][0])
    axes.set_ylabel(labels[language][1])
    return as_png(figure)


def _counts(rate: ErrorRate) -> str:
    return f"S={rate.substitutions}, D={rate.deletions}, I={rate.insertions}, N={rate.reference_length}"


def _compared(name: str, found: Comparison) -> dict[str, str]:
    return {
        f"{name}_sentences": str(found.utterances),
        f"{name}_a": f"{100 * found.a:.1f}",
        f"{name}_b": f"{100 * found.b:.1f}",
        f"{name}_low": f"{100 * found.low:+.1f}",
        f"{name}_high": f"{100 * found.high:+.1f}",
        f"{name}_p": "< 0.001" if found.matched_pairs_p < 0.001 else f"{found.matched_pairs_p:.3f}",
        f"{name}_different": "✓" if found.different else "✗",
    }
