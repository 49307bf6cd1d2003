"""The folder that `malsori export` writes: whole or not at all, with all that a voice needs, read without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from malsori.cli import run
from malsori.config import AudioConfig
from malsori.errors import DeviceError, FileError, ModelError, OptionError
from malsori.export.folder import export_model
from malsori.pretrained.folder import ModelFacts, SavedModel, save_model
from malsori.pretrained.hub import load_model, load_saved
from malsori.text.symbols import PHONEMES
from malsori.tts.options import SayOptions
from malsori.tts.voice import load_voice

from . import small

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

AUDIO = AudioConfig()


def saved(folder: Path, system: str, network: Any, **facts: Any) -> Path:
    symbols = {"phonemes": PHONEMES} if system in ("fastspeech2", "vits", "tacotron2") else {}
    described = ModelFacts(
        system=system,
        model=network.config.model_dump(mode="json"),
        audio=AUDIO,
        audio_fingerprint=AUDIO.fingerprint(),
        license="MIT",
        frontend={"version": "1", "rules": "2"},
        **facts,
    )
    save_model(SavedModel(described, symbols, network, f"# {system}\n"), folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds small models, and an exported voice."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    folder = tmp_path_factory.mktemp("models")
    saved(folder / "acoustic", "fastspeech2", small.fastspeech2(), speakers=("가람", "나래", "다솜"))
    saved(folder / "vocoder", "vocos", small.vocos())
    export_model(str(folder / "acoustic"), folder / "onnx", vocoder=str(folder / "vocoder"))
    return folder


def test_an_exported_voice_says_the_same(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)  # it takes seconds to load, and nothing here hangs on it
    text, options = "안녕하세요. 반갑습니다!", SayOptions(speaker="나래", speed=1.2, energy=0.5)
    wanted = load_voice(str(models / "acoustic"), str(models / "vocoder"), device="cpu").say(text, options)
    voice = load_voice(str(models / "onnx"))
    found = voice.say(text, options)
    assert voice.speakers == ("가람", "나래", "다솜") and voice.vocoder.context_frames == 11
    assert found.alignment == wanted.alignment
    np.testing.assert_allclose(found.mel, wanted.mel, atol=1e-3)
    np.testing.assert_allclose(found.wave, wanted.wave, atol=1e-3)
    streamed = np.concatenate([chunk.wave for chunk in voice.stream(text, options)])
    np.testing.assert_allclose(streamed, found.wave, atol=1e-4)


def test_the_folder_says_what_the_graphs_take(models):
    told = json.loads((models / "onnx" / "onnx.json").read_text(encoding="utf-8"))
    assert told["opset"] == 18 and told["weights"] == "float32" and set(told["graphs"]) == {"acoustic", "vocoder"}
    assert told["graphs"]["acoustic"]["inputs"]["token_ids"] == [1, "tokens"]
    assert told["graphs"]["vocoder"]["outputs"] == {"wave": [1, "samples"]}
    card = (models / "onnx" / "card.md").read_text(encoding="utf-8")
    assert "# fastspeech2" in card and "# vocos" in card and "License: as the model's, MIT" in card


_WITHOUT = """
import sys
for absent in "torch numba lhotse scipy onnx kiwipiepy huggingface_hub yaml".split():
    sys.modules[absent] = None
from malsori.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_an_exported_voice_speaks_where_torch_cannot_be_imported(models, tmp_path):
    out = tmp_path / "hello.wav"
    command = ["say", "안녕하세요.", "--voice", str(models / "onnx"), "-o", str(out), "--threads", "1"]
    done = subprocess.run([sys.executable, "-c", _WITHOUT, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 1000


def test_what_cannot_be_served_is_refused(models, tmp_path):
    onnx, acoustic = str(models / "onnx"), str(models / "acoustic")
    with pytest.raises(ModelError, match="was exported and runs with --runtime onnx"):
        load_voice(onnx, runtime="torch")
    with pytest.raises(ModelError, match=r"is no exported model; make one: malsori export .*acoustic FOLDER"):
        load_voice(acoustic, runtime="onnx")
    with pytest.raises(DeviceError, match="no runtime 'onx'"):
        load_voice(onnx, runtime="onx")
    with pytest.raises(DeviceError, match="computed on the CPU"):
        load_voice(onnx, device="cuda")
    with pytest.raises(DeviceError, match="has the one it was exported in"):
        load_voice(onnx, precision="bfloat16")
    with pytest.raises(ModelError, match="is an export"):
        load_model(onnx)
    with pytest.raises(ModelError, match="is an export"):
        export_model(onnx, tmp_path / "again")
    with pytest.raises(OptionError, match="--opset 30: 17 to 22"):
        export_model(acoustic, tmp_path / "new", opset=30)
    with pytest.raises(OptionError, match="makes no mels"):
        export_model(str(models / "vocoder"), tmp_path / "new", vocoder="vocos-ko")
    with pytest.raises(ModelError, match="is no vocoder"):
        export_model(acoustic, tmp_path / "new", vocoder=acoustic)
    assert not list(tmp_path.iterdir())


def test_a_tacotron_is_refused_with_what_can_be_exported(tmp_path, capsys):
    from malsori.models.tacotron2 import Tacotron2, Tacotron2Config

    saved(tmp_path / "tacotron", "tacotron2", Tacotron2(Tacotron2Config(hidden_size=16)).eval())
    assert run(["export", str(tmp_path / "tacotron"), str(tmp_path / "out")]) == 2
    assert "a tacotron2 cannot be exported; one of conformer, fastspeech" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_or_missing_graph_is_told(models, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(models / "onnx", folder)
    (folder / "acoustic.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"acoustic\.onnx: damaged, or no ONNX file"):
        load_voice(str(folder))
    (folder / "acoustic.onnx").unlink()
    with pytest.raises(ModelError, match=r"acoustic\.onnx: no such file; export the model again"):
        load_voice(str(folder))
    told = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))
    told["graphs"]["acoustic"]["file"] = "../acoustic.onnx"
    (folder / "onnx.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(Exception, match=r"graphs\.acoustic\.file"):
        load_saved(str(folder))


def test_nothing_but_an_earlier_export_is_replaced(models, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(FileError, match="file: cannot be written"):
        export_model(str(models / "vocoder"), tmp_path / "file")
    for taken in (models / "acoustic", tmp_path):
        with pytest.raises(FileError, match="holds something else than an export"):
            export_model(str(models / "vocoder"), taken)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine" and (models / "acoustic/config.json").is_file()
    for _ in range(2):
        export_model(str(models / "vocoder"), tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "new"}


def test_an_export_that_fails_leaves_nothing(models, tmp_path, monkeypatch):
    def fail(*_rest: object) -> bytes:
        raise RuntimeError("no room")

    monkeypatch.setattr("malsori.export.folder.onnx_bytes", fail)
    with pytest.raises(RuntimeError):
        export_model(str(models / "vocoder"), tmp_path / "out")
    assert not list(tmp_path.iterdir())
