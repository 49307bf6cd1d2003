"""The hub: its cache first, nothing fetched where it must not be, and what can be told of a name that is none."""

import json
import shutil
import socket
from pathlib import Path

import huggingface_hub.constants
import pytest
from safetensors.torch import load_file, save_file

from malsori import cli
from malsori.errors import ModelError
from malsori.pretrained.folder import save_model
from malsori.pretrained.hub import load_saved, resolve
from malsori.pretrained.remote import from_hub, is_hub_id, remote_models
from malsori.systems import SYSTEMS

from ..models.harness import saved
from ..models.subjects import VOCOS
from .test_hub import SMALL, transformers_folder

COMMIT = "0" * 39 + "1"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network: to open a connection is an error that no test survives."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(cache: Path, hub_id: str, folder: Path) -> Path:
    """Put a folder's files into the cache as the hub's own client lays them, and return where."""
    place = cache / f"models--{hub_id.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(folder, place / "snapshots" / COMMIT))


def test_a_cached_model_opens_without_any_network(cache: Path, tmp_path: Path) -> None:
    save_model(saved(VOCOS, VOCOS.build()), tmp_path / "model")
    place = put(cache, "someone/vocoder", tmp_path / "model")
    assert resolve("someone/vocoder") == place
    assert load_saved("someone/vocoder").facts.system == "vocos"


def test_a_model_of_several_files_opens_from_the_cache_when_all_are_there(cache: Path, tmp_path: Path) -> None:
    transformers_folder(tmp_path / "whole", **SMALL)
    weights = load_file(tmp_path / "whole" / "model.safetensors")
    names, parts = sorted(weights), tmp_path / "parts"
    shutil.copytree(tmp_path / "whole", parts)
    (parts / "model.safetensors").unlink()
    where = {name: f"model-{1 + (place % 2):05}-of-00002.safetensors" for place, name in enumerate(names)}
    for file in set(where.values()):
        save_file({name: weights[name] for name in names if where[name] == file}, parts / file)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    place = put(cache, "someone/parts", parts)
    found = load_saved("someone/parts").network.state_dict()
    assert all(
        found[name].equal(value) for name, value in load_saved(str(tmp_path / "whole")).network.state_dict().items()
    )
    (place / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        ModelError, match="the Hugging Face hub did not give it"
    ):  # one is missing: the network is asked
        resolve("someone/parts")


def test_offline_says_that_it_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match=r"'openai/whisper-smal': .* HF_HUB_OFFLINE .*Did you mean 'openai/whisper-small'"
    ):
        resolve("openai/whisper-smal")
    assert not cache.exists()


def test_a_tokenizer_alone_is_taken_from_the_cache(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    place = put(cache, "someone/whisper", tmp_path / "tokenizer")
    assert from_hub("someone/whisper", ["tokenizer.json", "vocab.json"]) == place


NAMES = [
    *("", "  ", "whisper-base-koo", "a/b/c", "owner/na me", "./none", "/nowhere/x", "~/x", "x" * 300, "a/" + "y" * 200),
    *("a\0b", "a//b", "/", "..", "owner/..", "-x/y", "a/b--c", "openai\\whisper-base", "말소리", "말/소리", "C:\\a\\x"),
    *("owner/name@main", "\udcff", "a\nb", "*", "https://huggingface.co/openai/whisper-base/tree/main", "con/"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[1:25] for name in NAMES])
def test_a_name_that_is_no_model_s_is_told_in_one_line(
    name: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["say", "말", "-o", "a.wav", "--voice", name], ["say", "말", "-o", "a.wav", "--vocoder", name]):
        assert cli.run(command) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and len(told) < 400
        assert "fault of malsori" not in told


def test_what_would_be_right_is_said(tmp_path: Path) -> None:
    save_model(saved(VOCOS, VOCOS.build()), tmp_path / "runs" / "voice" / "model")
    for name, wanted in {
        "whisper-base-koo": "'whisper-base-ko'",
        "https://huggingface.co/owner/name/blob/main/config.json": "'owner/name'",
        "openai\\whisper-base": "'openai/whisper-base'",
        str(tmp_path / "runs" / "voise"): "runs/voice'",
    }.items():
        with pytest.raises(ModelError, match=f"Did you mean .*{wanted}.*OWNER/NAME"):
            resolve(name)
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"weights\.bin: is a file; name the folder of a model, or make one: malsori import"
    ):
        resolve(str(tmp_path / "weights.bin"))


def test_the_list_of_public_models_is_of_systems_that_open(capsys: pytest.CaptureFixture[str]) -> None:
    found = remote_models()
    assert len({model.hub_id for model in found}) == len(found) > 10
    assert all(is_hub_id(model.hub_id) and model.system in SYSTEMS and model.megabytes > 0 for model in found)
    assert {model.system for model in found} >= {"whisper", "wav2vec2", "vits"}
    assert cli.run(["models", "--remote"]) == 0
    assert "openai/whisper-large-v3-turbo" in capsys.readouterr().out
    assert cli.run(["models", "--remote", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0] == vars(found[0])
    assert cli.run(["models", "list", "x", "--remote"]) == 2
