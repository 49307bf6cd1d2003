"""Sentences a second through the Korean front-end, beside Kiwi alone, g2pK and kornorm where they are installed.

    python bench/text.py [--sentences FILE] [--count 3000] [--repeats 3]
    python bench/text.py --growth
    python bench/text.py --words

Sentences are distinct, a line each, by default of the dialogues beside the recordings (MALSORI_DATA, or
../shared/data). Seconds are of the processor, the best of the repeats, on one thread; loading is told apart
from reading.

With --growth: seconds that one line of 1, 10 and 100 times 3,000 characters takes, of ordinary text and of parts that a
careless pattern would need quadratic time for.

With --words: how many words of Wiktionary's narrow IPA each says as broad phonemes, by the comparison in
tools/wikipron.py beside the data. kornorm has a licence of its own making and holds the standard dictionary's words, so
it is no dependency: install it where this runs (`pip install kornorm==0.0.1b2`), with `pip install kiwipiepy typer`.
"""

import argparse
import os
import random
import runpy
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PEER_COUNT = 200  # these are slow: a part of the sentences says enough
SLOW = ("g2pK", "kornorm")


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
    return found | peers()


def peers() -> dict[str, Callable[[str], object]]:
    """Return other readers that are installed; say which are not."""
    found: dict[str, Callable[[str], object]] = {}
    try:
        from g2pk import G2p

        found["g2pK"] = G2p()
    except ImportError as error:
        print(f"g2pK left out: {error}", file=sys.stderr)
    try:
        from kornorm import apply_phonology, dealers_choice
    except ImportError as error:
        print(f"kornorm left out: {error}; pip install kornorm==0.0.1b2", file=sys.stderr)
        return found
    return found | {"kornorm": lambda text: apply_phonology(dealers_choice(text), output_format="hangul")}


def print_words(data: Path) -> None:
    """Print the share of Wiktionary's words that each reader says as it does."""
    tool, table = data.parent / "tools" / "wikipron.py", data.parent / "exams" / "wikipron.tsv"
    if not (tool.is_file() and table.is_file()):
        print(f"words left out: no {tool} or no {table}", file=sys.stderr)
        return
    from malsori.text.frontend import Frontend

    compare = runpy.run_path(str(tool))
    said: dict[str, set[str]] = defaultdict(set)
    for word, ipa in (line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()):
        sounds = compare["theirs"](ipa)
        if sounds and all("가" <= sign <= "힣" or sign == " " for sign in word):
            said[word].add(compare["loose"](sounds))
    frontend = Frontend()
    found: dict[str, Callable[[str], object]] = {"malsori": lambda word: frontend.read(word).pronounced}
    for name, read in (found | peers()).items():
        right = sum(compare["loose"](compare["ours"](str(read(word)))) in accepted for word, accepted in said.items())
        print(f"{name:10} {right} of {len(said)} words: {100 * right / len(said):.2f} %", flush=True)


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
    parser.add_argument("--words", action="store_true")
    arguments = parser.parse_args()
    if arguments.words:
        print_words(data)
        return
    if arguments.growth:
        print_growth()
        return
    sentences = load_sentences(arguments.sentences, arguments.count)
    length = sum(map(len, sentences)) / len(sentences)
    print(f"{len(sentences)} distinct sentences of {length:.1f} characters")
    print(f"import malsori {import_seconds('malsori'):.2f} s")
    print(f"{'':22} {'first result':>12} {'sentences/s':>12}")
    for name, read in readers().items():
        loading, speed = rate(read, sentences[:PEER_COUNT] if name in SLOW else sentences, arguments.repeats)
        print(f"{name:22} {loading:10.2f} s {speed:12,.0f}")


if __name__ == "__main__":
    main()
