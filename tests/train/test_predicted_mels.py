"""A vocoder learns from a voice's mels of the recordings, frame by frame, and says so where it cannot."""

import logging

import numpy as np
import pytest

from malsori.config import AudioConfig
from malsori.corpus.batches import Example, SegmentCollator
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError, CorpusError
from malsori.pretrained.folder import SavedModel, read_model_facts, save_model


@pytest.fixture
def voice(small_setup, tmp_path) -> SavedModel:
    """A FastSpeech 2 of the planted corpus that has learnt nothing, in voice/."""
    setup = small_setup()
    model = SavedModel(setup.facts, setup.symbols, setup.task.exported_model().eval())
    save_model(model, tmp_path / "voice")
    return model


def pieces(share: float, count: int = 200) -> np.ndarray:
    """Which of many pieces have the predicted mel (all ones), which the recording's (zeros)."""
    truth = {"mel": np.zeros((8, 80), dtype=np.float32), "pitch_hz": np.zeros(8, dtype=np.float32)}
    example = Example("u", "kim", np.zeros(8 * 256, dtype=np.float32), truth)
    collate = SegmentCollator(AudioConfig(), 8, {"u": np.ones((8, 80), dtype=np.float32)}, share)
    return collate([example] * count, np.random.default_rng(0)).mel.numpy().mean((1, 2))


def test_predicted_mels_lie_frame_by_frame_beside_the_recordings_wave(small_setup, voice, tmp_path, caplog) -> None:
    with caplog.at_level(logging.INFO, "malsori"):
        setup = small_setup(f"mels_from={tmp_path}/voice", name="vocos-small")
    assert f"{tmp_path}/voice predicts the mels of {sum(map(len, setup.cuts.values()))} utterances" in caplog.text
    for split, cuts in setup.cuts.items():
        for name, cut in cuts.items():
            predicted, truth = setup.collators[split].predicted[name], setup.corpus.ground_truth(cut)
            assert predicted.shape == truth["mel"].shape and not np.allclose(predicted, truth["mel"], atol=0.1)


def test_the_recordings_own_pitch_and_energy_go_into_them(small_setup, voice, tmp_path, monkeypatch) -> None:
    def mel_of(setup) -> np.ndarray:
        return setup.collators["train"].predicted["u1"]

    before = mel_of(small_setup(f"mels_from={tmp_path}/voice", name="vocos-small"))
    read = Corpus.ground_truth
    for key in ("pitch_hz", "energy"):
        monkeypatch.setattr(
            Corpus, "ground_truth", lambda at, cut, key=key: read(at, cut) | {key: read(at, cut)[key] * 2}
        )
        assert not np.array_equal(mel_of(small_setup(f"mels_from={tmp_path}/voice", name="vocos-small")), before)


def test_the_share_says_how_many_pieces_are_predicted() -> None:
    assert (pieces(1.0) == 1).all()
    assert 0.15 < pieces(0.25).mean() < 0.35 and set(pieces(0.25)) == {0.0, 1.0}


def test_a_vocoder_on_predicted_mels_trains_and_resumes(small_run, voice, tmp_path) -> None:
    wanted = (f"mels_from={tmp_path}/voice", "predicted_share=0.5")
    run = small_run("vocoder", *wanted, "train.steps=4", name="vocos-small")
    small_run("vocoder", *wanted, "train.steps=6", name="vocos-small", resume=True, accept_changes=True)
    assert read_model_facts(run / "model").system == "vocos"


def test_what_cannot_be_predicted_is_refused(small_setup, voice, tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"mels_from: conformer-ko is a conformer; a fastspeech2 predicts"):
        small_setup("mels_from=conformer-ko", name="vocos-small")
    with pytest.raises(ConfigError, match=r"predicted_share.*mels_from"):
        small_setup("predicted_share=0.5", name="vocos-small")
    with pytest.raises(ConfigError, match="mels_from"):
        small_setup(f"mels_from={tmp_path}/voice", name="fastspeech2-small")
    stranger = voice.facts.model_copy(
        update={"speakers": ("lee",), "statistics": {"lee": voice.facts.statistics["kim"]}}
    )
    save_model(SavedModel(stranger, voice.symbols, voice.network), tmp_path / "stranger")
    with pytest.raises(
        ConfigError, match=r"has no speaker 'kim'; train on its own alone: --set 'data.speakers=.\"lee\""
    ):
        small_setup(f"mels_from={tmp_path}/stranger", name="vocos-small")
    monkeypatch.setattr("malsori.corpus.folder.has_durations", lambda _path: False)
    with pytest.raises(CorpusError, match=r"no durations yet. Run 'malsori corpus prepare'"):
        small_setup(f"mels_from={tmp_path}/voice", name="vocos-small")
