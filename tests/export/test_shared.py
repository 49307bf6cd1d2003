"""Graphs that point into model.safetensors: one folder that PyTorch and onnxruntime compute from the same weights."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from malsori.asr.ctc_encoders import ConformerCtcEncoder
from malsori.asr.onnx_ctc import OnnxConformerCtcEncoder
from malsori.asr.recognizer import load_aligner, load_recognizer
from malsori.asr.whisper import whisper_engine
from malsori.asr.whisper_network import NetworkWhisper
from malsori.asr.whisper_onnx import OnnxWhisper
from malsori.audio.io import save_audio
from malsori.config import RECOGNITION_AUDIO, WHISPER_AUDIO
from malsori.errors import DeviceError, FileError, ModelError
from malsori.export.folder import export_model
from malsori.export.graph import Graph, traced
from malsori.export.shared import without_weights
from malsori.pretrained.exported import ExportFacts, GraphFacts, OnnxGraphs
from malsori.pretrained.folder import read_weights, save_tensors
from malsori.pretrained.hub import load_saved, resolve
from malsori.pretrained.storage import pack
from malsori.runtime import onnx, threads
from malsori.tts.voice import load_voice

from . import small
from .test_folder import _WITHOUT
from .test_listening import noise, saved

pytest.importorskip("onnx")

CLOSE = {"float16": 1e-4, "int8": 0.03}  # of the greatest logit


@pytest.fixture(scope="module")
def conformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small recognizer that both runtimes open."""
    jaxtyping.config.update("jaxtyping_disable", True)
    folder = tmp_path_factory.mktemp("conformer")
    saved(folder / "model", "conformer", small.conformer(64), RECOGNITION_AUDIO)
    export_model(str(folder / "model"), folder / "both", "int8", shared_weights=True)
    return folder / "both"


@pytest.mark.parametrize("dtype", [pytest.param("float16", marks=pytest.mark.slow), "int8"])
def test_both_runtimes_compute_the_same_from_one_folder(dtype, tmp_path):
    saved(tmp_path / "model", "whisper", small.whisper(hidden_size=64, ffn_size=128), WHISPER_AUDIO)
    export_model(str(tmp_path / "model"), tmp_path / "both", dtype, shared_weights=True)
    model, graphs = load_saved(str(tmp_path / "both")), load_saved(str(tmp_path / "both"), graphs=True)
    network, exported = whisper_engine(model), whisper_engine(graphs)
    assert isinstance(network, NetworkWhisper) and isinstance(exported, OnnxWhisper)
    ids = np.array([[3, 1, 4, 1, 5]])
    for seconds in (0.5, 2.0):
        wanted, _ = network.start(noise(seconds)[None]).step(ids)
        found, _ = exported.start(noise(seconds)[None]).step(ids)
        assert np.abs(found - wanted).max() < CLOSE[dtype] * np.abs(wanted).max()
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "both").iterdir()}
    assert max(sizes["encoder.onnx"], sizes["decoder.onnx"]) < sizes["model.safetensors"]


def test_int8_products_are_of_the_rows_that_are_stored(conformer):
    import onnx

    graph = onnx.load(str(conformer / "encoder.onnx"), load_external_data=False).graph
    rows = [one for one in graph.initializer if one.name.endswith(".rows")]
    assert rows and all(one.data_location == onnx.TensorProto.EXTERNAL for one in rows)
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) > 10


class Layer(torch.nn.Module):
    """A linear layer where the traced modules have their network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.ModuleDict({"layer": torch.nn.Linear(64, 64)})

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.network["layer"](hidden)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize(
    ("how", "operator"),
    [
        ({}, "MatMulInteger"),
        ({"stepwise": True}, "MatMulNBits"),
        ({"stepwise": True, "precise": ("layer.weight",)}, "MatMul"),
    ],
)
def test_a_time_that_is_far_louder_than_the_others_takes_nothing_from_them(how, operator, opset, tmp_path):
    import onnx as onnx_format

    torch.manual_seed(0)
    module, hidden = Layer(), torch.randn(1, 50, 64)
    hidden[0, 7] *= 300.0
    hidden[0, 9] = 0.0
    weights = tmp_path / "model.safetensors"
    save_tensors(weights, pack(module.network.state_dict(), "int8"))
    module.network.load_state_dict(read_weights(weights))
    wanted = module(hidden).detach().numpy()
    content = traced(Graph(module, {"hidden": hidden}, ("out",), {"hidden": {1: "steps"}}), opset, folded=False)
    (tmp_path / "layer.onnx").write_bytes(without_weights(content, weights, **how))
    graph = onnx_format.load(str(tmp_path / "layer.onnx"), load_external_data=False).graph
    assert [node.op_type for node in graph.node if node.op_type.startswith("MatMul")] == [operator]
    facts = ExportFacts(
        opset=opset, weights="int8", graphs={"layer": GraphFacts(file="layer.onnx", inputs={}, outputs={})}
    )
    (found,) = onnx.OnnxSession(OnnxGraphs(tmp_path, facts), "layer").run(hidden=hidden.numpy())
    assert (np.abs(found - wanted).max(-1) <= 0.02 * np.abs(wanted).max(-1) + 1e-6).all()


def test_attention_is_not_computed_in_int8_over_a_whole_sound():
    import onnx as onnx_format

    folder = resolve("whisper-base-ko")
    for name, wanted in (("encoder", {"MatMulInteger": 12}), ("decoder", {"MatMulNBits": 49})):
        graph = onnx_format.load(str(folder / f"{name}.onnx"), load_external_data=False).graph
        found = Counter(node.op_type for node in graph.node if node.op_type in ("MatMulInteger", "MatMulNBits"))
        assert found == wanted


def test_a_whole_sound_is_attended_to_head_by_head_for_all_scores_at_once_are_dear():
    import onnx as onnx_format

    graph = onnx_format.load(str(resolve("whisper-base-ko") / "encoder.onnx"), load_external_data=False).graph
    blocks, heads = 6, 8
    assert Counter(node.op_type for node in graph.node)["Softmax"] == blocks * heads


def test_auto_takes_the_graphs_on_a_cpu_and_the_network_where_a_precision_is_asked_for(conformer):
    name = str(conformer)
    assert onnx.chosen_runtime("auto", name, "cpu") == "onnx"
    assert onnx.chosen_runtime("torch", name) == onnx.chosen_runtime("auto", name, "cpu", "float32") == "torch"
    assert onnx.chosen_runtime("auto", "whisper-base-ko", "cpu") == "onnx"
    with pytest.raises(DeviceError, match="no device 'gpu'"):
        load_recognizer(name, "gpu")
    assert isinstance(load_recognizer(name, "cpu").decoder.encoder, OnnxConformerCtcEncoder)
    assert isinstance(load_recognizer(name, "cpu", runtime="torch").decoder.encoder, ConformerCtcEncoder)
    assert not isinstance(load_aligner(name, "cpu").model.network, OnnxGraphs)


def test_auto_asks_pytorch_where_there_may_be_a_gpu(conformer, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx, "_GPU_FILES", (str(tmp_path),))
    for found, chosen in (("cuda", "torch"), ("cpu", "onnx")):
        monkeypatch.setattr("malsori.runtime.device.resolve_device", lambda found=found: torch.device(found))
        assert onnx.chosen_runtime("auto", str(conformer)) == chosen
    monkeypatch.setattr(onnx, "find_spec", lambda module: None)  # no PyTorch
    assert onnx.chosen_runtime("auto", str(conformer)) == "onnx"


def test_auto_takes_the_network_where_onnxruntime_is_not_installed_and_says_so_once(conformer, monkeypatch, caplog):
    monkeypatch.setattr(onnx, "find_spec", lambda module: None if module == "onnxruntime" else module)
    onnx._is_installed.cache_clear()
    with caplog.at_level(logging.WARNING, "malsori"):
        assert {onnx.chosen_runtime("auto", str(conformer), "cpu") for _ in range(2)} == {"torch"}
    assert [one.message for one in caplog.records] == [
        f"{conformer}: PyTorch computes it; onnxruntime would be faster: pip install onnxruntime"
    ]
    onnx._is_installed.cache_clear()


def test_graphs_that_do_not_open_leave_it_to_the_network_unless_they_are_asked_for(conformer, tmp_path, caplog):
    folder = tmp_path / "copy"
    shutil.copytree(conformer, folder)
    (folder / "encoder.onnx").write_bytes(b"no graph")
    with caplog.at_level(logging.WARNING, "malsori"):
        recognizer = load_recognizer(str(folder), "cpu")
    assert isinstance(recognizer.decoder.encoder, ConformerCtcEncoder)
    assert len(caplog.records) == 1 and "damaged, or no ONNX file" in caplog.records[0].message
    with pytest.raises(ModelError, match=r"encoder\.onnx: damaged, or no ONNX file"):
        load_recognizer(str(folder), runtime="onnx")


def test_graphs_are_not_computed_from_other_weights_than_theirs(conformer, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(conformer, folder)
    shutil.copyfile(conformer.parent / "model" / "model.safetensors", folder / "model.safetensors")  # float32
    with pytest.raises(ModelError, match="is not the file that the graphs beside it point into"):
        load_saved(str(folder), graphs=True)
    for content, told in ((b"\xff" * 9, "not a safetensors file"), (b"", "not a safetensors file")):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match=told):
            load_saved(str(folder), graphs=True)


def test_a_folder_that_holds_a_network_is_not_replaced(conformer):
    for shared in (False, True):
        with pytest.raises(FileError, match="holds something else than an export"):
            export_model("conformer-ko", conformer, shared_weights=shared)


def test_threads_are_what_was_asked_for_or_what_the_environment_says(monkeypatch):
    monkeypatch.setattr(threads, "_asked", [])
    for around, count in (("1", 1), ("100000", os.cpu_count())):
        monkeypatch.setenv("OMP_NUM_THREADS", around)
        assert threads.asked_threads() == count
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads.asked_threads() is None
    threads.use_threads(1)
    assert threads.asked_threads() == 1


@pytest.mark.slow
def test_the_built_in_ear_hears_where_torch_cannot_be_imported_what_pytorch_hears(tmp_path):
    speech = load_voice(device="cpu").say("오늘은 날씨가 참 좋네요. 내일은 비가 옵니다.")
    save_audio(tmp_path / "said.wav", speech.wave, speech.sample_rate)
    command = ["transcribe", str(tmp_path / "said.wav"), "--json"]
    done = subprocess.run([sys.executable, "-c", _WITHOUT, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = load_recognizer(device="cpu", runtime="torch").transcribe(tmp_path / "said.wav")
    assert json.loads(done.stdout)["text"] == wanted.text
