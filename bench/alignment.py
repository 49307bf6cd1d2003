"""Time and memory of the exact CTC alignment, beside torchaudio's where that is installed.

    python bench/alignment.py [--repeats 3]

Each size runs in a process of its own, so that peak memory is that size's alone. Scores are random and sharp, as a
recogniser's are: 70 symbols, one token to four frames. CPU seconds are the best of the repeats, on one thread.
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np

SIZES = (500, 2_000, 10_000, 60_000, 90_000)
PEER_FRAMES = 60_000  # beyond, its table of back-pointers fills the memory of a small machine
VOCAB, FRAMES_PER_TOKEN = 70, 4


def problem(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random log-probabilities (frames, vocab) and the tokens of a text that fits."""
    random = np.random.default_rng(frames)
    log_probs = np.log(random.dirichlet(np.full(VOCAB, 0.1), size=frames) + 1e-9).astype(np.float32)
    return log_probs, random.integers(1, VOCAB, size=frames // FRAMES_PER_TOKEN)


def ours(frames: int, repeats: int) -> tuple[float, float, float]:
    """Return CPU seconds, peak megabytes above the inputs, and the path's score."""
    from malsori.align.ctc import align_ctc

    align_ctc(*problem(50))  # compile, or read the compiled code
    log_probs, tokens = problem(frames)
    return measure(lambda: align_ctc(log_probs, tokens).score, repeats)


def torchaudios(frames: int, repeats: int) -> tuple[float, float, float]:
    """Return the same of torchaudio.functional.forced_align; it keeps every back-pointer."""
    import torch
    import torchaudio

    torch.set_num_threads(1)
    log_probs, tokens = (torch.from_numpy(part)[None] for part in problem(frames))

    def align() -> float:
        return torchaudio.functional.forced_align(log_probs, tokens.int(), blank=0)[1].sum(dtype=torch.float64).item()

    align()
    return measure(align, repeats)


def measure(align, repeats: int) -> tuple[float, float, float]:
    """Return the best CPU time in seconds, the rise of resident memory to its peak in megabytes, and the result."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = memory("VmRSS")
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        score = align()
        seconds.append(time.process_time() - begin)
    return min(seconds), memory("VmHWM") - before, score


def memory(name: str) -> float:
    """Return one of Linux's measures of this process's memory, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def in_own_process(function, *arguments):
    """Return what the function returns in a fresh process, or None where a package is missing or memory runs out."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            return pool.apply(function, arguments)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            print(f"  {function.__name__}: {type(error).__name__}: {str(error).splitlines()[0][:90]}")
            return None


def main() -> None:
    """Print one row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(
        f"{'frames':>7} {'tokens':>7} | {'malsori s':>10} {'MB':>6} | {'torchaudio s':>12} {'MB':>6} | scores differ by"
    )
    for frames in SIZES:
        peer = in_own_process(torchaudios, frames, repeats) if frames <= PEER_FRAMES else None
        rows = [in_own_process(ours, frames, repeats), peer]
        cells = [f"{row[0]:10.4f} {row[1]:6.0f}" if row else f"{'-':>10} {'-':>6}" for row in rows]
        gap = f"{abs(rows[0][2] - rows[1][2]):.3f}" if all(rows) else "-"
        print(f"{frames:7} {frames // FRAMES_PER_TOKEN:7} | {cells[0]} |   {cells[1]} | {gap}", flush=True)


if __name__ == "__main__":
    main()
