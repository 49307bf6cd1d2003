"""Saved models: whole or not at all, exact or refused by the name of what does not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from malsori import load_model
from malsori.errors import FileError, MalsoriError, ModelError
from malsori.pretrained import hub
from malsori.pretrained.folder import load_exactly, open_model, read_weights, save_model
from malsori.pretrained.hub import DEFAULT_MODELS, built_in, load_saved, resolve
from malsori.systems import SYSTEMS
from malsori.text.symbols import PHONEMES

from ..models.harness import saved
from ..models.subjects import CONFORMER, VOCOS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(saved(VOCOS, VOCOS.build()), tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_model_is_four_files_without_a_pickle(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.md",
        "config.json",
        "model.safetensors",
        "symbols.json",
    ]
    opened = open_model(folder)
    assert opened.card == "# 한 사람을 위한 카드\n" and opened.symbols["phonemes"] == PHONEMES
    assert opened.parameters == sum(value.numel() for value in VOCOS.build().parameters())


def test_half_of_the_bytes_are_saved_and_counters_stay_whole(tmp_path: Path) -> None:
    network = CONFORMER.build()
    for half in (False, True):
        save_model(saved(CONFORMER, network), tmp_path / str(half), "float16" if half else "float32")
    sizes = [(tmp_path / str(half) / "model.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.7 * sizes[0]
    on_disk = load_file(tmp_path / "True" / "model.safetensors")
    assert {tensor.dtype for tensor in on_disk.values()} == {torch.float16, torch.int64}


def test_a_number_too_great_for_half_is_kept_whole(tmp_path: Path) -> None:
    network = CONFORMER.build()
    network.blocks[0].convolution.batch_norm.running_var[0] = 1e5
    save_model(saved(CONFORMER, network), tmp_path / "model", "float16")
    assert open_model(tmp_path / "model").network.blocks[0].convolution.batch_norm.running_var[0] == 1e5


def test_saving_again_replaces_the_model_and_leaves_nothing_beside_it(folder: Path) -> None:
    save_model(saved(VOCOS, VOCOS.build(seed=9)), folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert torch.equal(open_model(folder).network.head.weight, VOCOS.build(seed=9).head.weight)


def test_a_save_that_fails_leaves_the_earlier_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(FileError, match="no space left"):
        save_model(saved(VOCOS, VOCOS.build(seed=9)), folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert torch.equal(open_model(folder).network.head.weight, VOCOS.build().head.weight)


def test_weights_that_do_not_fit_are_named() -> None:
    network, weights = VOCOS.build(), VOCOS.build().state_dict()
    load_exactly(network, weights, "here")
    with pytest.raises(ModelError, match=r"here: weight 'head\.bias' is missing"):
        load_exactly(network, {name: value for name, value in weights.items() if name != "head.bias"}, "here")
    with pytest.raises(ModelError, match=r"'head\.bias' has shape \(3,\), the config wants \(66,\)"):
        load_exactly(network, weights | {"head.bias": torch.zeros(3)}, "here")
    with pytest.raises(ModelError, match=r"here: weight 'head\.extra' belongs to no part of Vocos"):
        load_exactly(network, weights | {"head.extra": torch.zeros(3)}, "here")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, r"not a model folder: it has no config\.json"),
        ("config.json", b"{", "config.json: not valid JSON"),
        ("config.json", b"{}", "config.json: missing key 'system'"),
        ("model.safetensors", None, "model.safetensors: no such file"),
        ("model.safetensors", b"\x80\x02pickled", "model.safetensors: damaged, or not a safetensors file"),
        ("symbols.json", None, "symbols.json: no such file"),
        ("symbols.json", b'{"phonemes": {"version": "1"}}', "symbols.json: .*phonemes"),
        ("symbols.json", b'{"phonemes": ["a"]}', "symbols.json: .*phonemes"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(folder: Path, name: str, content: bytes | None, message: str) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(MalsoriError, match=message):
        open_model(folder)


def test_a_config_of_another_kind_is_refused_by_name(folder: Path) -> None:
    change_config(folder, system="vocoss")
    with pytest.raises(ModelError, match=r"unknown system 'vocoss'; known: conformer"):
        open_model(folder)
    change_config(folder, system="vocos", model={"hidden_size": 20, "num_layer": 2})
    with pytest.raises(MalsoriError, match=r"unknown key 'num_layer'\. Did you mean 'num_layers'"):
        open_model(folder)


def test_a_cut_off_file_of_weights_is_damaged(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"damaged"):
        read_weights(path)


def test_weights_come_back_in_single_precision(tmp_path: Path) -> None:
    save_file(
        {"a": torch.ones(2).half(), "b": torch.ones(2).bfloat16(), "n": torch.tensor(3)}, tmp_path / "w.safetensors"
    )
    read = read_weights(tmp_path / "w.safetensors")
    assert [read[name].dtype for name in "abn"] == [torch.float32, torch.float32, torch.int64]


# Where a model lies


def test_where_no_model_is_named_a_built_in_one_of_the_right_kind_is_meant() -> None:
    systems = {entry.name: entry.facts.system for entry in built_in()}
    roles = {purpose: SYSTEMS[systems[name]].role for purpose, name in DEFAULT_MODELS.items()}
    assert roles == {
        "voice": "acoustic model", "vocoder": "vocoder", "recognizer": "recognizer", "aligner": "recognizer"
    }  # fmt: skip
    assert hasattr(SYSTEMS[systems[DEFAULT_MODELS["aligner"]]].resolve("encoder"), "encode_stream")


def test_a_model_is_found_in_its_folder_in_a_run_or_by_a_built_in_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve(str(folder)) == folder
    assert resolve(str(folder.parent)) == folder  # a run keeps its product in model/
    monkeypatch.setattr(hub, "_assets", lambda: tmp_path / "assets")
    shutil.copytree(folder, tmp_path / "assets" / "korean")
    (tmp_path / "assets" / "no-model").mkdir()
    assert resolve("korean") == tmp_path / "assets" / "korean"
    assert [entry.name for entry in built_in()] == ["korean"]
    assert built_in()[0].bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert load_saved("korean").facts.system == "vocos"
    network = load_model("korean")
    assert type(network).__name__ == "Vocos" and not network.training


def test_a_model_that_is_nowhere_is_refused_with_the_nearest_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_assets", lambda: tmp_path / "assets")
    shutil.copytree(folder, tmp_path / "assets" / "korean")
    with pytest.raises(ModelError, match=r"no model 'koraen'\. Did you mean 'korean'"):
        resolve("koraen")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty: no config\.json in it or in .*empty/model"):
        resolve(str(tmp_path / "empty"))


def test_a_hub_that_does_not_answer_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, allow_patterns: list[str], **_options: object) -> str:
        assert not [pattern for pattern in allow_patterns if pattern.endswith(("*.bin", ".pt", ".pth", "*"))]
        raise OSError("no route to host\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(
        ModelError, match=r"^'owner/name': no such folder, and the Hugging Face hub .*: no route to host$"
    ):
        resolve("owner/name")
