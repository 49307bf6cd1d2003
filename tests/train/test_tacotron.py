"""Tacotrons learn from texts and mels alone, are shown the diagonal only until they see it, and speak when trained."""

import numpy as np
import pytest
import torch

from malsori.corpus.folder import Corpus
from malsori.losses.sequence import guided_attention_loss
from malsori.models.saved import SavedModel, save_model
from malsori.train.tasks import Turn
from malsori.voice import load_voice

BOTH = pytest.mark.parametrize("name", ["tacotron-small", "tacotron2-small"])


@BOTH
def test_a_corpus_without_durations_trains_a_voice_that_speaks(small_run, name, monkeypatch) -> None:
    whole = Corpus.ground_truth
    needed = ("mel", "token_ids")
    monkeypatch.setattr(Corpus, "ground_truth", lambda self, cut: {key: whole(self, cut)[key] for key in needed})
    folder = small_run("run", name=name)
    voice = load_voice(str(folder), "griffin-lim")
    assert voice.speakers == ("kim",)
    spoken = voice.say("안녕하세요.")
    assert np.isfinite(spoken.wave).all() and spoken.seconds < 30
    assert spoken.alignment.phones[-1].end == pytest.approx(spoken.seconds, abs=0.02)


@BOTH
def test_validation_tells_the_mel_first_and_twice_alike(small_setup, name) -> None:
    setup = small_setup(name=name)
    task = setup.task.eval()
    batches = [task.example(), task.example()]
    measured = task.validate(batches)
    assert list(measured) == ["mel", "coarse_mel", "stop", "guided_attention", "off_diagonal"]
    assert task.validate(batches) == measured and 0 < measured["off_diagonal"] < 1


def test_guidance_fades_with_what_is_off_the_diagonal(small_setup) -> None:
    task = small_setup(name="tacotron-small").task.eval()
    batch = task.example()
    turn: Turn = next(task.losses(batch))
    output = task.network(batch.token_ids, batch.token_lengths, batch.speaker_ids, batch.mel, batch.frame_lengths)
    whole = guided_attention_loss(output.attention, output.step_lengths, batch.token_lengths)
    off = 1 - turn.signs["attention_diagonality"]
    torch.testing.assert_close(turn.losses["guided_attention"], whole * off)
    assert turn.losses["guided_attention"].requires_grad and not turn.signs["attention_diagonality"].requires_grad


def test_a_voice_of_one_speaker_can_start_one_of_several(small_setup, tmp_path) -> None:
    first = small_setup(name="tacotron2-small")
    network = first.task.product()
    assert network.speaker_embedding is None
    facts = first.facts.model_copy(update={"model": first.facts.model | {"speakers": 3}, "speakers": ("a", "b", "c")})
    network.speaker_embedding = torch.nn.Embedding(3, 12)
    save_model(SavedModel(facts, first.symbols, network), tmp_path / "many")
    second = small_setup(f"start_from={tmp_path}/many", name="tacotron2-small").task.product()
    assert torch.equal(second.decoder.stop.weight, network.decoder.stop.weight)
