"""What the check calls ready trains: splits, texts and their sounds taken together; and a clean copy of the rest."""

from pathlib import Path

import numpy as np
import pytest

from malsori.audio.io import load_audio, save_audio
from malsori.cli import run
from malsori.config import RECOGNITION_AUDIO
from malsori.corpus.check import CheckReport, check_corpus
from malsori.corpus.layouts import read_layout

from .conftest import SENTENCES, buzz, write_text


def corpus(folder: Path, rows: list[tuple[str, float]], splits: list[str] | None = None) -> Path:
    """Write a flat corpus of buzzing sounds: a text and seconds each."""
    lines = ["path\ttext" + ("\tsplit" if splits else "")]
    for number, (text, seconds) in enumerate(rows):
        save_audio(folder / f"{number}.wav", buzz(seconds, seed=number), 16000)
        lines.append(f"{number}.wav\t{text}" + (f"\t{splits[number]}" if splits else ""))
    write_text(folder / "metadata.tsv", "\n".join(lines) + "\n")
    return folder


def faults(report: CheckReport) -> dict[str, list[str]]:
    checks = report.by_check().items()
    return {check: [item.id for item in found] for check, found in checks if found[0].severity == "fault"}


def check(folder: Path) -> CheckReport:
    return check_corpus(folder, RECOGNITION_AUDIO, workers=1)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_texts_are_told_before(tmp_path: Path, count: int) -> None:
    report = check(corpus(tmp_path / "few", [(text, 2.0) for text in SENTENCES[:count]]))
    assert not report.can_train
    assert "too few texts" in faults(report)
    assert "empty split" in faults(report)


def test_a_source_without_a_dev_split_gets_one_of_its_train(tmp_path: Path) -> None:
    rows = [(text, 2.0) for text in SENTENCES]
    folder = corpus(tmp_path / "half", rows, ["train"] * (len(rows) - 2) + ["test"] * 2)
    listing = read_layout(folder)
    counts = {split: sum(item.split == split for item in listing.utterances) for split in ("train", "dev", "test")}
    assert counts["test"] == 2 and counts["dev"] >= 1 and counts["train"] >= counts["dev"]
    assert check(folder).can_train


def test_names_taken_as_texts_are_a_fault(tmp_path: Path) -> None:
    names = ["영희", "철수", "민수"]
    report = check(corpus(tmp_path / "names", [(names[number % 3], 1.0 + number / 8) for number in range(12)]))
    assert faults(report)["texts that look like names"] == ["all"]


def test_one_text_for_unlike_sounds_and_absurd_rates_are_faults(tmp_path: Path) -> None:
    rows = [(text, 2.0) for text in SENTENCES]
    rows += [(SENTENCES[0], 2.1), (SENTENCES[0], 2.0), (SENTENCES[0], 9.0), ("네", 8.0)]
    found = faults(check(corpus(tmp_path / "unlike", rows)))
    assert found["one text for unlike sounds"] == [str(len(SENTENCES) + 2)]
    assert found["absurd speaking rate"] == [str(len(SENTENCES) + 3)]


def test_a_clean_copy_is_ready_and_lists_what_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(text, 2.0) for text in SENTENCES]
    folder = corpus(tmp_path / "recordings", [*rows, ("네", 8.0)])
    wave = load_audio(folder / "0.wav")
    save_audio(folder / "0.wav", np.clip(0.5 * wave + 0.2, -1, 1), 16000)
    assert (
        run(["corpus", "check", str(folder), "--rate", "16000", "--workers", "1", "--fix", str(tmp_path / "clean")])
        == 2
    )
    told = capsys.readouterr().err
    assert "clean: a clean copy, 2 changes" in told
    changes = (tmp_path / "clean" / "changes.md").read_text(encoding="utf-8").splitlines()
    assert changes[0].startswith(f"- {len(SENTENCES)}: left out (absurd speaking rate") and "offset" in changes[1]
    report = check(tmp_path / "clean")
    assert report.can_train and report.utterances == len(SENTENCES)
    texts = {item.written for item in read_layout(tmp_path / "clean").utterances}
    assert texts == {" ".join(text.split()) for text in SENTENCES}
    assert (
        run(["corpus", "check", str(folder), "--rate", "16000", "--workers", "1", "--fix", str(tmp_path / "clean")])
        == 2
    )
    assert "is there already" in capsys.readouterr().err
