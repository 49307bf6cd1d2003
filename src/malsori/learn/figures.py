"""The pictures of the lessons: matrices, curves, panels of mels, bars; drawn without a screen, with Hangul."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from malsori.learn.lesson import Language
from malsori.report.fonts import use_korean_font
from malsori.report.plots import as_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's, which the colour-blind tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9")
_WIDTH = 6.0  # inches, of text of 10 points
FRAMES = {"ko": "프레임", "en": "frames"}


def new_figure(height: float) -> "Figure":
    """Return an empty figure whose text may be Hangul, so wide that it can be read on a phone; its height in inches."""
    use_korean_font()
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), dpi=150, layout="constrained")


def matrix(values: np.ndarray, rows: Sequence[str], language: Language) -> bytes:
    """Return a matrix as coloured cells, a name before each row."""
    figure = new_figure(0.6 + 0.3 * len(rows))
    axes = figure.subplots()
    limit = float(np.abs(values).max())
    axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel({"ko": "차원", "en": "features"}[language])
    return as_png(figure)


def panels(images: Mapping[str, np.ndarray], label: str) -> bytes:
    """Return images, low indices at the bottom, one above the other with their titles; the label of the lowest axis."""
    figure = new_figure(0.5 + 1.7 * len(images))
    rows = figure.subplots(len(images), 1, squeeze=False)[:, 0]
    for axes, (title, values) in zip(rows, images.items(), strict=True):
        axes.imshow(values, origin="lower", aspect="auto", cmap="magma")
        axes.set_title(title, fontsize=10, loc="left")
    rows[-1].set_xlabel(label)
    return as_png(figure)


def curves(
    lines: Mapping[str, Sequence[float]],
    labels: tuple[str, str],
    logarithmic: bool = False,
    places: Sequence[float] | None = None,
) -> bytes:
    """Return lines over their index, or over `places`; labels are those of the two axes."""
    figure = new_figure(3.2)
    axes = figure.subplots()
    for number, (name, values) in enumerate(lines.items()):
        over = range(len(values)) if places is None else places
        style = ("-", "--")[number % 2]  # of lines that lie on each other both are seen
        axes.plot(over, values, label=name, color=COLORS[number], linestyle=style, linewidth=2)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.0e}")  # plain text: a mathematical minus is not in the font
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return as_png(figure)


def bars(groups: dict[str, dict[str, float]], label: str) -> bytes:
    """Return a row for each group, its parts side by side as shares of the whole."""
    figure = new_figure(0.7 + 0.38 * len(groups))
    axes = figure.subplots()
    for row, (_, parts) in enumerate(groups.items()):
        left = 0.0
        for color, (part, share) in zip(COLORS * 2, parts.items(), strict=False):
            axes.barh(row, share, left=left, color=color, height=0.75)
            if share > 0.12:
                axes.text(
                    left + share / 2, row, f"{part} {share:.0%}", ha="center", va="center", color="white", fontsize=8
                )
            left += share
    axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(label)
    return as_png(figure)
