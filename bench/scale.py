"""How time and memory grow with the data: each command at 1, 4 and 16 times as many recordings.

    python bench/scale.py CORPUS [--commands prepare,durations,check,align,transcribe] [--utterances 20] [--model M]

The recordings are the first of the corpus, and copies of them under other names and speakers, so that the work for each
is known to be the same. `durations` takes as many more as last half an hour: phone models are learnt from so much at
most, and below that the time for it, and what it holds, grow with the data by design. Every run is a process of its
own. Told are seconds of CPU and of the clock, the peak of memory, and over the three sizes

- the exponent of the time (1 is linear), from what the two steps between the sizes add: what every run has to load and
  learn first is in neither;
- bytes of memory for each recording more.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malsori.alignment.boundaries import MAX_SECONDS
from malsori.audio.io import audio_info
from malsori.corpus.layouts import read_layout
from malsori.readers.records import Utterance

TIMES = (1, 4, 16)


@dataclass(frozen=True)
class Run:
    """A command on so many recordings: seconds of CPU and of the clock, bytes at its peak."""

    recordings: int
    cpu: float
    clock: float
    peak: int


def smallest(name: str, items: list[Utterance], count: int) -> list[Utterance]:
    """Return the first recordings: so many, for `durations` at least those that last as long as models learn from."""
    if name == "durations":
        seconds = np.cumsum([audio_info(item.audio_path).seconds for item in items])
        count = max(count, int(np.searchsorted(seconds, MAX_SECONDS)) + 1)
    return items[:count]


def lay_out(items: list[Utterance], count: int, folder: Path) -> Path:
    """Write `count` recordings with their texts beside them, ten to a speaker, as a folder of speakers."""
    for number in range(count):
        item = items[number % len(items)]
        place = folder / f"speaker{number // 10:05}" / f"{number:07}{item.audio_path.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item.audio_path, place)
        place.with_suffix(".txt").write_text(item.written, encoding="utf-8")
    return folder


def run(given: list[str], threads: int, recordings: int) -> Run:
    """Run a command and measure it. Raises: SystemExit if it fails."""
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    began = time.perf_counter()
    command = [sys.executable, "-m", "malsori", *given]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    told = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    if status and os.waitstatus_to_exitcode(status) != 2:  # 'corpus check' of what cannot be trained on
        raise SystemExit(f"malsori {' '.join(given)}: {told.decode(errors='replace')[-500:]}")
    return Run(recordings, used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss * 1024)


def commands(name: str, source: Path, out: Path, model: str | None) -> list[str]:
    """Return what is run."""
    chosen = ["--model", model] if model else []
    return {
        "prepare": ["corpus", "prepare", str(source), str(out), "--workers", "1", "--align-with", "none"],
        "durations": ["corpus", "prepare", str(source), str(out), "--workers", "1"],
        "check": ["corpus", "check", str(source), "--workers", "1"],
        "align": ["align", str(source), "-o", str(out)],
        "transcribe": ["transcribe", str(source), "-o", str(out), *chosen],
    }[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--commands", default="prepare,durations,check,align,transcribe")
    parser.add_argument("--utterances", type=int, default=20, help="of the smallest size; of durations at least")
    parser.add_argument("--model", help="recognizer that transcribes; the built-in one without")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    there = sorted(read_layout(given.corpus, "auto").utterances, key=lambda item: item.id)
    print(f"{'command':12}{'recordings':>12}{'CPU s':>10}{'clock s':>10}{'peak MB':>10}")
    for name in given.commands.split(","):
        runs, items = [], smallest(name, there, given.utterances)
        for count in (1, *(len(items) * times for times in TIMES)):
            with tempfile.TemporaryDirectory() as folder:
                source = lay_out(items, count, Path(folder) / "in")
                runs.append(run(commands(name, source, Path(folder) / "out", given.model), given.threads, count))
            print(
                f"{name:12}{count:12}{runs[-1].cpu:10.1f}{runs[-1].clock:10.1f}{runs[-1].peak / 1e6:10.0f}", flush=True
            )
        sizes, times = (np.diff([getattr(each, field) for each in runs[1:]]) for field in ("recordings", "cpu"))
        exponent = np.log(times[1] / times[0]) / np.log(sizes[1] / sizes[0])
        growth = (runs[-1].peak - runs[1].peak) / (runs[-1].recordings - runs[1].recordings)
        print(
            f"{name:12}exponent {exponent:.3f}; a recording more: {times[-1] / sizes[-1]:.3f} s of CPU, "
            f"{growth / 1000:.1f} kB"
        )


if __name__ == "__main__":
    main()
