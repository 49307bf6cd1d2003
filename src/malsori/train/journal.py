"""What a run writes down: metrics.jsonl, TensorBoard, and a progress bar on a terminal or plain lines in a log."""

import json
import logging
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger("malsori")


class Journal:
    """The record of one run; a resumed run cuts off what came after the step it resumes from."""

    def __init__(self, out: Path, start: int, total: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = out / "metrics.jsonl"
        _cut_after(self.path, start)
        self.file = self.path.open("a", encoding="utf-8")
        self.board = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)
        self.total, self.began, self.first = total, time.monotonic(), start
        console = Console(stderr=True)
        columns = (TextColumn("[progress.description]{task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self.bar = self.progress.add_task("training", total=total, completed=start)
        self.sums: dict[str, float] = {}
        self.count = 0

    def __enter__(self) -> "Journal":
        self.progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.progress.stop()
        self.file.close()
        self.board.close()

    def step(self, step: int, values: dict[str, float], force: bool) -> None:
        """Note one step; write the mean since the last writing when forced."""
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.progress.update(self.bar, completed=step)
        if force:
            means = {name: total / self.count for name, total in self.sums.items()}
            self._write(step, means | {"steps_per_second": (step - self.first) / (time.monotonic() - self.began)})
            self.sums, self.count = {}, 0

    def validation(self, step: int, measured: dict[str, float]) -> None:
        """Write a validation's numbers."""
        self._write(step, {f"validation/{name}": value for name, value in measured.items()})

    def _write(self, step: int, values: dict[str, float]) -> None:
        self.file.write(json.dumps({"step": step, **{name: _short(value) for name, value in values.items()}}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if "learning_rate" not in name)
        if self.progress.disable:
            log.info("step %d/%d  %s", step, self.total, shown)
        else:
            self.progress.console.print(f"step {step}  {shown}", highlight=False)


def _short(value: float) -> Any:
    return float(f"{value:.6g}")


def _cut_after(path: Path, step: int) -> None:
    """Keep only the lines up to a step; a torn last line goes too."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry["step"] <= step:
            kept.append(line + "\n")
    path.write_text("".join(kept), encoding="utf-8")
