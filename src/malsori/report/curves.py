"""The logs of runs, drawn as curves into one HTML page (`malsori runs`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malsori.errors import TrainingError
from malsori.report.fonts import use_korean_font
from malsori.report.page import Page, paragraph, picture, table
from malsori.report.plots import as_png
from malsori.train.run_log import read_lines, read_warnings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7f3fbf", "#8c564b")
_ACROSS = 3  # curves side by side
_OPTIMIZATION = ("gradient_norm", "learning_rate", "steps_per_second")


def save_curves(runs: Sequence[Path], path: Path) -> None:
    """Write one page with the curves of runs, as `curves_page` makes it."""
    curves_page(runs).save(path)


def curves_page(runs: Sequence[Path]) -> Page:
    """Return a page with the curves of runs, each measure's of all runs on the same axes.

    Raises: TrainingError if a folder holds no run.
    """
    metrics = {run: _metrics(run) for run in runs}
    names = sorted({name for lines in metrics.values() for line in lines for name in line} - {"step"})
    page = Page("Runs", " · ".join(f"{run.name}: step {lines[-1]['step']}" for run, lines in metrics.items()))
    groups: dict[str, list[str]] = {
        "Validation 검증": [],
        "Losses and diagnostics 손실과 진단값": [],
        "Gradients and speed 기울기와 속도": [],
    }
    validation, losses, optimization = groups.values()
    for name in names:
        group = optimization if name.rsplit("/", 1)[-1] in _OPTIMIZATION else losses
        (validation if name.startswith("validation/") else group).append(name)
    for title, wanted in groups.items():
        if wanted:
            page.section(title, picture(_curves(metrics, wanted), ", ".join(wanted)))
    for run in runs:
        _add_run(page, run)
    return page


def _metrics(run: Path) -> list[dict[str, Any]]:
    lines = read_lines(run / "metrics.jsonl")
    if not lines:
        raise TrainingError(
            f"{run}: no metrics.jsonl with a line in it; give a folder that 'malsori train' has written"
        )
    return lines


def _add_run(page: Page, run: Path) -> None:
    """Add what belongs to one run alone: the contributions of its losses, its warnings, its starts."""
    logged = read_lines(run / "balance.jsonl")
    for turn in dict.fromkeys(entry["turn"] for entry in logged):
        entries = [entry for entry in logged if entry["turn"] == turn]
        shares = picture(_shares(entries), f"shares of the losses of {turn}")
        page.section(f"{run.name}: contributions to '{turn}' 손실의 비중", shares, _contribution_table(entries))
    rows = [[str(entry["step"]), entry["warning"], entry["message"]] for entry in read_warnings(run)]
    page.section(
        f"{run.name}: warnings 경고",
        table(["step", "warning", "what to do"], rows) if rows else paragraph("None."),
    )
    starts = read_lines(run / "starts.jsonl")
    if starts:
        columns = list(starts[-1])
        cells = [[str(entry.get(column, "")) for column in columns] for entry in starts]
        page.section(f"{run.name}: starts 시작", table(columns, cells))


def _contribution_table(entries: list[dict[str, Any]]) -> str:
    last = [entry for entry in entries if entry["step"] == entries[-1]["step"]]
    rows = [[e["loss"], f"{e['value']:.4g}", f"{e['share']:.1%}", f"{e['gradient_norm']:.3g}"] for e in last]
    return table(["loss", f"value at step {last[0]['step']}", "share", "gradient norm"], rows)


def _curves(metrics: dict[Path, list[dict[str, Any]]], names: list[str]) -> bytes:
    """Return small pictures of measures, all runs in each, as PNG."""
    rows = -(-len(names) // _ACROSS)
    figure, axes = figure_of_axes(rows)
    for place, name in zip(axes, names, strict=False):
        for number, lines in enumerate(metrics.values()):
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                marker = "." if len(points) < 40 else ""
                place.plot(*zip(*points, strict=True), color=_COLORS[number % 8], lw=1.3, marker=marker)
        place.set_title(name, fontsize=10, loc="left")
    for place in axes[len(names) :]:
        place.set_axis_off()
    if len(metrics) > 1:
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], color=_COLORS[number % 8], label=run.name) for number, run in enumerate(metrics)]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False, fontsize=9)
    return as_png(figure)


def _shares(entries: list[dict[str, Any]]) -> bytes:
    """Return the shares of a turn's losses over time, and the norms of their gradients, as PNG."""
    losses = list(dict.fromkeys(entry["loss"] for entry in entries))
    steps = sorted({entry["step"] for entry in entries})
    figure, axes = figure_of_axes(1, across=2)
    of = {(entry["loss"], entry["step"]): entry for entry in entries}
    stacked = [[of[loss, step]["share"] if (loss, step) in of else 0.0 for step in steps] for loss in losses]
    axes[0].stackplot(steps, stacked, labels=losses, colors=_COLORS, alpha=0.85)
    axes[0].set(ylim=(0, 1), title="share of the weighted total")
    for number, loss in enumerate(losses):
        norms = [of[loss, step]["gradient_norm"] for step in steps if (loss, step) in of]
        axes[1].plot(steps[: len(norms)], norms, color=_COLORS[number % 8], marker=".", label=loss)
    axes[1].set(title="gradient norm", yscale="log")
    axes[1].legend(frameon=False, fontsize=9)
    return as_png(figure)


def figure_of_axes(rows: int, across: int = _ACROSS) -> "tuple[Any, list[Axes]]":
    """Return a figure of small axes and these, row by row."""
    use_korean_font()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.5 * rows + 0.3), dpi=110, layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False).flatten().tolist()
    for place in axes:
        place.spines[["top", "right"]].set_visible(False)
        place.grid(alpha=0.25)
    return figure, axes
