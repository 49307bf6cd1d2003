"""Numbers of the lessons on what networks are made of: phonemes as tensors, convolution, recurrence, attention."""

from functools import cache

import numpy as np
import torch
from torch import nn

from malsori.learn import figures
from malsori.learn.lesson import Language
from malsori.nn.conv import ConvolutionPredictor
from malsori.nn.recurrent import BidirectionalRecurrent
from malsori.nn.transformer import SelfAttention, sinusoid_positions
from malsori.report.plots import as_png
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES

#: The vectors that the syllabus gives to s, a, k and i.
EMBEDDINGS = torch.tensor([[0.1, -0.2, 0.3, 0.7], [0.5, 0.1, -0.4, 0.2], [-0.3, 0.6, 0.0, -0.1], [0.2, -0.1, 0.5, 0.3]])
_WIDTH = 256


def phonemes() -> dict[str, str]:
    """Return how 사랑해 and 국물 become ids and a matrix."""
    frontend = Frontend(morphology=False)
    reading = frontend.read("사랑해")
    sounded = [phoneme.removeprefix("-") for phoneme in reading.phonemes[1:-1]]
    table = nn.Embedding(len(PHONEMES.symbols), _WIDTH)
    matrix = table(torch.tensor(frontend.ids(reading)))
    example = nn.Embedding.from_pretrained(EMBEDDINGS)(torch.arange(4))
    return {
        "sounded": " ".join(sounded),
        "sounded_count": str(len(sounded)),
        "symbols": " | ".join(reading.phonemes),
        "ids": " | ".join(map(str, frontend.ids(reading))),
        "tokens": str(matrix.shape[0]),
        "features": str(matrix.shape[1]),
        "numbers": str(matrix.numel()),
        "vocab": str(len(PHONEMES.symbols)),
        "table_numbers": f"{table.weight.numel():,}",
        "example_rows": "\n".join(
            f"{name}  {[round(value, 1) for value in row]}" for name, row in zip("saki", example.tolist(), strict=True)
        ),
        "soup": frontend.read("국물").pronounced,
    }


def phoneme_answer() -> float:
    """Return how many rows the matrix of 국물 has, its start and end counted."""
    return float(len(Frontend(morphology=False).read("국물").phonemes))


def draw_phonemes(language: Language) -> bytes:
    """Return the picture of 사랑해 as a matrix, a row a phoneme, of the built-in voice's own vectors."""
    from malsori.learn.voices import voice_embeddings

    symbols, vectors = voice_embeddings("사랑해")
    return figures.matrix(vectors[:, :48], symbols, language)


@cache
def _convolution() -> tuple[ConvolutionPredictor, torch.Tensor]:
    torch.manual_seed(0)
    return ConvolutionPredictor(input_size=80, hidden_size=16, kernel_size=3, dropout=0.0), torch.randn(1, 1000, 80)


def convolution_window() -> list[int]:
    """Return which of 1000 frames a network of two convolutions of width 3 answers otherwise, if frame 500 changes."""
    network, mel = _convolution()
    mask = torch.ones(1, 1000, dtype=torch.bool)
    changed = mel.clone()
    changed[0, 500] += 1.0
    moved: list[int] = (network(mel, mask) != network(changed, mask)).nonzero()[:, 1].tolist()
    return moved


def convolution() -> dict[str, str]:
    """Return the shapes, the window and the cost of a small convolution over a mel."""
    network, _ = _convolution()
    moved = convolution_window()
    first = next(network.convolutions.parameters())
    return {
        "frames_moved": ", ".join(map(str, moved)),
        "window": str(len(moved)),
        "filters": str(first.shape[0]),
        "filter_shape": f"{first.shape[1]} × {first.shape[2]}",
        "weights": f"{first.numel():,}",
        "dense_weights": f"{80 * 1000 * 16 * 1000:,}",
        "edges": edge_example(),
    }


def edge_example() -> str:
    """Return what the filter -1, 0, +1 answers to a band that is silent, sounds, and is silent again."""
    band = torch.tensor([[[0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]])
    answers = nn.functional.conv1d(band, torch.tensor([[[-1.0, 0.0, 1.0]]]), padding=1)
    return " | ".join(f"{value:g}" for value in answers.flatten().tolist())


def convolution_answer() -> float:
    """Return how many frames three convolutions of width 5 see, counted on a network."""
    torch.manual_seed(0)
    layers = nn.Sequential(*(nn.Conv1d(1, 1, 5, padding=2) for _ in range(3)))
    wave = torch.zeros(1, 1, 101)
    changed = wave.clone()
    changed[..., 50] = 1.0
    return float((layers(wave) != layers(changed)).sum())


def draw_convolution(language: Language) -> bytes:
    """Return a mel, and what two small filters answer to it."""
    from malsori.learn.voices import spoken

    mel = torch.from_numpy(spoken("사랑해.").mel)
    band = nn.functional.pad(mel.T[:, None], (1, 1), mode="replicate")  # what lies beyond is as the edge is
    onset = nn.functional.conv1d(band, torch.tensor([[[-1.0, 0.0, 1.0]]]))[:, 0]
    smooth = nn.functional.avg_pool2d(mel.T[None, None], 5, 1, 2, count_include_pad=False)[0, 0]
    titles = {
        "ko": (
            "멜 스펙트로그램",
            "시간 방향 차이 필터 (−1, 0, +1): 소리가 시작되고 끝나는 곳",
            "평균 필터 5 × 5: 흐려진다",
        ),
        "en": (
            "mel spectrogram",
            "difference along time (−1, 0, +1): where sounds begin and end",
            "mean of 5 × 5: a blur",
        ),
    }[language]
    return figures.panels(
        dict(zip(titles, (mel.T.numpy(), onset.numpy(), smooth.numpy()), strict=True)), figures.FRAMES[language]
    )


def reached(kind: str) -> list[bool]:
    """Return which outputs change for s a k i, if k becomes another sound: of an RNN, one both ways, or attention."""
    torch.manual_seed(0)
    tokens, changed = EMBEDDINGS[None], EMBEDDINGS[None].clone()
    changed[0, 2] += 1.0
    mask = torch.ones(1, 4, dtype=torch.bool)
    if kind == "attention":
        attention = SelfAttention(4, num_heads=2)
        before, after = attention(tokens, mask), attention(changed, mask)
    elif kind == "both":
        both = BidirectionalRecurrent(nn.LSTM, 4, 8)
        before, after = both(tokens, mask), both(changed, mask)
    else:
        recurrent = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[kind](4, 8, batch_first=True)
        before, after = recurrent(tokens)[0], recurrent(changed)[0]
    return [bool(value) for value in (before != after).any(-1)[0]]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@cache
def memory_curves(steps: int = 24) -> dict[str, list[float]]:
    """Return how much of the first phoneme's gradient is left after each step, for an RNN, a GRU and an LSTM.

    Fresh networks with 32 hidden values, forget gates opened (bias 1) as is the custom; the mean of 4 draws.
    """
    curves = {}
    for name, kind in (("RNN", nn.RNN), ("GRU", nn.GRU), ("LSTM", nn.LSTM)):
        totals = torch.zeros(steps)
        for seed in range(4):
            torch.manual_seed(seed)
            network = kind(8, 32, batch_first=True)
            if name != "RNN":  # an LSTM's forget gate, a GRU's update gate
                dict(network.named_parameters())["bias_hh_l0"].data[32:64] = 1.0
            tokens = torch.randn(1, steps, 8, requires_grad=True)
            outputs = network(tokens)[0][0].sum(-1)
            slopes = [torch.autograd.grad(out, tokens, retain_graph=True)[0][0, 0].norm() for out in outputs]
            totals += torch.stack(slopes) / slopes[0]
        curves[name] = (totals / 4).tolist()
    return curves


@cache
def recurrence() -> dict[str, str]:
    """Return what an RNN, a GRU and an LSTM remember, and what they cost."""
    curves = memory_curves()

    def shown(kind: str) -> str:
        return " | ".join("●" if one else "○" for one in reached(kind))

    return {
        "forwards": shown("gru"),
        "both_ways": shown("both"),
        "rnn_parameters": f"{_parameters(nn.RNN(256, 256)):,}",
        "gru_parameters": f"{_parameters(nn.GRU(256, 256)):,}",
        "lstm_parameters": f"{_parameters(nn.LSTM(256, 256)):,}",
        "rnn_left": f"{curves['RNN'][20]:.0e}",
        "gru_left": f"{curves['GRU'][20]:.0e}",
        "lstm_left": f"{curves['LSTM'][20]:.0e}",
    }


def recurrence_answer() -> float:
    """Return how many times an RNN's parameters an LSTM has."""
    return _parameters(nn.LSTM(256, 256)) / _parameters(nn.RNN(256, 256))


def draw_recurrence(language: Language) -> bytes:
    """Return the picture of what is left of a first sound after each step."""
    return figures.curves(
        memory_curves(),
        {
            "ko": ("지나온 음소 수", "첫 음소의 기울기 (첫 걸음 = 1)"),
            "en": ("phonemes later", "gradient of the first (first step = 1)"),
        }[language],
        logarithmic=True,
    )


def attention_example() -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores and weights of the query k over the keys s, a, k, i: the syllabus's vectors themselves."""
    scores = EMBEDDINGS[2] @ EMBEDDINGS.T / 4**0.5
    return scores, scores.softmax(-1)


def attention() -> dict[str, str]:
    """Return one row of attention by hand, what order does to it, and its cost."""
    scores, weights = attention_example()
    torch.manual_seed(0)
    layer, mask = SelfAttention(4, num_heads=2), torch.ones(1, 4, dtype=torch.bool)
    place = sinusoid_positions(4, 4)

    def moved(tokens: torch.Tensor, turned: torch.Tensor) -> str:
        differ = (layer(tokens, mask).flip(1) - layer(turned, mask)).abs().amax(-1) > 1e-6
        return str(int(differ.sum()))

    turned = EMBEDDINGS[None].flip(1)
    return {
        "scores": " | ".join(f"{value:.3f}" for value in scores.tolist()),
        "weights": " | ".join(f"{value:.3f}" for value in weights.tolist()),
        "mixture": "[" + ", ".join(f"{value:.3f}" for value in (weights @ EMBEDDINGS).tolist()) + "]",
        "reach": " ".join("●" if one else "○" for one in reached("attention")),
        "moved_without_place": moved(EMBEDDINGS[None], turned),
        "moved_with_place": moved(EMBEDDINGS[None] + place, turned + place),
        "pairs": f"{1000 * 1000:,}",
    }


def attention_answer() -> float:
    """Return the largest weight of the example's row."""
    return round(attention_example()[1].max().item(), 3)


def draw_attention(language: Language) -> bytes:
    """Return the weights of the example, all four rows, and sinusoids of position."""
    weights = (EMBEDDINGS @ EMBEDDINGS.T / 2.0).softmax(-1)
    figure = figures.new_figure(4.6)
    above, below = figure.subplots(2, 1)
    above.imshow(weights.numpy(), aspect="auto", cmap="Blues", vmin=0, vmax=0.5)
    above.set_xticks(range(4), list("saki"))
    above.set_yticks(range(4), list("saki"))
    for (row, column), weight in np.ndenumerate(weights.numpy()):
        above.text(column, row, f"{weight:.3f}", ha="center", va="center")
    below.imshow(sinusoid_positions(40, 32).T.numpy(), origin="lower", aspect="auto", cmap="RdBu_r")
    below.set_xlabel({"ko": "위치", "en": "position"}[language])
    below.set_ylabel({"ko": "차원", "en": "features"}[language])
    return as_png(figure)
