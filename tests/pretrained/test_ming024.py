"""ming024's FastSpeech 2: the same mels as its equations, worked out here with plain functions under its own names."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from malsori import cli, load_model
from malsori.errors import ModelError
from malsori.models.fastspeech2 import FastSpeech2Config
from malsori.pretrained.external import import_external

from ..models.harness import CHECKS, Subject
from ..models.subjects import FASTSPEECH2

SIZES = {"features": 24, "filter": 36, "kernel": 9, "predictor": 20, "bins": 32, "mel": 10, "vocab": 15, "postnet": 16}
LAYERS = {"encoder": 2, "decoder": 3}


def theirs(speakers: int = 0) -> dict[str, Tensor]:
    """Random tensors under ming024's names: model/fastspeech2.py, model/modules.py, transformer/."""
    random = torch.Generator().manual_seed(0)
    features, predictor, weights = SIZES["features"], SIZES["predictor"], {}

    def put(name: str, *shape: int, scale: float = 1.0) -> None:
        weights[name] = scale * torch.randn(shape, generator=random) / math.sqrt(math.prod(shape[1:]) or 1)

    def layer(name: str, *shape: int) -> None:
        put(f"{name}.weight", *shape)
        put(f"{name}.bias", shape[0], scale=0.1)

    def norm(name: str, width: int) -> None:
        weights[f"{name}.weight"] = 1 + 0.1 * torch.randn(width, generator=random)
        put(f"{name}.bias", width, scale=0.1)

    put("encoder.src_word_emb.weight", SIZES["vocab"], features, scale=3.0)
    for side, count in LAYERS.items():
        weights[f"{side}.position_enc"] = table(1001, features)[None]
        for place in range(count):
            block = f"{side}.layer_stack.{place}"
            for part in ("w_qs", "w_ks", "w_vs", "fc"):
                layer(f"{block}.slf_attn.{part}", features, features)
            norm(f"{block}.slf_attn.layer_norm", features)
            layer(f"{block}.pos_ffn.w_1", SIZES["filter"], features, SIZES["kernel"])
            layer(f"{block}.pos_ffn.w_2", features, SIZES["filter"], 1)
            norm(f"{block}.pos_ffn.layer_norm", features)
    for kind in ("duration", "pitch", "energy"):
        stack = f"variance_adaptor.{kind}_predictor"
        layer(f"{stack}.conv_layer.conv1d_1.conv", predictor, features, 3)
        norm(f"{stack}.conv_layer.layer_norm_1", predictor)
        layer(f"{stack}.conv_layer.conv1d_2.conv", predictor, predictor, 3)
        norm(f"{stack}.conv_layer.layer_norm_2", predictor)
        layer(f"{stack}.linear_layer", 1, predictor)
        if kind != "duration":
            put(f"variance_adaptor.{kind}_embedding.weight", SIZES["bins"], features, scale=3.0)
            weights[f"variance_adaptor.{kind}_bins"] = torch.linspace(-2, 3, SIZES["bins"] - 1)
    weights["variance_adaptor.duration_predictor.linear_layer.bias"] += 1.3
    layer("mel_linear", SIZES["mel"], features)
    widths = [SIZES["mel"], *[SIZES["postnet"]] * 4, SIZES["mel"]]
    for place, (before, after) in enumerate(pairwise(widths)):
        layer(f"postnet.convolutions.{place}.0.conv", after, before, 5)
        norm(f"postnet.convolutions.{place}.1", after)
        weights[f"postnet.convolutions.{place}.1.running_mean"] = 0.1 * torch.randn(after, generator=random)
        weights[f"postnet.convolutions.{place}.1.running_var"] = 1 + torch.rand(after, generator=random)
        weights[f"postnet.convolutions.{place}.1.num_batches_tracked"] = torch.tensor(7)
    if speakers:
        put("speaker_emb.weight", speakers, features, scale=3.0)
    return weights


def table(positions: int, features: int) -> Tensor:
    """Sines in the even columns, cosines in the odd ones."""
    column = torch.arange(features)
    angle = torch.arange(positions)[:, None] / 10000 ** (2 * (column // 2) / features)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


def spoken_by_their_equations(w: dict[str, Tensor], ids: Tensor, heads: int, speaker: int | None, level: str) -> dict:
    """One sentence (tokens,) → its durations, and its mel (frames, channels), with nothing given."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def convolved(name: str, x: Tensor) -> Tensor:
        kernel = w[f"{name}.weight"].shape[2]
        return F.conv1d(x.T[None], w[f"{name}.weight"], w[f"{name}.bias"], padding=(kernel - 1) // 2)[0].T

    def normed(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def blocks(side: str, x: Tensor) -> Tensor:
        x = x + w[f"{side}.position_enc"][0, : len(x)]
        for place in range(LAYERS[side]):
            a, f = f"{side}.layer_stack.{place}.slf_attn", f"{side}.layer_stack.{place}.pos_ffn"
            q, k, v = (
                linear(f"{a}.{part}", x).view(len(x), heads, -1).transpose(0, 1) for part in ("w_qs", "w_ks", "w_vs")
            )
            mixed = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1) @ v
            x = normed(f"{a}.layer_norm", linear(f"{a}.fc", mixed.transpose(0, 1).reshape(len(x), -1)) + x)
            x = normed(f"{f}.layer_norm", convolved(f"{f}.w_2", convolved(f"{f}.w_1", x).relu()) + x)
        return x

    def predicted(kind: str, x: Tensor) -> Tensor:
        c = f"variance_adaptor.{kind}_predictor.conv_layer"
        x = normed(f"{c}.layer_norm_1", convolved(f"{c}.conv1d_1.conv", x).relu())
        x = normed(f"{c}.layer_norm_2", convolved(f"{c}.conv1d_2.conv", x).relu())
        return linear(f"variance_adaptor.{kind}_predictor.linear_layer", x)[:, 0]

    x = blocks("encoder", w["encoder.src_word_emb.weight"][ids])
    if speaker is not None:
        x = x + w["speaker_emb.weight"][speaker]
    durations = (predicted("duration", x).exp() - 1).round().clamp(min=0).long()
    if level == "frame_level":
        x = x.repeat_interleave(durations, 0)
    for kind in ("pitch", "energy"):
        values = predicted(kind, x)
        x = (
            x
            + w[f"variance_adaptor.{kind}_embedding.weight"][
                torch.bucketize(values, w[f"variance_adaptor.{kind}_bins"])
            ]
        )
    if level == "phoneme_level":
        x = x.repeat_interleave(durations, 0)
    mel = linear("mel_linear", blocks("decoder", x))
    hidden = mel
    for place in range(5):
        p = f"postnet.convolutions.{place}"
        hidden = convolved(f"{p}.0.conv", hidden)
        mean, variance = w[f"{p}.1.running_mean"], w[f"{p}.1.running_var"]
        hidden = F.batch_norm(hidden, mean, variance, w[f"{p}.1.weight"], w[f"{p}.1.bias"])
        hidden = hidden.tanh() if place < 4 else hidden
    return {"durations": durations, "mel": mel + hidden}


def settings(**changes: Any) -> str:
    """model.yaml and preprocess.yaml of theirs in one, as far as they are read."""
    heads, level = changes.get("heads", 2), changes.get("level", "phoneme_level")
    pitch = changes.get("pitch", level)
    return f"""
transformer: {{encoder_layer: 2, decoder_layer: 3, encoder_head: {heads}, decoder_head: 2, encoder_ffn_size: 24,
  decoder_ffn_size: 24, conv_filter_size: 36, conv_kernel_size: [9, 1], encoder_dropout: 0.2, decoder_dropout: 0.2}}
variance_predictor: {{filter_size: 20, kernel_size: 3, dropout: 0.5}}
preprocessing:
  audio: {{sampling_rate: 22050, max_wav_value: 32768.0}}
  stft: {{filter_length: 1024, hop_length: 256, win_length: 1024}}
  mel: {{n_mel_channels: 10, mel_fmin: 0, mel_fmax: 8000}}
  pitch: {{feature: "{pitch}", normalization: True}}
  energy: {{feature: "{level}", normalization: True}}
"""


@pytest.fixture
def write(tmp_path: Path):
    """A function that writes a checkpoint and its settings, and returns both paths."""

    def make(weights: dict[str, Tensor], **changes: Any) -> tuple[Path, list[Path]]:
        rate = np.power(256, -0.5)  # theirs is a number of NumPy's, too
        torch.save({"model": weights, "optimizer": {"param_groups": [{"lr": rate}]}}, tmp_path / "9.pth.tar")
        (tmp_path / "all.yaml").write_text(settings(**changes), encoding="utf-8")
        return tmp_path / "9.pth.tar", [tmp_path / "all.yaml"]

    return make


@pytest.mark.parametrize(("speakers", "level"), [(0, "phoneme_level"), (3, "phoneme_level"), (0, "frame_level")])
def test_an_imported_model_speaks_as_its_equations_say(write, tmp_path: Path, speakers: int, level: str) -> None:
    weights = theirs(speakers)
    path, configs = write(weights, level=level)
    command = ["import", str(path), "--config", str(configs[0]), "-o", str(tmp_path / "ours")]
    assert cli.run(command) == 0
    network, ids = load_model(str(tmp_path / "ours")), torch.tensor([3, 1, 14, 9, 9, 2, 7])
    for speaker in range(max(1, speakers)):
        wanted = spoken_by_their_equations(weights, ids, 2, speaker if speakers else None, level)
        found = network.infer(ids[None], torch.tensor([7]), torch.tensor([speaker]))
        assert (
            found.durations[0].tolist() == wanted["durations"].tolist() and len(set(wanted["durations"].tolist())) > 2
        )
        torch.testing.assert_close(found.mel[0], wanted["mel"], atol=1e-5, rtol=1e-4)


def test_its_mel_is_that_of_tacotron_2(write) -> None:
    model = import_external(*write(theirs()))
    audio = model.facts.audio
    assert (audio.convention, audio.sample_rate, audio.hop_samples, audio.max_hz) == ("tacotron2", 22050, 256, 8000.0)
    assert model.facts.speakers == ("0",)


def test_a_file_from_the_days_of_numpy_1_is_opened(write) -> None:
    path, configs = write(theirs())
    content = torch.load(path, weights_only=False)
    torch.save(content, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert b"numpy.core" in old and b"numpy._core" not in old
    path.write_bytes(old)
    assert import_external(path, configs).facts.system == "fastspeech2"


def test_speakers_have_the_numbers_that_their_file_says(write) -> None:
    path, configs = write(theirs(speakers=3))
    for named, speakers in (({"b": 1, "c": 2, "a": 0}, ("a", "b", "c")), ({"a": 0}, ("0", "1", "2"))):
        (path.parent / "speakers.json").write_text(json.dumps(named))
        assert import_external(path, configs).facts.speakers == speakers


def test_it_does_not_pretend_to_read_korean(write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, configs = write(theirs())
    assert cli.run(["import", str(path), "--config", str(configs[0]), "-o", str(tmp_path / "ours")]) == 0
    said = ["say", "안녕", "--voice", str(tmp_path / "ours"), "--vocoder", "griffin-lim", "-o", str(tmp_path / "a.wav")]
    assert cli.run(said) == 2
    assert "reads 15 symbols of its makers, not malsori's phonemes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pitch": "frame_level"}, "pitch is frame_level and energy phoneme_level; .* for both is known"),
        ({"level": "word_level"}, "pitch is word_level and energy word_level; phoneme_level or frame_level for both"),
        ({"heads": 4}, "encoder and decoder have another number of heads"),
    ],
)
def test_a_variant_that_is_not_known_is_refused(write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_external(*write(theirs(), **changes))


def test_a_gst_or_another_addition_is_refused_by_its_name(write) -> None:
    with pytest.raises(ModelError, match=r"weight 'gst\.weight' belongs to no part of a fastspeech2 of ming024"):
        import_external(*write(theirs() | {"gst.weight": torch.zeros(1)}))


BINNED = Subject(
    "fastspeech2",
    FastSpeech2Config(
        vocab=13, speakers=3, mel_channels=10, hidden_size=24, num_encoder_layers=2, num_decoder_layers=1, num_heads=3,
        ffn_size=36, ffn_kernel_size=5, predictor_hidden_size=20, pitch_predictor_kernel_size=3, post_norm=True,
        interleaved=True, num_bins=7,
        postnet_hidden_size=16, predictor_dropout=0.1,
    ),
    FASTSPEECH2.items,
    FASTSPEECH2.real,
    FASTSPEECH2.loss,
    careless=("pitch",),
    framed=("pitch",),
    steps=20,
    remaining=0.8,
)  # fmt: skip


FRAMED = replace(BINNED, config=BINNED.config.model_copy(update={"frame_level_bins": True}))


@pytest.mark.parametrize("subject", [BINNED, FRAMED], ids=["a token", "a frame"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_variant_holds_what_every_network_must(check, subject: Subject, tmp_path: Path) -> None:
    check(subject, tmp_path)
