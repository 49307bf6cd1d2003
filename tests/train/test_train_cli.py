"""`malsori train` from a prepared corpus to a model, and what it says on the way."""

import logging
import re

import torch

from malsori.cli import run as command
from malsori.corpus.folder import load_corpus
from malsori.pretrained.folder import open_model

SETTINGS = (
    "model.hidden_size=16", "model.num_layers=1", "discriminator.periods=[2]",
    "multi_resolution_discriminator.fft_samples=[512]", "discriminator.width=0.03",
    "multi_resolution_discriminator.channels=4", "data.segment_frames=16", "data.batch_size=2", "data.workers=0",
    "train.steps=2", "train.log_every=1",
    "train.save_every=1",
)  # fmt: skip


def train(planted_corpus, out, *more):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return command(["train", "vocos-small", "--corpus", str(planted_corpus), "--out", str(out), *settings, *more])


def test_train_says_what_it_learns_from_where_the_model_went_and_what_to_type_next(
    planted_corpus, tmp_path, capsys, caplog
):
    caplog.set_level(logging.INFO, "malsori")
    out = tmp_path / "run"
    assert train(planted_corpus, out) == 0
    told = capsys.readouterr().out
    assert f"The best model lies in {out / 'model'}" in told and f"malsori evaluate {out}" in told
    assert f'malsori say "안녕하세요." --vocoder {out} -o hello.wav' in told
    assert "vocos, planted, train: 6 utterances" in caplog.text and "step 2/2" in caplog.text
    assert re.search(r"step 1/2 .*0:00:\d\d left", caplog.text)
    assert open_model(out / "model").facts.trained["steps"] == 2
    assert train(planted_corpus, out) == 2 and "--resume" in capsys.readouterr().err
    assert train(planted_corpus, out, "--resume", "--set", "train.steps=3") == 2
    assert "train.steps (2 → 3)" in capsys.readouterr().err
    assert train(planted_corpus, out, "--resume", "--accept-changes", "--set", "train.steps=3") == 0
    capsys.readouterr()
    other = ["train", "hifigan-small", "--corpus", str(planted_corpus), "--out", str(out), "--resume"]
    assert command([*other, "--accept-changes"]) == 2
    assert "holds a run of a vocos, and the recipe is of a hifigan" in capsys.readouterr().err


def test_what_is_left_out_for_its_length_is_counted_and_told(planted_corpus, tmp_path, caplog):
    caplog.set_level(logging.INFO, "malsori")
    lengths = sorted(cut.duration for cut in load_corpus(planted_corpus).cuts["train"])
    assert train(planted_corpus, tmp_path / "run", "--set", f"data.max_seconds={lengths[-2]}") == 0
    assert re.search(r"skipped, longer than data.max_seconds=.*: \d", caplog.text)


def test_a_device_that_is_not_there_is_refused_before_the_run_begins(planted_corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train(planted_corpus, tmp_path / "run", "--device", "cuda") == 2
    assert "device 'cuda': this machine" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_slip_on_the_command_line_is_named(planted_corpus, tmp_path, capsys):
    assert train(planted_corpus, tmp_path / "run", "--set", "train.stepz=5") == 2
    assert "train.stepz" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_encoder_which_nothing_can_measure_yet_is_not_sent_to_be_evaluated(planted_corpus, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "wav2vec2-pretrain-small", "--corpus", str(planted_corpus), "--out", str(out)]
    assert command([*words, "--set", "train.steps=1", "--set", "data.batch_seconds=3"]) == 0
    told = capsys.readouterr().out
    assert f"Next: malsori runs {out}" in told and "malsori evaluate" not in told
