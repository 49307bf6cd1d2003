"""CTranslate2's Whisper folders: the same logits and words as transformers', whole, half and in eight bits."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from malsori import cli, load_model
from malsori.errors import MalsoriError, ModelError
from malsori.models.whisper import Whisper
from malsori.pretrained.external import import_external
from malsori.pretrained.folder import open_model
from malsori.pretrained.hub import load_saved, open_folder

from ..models.test_whisper import TINY, assert_same_logits, assert_same_words, theirs

HEADS = {"encoder/num_heads": 4, "decoder/num_heads": 2}
FLAGS = {"decoder/activation": 3, "decoder/pre_norm": 1, "decoder/alibi": 0, "decoder/scale_embeddings": 0}
SETTINGS = {"suppress_ids": [5, 7], "suppress_ids_begin": [9], "lang_ids": [20], "alignment_heads": [[1, 0], [2, 1]]}
TYPES = ["float32", "int8", "int16", "int32", "float16", "bfloat16"]
Arrays = dict[str, np.ndarray]


def variables_of(model: Any) -> Arrays:
    """Return the float32 variables of transformers' Whisper under CTranslate2's names, as its converter makes them."""
    state = {name.removeprefix("model."): value.numpy() for name, value in model.state_dict().items()}
    found: Arrays = {"decoder/embeddings/weight": state["decoder.embed_tokens.weight"]}

    def linear(name: str, *sources: str) -> None:
        found[f"{name}/weight"] = np.concatenate([state[f"{source}.weight"] for source in sources])
        width = len(state[f"{sources[0]}.weight"])
        biases = [state.get(f"{source}.bias", np.zeros(width, np.float32)) for source in sources]  # keys have none
        found[f"{name}/bias"] = np.concatenate(biases)

    def norm(name: str, source: str) -> None:
        found[f"{name}/gamma"], found[f"{name}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    for convolution in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            found[f"encoder/{convolution}/{part}"] = state[f"encoder.{convolution}.{part}"]
    for side, count in (("encoder", model.config.encoder_layers), ("decoder", model.config.decoder_layers)):
        found[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        for number in range(count):
            there, here = f"{side}.layers.{number}", f"{side}/layer_{number}"
            norm(f"{here}/self_attention/layer_norm", f"{there}.self_attn_layer_norm")
            linear(f"{here}/self_attention/linear_0", *(f"{there}.self_attn.{one}_proj" for one in "qkv"))
            linear(f"{here}/self_attention/linear_1", f"{there}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{here}/attention/layer_norm", f"{there}.encoder_attn_layer_norm")
                linear(f"{here}/attention/linear_0", f"{there}.encoder_attn.q_proj")
                linear(f"{here}/attention/linear_1", *(f"{there}.encoder_attn.{one}_proj" for one in "kv"))
                linear(f"{here}/attention/linear_2", f"{there}.encoder_attn.out_proj")
            norm(f"{here}/ffn/layer_norm", f"{there}.final_layer_norm")
            linear(f"{here}/ffn/linear_0", f"{there}.fc1")
            linear(f"{here}/ffn/linear_1", f"{there}.fc2")
    return found


def quantized(variables: Arrays, kind: str) -> Arrays:
    """Return the variables as the converter keeps them for a type; 'int8_float16' keeps the rest as float16."""
    weight, _, rest = kind.partition("_")
    made: Arrays = {}
    for name, value in variables.items():
        if weight.startswith("int") and name.endswith("/weight"):
            flat = value.reshape(len(value), -1)
            scale = 127 / np.abs(flat).max(1) if weight == "int8" else np.float32(2**10 / np.abs(flat).max())
            rows = np.rint(flat * (scale[:, None] if scale.shape else scale)).astype(weight)
            made |= {name: rows.reshape(value.shape), f"{name}_scale": scale}
        else:
            made[name] = value.astype(rest or ("float32" if weight.startswith("int") else weight))
    return made


def content(variables: Arrays, aliases: dict[str, str], version: int = 6, revision: int = 3) -> bytes:
    """Return a model.bin."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    pieces = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<II", revision, len(variables))]
    for name, value in sorted(variables.items()):
        pieces += [text(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        pieces += [struct.pack("<BI", TYPES.index(str(value.dtype)), value.nbytes), value.tobytes()]
    pieces.append(struct.pack("<I", len(aliases)))
    return b"".join(pieces) + b"".join(text(one) + text(other) for one, other in aliases.items())


def their_folder(folder: Path, kind: str = "float32", **more: Any) -> tuple[Any, Arrays]:
    """Write a folder of CTranslate2's; return transformers' model of its numbers and the variables written."""
    model = theirs(folder / "transformers", **TINY)
    variables = quantized(variables_of(model), kind)
    variables |= {name: np.array(value, np.int16) for name, value in HEADS.items()}
    variables |= {name: np.array(value, np.int8) for name, value in FLAGS.items()}
    (folder / "config.json").write_text(json.dumps(SETTINGS | more), encoding="utf-8")
    aliases = {"decoder/projection/weight": "decoder/embeddings/weight"}
    (folder / "model.bin").write_bytes(content(variables, aliases))
    return model, variables


def rounded(model: Any, kind: str) -> Any:
    """Give transformers' model the numbers that a type leaves of its own."""
    weight = kind.split("_")[0]
    for name, parameter in model.named_parameters():
        value = parameter.data
        if not weight.startswith("int"):
            parameter.data = value.to(getattr(torch, kind)).float()
        elif name.endswith(".weight") and "norm" not in name and "embed_positions" not in name:
            # Fused queries, keys and values share no row, so each row has its own scale all the same.
            flat = value.reshape(len(value), -1)
            scale = 127 / flat.abs().amax(1, keepdim=True)
            parameter.data = ((flat * scale).round() / scale).reshape(value.shape)
        elif kind.endswith("_float16"):
            parameter.data = value.half().float()
    return model


@pytest.mark.parametrize("kind", ["float32", "float16", "int8_float32", "int8_float16"])
def test_a_folder_of_ctranslate2_gives_transformers_logits_and_words(tmp_path: Path, kind: str) -> None:
    model, _ = their_folder(tmp_path, kind)
    network = load_model(str(tmp_path))
    assert isinstance(network, Whisper) and not network.training
    assert_same_logits(rounded(model, kind), network)
    assert_same_words(model, network, 60)


def test_weights_of_16_bits_with_one_scale_are_near_the_whole_ones(tmp_path: Path) -> None:
    model, variables = their_folder(tmp_path, "int16")
    scale = variables["decoder/embeddings/weight_scale"]
    assert scale.shape == ()
    found = load_model(str(tmp_path)).decoder.embedding.weight.detach()
    wanted = model.model.decoder.embed_tokens.weight.detach()
    torch.testing.assert_close(found, wanted, atol=0.51 / float(scale), rtol=0)


def test_what_must_not_be_written_and_the_tokenizer_stay_with_the_model(tmp_path: Path) -> None:
    their_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    saved = load_saved(str(tmp_path))
    assert (saved.facts.system, saved.facts.audio.mel_channels, saved.files["tokenizer.json"]) == ("whisper", 20, b"{}")
    assert json.loads(saved.files["generation_config.json"]) == {
        "suppress_tokens": [5, 7], "begin_suppress_tokens": [9], "alignment_heads": [[1, 0], [2, 1]],
    }  # fmt: skip


def test_import_writes_a_folder_of_ours_and_the_hub_is_asked_for_model_bin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub").mkdir()
    their_folder(tmp_path / "hub", "float16")
    asked: list[str] = []

    def download(_name: str, allow_patterns: list[str], **_options: object) -> str:
        asked.extend(allow_patterns)
        return str(tmp_path / "hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert cli.run(["import", "owner/faster-whisper-tiny", "-o", str(tmp_path / "ours"), "--license", "MIT"]) == 0
    assert "model.bin" in asked and "a whisper of" in capsys.readouterr().out
    ours = open_model(tmp_path / "ours")
    assert ours.facts.trained == {"imported": "model.bin", "checkpoint_format": "ctranslate2-whisper"}
    for path in (tmp_path / "hub", tmp_path / "hub" / "model.bin"):
        for name, tensor in import_external(path, []).network.state_dict().items():
            assert torch.equal(ours.network.state_dict()[name], tensor), name
    with pytest.raises(ModelError, match=r"its settings stand in it; --config other\.json has nothing to say"):
        import_external(tmp_path / "hub", [Path("other.json")])


def test_a_tensor_that_is_missing_is_named_as_the_file_calls_it(tmp_path: Path) -> None:
    _, variables = their_folder(tmp_path)
    name = "decoder/layer_1/self_attention/linear_0/weight"
    lacking = {other: value for other, value in variables.items() if other != name}
    (tmp_path / "model.bin").write_bytes(content(lacking, {}))
    with pytest.raises(ModelError, match=f"weight '{name}' is missing"):
        open_folder(tmp_path)
    (tmp_path / "model.bin").write_bytes(content(variables | {name: variables[name][:-1]}, {}))
    with pytest.raises(ModelError, match=rf"weight '{name}' of shape \(95, 32\) is not 3 equal parts"):
        open_folder(tmp_path)
    (tmp_path / "model.bin").write_bytes(content(variables | {"decoder/rotary/sin": variables[name]}, {}))
    with pytest.raises(ModelError, match=r"weight 'decoder/rotary/sin' belongs to no part of a whisper of ctranslate2"):
        open_folder(tmp_path)


def test_a_network_that_is_not_quite_a_whisper_is_refused(tmp_path: Path) -> None:
    _, variables = their_folder(tmp_path)
    approximate = variables | {"decoder/activation": np.array(1, np.int8)}
    (tmp_path / "model.bin").write_bytes(content(approximate, {}))
    with pytest.raises(ModelError, match=r"decoder/activation is 1; a Whisper has 3"):
        open_folder(tmp_path)
    untied = variables | {"decoder/projection/weight": variables["decoder/embeddings/weight"] + 1}
    (tmp_path / "model.bin").write_bytes(content(untied, {}))
    with pytest.raises(ModelError, match=r"'decoder/projection/weight' is not the embedding"):
        open_folder(tmp_path)


def test_files_that_are_no_model_are_refused_in_one_line(tmp_path: Path) -> None:
    _, variables = their_folder(tmp_path)
    whole = content(variables, {})
    bent = whole.replace(b"WhisperSpec", b"WhisperSp\xff\xff", 1)
    for held, message in {
        b"": "it ends too early",
        whole[: len(whole) // 2]: "it ends too early",
        whole + b"!": "there is more behind its end",
        bent: "a name is not UTF-8",
        content(variables, {}, version=3): "version 3 of CTranslate2's files, or another program's; 6 alone is read",
        content(variables, {}, revision=2): "a WhisperSpec of revision 2; only a WhisperSpec of 3 is read",
        whole.replace(b"WhisperSpec", b"TransfoSpec", 1): "a TransfoSpec of revision 3",
    }.items():
        (tmp_path / "model.bin").write_bytes(held)
        with pytest.raises(MalsoriError, match=message) as caught:
            open_folder(tmp_path)
        assert "model.bin" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float16", "int8", "int16"])
def test_what_the_converter_itself_writes_is_what_the_writer_here_writes(tmp_path: Path, kind: str) -> None:
    specs = pytest.importorskip("ctranslate2.converters.transformers")
    model, _ = their_folder(tmp_path, kind.replace("int8", "int8_float32"))
    written = load_model(str(tmp_path)).state_dict()
    spec = specs.WhisperLoader().get_model_spec(model)
    spec.register_vocabulary([str(index) for index in range(100)])
    spec.validate()
    spec.optimize(quantization=kind)  # multiplies the model's own numbers in their place
    spec._serialize(tmp_path / "model.bin")
    for name, tensor in load_model(str(tmp_path)).state_dict().items():
        torch.testing.assert_close(written[name], tensor, atol=1e-6, rtol=1e-6)
