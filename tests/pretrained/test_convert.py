"""Public checkpoints: recognized, renamed to the last tensor, or refused by the name of the first that does not fit."""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from malsori import load_model
from malsori.errors import MalsoriError, ModelError
from malsori.models.hifigan import Hifigan, HifiganConfig
from malsori.pretrained import convert
from malsori.pretrained.convert import KeyRule, conversion_maps, rename, source_names
from malsori.pretrained.external import import_external
from malsori.pretrained.folder import open_model, save_model
from malsori.pretrained.hub import load_saved, open_folder

#: The authors' three generators, and a small one.
COMMON = {
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
}
ONE = {"resblock": "1", "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5]] * 3}
FOUR = {"upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4]}
V1 = COMMON | ONE | FOUR | {"upsample_initial_channel": 512}
V2 = COMMON | ONE | FOUR | {"upsample_initial_channel": 128}
V3 = COMMON | {
    "resblock": "2", "resblock_kernel_sizes": [3, 5, 7], "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    "upsample_rates": [8, 8, 4], "upsample_kernel_sizes": [16, 16, 8], "upsample_initial_channel": 256,
}  # fmt: skip
TINY = COMMON | ONE | {
    "upsample_rates": [16, 16], "upsample_kernel_sizes": [32, 32], "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3, 5]] * 2,
}  # fmt: skip


def authors_generator(h: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The authors' names and shapes of a generator, weight norm as PyTorch spelled it then."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, first: int, second: int, kernel: int, bias: int) -> None:
        shapes[f"{name}.bias"] = (bias,)
        shapes[f"{name}.weight_g"] = (first, 1, 1)
        shapes[f"{name}.weight_v"] = (first, second, kernel)

    width, parallel = h["upsample_initial_channel"], len(h["resblock_kernel_sizes"])
    convolution("conv_pre", width, h["num_mels"], 7, width)
    for stage, kernel in enumerate(h["upsample_kernel_sizes"]):
        convolution(f"ups.{stage}", width, width // 2, kernel, width // 2)
        width //= 2
        blocks = zip(h["resblock_kernel_sizes"], h["resblock_dilation_sizes"], strict=True)
        for place, (size, dilations) in enumerate(blocks):
            for convolutions in ("convs1", "convs2") if h["resblock"] == "1" else ("convs",):
                for step in range(len(dilations)):
                    convolution(
                        f"resblocks.{stage * parallel + place}.{convolutions}.{step}", width, width, size, width
                    )
    convolution("conv_post", 1, width, 7, 1)
    return shapes


def authors_file(folder: Path, h: dict[str, Any]) -> tuple[Path, dict[str, Tensor]]:
    """Write g_00000001 with config.json beside it, as the authors' program does."""
    random = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=random) * 0.1 for name, shape in authors_generator(h).items()}
    torch.save({"generator": tensors}, folder / "g_00000001.pt")
    (folder / "config.json").write_text(json.dumps(h), encoding="utf-8")
    return folder / "g_00000001.pt", tensors


def transformers_folder(folder: Path, **config: Any) -> Any:
    """Write a SpeechT5HifiGan with random weights that are not silent, and return it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    oracle = transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**config)).eval()
    with torch.no_grad():
        for name, value in [*oracle.named_parameters(), *oracle.named_buffers()]:
            value.normal_(std=0.01 if value.dim() == 1 else value[0].numel() ** -0.5)
            if name == "scale":
                value.abs_().add_(0.5)
    oracle.save_pretrained(folder)
    return oracle


SMALL = {
    "model_in_dim": 10, "upsample_initial_channel": 32, "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4],
    "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2]],
}  # fmt: skip


# transformers


@pytest.mark.parametrize(
    "config", [SMALL, SMALL | {"normalize_before": False}, {}], ids=["small", "plain", "real width"]
)
def test_a_folder_of_transformers_sounds_as_there(tmp_path: Path, config: dict[str, Any]) -> None:
    oracle = transformers_folder(tmp_path, **config)
    network = load_model(str(tmp_path))
    mel = torch.randn(2, 12, oracle.config.model_in_dim)
    with torch.no_grad():
        wanted, found = oracle(mel), network(mel).wave
    assert not network.training and wanted.abs().mean() > 0.01
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_a_folder_of_transformers_describes_its_mel_and_can_be_saved_as_ours(tmp_path: Path) -> None:
    transformers_folder(tmp_path / "theirs")
    (tmp_path / "theirs" / "README.md").write_text("---\nlicense: mit\n---\n# A vocoder\n", encoding="utf-8")
    model = load_saved(str(tmp_path / "theirs"))
    audio = model.facts.audio
    assert (audio.sample_rate, audio.hop_samples, audio.fft_samples, audio.convention) == (16000, 256, 1024, "speecht5")
    assert model.facts.license == "mit" and model.card.endswith("# A vocoder\n")
    save_model(model, tmp_path / "ours")
    mel = torch.randn(1, 5, 80)
    assert torch.equal(open_model(tmp_path / "ours").network(mel).wave, model.network(mel).wave)


@pytest.mark.parametrize("spelling", ["weight_g", "parametrizations"])
def test_both_spellings_of_weight_norm_are_one(tmp_path: Path, spelling: str) -> None:
    oracle = transformers_folder(tmp_path, **SMALL)
    if spelling == "parametrizations":
        oracle.apply_weight_norm()
        oracle.save_pretrained(tmp_path)
        names = set(load_file(tmp_path / "model.safetensors"))
        assert "conv_pre.parametrizations.weight.original0" in names
    else:
        tensors = load_file(tmp_path / "model.safetensors")
        for name in [name for name in tensors if name.endswith(".weight")]:
            weight = tensors.pop(name)
            norm = torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)
            tensors |= {name + "_g": norm, name + "_v": 3 * weight}
        save_file(tensors, tmp_path / "model.safetensors")
    mel = torch.randn(1, 6, 10)
    with torch.no_grad():
        torch.testing.assert_close(load_model(str(tmp_path))(mel).wave, oracle(mel), atol=1e-5, rtol=1e-4)


def test_weights_in_several_files_are_put_together(tmp_path: Path) -> None:
    oracle = transformers_folder(tmp_path, **SMALL)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1-of-2.safetensors": names[:9], "model-2-of-2.safetensors": names[9:]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, tmp_path / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    mel = torch.randn(1, 6, 10)
    with torch.no_grad():
        torch.testing.assert_close(load_model(str(tmp_path))(mel).wave, oracle(mel), atol=1e-5, rtol=1e-4)
    index["weight_map"]["conv_pre.extra"] = "model-1-of-2.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelError, match=r"weight 'conv_pre\.extra' is in none of its files"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_pre.bias": None}, r"weight 'conv_pre\.bias' is missing"),
        ({"conv_pre.bias": torch.zeros(3)}, r"weight 'conv_pre\.bias' has shape \(3,\), the config wants \(32,\)"),
        (
            {"encoder.weight": torch.zeros(3)},
            r"weight 'encoder\.weight' belongs to no part of a hifigan of transformers",
        ),
        ({"resblocks.9.convs1.0.bias": torch.zeros(3)}, r"weight 'resblocks\.9\.convs1\.0\.bias' belongs to no part"),
        ({"conv_pre.weight_v": torch.zeros(32, 10, 7)}, r"weight 'conv_pre\.weight_g' is missing"),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    transformers_folder(tmp_path, **SMALL)
    tensors = load_file(tmp_path / "model.safetensors") | change
    save_file({name: value for name, value in tensors.items() if value is not None}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=message):
        open_folder(tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"model_type 'bert' is none of malsori's; known: .*speecht5_hifigan"):
        open_folder(tmp_path)


def test_a_folder_with_a_pickle_only_says_what_to_do(tmp_path: Path) -> None:
    oracle = transformers_folder(tmp_path, **SMALL)
    (tmp_path / "model.safetensors").unlink()
    torch.save(oracle.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(
        ModelError,
        match=r"no model\.safetensors; a pickle is imported by 'malsori import .*pytorch_model\.bin -o FOLDER'",
    ):
        open_folder(tmp_path)
    model = import_external(tmp_path / "pytorch_model.bin", [])
    mel = torch.randn(1, 6, 10)
    with torch.no_grad():
        torch.testing.assert_close(model.network(mel).wave, oracle(mel), atol=1e-5, rtol=1e-4)


# The authors' own files


@pytest.mark.parametrize(
    ("h", "count"), [(V1, 13.94), (V2, 0.93), (V3, 1.46), (TINY, 0.02)], ids=["V1", "V2", "V3", "tiny"]
)
def test_the_authors_generators_are_imported_with_every_tensor(tmp_path: Path, h: dict[str, Any], count: float) -> None:
    path, tensors = authors_file(tmp_path, h)
    model = import_external(path, [])
    assert sum(value.numel() for value in tensors.values()) == model.parameters
    assert round(model.parameters / 1e6, 2) == count
    assert model.network.config.samples_per_frame == model.facts.audio.hop_samples == 256
    assert model.facts.audio.fingerprint() == load_saved("vocos-ko").facts.audio.fingerprint()
    state = model.network.state_dict()
    step = "convs1.1" if h["resblock"] == "1" else "convs.1"
    assert torch.equal(
        state["blocks.1.chains.1.1.parametrizations.weight.original1"], tensors[f"resblocks.1.{step}.weight_v"]
    )
    assert torch.equal(state["upsamples.1.parametrizations.weight.original0"], tensors["ups.1.weight_g"])


def heard_by_their_equations(w: dict[str, Tensor], h: dict[str, Any], mel: Tensor) -> Tensor:
    """The authors' generator in plain functions, weight norm worked out: mel (channels, frames) → wave (samples,)."""

    def weight(name: str) -> Tensor:
        v = w[f"{name}.weight_v"]
        return w[f"{name}.weight_g"] * v / v.flatten(1).norm(dim=1)[:, None, None]

    def convolved(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        kernel = weight(name)
        padding = dilation * (kernel.shape[2] - 1) // 2
        return F.conv1d(x, kernel, w[f"{name}.bias"], padding=padding, dilation=dilation)

    def block(name: str, x: Tensor, dilations: list[int]) -> Tensor:
        for step, dilation in enumerate(dilations):
            if h["resblock"] == "1":
                once = convolved(f"{name}.convs1.{step}", F.leaky_relu(x, 0.1), dilation)
                x = x + convolved(f"{name}.convs2.{step}", F.leaky_relu(once, 0.1))
            else:
                x = x + convolved(f"{name}.convs.{step}", F.leaky_relu(x, 0.1), dilation)
        return x

    x, parallel = convolved("conv_pre", mel[None]), len(h["resblock_kernel_sizes"])
    for stage, (rate, kernel) in enumerate(zip(h["upsample_rates"], h["upsample_kernel_sizes"], strict=True)):
        name = f"ups.{stage}"
        x = F.leaky_relu(x, 0.1)
        x = F.conv_transpose1d(x, weight(name), w[f"{name}.bias"], stride=rate, padding=(kernel - rate) // 2)
        dilations = enumerate(h["resblock_dilation_sizes"])
        x = sum(block(f"resblocks.{stage * parallel + place}", x, steps) for place, steps in dilations) / parallel
    return convolved("conv_post", F.leaky_relu(x)).tanh()[0, 0]


@pytest.mark.parametrize(
    "h", [TINY, TINY | {"resblock": "2", "resblock_dilation_sizes": [[1, 2], [2, 6]]}, V3], ids=["1", "2", "V3"]
)
def test_an_imported_generator_sounds_as_its_equations_say(tmp_path: Path, h: dict[str, Any]) -> None:
    path, tensors = authors_file(tmp_path, h)
    network, mel = import_external(path, []).network, torch.randn(80, 9)
    with torch.no_grad():
        wanted, found = heard_by_their_equations(tensors, h, mel), network(mel.T[None]).wave[0]
    assert wanted.abs().mean() > 0.01 and found.shape == (9 * 256,)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_what_the_authors_program_does_not_look_at_in_its_settings_changes_nothing(tmp_path: Path) -> None:
    two = TINY | {"resblock": "2", "resblock_dilation_sizes": [[1, 2], [2, 6]]}
    path, _ = authors_file(tmp_path, two)
    wanted = import_external(path, []).network.config
    more = two | {"resblock": 2, "resblock_dilation_sizes": [[1, 2, 9], [2, 6, 9]]}
    (tmp_path / "config.json").write_text(json.dumps(more), encoding="utf-8")
    assert import_external(path, []).network.config == wanted


def test_an_imported_file_is_a_folder_of_ours(tmp_path: Path) -> None:
    path, _ = authors_file(tmp_path, TINY)
    save_model(import_external(path, [tmp_path / "config.json"], license="MIT"), tmp_path / "ours")
    opened = load_saved(str(tmp_path / "ours"))
    assert opened.facts.license == "MIT" and opened.facts.trained == {
        "imported": path.name,
        "checkpoint_format": "jik876-hifigan",
    }
    assert "g_00000001.pt" in opened.card and "MIT" in opened.card


def test_files_that_are_no_checkpoint_are_refused_in_one_line(tmp_path: Path) -> None:
    path, _ = authors_file(tmp_path, TINY)
    whole = path.read_bytes()
    torch.save({"mpd": {}, "msd": {}, "steps": 1}, tmp_path / "do_00000001.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"generator": {"other.weight": torch.zeros(1)}}, tmp_path / "other.pt")
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name, message in {
        "do_00000001.pt": "of no known checkpoint format .*'mpd': holds the discriminators; the generator is in",
        "list.pt": "holds a list, not weights by name",
        "other.pt": r"of no known checkpoint format \(its entries are generator\)\. Known: .*jik876-hifigan",
        "cut.pt": "not a file of weights",
        "text.pt": "not a file of weights",
        "empty.pt": "not a file of weights",
        "absent.pt": "no such file",
    }.items():
        with pytest.raises(MalsoriError, match=message) as caught:
            import_external(tmp_path / name, [])
        assert "\n" not in str(caught.value)


class Planted:
    """A pickle that would write a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    torch.save({"generator": Planted(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match=r"without running its code \(it holds a .*getattr\)$"):
        import_external(tmp_path / "evil.pt", [])
    assert not (tmp_path / "ran").exists()


def test_settings_that_lack_something_or_are_of_another_size_are_named(tmp_path: Path, caplog) -> None:
    path, _ = authors_file(tmp_path, TINY)
    other = tmp_path / "other.yaml"
    other.write_text("upsample_initial_channel: 32\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"its settings have no 'num_mels'"):
        import_external(path, [other])
    with pytest.raises(ModelError, match=r"weight 'conv_pre\.bias' has shape \(16,\), the config wants \(32,\)"):
        import_external(path, [tmp_path / "config.json", other])
    other.write_text("hop_size: 300\n", encoding="utf-8")
    assert import_external(path, [tmp_path / "config.json", other]).facts.audio.hop_samples == 256
    assert "hop_size is 300, but upsample_rates multiply to 256" in caplog.text
    other.write_text("upsample_rates: [256]\n", encoding="utf-8")
    with pytest.raises(ModelError, match="each upsampling has one rate and one kernel"):
        import_external(path, [tmp_path / "config.json", other])
    other.write_text("- a\n", encoding="utf-8")
    with pytest.raises(MalsoriError, match=r"other\.yaml: expected settings by name, found list"):
        import_external(path, [other])


# The tables


def test_every_conversion_map_is_read_under_its_own_name_and_has_a_reader() -> None:
    stems = {path.stem for path in Path(convert.__file__).parent.glob("maps/*.toml")}
    assert {conversion.name for conversion in conversion_maps()} == stems
    for conversion in conversion_maps():
        module, function = conversion.reader.split(":")
        assert callable(getattr(importlib.import_module(f"malsori.pretrained.{module}"), function))
    assert all(
        conversion.model_types or conversion.marks
        for conversion in conversion_maps()
        if conversion.origin != "ctranslate2"
    )


def test_tensors_of_one_name_are_joined_in_the_order_of_their_parts() -> None:
    conversion = conversion_maps()[0].model_copy(
        update={
            "keys": tuple(
                KeyRule(source=source, target="joined", part=part) for part, source in enumerate(("q", "k", "v"))
            )
        }
    )
    joined = rename(conversion, {name: torch.full((2, 3), float(place)) for place, name in enumerate("vqk")}, "here")
    assert joined["joined"][::2, 0].tolist() == [1.0, 2.0, 0.0]


def test_a_network_with_plain_weights_takes_normed_ones() -> None:
    from malsori.pretrained.convert import _as_normed

    normed = Hifigan(HifiganConfig(mel_channels=4, channels=8, upsample_rates=(2,), upsample_kernel_sizes=(4,)))
    state = normed.state_dict()
    plain = normed.conv_in.weight.detach()
    folded = _as_normed(
        {name: value for name, value in state.items() if name.startswith("conv_in.par")}, {"conv_in.weight": plain}
    )
    torch.testing.assert_close(folded, {"conv_in.weight": plain})


def checkpoints() -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield for every checkpoint format the tensors of a small checkpoint of its kind, under its own names."""
    import transformers as there

    from ..models.test_tacotron import nvidia_weights
    from ..models.test_vits import authors_names
    from .test_ctranslate2 import variables_of
    from .test_ming024 import theirs
    from .test_openai import openai_weights

    for h in (V1, V3):
        yield "jik876-hifigan", {name: torch.zeros(0) for name in authors_generator(h)}
    yield "ming024-fastspeech2", theirs(speakers=2)
    yield "nvidia-tacotron2", nvidia_weights()
    for speakers, stochastic in ((1, True), (3, False)):
        yield "jaywalnut310-vits", {name: torch.zeros(0) for name in authors_names(24, speakers, stochastic)}
    hear = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 9,
    }
    ears = {"conv_dim": (8, 8), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_conv_pos_embeddings": 8}
    ears["num_conv_pos_embedding_groups"] = 2
    for norm, stable in (("group", False), ("layer", True)):
        config = there.Wav2Vec2Config(**hear, **ears, feat_extract_norm=norm, do_stable_layer_norm=stable)
        yield "transformers-wav2vec2", there.Wav2Vec2ForCTC(config).state_dict()
    sizes = ("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads")
    whisper = there.WhisperConfig(
        vocab_size=60000, d_model=4, encoder_ffn_dim=2, decoder_ffn_dim=2, **dict.fromkeys(sizes, 1)
    )
    model = there.WhisperForConditionalGeneration(whisper)
    yield "transformers-whisper", model.state_dict()
    yield "openai-whisper", openai_weights(model)
    yield "ctranslate2-whisper", {name: torch.from_numpy(value) for name, value in variables_of(model).items()}
    for speakers, stochastic in ((1, True), (3, False)):
        voice = {"hidden_size": 16, "ffn_dim": 16, "flow_size": 16, "spectrogram_bins": 17, "num_hidden_layers": 1}
        voice |= {"num_speakers": speakers, "speaker_embedding_size": 8 * (speakers > 1)}
        voice |= {"use_stochastic_duration_prediction": stochastic, "upsample_initial_channel": 32}
        yield "transformers-vits", there.VitsModel(there.VitsConfig(**voice)).state_dict()
    yield "transformers-hifigan", there.SpeechT5HifiGan(there.SpeechT5HifiGanConfig(**SMALL)).state_dict()


@pytest.mark.slow
def test_every_table_can_be_read_backwards_so_that_messages_name_what_the_file_calls_it() -> None:
    pytest.importorskip("transformers")
    by_name, seen = {conversion.name: conversion for conversion in conversion_maps()}, set()
    for name, weights in checkpoints():
        seen.add(name)
        conversion = by_name[name]
        kinds = {re.sub(r"\d+", "#", theirs): theirs for theirs in weights}
        for theirs in kinds.values():  # one of each kind, as if it were missing
            found = conversion.rule_of(theirs)
            assert found is not None, f"{name}: {theirs}"
            if not found[0].dropped:
                others = [other for other in weights if other != theirs]
                for ours in filter(None, found[1]):
                    assert theirs in source_names(conversion, ours, others), f"{name}: {theirs} is {ours} here"
    assert seen == set(by_name)


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    from .test_ming024 import theirs

    conversion = next(conversion for conversion in conversion_maps() if conversion.name == "ming024-fastspeech2")
    weights = theirs()
    del weights["decoder.layer_stack.1.slf_attn.w_vs.weight"]
    with pytest.raises(ModelError, match=r"here: weight 'decoder\.layer_stack\.1\.slf_attn\.w_vs\.weight' is missing"):
        rename(conversion, weights, "here")
