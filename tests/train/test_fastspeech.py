"""FastSpeech learns from recordings or from a teacher, and says so when it can from neither."""

import numpy as np
import pytest
import torch

from malsori.corpus.batches import Example
from malsori.errors import ConfigError
from malsori.pretrained.folder import SavedModel, save_model
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES
from malsori.tts.acoustic import FastSpeech2Adapter
from malsori.tts.options import SayOptions
from malsori.tts.roles import SynthesisInput


@pytest.fixture(autouse=True)
def no_morphology(monkeypatch) -> None:
    """The analyser takes seconds to load, and the texts need none."""
    frontend = Frontend(morphology=False)
    monkeypatch.setattr("malsori.train.fastspeech.Frontend", lambda *_words: frontend)


@pytest.fixture
def teacher(small_setup, tmp_path) -> SavedModel:
    """A FastSpeech 2 of the planted corpus that has learnt nothing, in teacher/; its tokens last four frames or so."""
    setup = small_setup()
    network = setup.task.exported_model()
    network.adaptor.duration_predictor.project.bias.data.fill_(1.6)
    model = SavedModel(setup.facts, setup.symbols, network.eval())
    save_model(model, tmp_path / "teacher")
    return model


def example_of(setup, name: str) -> Example:
    cut = setup.cuts["train"][name]
    return Example(name, cut.supervisions[0].speaker, np.zeros(1), setup.corpus.ground_truth(cut))


def test_without_a_teacher_the_recording_is_imitated(small_setup) -> None:
    setup = small_setup(name="fastspeech-small")
    example = example_of(setup, "u1")
    batch = setup.collators["train"]([example], np.random.default_rng(0))
    assert np.array_equal(batch.mel[0], example.truth["mel"])
    assert np.array_equal(batch.durations[0], example.truth["durations"])
    assert set(next(setup.task.losses(batch)).losses) == {"mel", "duration"}


def test_with_a_teacher_its_mel_and_its_durations_are(small_setup, teacher, tmp_path) -> None:
    setup = small_setup(f"teacher={tmp_path}/teacher", name="fastspeech-small")
    example = example_of(setup, "u1")
    batch = setup.collators["train"]([example], np.random.default_rng(0))
    phonemes = tuple(PHONEMES.decode(example.truth["token_ids"].tolist()))
    taught = FastSpeech2Adapter(teacher).synthesize(SynthesisInput(phonemes, ""), SayOptions())
    assert np.array_equal(batch.mel[0], taught.mel) and np.array_equal(batch.durations[0], taught.durations)
    assert not np.array_equal(batch.durations[0], example.truth["durations"])
    assert set(setup.collators["dev"].targets) == {*setup.cuts["train"], *setup.cuts["dev"]}


def test_the_attention_of_a_teacher_that_reads_step_by_step_gives_the_durations(small_setup, tmp_path) -> None:
    setup = small_setup(name="tacotron2-small")
    save_model(SavedModel(setup.facts, setup.symbols, setup.task.exported_model().eval()), tmp_path / "teacher")
    student = small_setup(f"teacher={tmp_path}/teacher", name="fastspeech-small")
    batch = student.collators["train"]([example_of(student, "u0"), example_of(student, "u3")], np.random.default_rng(0))
    assert batch.durations.sum(1).tolist() == batch.frame_lengths.tolist()
    assert batch.durations.shape == batch.token_ids.shape and batch.mel.shape[1] == batch.frame_lengths.max() > 0
    assert torch.isfinite(next(student.task.losses(batch)).losses["mel"])


def test_a_teacher_needs_no_durations_of_the_corpus(small_setup, teacher, tmp_path, monkeypatch) -> None:
    from malsori.corpus.folder import Corpus

    whole = Corpus.ground_truth
    monkeypatch.setattr(
        Corpus, "ground_truth", lambda self, cut: {k: v for k, v in whole(self, cut).items() if k != "durations"}
    )
    monkeypatch.setattr("malsori.corpus.folder.has_durations", lambda _path: False)
    setup = small_setup(f"teacher={tmp_path}/teacher", name="fastspeech-small")
    assert setup.collators["train"]([example_of(setup, "u2")], np.random.default_rng(0)).durations.sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speakers": ("lee",), "statistics": {}}, "the teacher has no speaker 'kim'; it has: lee"),
        ({"audio": {"max_hz": 7600.0}}, r"audio.max_hz is 7600.0 in the teacher and 8000.0"),
    ],
)
def test_a_teacher_of_other_voices_or_mels_is_refused(small_setup, teacher, tmp_path, change, message) -> None:
    audio = teacher.facts.audio.model_copy(update=change.pop("audio", {}))
    facts = teacher.facts.model_copy(update={**change, "audio": audio, "audio_fingerprint": audio.fingerprint()})
    save_model(SavedModel(facts, teacher.symbols, teacher.network), tmp_path / "other")
    with pytest.raises(ConfigError, match=message):
        small_setup(f"teacher={tmp_path}/other", name="fastspeech-small")


def test_a_distilled_model_trains_saves_and_speaks(small_run, teacher, tmp_path) -> None:
    from malsori.tts.voice import load_voice

    folder = small_run("student", f"teacher={tmp_path}/teacher", name="fastspeech-small")
    voice = load_voice(str(folder), "griffin-lim")
    assert voice.acoustic.facts.system == "fastspeech" and voice.speakers == ("kim",)
    voice.acoustic.network.duration_predictor.project.bias.data.fill_(2.0)
    spoken = voice.say("안녕")
    assert (
        spoken.seconds > 0.1 and np.isfinite(spoken.wave).all() and torch.isfinite(torch.from_numpy(spoken.mel)).all()
    )
