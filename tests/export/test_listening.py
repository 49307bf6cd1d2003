"""Exported recognizers beside the networks they were made from: from the wave on; without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

from malsori.asr.encode import ctc_encoder, phoneme_encoder
from malsori.asr.recognizer import load_recognizer
from malsori.asr.whisper import whisper_engine
from malsori.audio.io import save_audio
from malsori.config import RECOGNITION_AUDIO, WHISPER_AUDIO, AudioConfig
from malsori.errors import ModelError
from malsori.export.folder import export_model
from malsori.pretrained.folder import ModelFacts, SavedModel, save_model
from malsori.pretrained.hub import load_saved
from malsori.text.symbols import JAMO
from malsori.tts.voice import load_voice

from . import small
from .test_folder import _WITHOUT

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

AUDIO = {"conformer": RECOGNITION_AUDIO, "whisper": WHISPER_AUDIO, "wav2vec2": RECOGNITION_AUDIO}


@pytest.fixture(scope="module", params=AUDIO)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SavedModel, SavedModel]:
    """Return a small recognizer, and itself exported."""
    jaxtyping.config.update("jaxtyping_disable", True)
    folder, system = tmp_path_factory.mktemp(request.param), request.param
    network = small.wav2vec2_to_save() if system == "wav2vec2" else getattr(small, system)()
    saved(folder / "model", system, network, AUDIO[system])
    export_model(str(folder / "model"), folder / "onnx")
    return load_saved(str(folder / "model")), load_saved(str(folder / "onnx"))


def saved(folder: Path, system: str, network: Any, audio: AudioConfig) -> None:
    facts = ModelFacts(
        system=system,
        model=network.config.model_dump(mode="json"),
        audio=audio,
        audio_fingerprint=audio.fingerprint(),
    )
    save_model(SavedModel(facts, {"jamo": JAMO}, network), folder)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)


def test_an_exported_recognizer_hears_the_same(pair):
    model, exported = pair
    if model.facts.system == "whisper":
        found, wanted = whisper_engine(exported), whisper_engine(model)
        assert found.max_seconds == wanted.max_seconds
        for seconds in (0.5, 0.73, 2.0):  # short ones in a window of silence, and the whole window
            _same_states(found.start(noise(seconds)[None]), wanted.start(noise(seconds)[None]), 1)
        several = np.stack([noise(0.5, 1), noise(0.5, 2)])
        _same_states(found.start(several), wanted.start(several), 2)
        return
    for seconds in (0.4, 1.37):
        found, wanted = (ctc_encoder(one).posteriors(noise(seconds)) for one in (exported, model))
        assert (found.blank, found.seconds) == (wanted.blank, wanted.seconds)
        assert found.first_seconds == pytest.approx(wanted.first_seconds)
        assert found.frame_seconds == pytest.approx(wanted.frame_seconds)
        np.testing.assert_allclose(found.log_probs, wanted.log_probs, atol=1e-3)


def _same_states(found: Any, wanted: Any, rows: int) -> None:
    ids = np.arange(3 * rows).reshape(rows, 3)
    (ours, _), (theirs, _) = (state.score(ids, ((1, 0), (1, 1))) for state in (found, wanted))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    for new in (ids, ids[:, :1], ids[:, :2]):
        ours, found = found.step(new)
        theirs, wanted = wanted.step(new)
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    kept = np.zeros(3, dtype=int) if rows == 1 else np.array([1, 1, 0])
    ours, theirs = (state.select(kept).step(np.array([[4], [5], [6]]))[0] for state in (found, wanted))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_an_exported_recognizer_does_not_align(pair):
    told = "no phoneme output" if pair[1].facts.system == "whisper" else "an exported model transcribes only"
    with pytest.raises(ModelError, match=told):
        phoneme_encoder(pair[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conformer-ko", "whisper-base-ko"])
def test_a_built_in_recognizer_writes_the_same_where_torch_cannot_be_imported(name, tmp_path):
    speech = load_voice(device="cpu").say("오늘은 날씨가 참 좋네요. 내일은 비가 옵니다.")
    save_audio(tmp_path / "said.wav", speech.wave, speech.sample_rate)
    export_model(name, tmp_path / "onnx")
    command = ["transcribe", str(tmp_path / "said.wav"), "--model", str(tmp_path / "onnx"), "--json"]
    done = subprocess.run([sys.executable, "-c", _WITHOUT, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = load_recognizer(name, device="cpu", precision="float32").transcribe(tmp_path / "said.wav")
    found = json.loads(done.stdout)
    assert found["text"] == wanted.text
    for ours, theirs in zip(found["segments"], wanted.segments, strict=True):
        assert ours["start"] == pytest.approx(theirs.start, abs=0.03)


@pytest.mark.slow
def test_the_built_in_voice_says_the_same(tmp_path):
    export_model("fastspeech2-ko", tmp_path / "onnx")
    text = "오늘은 날씨가 참 좋네요. 내일은 비가 옵니다."
    wanted, found = (load_voice(name, device="auto").say(text) for name in (None, str(tmp_path / "onnx")))
    np.testing.assert_allclose(found.mel, wanted.mel, atol=1e-3)
    np.testing.assert_allclose(found.wave, wanted.wave, atol=1e-3)


def test_a_whisper_with_the_graphs_of_an_earlier_malsori_is_told(tmp_path):
    saved(tmp_path / "model", "whisper", small.whisper(), AUDIO["whisper"])
    export_model(str(tmp_path / "model"), tmp_path / "onnx")
    stacked = (tmp_path / "onnx" / "encoder.onnx").read_bytes()  # any graph that takes other inputs
    (tmp_path / "onnx" / "decoder.onnx").write_bytes(stacked)
    with pytest.raises(ModelError, match="onnx: its graphs are of an earlier malsori; export the model again"):
        whisper_engine(load_saved(str(tmp_path / "onnx")))
