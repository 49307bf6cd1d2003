"""A recipe bound to a corpus: what must agree, what a run starts from, and what its model will say of itself."""

import pytest
import torch

from malsori.corpus.folder import load_corpus
from malsori.errors import ConfigError, ModelError
from malsori.pretrained.folder import SavedModel, save_model
from malsori.train.recipe import read_recipe
from malsori.train.setup import TrainingSetup
from malsori.train.systems import parse_recipe, set_up


def bound(corpus, recipe: str, *settings: str) -> TrainingSetup:
    return set_up(parse_recipe(read_recipe(recipe, list(settings)), recipe), load_corpus(corpus))


SMALL = (
    "model.hidden_size=16",
    "model.num_layers=1",
    "discriminator.periods=[2]",
    "discriminator.width=0.03",
    "multi_resolution_discriminator.fft_samples=[512]",
)

NARROW = ("discriminator.periods=[2]", "discriminator.width=0.03", "discriminator.scales=0")


def test_a_vocoder_that_makes_other_samples_a_frame_than_the_audio_is_refused(planted_corpus):
    with pytest.raises(ConfigError, match=r"128 samples a frame, audio.hop_samples is 256"):
        bound(planted_corpus, "vocos-small", *SMALL, "model.hop_samples=128")
    with pytest.raises(ConfigError, match=r"128 samples a frame, audio.hop_samples is 256"):
        bound(planted_corpus, "hifigan-v2", *NARROW, "model.upsample_rates=[8,8,2,1]", "model.channels=16")


def test_audio_settings_that_are_not_the_corpus_s_are_named_with_both_values(planted_corpus):
    with pytest.raises(ConfigError, match=r"audio.max_hz is 7600.0 in the recipe and 8000.0"):
        bound(planted_corpus, "vocos-small", *SMALL, "audio.max_hz=7600.0")


def test_a_run_can_start_from_a_saved_model_of_other_speakers(planted_corpus, tmp_path):
    sizes = ("model.hidden_size=16", "model.ffn_size=16", "model.predictor_hidden_size=8", "model.num_heads=1")
    first = bound(planted_corpus, "fastspeech2-small", *sizes, "seed=5")
    model = first.facts.model | {"speakers": 3}
    facts = first.facts.model_copy(update={"speakers": ("a", "b", "c"), "model": model, "statistics": {}})
    network = first.task.exported_model()
    network.speaker_embedding = torch.nn.Embedding(3, 16)
    save_model(SavedModel(facts, first.symbols, network), tmp_path / "model")
    second = bound(planted_corpus, "fastspeech2-small", *sizes, f"start_from={tmp_path}/model").task.exported_model()
    own, given = second.state_dict(), network.state_dict()
    assert own["speaker_embedding.weight"].shape[0] == len(set(first.facts.statistics))
    for name in own.keys() - {"speaker_embedding.weight"}:
        assert torch.equal(own[name], given[name]), name


def test_a_start_that_has_learnt_another_tracker_s_pitch_is_told(planted_corpus, tmp_path, caplog):
    sizes = ("model.hidden_size=16", "model.ffn_size=16", "model.predictor_hidden_size=8", "model.num_heads=1")
    first = bound(planted_corpus, "fastspeech2-small", *sizes)
    of_corpus = load_corpus(planted_corpus).pitch_tracker
    assert first.facts.trained["pitch_tracker"] == of_corpus
    for tracker in (of_corpus, "another"):
        facts = first.facts.model_copy(update={"trained": {"pitch_tracker": tracker}})
        save_model(SavedModel(facts, first.symbols, first.task.exported_model()), tmp_path / tracker)
    bound(planted_corpus, "fastspeech2-small", *sizes, f"start_from={tmp_path}/{of_corpus}")
    assert not caplog.records
    bound(planted_corpus, "fastspeech2-small", *sizes, f"start_from={tmp_path}/another")
    assert f"pitch found by 'another', {planted_corpus} holds that of '{of_corpus}'" in caplog.text


def test_a_start_of_other_sizes_is_refused_by_the_first_weight_that_does_not_fit(planted_corpus, tmp_path):
    other = bound(planted_corpus, "vocos-small", *SMALL)
    save_model(SavedModel(other.facts, {}, other.task.exported_model()), tmp_path / "model")
    with pytest.raises(ModelError, match="weight"):
        bound(planted_corpus, "vocos-small", *SMALL, "model.hidden_size=8", f"start_from={tmp_path}/model")


def test_the_license_of_the_recordings_goes_into_the_model(planted_corpus):
    assert bound(planted_corpus, "vocos-small", *SMALL, "license=CC BY 4.0").facts.license == "CC BY 4.0"


def test_a_run_can_start_from_a_public_checkpoint(planted_corpus, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.SpeechT5HifiGanConfig(
        upsample_initial_channel=16, upsample_rates=[16, 16], upsample_kernel_sizes=[32, 32], normalize_before=False
    )
    theirs = transformers.SpeechT5HifiGan(config)
    theirs.save_pretrained(tmp_path)
    sizes = ("model.channels=16", "model.upsample_rates=[16,16]", "model.upsample_kernel_sizes=[32,32]")
    network = bound(planted_corpus, "hifigan-v2", *NARROW, *sizes, f"start_from={tmp_path}").task.exported_model()
    torch.testing.assert_close(network.conv_in.weight, theirs.conv_pre.weight)
    torch.testing.assert_close(network.blocks[5].chains[2][3].weight, theirs.resblocks[5].convs2[2].weight)
