"""A planted corpus, and small runs on it."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from malsori.corpus.folder import load_corpus
from malsori.text.frontend import Frontend
from malsori.train.loop import RunOptions, train
from malsori.train.recipe import read_recipe
from malsori.train.setup import TrainingSetup
from malsori.train.systems import parse_recipe, set_up

TINY = {
    "vocos-small": (
        "model.hidden_size=16", "model.num_layers=1", "model.excitation.hidden_size=8", "model.excitation.num_layers=1",
        "discriminator.periods=[2,3]",
        "multi_resolution_discriminator.fft_samples=[512]",
        "multi_resolution_discriminator.channels=4", "discriminator.width=0.03", "data.segment_frames=16",
    ),
    "fastspeech-small": (
        "model.hidden_size=16", "model.ffn_size=16", "model.predictor_hidden_size=8", "model.num_encoder_layers=1",
        "model.num_decoder_layers=1", "model.num_heads=1",
    ),
    "fastspeech2-small": (
        "model.hidden_size=16", "model.ffn_size=16", "model.predictor_hidden_size=8", "model.num_encoder_layers=1",
        "model.num_decoder_layers=1", "model.num_heads=1",
    ),
    "fastspeech2-finetune-small": (
        "model.hidden_size=16", "model.ffn_size=16", "model.predictor_hidden_size=8", "model.num_encoder_layers=1",
        "model.num_decoder_layers=1", "model.num_heads=1", "discriminator.channels=2", "texts_batch_size=1",
    ),
    **dict.fromkeys(
        ("wav2vec2-small", "wav2vec2-pretrain-small"),
        ("model.conv_channels=[8,8,8,8,8,8,8]", "model.conv_kernel_sizes=[10,3,3,3,3,2,2]",
         "model.conv_strides=[5,2,2,2,2,2,2]",
         "model.hidden_size=16", "model.ffn_size=16", "model.num_layers=1",
         "model.num_heads=2", "model.position_kernel_size=4", "model.position_groups=2"),
    ),
    "tacotron-small": (
        "model.embedding_size=12", "model.prenet_sizes=[12,8]", "model.hidden_size=8", "model.num_encoder_banks=2",
        "model.num_postnet_banks=2", "model.postnet_hidden_size=8", "model.num_highway_layers=1",
        "model.decoder_rnn_size=12",
    ),
    "tacotron2-small": (
        "model.hidden_size=12", "model.decoder_rnn_size=12", "model.attention_size=8", "model.location_filters=2",
        "model.prenet_sizes=[12,8]", "model.postnet_hidden_size=8", "model.num_postnet_layers=2",
    ),
    "vits-small": (
        "model.hidden_size=8", "model.latent_channels=4", "model.num_encoder_layers=1", "model.ffn_size=8",
        "model.num_posterior_layers=1", "model.num_flows=2", "model.num_flow_layers=1", "model.durations.num_flows=2",
        "model.decoder.mel_channels=4", "model.decoder.channels=16", "discriminator.periods=[2,3]",
        "model.decoder.excitation.hidden_size=8", "model.decoder.excitation.num_layers=1",
        "discriminator.width=0.03",
        "data.segment_frames=16",
    ),
    "conformer-small": ("model.hidden_size=16", "model.num_layers=2", "model.phoneme_ctc_layer=1",
    "model.subsampling_channels=4"),
}  # fmt: skip
SHORT = (
    "train.steps=6", "train.log_every=2", "train.contributions_every=3", "train.validate_every=3", "train.save_every=2",
    "train.samples=0", "data.batch_size=2", "data.batch_seconds=3.0", "data.workers=0",
)  # fmt: skip


@pytest.fixture(scope="session")
def planted_corpus(tmp_path_factory) -> Path:
    """The folder of a corpus of eight buzzing sentences."""
    path = Path(__file__).parent / "planted.py"
    spec = importlib.util.spec_from_file_location("planted", path)
    planted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planted)
    return planted.plant_corpus(tmp_path_factory.mktemp("planted") / "corpus")


@pytest.fixture
def small_setup(planted_corpus, monkeypatch) -> Callable[..., TrainingSetup]:
    """A function that binds a recipe, made tiny and short, to the planted corpus."""

    frontend = Frontend(morphology=False)  # the analyser takes seconds to load, and the texts need none
    for family in ("conformer", "fastspeech2", "wav2vec2"):
        monkeypatch.setattr(f"malsori.train.{family}.Frontend", lambda *_words: frontend)

    def make(*overrides: str, name: str = "fastspeech2-small") -> TrainingSetup:
        values = read_recipe(name, [*TINY[name], *SHORT, *overrides])
        return set_up(parse_recipe(values, name), load_corpus(planted_corpus))

    return make


@pytest.fixture
def small_run(small_setup, tmp_path) -> Callable[..., Path]:
    """A function that trains a tiny recipe into a folder and returns it."""

    def run(folder: str, *overrides: str, resume: bool = False, name: str = "fastspeech2-small", **options) -> Path:
        torch.set_num_threads(1)
        train(small_setup(*overrides, name=name), RunOptions(out=tmp_path / folder, resume=resume, **options))
        return tmp_path / folder

    return run
