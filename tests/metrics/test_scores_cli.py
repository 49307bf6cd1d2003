"""The commands score, compare and mcd: what they print, and what they refuse in one line."""

import json

import numpy as np
import pytest

from malsori.audio.io import save_audio
from malsori.cli import run


@pytest.fixture
def texts(tmp_path):
    for name, lines in {"said": ["사랑해", "네", "할 수 있다"], "heard": ["사량해", "네", "할수있다"]}.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(tmp_path / "said.txt"), str(tmp_path / "heard.txt")


def wave(level=0.1, seed=0):
    generator = np.random.default_rng(seed)
    return (level * np.convolve(generator.normal(size=8000), generator.normal(size=9))).astype(np.float32)


def test_score_prints_the_promised_object(texts, capsys):
    assert run(["score", *texts, "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["cer"]["substitutions"] == 1 and card["cer"]["deletions"] == 2 and card["cer"]["reference_length"] == 10
    assert card["swer"]["rate"] == pytest.approx(1 / 5) and card["signature"].startswith("n:3|")


def test_score_prints_a_table_for_people_and_writes_a_page(texts, tmp_path, capsys):
    assert run(["score", *texts, "--html", str(tmp_path / "score.html")]) == 0
    assert "cer_no_space" in capsys.readouterr().out and (tmp_path / "score.html").is_file()


def test_punctuation_is_not_chosen_for_numbers_without_texts(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.tsv").write_text("".join(f"u{i}\t{i / 7}\n" for i in range(9)), encoding="utf-8")
    command = ["compare", str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv"), "--metric", "mcd_db"]
    assert run(command) == 0
    assert run([*command, "--punctuation", "removed"]) == 2
    assert "a.tsv: holds numbers of 'mcd_db', no texts: how they are normalized" in capsys.readouterr().err


def test_compare_gives_a_verdict_in_words(texts, capsys):
    said, heard = texts
    assert run(["compare", heard, said, "--reference", said]) == 0
    assert "difference in cer" in capsys.readouterr().out
    assert run(["compare", heard, said, "--reference", said, "--metric", "wer", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["utterances"] == 3


def test_mcd_prints_the_promised_object_for_files_and_the_mean_for_folders(tmp_path, capsys):
    for name in ("a", "b"):
        for place in range(2):
            save_audio(tmp_path / name / f"{place}.wav", wave(seed=place + (name == "b")), 16000)
    assert run(["mcd", str(tmp_path / "a/0.wav"), str(tmp_path / "b/0.wav"), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    promised = {"mcd_db", "definition", "path_frames", "log_f0_rmse_cents", "voicing_error", "duration_ratio"}
    assert promised <= one.keys() and one["mcd_db"] > 0
    assert run(["mcd", str(tmp_path / "a"), str(tmp_path / "b"), "--json", "--workers", "1"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert both["pairs"] == 2 and both["rows"][0]["mcd_db"] == pytest.approx(one["mcd_db"])


def test_a_pair_that_cannot_be_measured_fails_the_command_after_the_others(tmp_path, capsys):
    for name in ("a", "b"):
        save_audio(tmp_path / name / "good.wav", wave(), 16000)
        save_audio(tmp_path / name / "silent.wav", wave(level=float(name == "a")), 16000)
    assert run(["mcd", str(tmp_path / "a"), str(tmp_path / "b"), "--workers", "1"]) == 2
    printed = capsys.readouterr()
    assert "good\t0.000 dB" in printed.out and "silent" in printed.err and "1 of 2 pairs" in printed.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["score", "{said}", "nowhere.txt"], "no file 'nowhere.txt'"),
        (["mcd", "nowhere.wav", "nowhere.wav"], "nowhere.wav: no such file"),
        (["compare", "{said}", "{said}"], "--reference"),
        (["compare", "{said}", "{said}", "--reference", "{said}", "--metric", "bleu"], "'bleu' is no measure"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line_with_status_2(texts, capsys, arguments, told):
    assert run([argument.format(said=texts[0]) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
