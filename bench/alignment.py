"""How well, how fast and in how little memory malsori aligns.

    python bench/alignment.py [--part boundaries|search] [--text FILE] [--sentences 400] [--work DIR] [--repeats 3]
    python bench/alignment.py --part phones --text FILE --sentences 600 --voices ko+f2,... --speeds 100,... --out FILE

boundaries: speech of espeak-ng, whose times are exact (`malsori corpus synthesize`): how far each aligner's boundaries
lie from the truth on the test split, whose sentences and speeds stand in no other. Counted are the beginning of every
phoneme and the end of one before a pause; not those inside spans that espeak-ng does not tell apart (see
malsori.corpus.espeak). The last column is CPU time, learning included, the recogniser's own left out.

phones: phone models of synthetic voices, from a flat start on all that is spoken, written to a file, as
`phones-ko-espeak` was made.

search: time and memory of the exact CTC alignment, beside torchaudio's where that is installed. Each size runs in a
process of its own, so that peak memory is that size's alone. Scores are random and sharp, as a recogniser's are: 70
symbols, one token to four frames. CPU seconds are the best of the repeats, on one thread.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malsori.alignment.boundaries import AlignmentInput, alignment_input, force_align, refine, train_flat_start
from malsori.alignment.phonemes import time_phonemes
from malsori.asr.encode import encode
from malsori.asr.recognizer import load_recognizer
from malsori.audio.io import audio_info, load_audio
from malsori.corpus.layouts import SPLITS, read_layout
from malsori.corpus.synthesis import SynthesisOptions, load_phones, synthesize
from malsori.text.frontend import Frontend, Reading

SIZES = (500, 2_000, 10_000, 60_000, 90_000)
PEER_FRAMES = 60_000  # beyond, its table of back-pointers fills the memory of a small machine
WITHIN = (10, 25, 30, 50)  # milliseconds
SHORTEST_PAUSE = 0.02  # seconds: the end of a phoneme is counted where this much silence follows
SHORTEST_LINE = 8  # characters: shorter lines of a text hold hardly a boundary
VOCAB, FRAMES_PER_TOKEN = 70, 4


@dataclass(frozen=True)
class Spoken:
    """A recording, its reading and its true ends; and what a recogniser made of it."""

    wave: np.ndarray
    rate: int
    reading: Reading
    truth: np.ndarray
    ctc_boundaries: np.ndarray

    def sound(self, with_ctc: bool) -> AlignmentInput:
        """Return its features, ready to be aligned."""
        return alignment_input(self.reading, self.wave, self.rate, self.ctc_boundaries if with_ctc else None)

    def errors(self, ends: np.ndarray) -> np.ndarray:
        """Return the distances of boundaries from the truth in milliseconds, where that is told."""
        place = np.arange(1, len(self.truth))
        sounded = np.array(self.reading.phoneme_words) >= 0
        begins = sounded[1:]
        pause = ~sounded[1:] & sounded[:-1] & (self.truth[1:] - self.truth[:-1] > SHORTEST_PAUSE)
        counted = place[(begins | pause) & ~np.isnan(self.truth[:-1])] - 1
        return 1000 * np.abs(ends[counted] - self.truth[counted])


def oracle(work: Path, text: Path | None, options: SynthesisOptions) -> dict[str, list[Spoken]]:
    """Return what espeak-ng says, by split; each recording encoded by the built-in recogniser."""
    lines = text.read_text(encoding="utf-8").splitlines() if text else None
    lines = [line for line in lines if len(line) >= SHORTEST_LINE] if lines else None
    print("\n".join(synthesize(work, options, lines).lines()))
    model, frontend = load_recognizer("conformer-ko").model, Frontend()
    spoken: dict[str, list[Spoken]] = {split: [] for split in SPLITS}
    for item in read_layout(work).utterances:
        wave, rate = load_audio(item.audio_path), audio_info(item.audio_path).sample_rate
        reading, found = frontend.read(item.spoken), encode(model, wave, rate)
        times = time_phonemes(reading, found.phonemes, found.loudness, found.frame_seconds, found.seconds)
        truth = load_phones(item.audio_path.parents[1] / "textgrid" / f"{item.id}.TextGrid", reading)
        spoken[item.split].append(Spoken(wave, rate, reading, truth, times.ends))
    return spoken


def boundaries(spoken: dict[str, list[Spoken]]) -> None:
    """Print one row for each aligner."""
    test = spoken["test"]

    def learnt(split: str, with_ctc: bool) -> list[np.ndarray]:
        model = train_flat_start([item.sound(with_ctc) for item in spoken[split]])
        return [force_align(model, item.sound(with_ctc)) for item in test]

    rows: dict[str, Callable[[], list[np.ndarray]]] = {
        "CTC Viterbi": lambda: [item.ctc_boundaries for item in test],
        "refined, learnt on train": lambda: learnt("train", True),
        "refined, on test itself": lambda: learnt("test", True),
        "from scratch, on train": lambda: learnt("train", False),
        "from scratch, on test": lambda: learnt("test", False),
        "one recording alone": lambda: [
            refine(item.reading, [item.wave], item.rate, item.ctc_boundaries) for item in test
        ],
    }
    print(f"{'ms':>27} {'count':>6} {'median':>7} {'90 %':>6}  within " + " ".join(f"{ms:>6}" for ms in WITHIN))
    for name, ends_of in rows.items():
        begin = time.process_time()
        errors = np.concatenate([item.errors(ends) for item, ends in zip(test, ends_of(), strict=True)])
        shares = " ".join(f"{100 * (errors <= ms).mean():5.1f}%" for ms in WITHIN)
        middle, most = np.percentile(errors, [50, 90])
        seconds = time.process_time() - begin
        print(f"{name:>27} {len(errors):6} {middle:7.1f} {most:6.1f}         {shares}  {seconds:6.1f} s", flush=True)


def problem(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random log-probabilities (frames, vocab) and the tokens of a text that fits."""
    random = np.random.default_rng(frames)
    log_probs = np.log(random.dirichlet(np.full(VOCAB, 0.1), size=frames) + 1e-9).astype(np.float32)
    return log_probs, random.integers(1, VOCAB, size=frames // FRAMES_PER_TOKEN)


def ours(frames: int, repeats: int) -> tuple[float, float, float]:
    """Return CPU seconds, peak megabytes above the inputs, and the path's score."""
    from malsori.alignment.ctc import align_ctc

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


def search(repeats: int) -> None:
    """Print one row for each size."""
    print(
        f"{'frames':>7} {'tokens':>7} | {'malsori s':>10} {'MB':>6} | {'torchaudio s':>12} {'MB':>6} | scores differ by"
    )
    for frames in SIZES:
        peer = in_own_process(torchaudios, frames, repeats) if frames <= PEER_FRAMES else None
        rows = [in_own_process(ours, frames, repeats), peer]
        cells = [f"{row[0]:10.4f} {row[1]:6.0f}" if row else f"{'-':>10} {'-':>6}" for row in rows]
        gap = f"{abs(rows[0][2] - rows[1][2]):.3f}" if all(rows) else "-"
        print(f"{frames:7} {frames // FRAMES_PER_TOKEN:7} | {cells[0]} |   {cells[1]} | {gap}", flush=True)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--part", choices=("boundaries", "phones", "search"), help="one; the first and last if not given"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=400)
    parser.add_argument("--text", type=Path, help="sentences to speak, one a line; malsori's own when not given")
    parser.add_argument("--work", type=Path, help="keep the speech in this folder; a temporary one when not given")
    parser.add_argument("--voices", default="ko,ko+f2,ko+m3,ko+f4,ko+m7", help="of espeak-ng")
    parser.add_argument("--speeds", default="120,140,165,190,220", help="words a minute")
    parser.add_argument("--out", type=Path, help="phones: the file to write")
    options = parser.parse_args()
    speeds = tuple(int(speed) for speed in options.speeds.split(","))
    said = SynthesisOptions(sentences=options.sentences, voices=tuple(options.voices.split(",")), speeds=speeds)
    if options.part != "search":
        with tempfile.TemporaryDirectory() as folder:
            spoken = oracle(options.work or Path(folder), options.text, said)
        if options.part == "phones":
            train_flat_start([item.sound(True) for items in spoken.values() for item in items]).save(options.out)
            return
        boundaries(spoken)
    if options.part != "boundaries":
        search(options.repeats)


if __name__ == "__main__":
    main()
