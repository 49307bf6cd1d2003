"""Tacotrons learn from texts and mels alone, are shown the diagonal only until they see it, and speak when trained."""

import numpy as np
import pytest
import torch

from malsori.corpus.folder import Corpus
from malsori.errors import CorpusError
from malsori.losses.sequence import guided_attention_loss
from malsori.models.tacotron import TacotronOutput
from malsori.pretrained.folder import SavedModel, save_model
from malsori.train.tasks import Turn
from malsori.tts.voice import load_voice

BOTH = pytest.mark.parametrize("name", ["tacotron-small", "tacotron2-small"])


@BOTH
def test_a_corpus_without_durations_trains_a_voice_that_speaks(small_run, name, monkeypatch) -> None:
    whole = Corpus.ground_truth
    needed = ("mel", "token_ids")
    monkeypatch.setattr(Corpus, "ground_truth", lambda self, cut: {key: whole(self, cut)[key] for key in needed})
    monkeypatch.setattr("malsori.corpus.folder.has_durations", lambda _path: False)
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
    off = 1 - turn.diagnostics["attention_diagonality"]
    torch.testing.assert_close(turn.losses["guided_attention"], whole * off)
    assert turn.losses["guided_attention"].requires_grad and not turn.diagnostics["attention_diagonality"].requires_grad


def test_durations_guide_attention_along_their_path(small_setup) -> None:
    task = small_setup("guide=durations", "model.reduction=2", name="tacotron-small").task.eval()
    batch = task.example()
    steps = -(-batch.frame_lengths // 2)
    on_path = torch.full((2, int(steps.max()), 8), -30.0)
    for row, durations in zip(on_path, batch.durations, strict=True):
        heard = torch.arange(8).repeat_interleave(durations)
        for step in range(-(-len(heard) // 2)):
            row[step, heard[min(2 * step + 1, len(heard) - 1)]] = 0.0
    empty = torch.zeros(2, 1, 80)
    for shift, low, high in ((0, 0.0, 1e-3), (1, 0.0, 5.0), (4, 10.0, 20.0)):
        attention = on_path.roll(shift, dims=2).softmax(-1)
        output = TacotronOutput(empty, empty, attention[..., 0], attention, batch.frame_lengths, steps)
        assert low <= task._guided(output, batch).item() <= high


def test_durations_that_are_not_there_cannot_guide(small_setup, monkeypatch) -> None:
    monkeypatch.setattr("malsori.corpus.folder.has_durations", lambda path: not path.stem.endswith("7"))
    with pytest.raises(CorpusError, match="not all has durations"):
        small_setup("guide=durations", name="tacotron2-small")


def test_a_voice_of_one_speaker_can_start_one_of_several(small_setup, tmp_path) -> None:
    first = small_setup(name="tacotron2-small")
    network = first.task.exported_model()
    assert network.speaker_embedding is None
    facts = first.facts.model_copy(update={"model": first.facts.model | {"speakers": 3}, "speakers": ("a", "b", "c")})
    network.speaker_embedding = torch.nn.Embedding(3, 12)
    save_model(SavedModel(facts, first.symbols, network), tmp_path / "many")
    second = small_setup(f"start_from={tmp_path}/many", name="tacotron2-small").task.exported_model()
    assert torch.equal(second.decoder.stop.weight, network.decoder.stop.weight)
