"""The page of runs: every measure a curve, every warning a line."""

import json

import pytest

from malsori.cli import run as command
from malsori.errors import TrainingError
from malsori.report.curves import save_curves

#: "one" is a run of before the warnings' key was renamed.
WARNING_KEYS = {"one": "illness", "two": "warning"}


def write_lines(path, entries):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")


def write_run(run):
    steps = [{"step": step, "generator/mel": 1 / step, "generator/gradient_norm": 2.0} for step in (10, 20, 30)]
    write_lines(run / "metrics.jsonl", [*steps, {"step": 30, "validation/mel_l1": 0.25}])
    logged = {"turn": "generator", "loss": "mel", "value": 0.5, "share": 1.0, "gradient_norm": 3.0, "modules": {}}
    write_lines(run / "balance.jsonl", [{"step": step} | logged for step in (10, 20)])
    write_lines(run / "doctor.jsonl", [{"step": 20, WARNING_KEYS[run.name]: "only blanks", "message": "lower <it>"}])
    write_lines(run / "starts.jsonl", [{"step": 0, "commit": "abc+", "torch": "2.13"}])
    return run


def test_the_page_shows_curves_contributions_warnings_and_starts(tmp_path, capsys):
    runs = [write_run(tmp_path / name) for name in ("one", "two")]
    assert command(["runs", *map(str, runs), "-o", str(tmp_path / "runs.html")]) == 0
    page = (tmp_path / "runs.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3 + 2  # validation, losses, gradients; shares of each run
    assert 'alt="validation/mel_l1"' in page and "lower &lt;it&gt;" in page and "abc+" in page and "100.0%" in page
    assert page.count("<td>only blanks</td>") == 2
    assert capsys.readouterr().out.strip().endswith("runs.html")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"no metrics\.jsonl with a line"):
        save_curves([tmp_path], tmp_path / "runs.html")
