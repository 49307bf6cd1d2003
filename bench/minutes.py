"""How much recorded speech does a voice need? One curve for a start from nothing, one for each model to start from.

    python bench/minutes.py CORPUS --speaker lmy -o FOLDER [--minutes 5,10,20,0] [--start nothing,MODEL]
                            [--steps 3000,800] [--split test] [--recipe fastspeech2-small]
                            [--set data.batch_seconds=8 …]

For every start and amount (0 is all there is) a voice is trained and evaluated on the split: CER without spaces by the
built-in recognizer, MCD, F0 error, DNSMOS. Runs and evaluations lie in FOLDER and are gone on with; so it can be
interrupted. minutes.json, minutes.md and minutes.png say what came out. What one amount holds the next holds too.

A model to start from should not have met the speaker. Steps are those of a start, the same for all amounts.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from malsori.corpus.batches import DataConfig, select
from malsori.corpus.folder import load_corpus
from malsori.files import atomic_file, write_json, write_text
from malsori.report.fonts import use_korean_font

MEASURES = {
    "cer_no_space": "CER without spaces",
    "dnsmos_overall": "DNSMOS overall",
    "mcd_db": "MCD (dB)",
    "log_f0_rmse_cents": "log-F0 RMSE (cents)",
}


def malsori(*given: str) -> None:
    """Run a command. Raises: SystemExit if it fails."""
    if subprocess.run([sys.executable, "-m", "malsori", *given]).returncode:
        raise SystemExit(f"malsori {' '.join(given)}: failed")


def measured(given: argparse.Namespace, start: str, steps: int, minutes: float) -> dict[str, Any]:
    """Train a voice and evaluate it, as far as that is not done; return its measures."""
    run = given.out / f"{Path(start).name}-{minutes:g}"
    if not (run / "evaluation" / "evaluation.json").is_file():
        settings = [f"data.minutes={minutes:g}", f'data.speakers=["{given.speaker}"]', f"train.steps={steps}"]
        settings += [f"train.validate_every={max(1, steps // 4)}", f"train.save_every={max(1, steps // 20)}"]
        settings += given.set + ([f"start_from={start}"] if start != "nothing" else [])
        resume = ["--resume"] if (run / "checkpoints").is_dir() else []
        sets = [word for setting in settings for word in ("--set", setting)]
        malsori("train", given.recipe, "--corpus", str(given.corpus), "--out", str(run), *sets, *resume)
        judged = ["--split", given.split, "--mos", "--out", str(run / "evaluation")]
        malsori("evaluate", str(run), "--corpus", str(given.corpus), *judged)
    found = json.loads((run / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    return {"start": start, "steps": steps, "minutes": minutes, "measures": found["measures"]}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown, those of the recordings last."""
    lines = ["| start | minutes | " + " | ".join(MEASURES.values()) + " |", "|---|--:|" + "---|" * len(MEASURES)]
    for row in rows:
        cells = [interval(row["measures"].get(name)) for name in MEASURES]
        lines.append(f"| {row['start']}, {row['steps']} steps | {row['spoken']:.1f} | " + " | ".join(cells) + " |")
    cells = [interval(rows[0]["measures"].get(f"recordings_{name}")) for name in MEASURES]
    return "\n".join([*lines, "| the recordings | | " + " | ".join(cells) + " |"]) + "\n"


def interval(measure: dict[str, float] | None) -> str:
    return f"{measure['value']:.3g} ({measure['low']:.3g}-{measure['high']:.3g})" if measure else ""


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw each measure over the minutes, a line a start, the recordings dashed."""
    use_korean_font()
    figure, grid = plt.subplots(2, 2, figsize=(7, 5.6), layout="constrained")
    axes = list(grid.flat)
    for axis, (name, title) in zip(axes, MEASURES.items(), strict=True):
        for start in dict.fromkeys(row["start"] for row in rows):
            own = [row for row in rows if row["start"] == start]
            at, found = [row["spoken"] for row in own], [row["measures"][name] for row in own]
            low, high = ([each[side] for each in found] for side in ("low", "high"))
            axis.plot(
                at,
                [each["value"] for each in found],
                marker="o",
                label=f"from {Path(start).name}, {own[0]['steps']} steps",
            )
            axis.fill_between(at, low, high, alpha=0.15)
        beside = rows[0]["measures"].get(f"recordings_{name}")
        if beside:
            axis.axhline(beside["value"], color="black", linestyle="--", label="recordings")
        axis.set_title(title)
        axis.set_xlabel("minutes of speech")
    axes[0].legend()
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--speaker", required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--minutes", default="5,10,20,0")
    parser.add_argument("--start", default="nothing")
    parser.add_argument("--steps", default="3000", help="of each start, in order")
    parser.add_argument("--split", default="test")
    parser.add_argument("--recipe", default="fastspeech2-small")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of every run")
    given = parser.parse_args()
    corpus = load_corpus(given.corpus)
    rows = []
    for start, steps in zip(given.start.split(","), map(int, given.steps.split(",")), strict=True):
        for minutes in map(float, given.minutes.split(",")):
            data = DataConfig(speakers=(given.speaker,), minutes=minutes)
            spoken = sum(cut.duration for cut in select(corpus, "train", data).values()) / 60
            rows.append(measured(given, start, steps, minutes) | {"spoken": spoken})
            write_json(given.out / "minutes.json", rows)
            write_text(given.out / "minutes.md", table(rows))
            draw(rows, given.out / "minutes.png")
    print(table(rows))


if __name__ == "__main__":
    main()
