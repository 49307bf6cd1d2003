"""How long `malsori say` takes from the start of its process to the first sound in a pipe, and what CPU until then.

    python bench/first_sound.py [--repeat 3] [--without kiwipiepy] ["TEXT"] [-- OPTIONS OF SAY]

`PYTHONPATH=TREE/src python bench/first_sound.py` measures another tree. Linux alone: CPU is read in /proc.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

TEXT = "안녕하세요. 오늘은 날씨가 참 좋네요."
START = """
import sys
for absent in {absent!r}:
    sys.modules[absent] = None
from malsori.cli import run
sys.exit(run(sys.argv[1:]))
"""


def main() -> None:
    """Print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", default=TEXT)
    parser.add_argument("options", nargs="*", help="of say, behind --")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--without", action="append", default=[], help="a package that cannot be imported; repeats")
    asked = parser.parse_args()
    code = START.format(absent=asked.without)
    for _ in range(asked.repeat):
        wall, cpu = first_sound([sys.executable, "-c", code, "say", asked.text, "-o", "-", *asked.options])
        print(f"first sound after {wall:.2f} s, {cpu:.2f} s of CPU", flush=True)


def first_sound(command: list[str]) -> tuple[float, float]:
    """Return seconds, and seconds of CPU, until a command has written a kilobyte."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        heard = process.stdout.read(1024)
        wall = time.perf_counter() - began
        used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        process.stdout.read()
    if process.returncode or len(heard) < 1024:
        raise SystemExit(f"{' '.join(command[2:])}: exit {process.returncode}")
    return wall, sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
