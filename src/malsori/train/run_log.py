"""The logs of a run, written and read back; a progress bar on a terminal, plain lines in a log.

    starts.jsonl     each start: step, versions, git commit
    metrics.jsonl    means since the line before: turn/loss, turn/gradient_norm, ..., validation/measure
    balance.jsonl    every contributions_every steps: each loss's share of its turn, its gradient's norm by module
    doctor.jsonl     the warnings of the training monitor
    samples/         what a voice or a vocoder makes at each validation (`train.samples`)
    tensorboard/     the same numbers as metrics.jsonl and balance.jsonl, and the samples, where the extra
                     `tensorboard` is installed

A full disk costs lines, never the run. A resumed run cuts off what came after the step it resumes from.
"""

import json
import logging
import platform
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import malsori
from malsori.config import AudioConfig
from malsori.errors import MissingExtraError
from malsori.extras import import_extra
from malsori.files import write_text
from malsori.pretrained.legacy import current_record
from malsori.train.contributions import LossContribution
from malsori.train.samples import Sample, mel_picture

log = logging.getLogger("malsori")


class RunLogger:
    """Writes the logs of one run while it trains."""

    def __init__(self, out: Path, start: int, total: int) -> None:
        self.out, self.total = out, total
        for name in ("metrics", "balance", "doctor"):
            _cut_after(out / f"{name}.jsonl", start)
        self.full = False
        self.threads_before, threading.excepthook = threading.excepthook, self._thread_failed
        try:
            self.board = _board(out / "tensorboard", start)
        except OSError as error:
            self._warn_once(error)
            self.board = None
        self._append("starts", {"step": start} | provenance())
        console = Console(stderr=True)
        columns = (TextColumn("[progress.description]{task.description}"), BarColumn(), MofNCompleteColumn())
        self.progress = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self.bar = self.progress.add_task("training", total=total, completed=start)
        self.sums: dict[str, list[float]] = {}
        self.last_written, self.began = start, time.monotonic()

    def __enter__(self) -> "RunLogger":
        self.progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.progress.stop()
        try:
            if self.board:
                self.board.close()
        except OSError as error:
            self._warn_once(error)
        finally:
            threading.excepthook = self.threads_before

    def _thread_failed(self, failed: threading.ExceptHookArgs) -> None:
        """Warn in one line where TensorBoard's thread finds the disk full, instead of the trace that it would leave."""
        if isinstance(failed.exc_value, OSError):
            self._warn_once(failed.exc_value)
        else:
            self.threads_before(failed)

    def step(self, step: int, values: dict[str, float], force: bool) -> None:
        """Add the values of one step; with `force`, write the means since the last line."""
        for name, value in values.items():
            total = self.sums.setdefault(name, [0.0, 0])
            total[0] += value
            total[1] += 1
        self.progress.update(self.bar, completed=step)
        if force:
            now = time.monotonic()
            means = {name: total / count for name, (total, count) in self.sums.items()}
            speed = (step - self.last_written) / (now - self.began)
            self._write(step, means | {"steps_per_second": speed}, left=(self.total - step) / max(speed, 1e-9))
            self.sums, self.last_written, self.began = {}, step, now

    def validation(self, step: int, measured: dict[str, float]) -> None:
        """Write a validation's numbers."""
        self._write(step, {f"validation/{name}": value for name, value in measured.items()})

    def sample(self, step: int, sample: Sample, audio: AudioConfig) -> None:
        """Show what a validation made in TensorBoard, beside its file: the sound and its log-mel."""
        if not self.board:
            return
        try:
            name, wave = f"samples/{sample.id}", sample.wave.clip(-1, 1)
            self.board.add_audio(name, wave[None], step, audio.sample_rate)
            self.board.add_image(name, mel_picture(wave, audio), step, dataformats="HW")
        except OSError as error:
            self._warn_once(error)

    def contributions(self, step: int, turn: str, losses: dict[str, LossContribution]) -> None:
        """Write and show the contributions of a turn's losses."""
        shown = (f"{name} {loss.share:.0%} |g| {loss.gradient_norm:.3g}" for name, loss in losses.items())
        self._show(step, (f"contributions to {turn}:", *shown))
        for name, loss in losses.items():
            modules = {module: _short(norm) for module, norm in loss.modules.items()}
            rounded = {key: value if key == "modules" else _short(value) for key, value in asdict(loss).items()}
            self._append("balance", {"step": step, "turn": turn, "loss": name} | rounded | {"modules": modules})
            self._plot(step, {f"{turn}/{name}/share": loss.share, f"{turn}/{name}/gradient_norm": loss.gradient_norm})

    def _write(self, step: int, values: dict[str, float], left: float = 0.0) -> None:
        """Write and show numbers, and how many seconds the run still wants at its present speed."""
        self._append("metrics", {"step": step, **{name: _short(value) for name, value in values.items()}})
        self._plot(step, values)
        shown = [f"{name} {value:.4g}" for name, value in values.items() if "learning_rate" not in name]
        self._show(step, shown + ([f"{timedelta(seconds=round(left))} left"] if left else []))

    def _show(self, step: int, parts: Iterable[str]) -> None:
        if self.progress.disable:
            log.info("step %d/%d  %s", step, self.total, "  ".join(parts))
        else:
            self.progress.console.print(f"step {step}  {'  '.join(parts)}", highlight=False)

    def warning(self, entry: dict[str, Any]) -> None:
        """Write a warning of the training monitor."""
        self._append("doctor", entry)

    def _append(self, name: str, entry: dict[str, Any]) -> None:
        end_torn = "\n" if self.full else ""  # the line that found no room may stand there in part
        try:
            with (self.out / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write(end_torn + json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            self._warn_once(error)

    def _plot(self, step: int, values: dict[str, float]) -> None:
        if not self.board:
            return
        try:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)
        except OSError as error:
            self._warn_once(error)

    def _warn_once(self, error: OSError) -> None:
        told, self.full = self.full, True
        if not told:
            log.warning("%s: %s; the run goes on, its record has gaps. Make room.", self.out, error.strerror or error)


def _board(folder: Path, start: int) -> Any:
    """Return TensorBoard's writer; None, saying so, where it is not installed: the run's own files say the same."""
    try:
        import_extra("tensorboard", f"{folder}: is not written; it")
    except MissingExtraError as error:
        log.info("%s", error)
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=start + 1)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file, without a line that was torn; none if there is no file."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            entries.append(current_record(json.loads(line)))
        except json.JSONDecodeError:
            continue  # torn by a kill or a full disk
    return entries


def read_warnings(run: Path) -> list[dict[str, Any]]:
    """Return the warnings of a run: step, warning (its name), message; those of older runs called it an illness."""
    entries = read_lines(run / "doctor.jsonl")
    return [{"warning": entry.get("illness"), **entry} for entry in entries]


def provenance() -> dict[str, Any]:
    """Return what a run is made with: versions, and the git commit of the source where it stands in a repository.

    A "+" behind the commit says that the source differed from it.
    """
    import torch

    versions = {"malsori": malsori.__version__, "torch": torch.__version__, "python": platform.python_version()}
    source = str(Path(malsori.__file__).parent)
    try:
        described = subprocess.run(
            ["git", "-C", source, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return versions | {"commit": None}
    return versions | {"commit": described.stdout.strip() or None}


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _cut_after(path: Path, step: int) -> None:
    """Keep only the lines up to a step; a torn last line goes too."""
    if not path.is_file():
        return
    kept = [entry for entry in read_lines(path) if entry["step"] <= step]
    write_text(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept))
