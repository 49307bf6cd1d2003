"""VITS in training: what it is given, what is left out, what its losses see, and that it learns and speaks."""

import numpy as np
import pytest
import torch

from malsori.audio.mel import spectrogram
from malsori.corpus.batches import load_example
from malsori.corpus.folder import add_ground_truth, load_corpus, read_ground_truth, write_ground_truth
from malsori.errors import ConfigError, CorpusError
from malsori.text.frontend import Frontend
from malsori.train.recipe import read_recipe
from malsori.train.systems import build_task, parse_recipe
from malsori.tts.spelling import with_blanks
from malsori.tts.voice import load_voice


def batch_of(setup, split: str, names: list[str]):
    examples = [load_example(setup.corpus, setup.cuts[split][name]) for name in names]
    return setup.collators[split](examples, np.random.default_rng(0))


def test_a_batch_holds_tokens_between_blanks_and_each_waves_own_spectrogram(small_setup) -> None:
    setup = small_setup(name="vits-small")
    batch = batch_of(setup, "train", ["u0", "u1"])
    truth = [setup.corpus.ground_truth(setup.cuts["train"][name]) for name in ("u0", "u1")]
    for row, one in enumerate(truth):
        count, frames = int(batch.token_lengths[row]), int(batch.frame_lengths[row])
        assert batch.token_ids[row, :count].tolist() == with_blanks(one["token_ids"].tolist())
        assert frames == len(one["mel"])
        alone = spectrogram(batch.wave[row : row + 1, : frames * 256], setup.recipe.audio)[0]
        torch.testing.assert_close(batch.spectrogram[row, :frames], alone)
        assert batch.voiced[row, :frames].tolist() == (one["pitch_hz"] > 0).tolist()
        where = one["pitch_hz"] > 0
        np.testing.assert_allclose(batch.log_pitch[row, :frames][where].exp(), one["pitch_hz"][where], rtol=1e-5)
        assert not batch.voiced[row, frames:].any()
    assert batch.wave.shape[1] == batch.spectrogram.shape[1] * 256


def test_texts_are_read_where_nothing_is_aligned_and_what_is_too_short_is_told(small_setup, planted_corpus) -> None:
    corpus = load_corpus(planted_corpus)
    whole = small_setup(name="vits-small")
    assert whole.skipped == {} and whole.collators["train"].tokens.keys() >= whole.cuts["train"].keys()
    path = corpus.ground_truth_path(next(iter(corpus.cuts["train"])))
    kept = path.read_bytes()
    try:
        truth = read_ground_truth(path)
        path.unlink()
        write_ground_truth(path, {name: truth[name] for name in ("mel", "pitch_hz", "energy")}, "planted")
        read = small_setup(name="vits-small")
        frontend = Frontend(morphology=False)
        wanted = frontend.ids(frontend.read("안녕하세요"))
        assert read.collators["train"].tokens["u0"] == with_blanks(wanted)
        add_ground_truth(path, {"token_ids": np.ones(60, np.int32)})
        short = small_setup(name="vits-small")
        assert short.skipped == {"too short for its tokens": ["u0"]} and "u0" not in short.cuts["train"]
    finally:
        path.write_bytes(kept)
    with pytest.raises(CorpusError, match=r"nothing to learn from: shorter than data.segment_frames"):
        small_setup("data.segment_frames=500", name="vits-small")


def test_sizes_that_do_not_fit_the_audio_are_refused(small_setup) -> None:
    with pytest.raises(ConfigError, match="128 samples a frame"):
        small_setup("model.decoder.upsample_rates=[8,8,2]", name="vits-small")
    with pytest.raises(ConfigError, match=r"model\.spectrogram_bins is 257"):
        small_setup("model.spectrogram_bins=257", name="vits-small")
    with pytest.raises(ConfigError, match=r"model\.decoder\.excitation\.sample_rate is 16000, audio.sample_rate 22050"):
        small_setup("model.decoder.excitation.sample_rate=16000", name="vits-small")


def test_the_piece_that_is_judged_is_cut_from_the_recording_where_it_was_decoded(small_setup) -> None:
    setup = small_setup(name="vits-small")
    task, batch = setup.task, batch_of(setup, "train", ["u0", "u1", "u3"])
    heard = []
    task.discriminators.forward = lambda wave: heard.append(wave) or 1 / 0
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            next(task.losses(batch))
    for real in heard:
        for row, length in enumerate(batch.frame_lengths.tolist()):
            starts = range(0, (length - 16 + 1) * 256, 256)
            assert any(torch.equal(real[row], batch.wave[row, start : start + 16 * 256]) for start in starts)
    assert len({float(real[0].sum()) for real in heard}) > 5


def test_the_decoder_is_given_the_pitch_of_the_piece_that_it_decodes(small_setup, monkeypatch) -> None:
    setup = small_setup(name="vits-small")
    task, batch = setup.task, batch_of(setup, "train", ["u0", "u1", "u3"])
    excitation, given = task.network.decoder.excitation, []
    kept = excitation.given
    monkeypatch.setattr(excitation, "given", lambda *pitch: given.append(pitch) or kept(*pitch))
    shares = torch.tensor([0.0, 0.4, 0.999])
    monkeypatch.setattr(torch, "rand", lambda *size, **where: shares)
    losses = list(task.losses(batch))[1].losses
    starts = (shares * (batch.frame_lengths - 16 + 1)).long()
    for row, start in enumerate(starts.tolist()):
        assert torch.equal(given[0][0][row], batch.log_pitch[row, start : start + 16])
        assert torch.equal(given[0][1][row], batch.voiced[row, start : start + 16])
    assert {"pitch", "voicing"} <= losses.keys()


def test_spectra_are_compared_where_the_recipe_wants_it(small_setup) -> None:
    task = small_setup(name="vits-small").task
    wanted = task.losses(task.example())
    assert "stft" in list(wanted)[1].losses
    task.spectra = False
    assert "stft" not in list(task.losses(task.example()))[1].losses


def test_every_weight_is_reached_by_its_turn_and_by_no_other(small_setup) -> None:
    task = small_setup(name="vits-small").task
    for turn in task.losses(task.example()):
        task.zero_grad()
        torch.stack(list(turn.losses.values())).sum().backward()
        for name, part in task.optimized_modules().items():
            reached = [weight.grad is not None and bool(weight.grad.any()) for weight in part.parameters()]
            assert all(reached) if name == turn.name else not any(reached)


def test_the_papers_recipe_has_the_papers_losses_and_sizes() -> None:
    recipe = parse_recipe(read_recipe("vits"), "vits")
    with torch.device("meta"):
        task = build_task(recipe)
    assert recipe.weights["generator"] == {
        "mel": 45.0,
        "kl": 1.0,
        "duration": 1.0,
        "adversarial": 1.0,
        "feature_matching": 2.0,
    }
    assert len(task.discriminators.periods) == 5 and len(task.discriminators.scales) == 1


def test_a_batch_is_learnt_and_validation_says_so_the_same_way_twice(small_setup) -> None:
    setup = small_setup("model.decoder.channels=32", name="vits-small")
    task, batch = setup.task, batch_of(setup, "dev", ["u6", "u7"])
    before = task.eval().validate([batch])
    assert before == task.validate([batch])
    assert list(before) == ["mel", "mel_from_text", "kl", "duration"]
    optimizer = torch.optim.Adam(task.network.parameters(), lr=3e-3)
    weights = setup.recipe.weights["generator"]
    task.train()
    for step in range(100):
        torch.manual_seed(step)
        turn = list(task.losses(batch))[1]
        optimizer.zero_grad()
        torch.stack([loss * weights[name] for name, loss in turn.losses.items()]).sum().backward()
        optimizer.step()
    after = task.eval().validate([batch])
    assert after["mel"] < 0.5 * before["mel"] and after["mel_from_text"] < 0.6 * before["mel_from_text"]
    assert after["kl"] < 0.5 * before["kl"] and after["duration"] < before["duration"]


def test_the_model_of_a_run_speaks(small_run) -> None:
    speech = load_voice(str(small_run("run", name="vits-small"))).say("안녕하세요")
    assert len(speech.wave) == 256 * len(speech.mel) and np.isfinite(speech.wave).all()
