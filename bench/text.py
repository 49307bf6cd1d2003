"""Sentences a second through the Korean front-end, beside Kiwi alone and g2pK where it is installed.

    python bench/text.py [--sentences FILE] [--count 3000] [--repeats 3]
    python bench/text.py --growth

Sentences are distinct, a line each, by default of the dialogues beside the recordings (MALSORI_DATA, or
../shared/data). Seconds are of the processor, the best of the repeats, on one thread; loading is told apart
from reading.

With --growth: seconds that one line of 1, 10 and 100 times 3,000 characters takes, of ordinary text and of parts that a
careless pattern would need quadratic time for.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PEER_COUNT = 200  # g2pK is slow: a part of the sentences says enough


def load_sentences(path: Path, count: int) -> list[str]:
    """Return distinct sentences drawn from a file, the same ones every time."""
    lines = sorted({line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()})
    random.Random(0).shuffle(lines)
    return lines[:count]


def rate(read: Callable[[str], object], sentences: list[str], repeats: int) -> tuple[float, float]:
    """Return seconds to the first result, and sentences a second after it."""
    begin = time.process_time()
    read("먹을 것을 3개 샀다.")
    loading = time.process_time() - begin
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        for sentence in sentences:
            read(sentence)
        seconds.append(time.process_time() - begin)
    return loading, len(sentences) / min(seconds)


def import_seconds(module: str) -> float:
    """Return the seconds that a fresh Python needs to import a module, less those of Python alone."""
    seconds = {}
    for code in ("pass", f"import {module}"):
        runs = []
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            runs.append(time.perf_counter() - begin)
        seconds[code] = min(runs)
    return seconds[f"import {module}"] - seconds["pass"]


def readers() -> dict[str, Callable[[str], object]]:
    """Return what is measured, by name."""
    from kiwipiepy import Kiwi

    from malsori.text.frontend import Frontend
    from malsori.text.normalize import normalize

    kiwi: list[Kiwi] = []

    def tokenize(sentence: str) -> object:
        if not kiwi:
            kiwi.append(Kiwi(num_workers=1))
        return kiwi[0].tokenize(sentence)

    found: dict[str, Callable[[str], object]] = {
        "malsori normalize": normalize,
        "malsori without Kiwi": Frontend(morphology=False).read,
        "malsori": Frontend().read,
        "Kiwi alone": tokenize,
    }
    try:
        from g2pk import G2p
    except ImportError:
        return found
    return found | {"g2pK": G2p()}


def print_growth() -> None:
    """Print the seconds that lines of growing length take."""
    from malsori.text.frontend import Frontend
    from malsori.text.normalize import normalize

    sentence = "나는 2024년 3월 5일(화) 오후 3:15에 중앙로 12-9에서 1,234,567원을 내고 음악(音樂)회 표 2장을 샀다. "
    frontends = {"read without Kiwi": Frontend(morphology=False), "read": Frontend()}
    print(f"{'part of the line':18} {'stage':18} " + " ".join(f"{3000 * times:>9,}" for times in (1, 10, 100)))
    for part in (sentence, "가", "1-", "1", "a", "a@", "漢", "1:", "½", "번호 1 ", "대가를 "):
        lines = [(part * (3000 * times // len(part) + 1))[: 3000 * times] for times in (1, 10, 100)]
        stages: dict[str, Callable[[str], object]] = {"normalize": normalize}
        stages |= {name: frontend.read for name, frontend in frontends.items()}
        for name, stage in stages.items():
            stage("먹을 것을 3개 샀다.")
            seconds = []
            for line in lines:
                begin = time.process_time()
                stage(line)
                seconds.append(time.process_time() - begin)
            shown = "a paragraph" if part == sentence else part * 2
            print(f"{shown:18} {name:18} " + " ".join(f"{second:7.2f} s" for second in seconds), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("MALSORI_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--sentences", type=Path, default=data / "text" / "dialogues.txt")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--growth", action="store_true")
    arguments = parser.parse_args()
    if arguments.growth:
        print_growth()
        return
    sentences = load_sentences(arguments.sentences, arguments.count)
    length = sum(map(len, sentences)) / len(sentences)
    print(f"{len(sentences)} distinct sentences of {length:.1f} characters")
    print(f"import malsori {import_seconds('malsori'):.2f} s")
    print(f"{'':22} {'first result':>12} {'sentences/s':>12}")
    for name, read in readers().items():
        loading, speed = rate(read, sentences[:PEER_COUNT] if name == "g2pK" else sentences, arguments.repeats)
        print(f"{name:22} {loading:10.2f} s {speed:12,.0f}")


if __name__ == "__main__":
    main()
