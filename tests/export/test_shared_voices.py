"""A voice's and a vocoder's graphs that point into model.safetensors: PyTorch and onnxruntime say the same."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from malsori.cli import run
from malsori.errors import DeviceError, ModelError, OptionError
from malsori.export.folder import export_model
from malsori.pretrained.exported import OnnxGraphs, weights_layout
from malsori.pretrained.folder import open_model, save_model
from malsori.pretrained.hub import built_in, load_saved, resolve
from malsori.runtime.onnx import open_graph
from malsori.tts.acoustic import FastSpeech2Adapter
from malsori.tts.onnx import OnnxAcousticModel, OnnxVocoder
from malsori.tts.options import SayOptions
from malsori.tts.vocoders import NetworkVocoder
from malsori.tts.voice import Voice, load_voice

from . import small
from .test_folder import saved

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

TEXT, OPTIONS = "안녕하세요. 반갑습니다!", SayOptions(speaker="나래", speed=1.2, energy=0.5, pitch=2)


@pytest.fixture(autouse=True)
def without_kiwi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)  # it takes seconds to load, and nothing here hangs on it


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a small voice and vocoder, `acoustic` and `vocoder`, graphs beside their own weights."""
    jaxtyping.config.update("jaxtyping_disable", True)
    folder = tmp_path_factory.mktemp("models")
    saved(folder / "acoustic", "fastspeech2", small.fastspeech2(), speakers=("가람", "나래", "다솜"))
    saved(folder / "vocoder", "vocos", small.excited_vocos())
    for name in ("acoustic", "vocoder"):
        export_model(str(folder / name), folder / name, shared_weights=True)
    return folder


def both(models: Path, **how: str) -> Voice:
    return load_voice(str(models / "acoustic"), str(models / "vocoder"), device="cpu", **how)


def test_one_folder_speaks_alike_by_both_runtimes_whole_and_in_chunks(models):
    found, wanted = both(models), both(models, runtime="torch")
    assert isinstance(found.acoustic, OnnxAcousticModel) and isinstance(found.vocoder, OnnxVocoder)
    assert isinstance(wanted.acoustic, FastSpeech2Adapter) and isinstance(wanted.vocoder, NetworkVocoder)
    for options in (OPTIONS, SayOptions()):
        speech, other = found.say(TEXT, options), wanted.say(TEXT, options)
        assert speech.alignment == other.alignment
        np.testing.assert_allclose(speech.wave, other.wave, atol=5e-3)  # F0's rounding adds up in the phase
        streamed = np.concatenate([chunk.wave for chunk in found.stream(TEXT, options)])
        np.testing.assert_allclose(streamed, speech.wave, atol=1e-4)
    precise = both(models, precision="float32")
    assert isinstance(precise.acoustic, FastSpeech2Adapter) and isinstance(precise.vocoder, NetworkVocoder)


def test_graphs_are_added_to_a_model_and_its_weights_stay(models, tmp_path):
    for name, graphs in (("acoustic", ["acoustic.onnx"]), ("vocoder", ["excitation.onnx", "vocoder.onnx"])):
        folder = tmp_path / name
        save_model(open_model(models / name), folder, "float16")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        told = export_model(str(folder), folder, shared_weights=True)
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert told.weights == "float16" and set(after) == {*before, *graphs, "onnx.json"}
        assert all(after[file] == content for file, content in before.items())
        assert json.loads(after["onnx.json"]) == told.model_dump(mode="json")
        assert isinstance(load_saved(str(folder), graphs=True).network, OnnxGraphs)


def test_graphs_compute_whatever_weights_lie_beside_them(models, tmp_path):
    """No weight is hidden in a graph: learnt on, and saved in the same places, they are what is computed."""
    learnt = tmp_path / "learnt"
    shutil.copytree(models / "vocoder", learnt)
    other = load_saved(str(models / "vocoder"))
    other.network.load_state_dict(small.drawn(type(other.network)(other.network.config), seed=1).state_dict())
    save_model(other, tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "model.safetensors", learnt / "model.safetensors")
    mel = np.random.default_rng(0).standard_normal((30, 80), np.float32)
    found, wanted = OnnxVocoder(load_saved(str(learnt), graphs=True)), NetworkVocoder(load_saved(str(learnt)))
    source = wanted.excite(mel)
    np.testing.assert_allclose(found.vocode(mel, source), wanted.vocode(mel, source), atol=1e-4)
    np.testing.assert_allclose(found.excite(mel), source, atol=0.05)
    before = OnnxVocoder(load_saved(str(models / "vocoder"), graphs=True))
    assert np.abs(found.vocode(mel, source) - before.vocode(mel, source)).max() > 1e-2
    assert np.abs(found.excite(mel) - before.excite(mel)).max() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("system", ["hifigan", "conformer", "wav2vec2", "vits"])
def test_no_graph_with_shared_weights_holds_weights(system, tmp_path):
    import onnx

    sized = small.vits(stochastic=True) if system == "vits" else getattr(small, system)()
    saved(tmp_path / "model", system, small.drawn(type(sized)(sized.config)))
    told = export_model(str(tmp_path / "model"), tmp_path / "both", shared_weights=True)
    stored = load_saved(str(tmp_path / "both")).network.state_dict()
    values = {tuple(np.sort(tensor.numpy().ravel())[:64]) for tensor in stored.values() if tensor.numel() > 8}
    exported = load_saved(str(tmp_path / "both"), graphs=True)
    for name, one in told.graphs.items():
        assert open_graph(exported, name).inputs
        graph = onnx.load(str(tmp_path / "both" / one.file), load_external_data=False).graph
        for weight in graph.initializer:
            if weight.data_location != onnx.TensorProto.EXTERNAL:
                assert tuple(np.sort(onnx.numpy_helper.to_array(weight).ravel())[:64]) not in values, weight.name


def test_what_cannot_be_served_is_refused(models, tmp_path):
    acoustic, vocoder = str(models / "acoustic"), str(models / "vocoder")
    with pytest.raises(OptionError, match=r"--vocoder .*: with --shared-weights it is a folder of its own"):
        export_model(acoustic, tmp_path / "new", vocoder=vocoder, shared_weights=True)
    with pytest.raises(DeviceError, match="griffin-lim is no graph"):
        load_voice(acoustic, "griffin-lim", device="cpu", runtime="onnx")
    save_model(open_model(models / "vocoder"), tmp_path / "plain")
    with pytest.raises(ModelError, match="is no exported model; make one"):
        load_voice(acoustic, str(tmp_path / "plain"), device="cpu", runtime="onnx")
    mixed = load_voice(acoustic, str(tmp_path / "plain"), device="cpu")
    assert isinstance(mixed.acoustic, OnnxAcousticModel) and isinstance(mixed.vocoder, NetworkVocoder)
    assert run(["export", acoustic, str(tmp_path / "other"), "--shared-weights", "--vocoder", vocoder]) == 2
    assert not (tmp_path / "new").exists() and not (tmp_path / "other").exists()


def test_graphs_that_do_not_open_leave_it_to_pytorch_which_is_told(models, tmp_path, caplog):
    shutil.copytree(models, tmp_path / "copy")
    for name in ("acoustic", "vocoder"):
        (tmp_path / "copy" / name / f"{name}.onnx").write_bytes(b"no graph")
    with caplog.at_level(logging.WARNING, "malsori"):
        voice = both(tmp_path / "copy")
    assert isinstance(voice.acoustic, FastSpeech2Adapter) and isinstance(voice.vocoder, NetworkVocoder)
    assert [one.message.endswith("PyTorch computes it instead") for one in caplog.records] == [True, True]


def test_the_built_in_graphs_belong_to_the_built_in_weights():
    """Where this fails after a model was replaced: malsori export NAME src/malsori/assets/NAME --shared-weights."""
    names = [model.name for model in built_in() if (resolve(model.name) / "onnx.json").is_file()]
    assert {"fastspeech2-ko", "vocos-ko", "whisper-base-ko"} <= set(names)
    for name in names:
        told = json.loads((resolve(name) / "onnx.json").read_text(encoding="utf-8"))
        assert told["weights_layout"] == weights_layout(resolve(name) / "model.safetensors"), name
    options = SayOptions(speed=1.1, energy=0.5)
    found, wanted = (load_voice(device="cpu", runtime=one).say(TEXT, options) for one in ("onnx", "torch"))
    assert found.alignment == wanted.alignment
    np.testing.assert_allclose(found.wave, wanted.wave, atol=1e-3)


_MODULES = """
import sys
for absent in ("torch", "kiwipiepy", "onnx"):
    sys.modules[absent] = None
from malsori.cli import run
code = run(sys.argv[1:])
heavy = {"scipy", "numba", "lhotse", "pandas", "matplotlib", "PIL", "sklearn", "huggingface_hub", "transformers"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def test_the_built_in_voice_speaks_without_anything_heavy(tmp_path):
    command = [sys.executable, "-c", _MODULES, "say", "안녕하세요.", "-o", str(tmp_path / "hello.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]" and (tmp_path / "hello.wav").stat().st_size > 10_000
