"""The hub through the command line: what is listed, imported, and given to the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from malsori import cli
from malsori.errors import ModelError
from malsori.pretrained.folder import save_model
from malsori.pretrained.hub import load_saved

from ..models.harness import saved
from ..models.subjects import VOCOS
from .test_convert import SMALL, TINY, authors_file, transformers_folder


def test_import_writes_a_folder_that_every_command_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = authors_file(tmp_path, TINY)
    assert cli.run(["import", str(path), "-o", str(tmp_path / "ours"), "--license", "MIT"]) == 0
    assert capsys.readouterr().out.endswith("a hifigan of 0.02 M parameters. License: MIT.\n")
    assert sorted(file.name for file in (tmp_path / "ours").iterdir()) == [
        "card.md", "config.json", "model.safetensors", "symbols.json",
    ]  # fmt: skip
    assert cli.run(["models", str(tmp_path / "ours"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert [(model["system"], model["license"], model["audio"]["hop_samples"]) for model in listed] == [
        ("hifigan", "MIT", 256)
    ]


def test_an_import_that_fails_leaves_with_2_one_line_and_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = authors_file(tmp_path, TINY | {"upsample_initial_channel": 32})
    (tmp_path / "config.json").write_text(json.dumps(TINY), encoding="utf-8")
    assert cli.run(["import", str(path), "-o", str(tmp_path / "ours")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "weight 'conv_pre.bias' has shape (32,), the config wants (16,)" in told
    assert not (tmp_path / "ours").exists()


def test_models_tells_of_a_public_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers_folder(tmp_path, **SMALL)
    capsys.readouterr()
    assert cli.run(["models", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "hifigan" in told and "16000 Hz" in told and told.endswith("unknown\n")


def test_models_names_the_license_of_all_weights_that_ship(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models"]) == 0
    told = capsys.readouterr()
    ships = {path.name for path in (Path(cli.__file__).parents[1] / "assets").iterdir() if path.is_dir()}
    assert {line.split()[0] for line in told.out.splitlines()} == ships
    lines = [line.partition("  speakers: ")[0] for line in told.out.splitlines()]
    licenses = {line.split()[0]: line.rpartition("  ")[2] for line in lines}
    assert {name for name, license in licenses.items() if license == "MIT"} == {"silero-vad", "whisper-base-ko"}
    assert set(licenses.values()) == {"MIT", "CC BY-NC-SA 4.0"}
    assert "Apache-2.0" in told.err
    notice = (Path(__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in ships)


class Hub:
    """Keeps what it is given, as the hub would."""

    given: dict[str, Any]

    def __init__(self) -> None:
        Hub.given = {}

    def create_repo(self, hub_id: str, private: bool, exist_ok: bool) -> None:
        """Note the name."""
        Hub.given |= {"id": hub_id, "private": private, "again": exist_ok}

    def create_commit(self, _hub_id: str, operations: list[Any], commit_message: str) -> None:
        """Note the files."""
        Hub.given |= {"message": commit_message}
        for operation in operations:
            content = operation.path_or_fileobj
            Hub.given[operation.path_in_repo] = content if isinstance(content, bytes) else Path(content).read_bytes()


def test_push_gives_the_hub_a_folder_that_opens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(saved(VOCOS, VOCOS.build()), tmp_path / "run" / "model")
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert cli.run(["push", str(tmp_path / "run"), "owner/voice", "--private"]) == 0
    assert capsys.readouterr().out == "https://huggingface.co/owner/voice\n"
    assert Hub.given["id"] == "owner/voice" and Hub.given["private"] and Hub.given["again"]
    assert Hub.given["README.md"].decode().startswith("---\nlicense: unknown\nlibrary_name: malsori\n---\n\n# 한 사람")
    (tmp_path / "hub").mkdir()
    for name in ("config.json", "symbols.json", "model.safetensors", "card.md"):
        (tmp_path / "hub" / name).write_bytes(Hub.given[name])
    assert torch.equal(load_saved(str(tmp_path / "hub")).network.head.weight, VOCOS.build().head.weight)


def test_a_hub_that_refuses_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError("no route to host\nand more")

    save_model(saved(VOCOS, VOCOS.build()), tmp_path / "model")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    assert cli.run(["push", str(tmp_path / "model"), "owner/voice"]) == 2
    assert capsys.readouterr().err == (
        "malsori: 'owner/voice': the Hugging Face hub did not take the model: no route to host\n"
    )


def test_the_hub_is_asked_for_public_files_and_for_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fnmatch import fnmatch

    transformers_folder(tmp_path, **SMALL)
    asked: list[str] = []

    def download(name: str, allow_patterns: list[str], **_options: object) -> str:
        asked.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_saved("owner/vocoder").facts.system == "hifigan"
    wanted = ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "preprocessor_config.json")
    wanted += ("tokenizer.json", "vocab.json", "merges.txt", "config.json", "symbols.json", "card.md", "README.md")
    assert all(any(fnmatch(name, pattern) for pattern in asked) for name in wanted)
    assert not any(
        fnmatch(f"pytorch_model{ending}", p) for p in asked for ending in (".bin", ".pt", ".pth", ".ckpt", ".h5")
    )


def test_import_asks_the_hub_for_the_one_pickle_that_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = transformers_folder(tmp_path / "hub", **SMALL)
    (tmp_path / "hub" / "model.safetensors").unlink()
    torch.save(oracle.state_dict(), tmp_path / "hub" / "pytorch_model.bin")
    asked: list[list[str]] = []

    def download(_name: str, allow_patterns: list[str], **_options: object) -> str:
        asked.append(allow_patterns)
        return str(tmp_path / "hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(ModelError, match=r"no model\.safetensors; a pickle is imported by 'malsori import"):
        load_saved("owner/vocoder")
    assert cli.run(["import", "owner/vocoder", "-o", str(tmp_path / "ours")]) == 0
    assert "pytorch_model.bin" not in asked[0] and "pytorch_model.bin" in asked[1]
    assert cli.run(["import", str(tmp_path / "hub"), "-o", str(tmp_path / "again")]) == 0
    mel = torch.randn(1, 6, 10)
    for folder in ("ours", "again"):
        with torch.no_grad():
            wanted, found = oracle(mel), load_saved(str(tmp_path / folder)).network(mel).wave
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_a_model_imported_before_formats_had_their_name_still_says_its_format(tmp_path: Path) -> None:
    save_model(saved(VOCOS, VOCOS.build()), tmp_path / "model")
    place = tmp_path / "model" / "config.json"
    values = json.loads(place.read_text(encoding="utf-8"))
    values["trained"] = {"imported": "g_1", "layout": "jik876-hifigan"}
    place.write_text(json.dumps(values), encoding="utf-8")
    assert load_saved(str(tmp_path / "model")).facts.trained == {
        "imported": "g_1", "checkpoint_format": "jik876-hifigan",
    }  # fmt: skip
