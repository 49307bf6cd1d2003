"""Error rates and mel-cepstral distortion beside other packages', and what the intervals hold.

    python bench/metrics.py [--pairs 10000] [--recordings 120] [--data ../shared/data]

References are real sentences (data/text/dialogues.txt), hypotheses the same with characters lost, changed and added at
the rate of a fair recogniser. Recordings are those that the em* speakers made of one script in four moods: pairs of one
speaker and one sentence. Peers that are not installed are left out, and named. Times are the best of the repeats, in
seconds of this process's CPU time on one thread, loading of packages and compiling aside.
"""

import argparse
import importlib.util
import itertools
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SPEAKERS, MOODS, SENTENCES = ("ema", "emb", "emf", "emg"), ("000", "001", "002", "003"), range(1, 6)
SYLLABLES = "가나다라마바사아자차카타파하이그저것수들"


def main() -> None:
    """Print every table for which the peers are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--recordings", type=int, default=120)
    parser.add_argument("--data", type=Path, default=Path(__file__).parent.parent.parent / "shared" / "data")
    options = parser.parse_args()
    error_rates(options.data, options.pairs)
    distortions(options.data, options.recordings)
    intervals()


def best_time(work: Callable[[], object], repeats: int = 5) -> tuple[float, object]:
    """Return the least CPU seconds that the work took, and its result."""
    least, result = float("inf"), None
    for _ in range(repeats):
        begin = time.process_time()
        result = work()
        least = min(least, time.process_time() - begin)
    return least, result


def heard(text: str, random: np.random.Generator) -> str:
    """Return a sentence as a fair recogniser hears it: one character in eight goes wrong."""
    characters = []
    for character, chance in zip(text, random.random(len(text)), strict=True):
        if chance < 0.03:
            continue
        characters.append(str(random.choice(list(SYLLABLES))) if chance < 0.08 and character != " " else character)
        if chance > 0.97:
            characters.append(" ")
    return " ".join("".join(characters).split())


def error_rates(data: Path, pairs: int) -> None:
    """Print CER and WER of ours and jiwer's, and the times."""
    from malsori.metrics.error_rate import cer, wer

    lines = (data / "text" / "dialogues.txt").read_text(encoding="utf-8").splitlines()
    said = [" ".join(line.split()) for line in lines if line.strip()][:pairs]
    random = np.random.default_rng(0)
    guessed = [heard(text, random) for text in said]
    begin = time.process_time()
    cer(said, guessed)
    print(f"{len(said):,} pairs; first call (compiling or reading compiled code) {time.process_time() - begin:.2f} s")
    if not importlib.util.find_spec("jiwer"):
        return print("jiwer is not installed")
    import jiwer

    peers = {"cer": (cer, jiwer.process_characters), "wer": (wer, jiwer.process_words)}
    for name, (ours, theirs) in peers.items():
        our_time, rate = best_time(lambda ours=ours: ours(said, guessed))
        their_time, output = best_time(lambda theirs=theirs: theirs(said, guessed))
        counts = (output.substitutions, output.deletions, output.insertions)
        same = counts == (rate.substitutions, rate.deletions, rate.insertions) and getattr(output, name) == rate.rate
        print(
            f"{name}: malsori {rate.rate:.6f} in {our_time * 1e3:.1f} ms, jiwer {getattr(output, name):.6f} in "
            f"{their_time * 1e3:.1f} ms: {their_time / our_time:.0f} times faster, "
            f"counts {'identical' if same else 'DIFFER'}"
        )


def recordings(data: Path, most: int) -> list[tuple[Path, Path]]:
    """Return pairs of one speaker's readings of one sentence in two moods, spread evenly."""
    folder = data / "emotiontts" / "Emotional" / "plain-to-emotional"
    pairs = [
        tuple(folder / speaker / "wav" / f"{speaker}{mood}{sentence:02d}.flac" for mood in moods)
        for speaker in SPEAKERS
        for sentence in SENTENCES
        for moods in itertools.combinations(MOODS, 2)
    ]
    places = np.unique(np.linspace(0, len(pairs) - 1, most).astype(int))
    return [pairs[place] for place in places if all(path.is_file() for path in pairs[place])]


def distortions(data: Path, most: int) -> None:
    """Print mean distortions, times, and how alike the pairs are ranked."""
    from malsori.audio.io import load_audio
    from malsori.metrics.cepstral import mcd

    pairs = recordings(data, most)
    mcd(*(load_audio(path, 22050) for path in pairs[0]), 22050)  # compile, or read the compiled code
    columns = {"malsori": lambda a, b: mcd(load_audio(a, 22050), load_audio(b, 22050), 22050).mcd_db}
    columns["malsori --as espnet"] = lambda a, b: mcd(load_audio(a), load_audio(b), 22050, "espnet").mcd_db
    if importlib.util.find_spec("pyworld"):
        columns["malsori --as pymcd"] = lambda a, b: mcd(load_audio(a), load_audio(b), 22050, "pymcd").mcd_db
    if importlib.util.find_spec("pymcd"):
        from pymcd.mcd import Calculate_MCD

        columns["pymcd dtw"] = Calculate_MCD("dtw").calculate_mcd
    if importlib.util.find_spec("mel_cepstral_distance"):
        columns["mel-cepstral-distance"] = _mel_cepstral_distance
    seconds, values = dict.fromkeys(columns, 0.0), {name: [] for name in columns}
    for pair in pairs:
        for name, measure in columns.items():
            took, value = best_time(lambda measure=measure, pair=pair: measure(*map(str, pair)), repeats=1)
            seconds[name] += took
            values[name].append(value)
    print(
        f"\n{len(pairs)} pairs of recordings: mean and quartiles in dB, CPU seconds a pair, rank correlation with pymcd"
    )
    for name in columns:
        low, middle, high = np.percentile(values[name], [25, 50, 75])
        row = f"{name:24}{np.mean(values[name]):8.3f}  ({low:.2f} {middle:.2f} {high:.2f})"
        row += f"{seconds[name] / len(pairs):9.3f}"
        print(row + (f"{_spearman(values[name], values['pymcd dtw']):8.3f}" if "pymcd dtw" in columns else ""))
    if {"pymcd dtw", "malsori --as pymcd"} <= columns.keys():
        apart = np.abs(np.subtract(values["pymcd dtw"], values["malsori --as pymcd"])).max()
        faster = seconds["pymcd dtw"] / seconds["malsori"]
        print(f"--as pymcd is within {apart:.2e} dB of pymcd; ours is {faster:.0f} times faster")


def _spearman(one: list[float], other: list[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def _mel_cepstral_distance(reference: str, hypothesis: str) -> float:
    """Return the package's default distance; it reads WAV only."""
    import soundfile
    from mel_cepstral_distance import compare_audio_files

    logging.getLogger("mel_cepstral_distance").setLevel(logging.ERROR)  # it would have windows of 2^n samples
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("reference.wav", "hypothesis.wav")]
        for path, source in zip(paths, (reference, hypothesis), strict=True):
            soundfile.write(path, *soundfile.read(source, dtype="int16"))
        return compare_audio_files(*paths)[0]


def intervals() -> None:
    """Print the share of simulated test sets whose 95 % interval holds the true rate."""
    from malsori.metrics.significance import bootstrap_intervals

    print("\n1,000 simulated test sets each: share of 95 % intervals that hold the true rate")
    for rate in (0.02, 0.12, 0.3):
        cells = []
        for utterances in (20, 50, 100, 300):
            random = np.random.default_rng(utterances)
            held = 0
            for draw in range(1000):
                lengths = random.integers(5, 40, size=utterances)
                edits = random.binomial(lengths, random.beta(2.0, 2.0 / rate - 2.0, size=utterances))
                ends = bootstrap_intervals(edits[:, None].astype(float), lengths[:, None].astype(float), seed=draw)[0]
                held += ends[0] <= rate <= ends[1]
            cells.append(f"{held / 10:.1f} % of {utterances} utterances")
        print(f"true rate {rate:.0%}: {', '.join(cells)}")


if __name__ == "__main__":
    main()
