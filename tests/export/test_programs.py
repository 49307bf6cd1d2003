"""Voices laid out for Piper and sherpa-onnx: the same sound by the graph alone, and by those programs."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from malsori.cli import run
from malsori.errors import ModelError, OptionError
from malsori.export.characters import characters
from malsori.export.programs import ProgramExport, export_for
from malsori.pretrained.hub import load_saved
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES
from malsori.tts.options import SayOptions
from malsori.tts.spelling import with_blanks
from malsori.tts.voice import load_voice

from . import small
from .test_folder import saved

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

TEXT = "네, 국물이 있어요?"
SILENT = [0.0, 1.0, 0.0]  # no noise; lengths as they are
CLOSE = 5e-3  # of a vocoder that filters pulses: the rounding of F0 adds up in the phase


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small voice of three speakers, `acoustic` and `vocoder`, and itself for Piper."""
    jaxtyping.config.update("jaxtyping_disable", True)
    folder = tmp_path_factory.mktemp("models")
    saved(folder / "acoustic", "fastspeech2", small.fastspeech2(), speakers=("가람", "나래", "다솜"))
    saved(folder / "vocoder", "vocos", small.excited_vocos())
    export_for("piper", str(folder / "acoustic"), folder / "piper", ProgramExport(vocoder=str(folder / "vocoder")))
    return folder


@pytest.fixture(scope="module")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small VITS, `model`, and itself for either program."""
    jaxtyping.config.update("jaxtyping_disable", True)
    folder = tmp_path_factory.mktemp("vits")
    sized = small.vits(stochastic=True)
    saved(folder / "model", "vits", small.drawn(type(sized)(sized.config)))
    for program in ("piper", "sherpa-onnx"):
        export_for(program, str(folder / "model"), folder / program)
    return folder


def pronounced(text: str = TEXT) -> str:
    return Frontend(morphology=False).read(text).pronounced


def say(models: Path, text: str = TEXT, **options: Any) -> np.ndarray:
    voice = load_voice(str(models / "acoustic"), str(models / "vocoder"), device="cpu")
    voice.frontend = Frontend(morphology=False)
    return voice.say(text, SayOptions(**options)).wave


def vits_wave(folder: Path) -> np.ndarray:
    """Return the text's wave by PyTorch, without noise."""
    network: Any = load_saved(str(folder / "model")).network
    ids = PHONEMES.encode(Frontend(morphology=False).read(TEXT).phonemes)
    blanked = torch.tensor([with_blanks(ids) if network.config.blanks else ids])
    return network.infer(blanked, noise_scale=0.0, duration_noise_scale=0.0).wave[0].numpy()


def opened(path: Path) -> Any:
    """Return a function from a text and scales to the wave."""
    session, numbers = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]), list(characters())

    def run(text: str, scales: list[float], **more: Any) -> np.ndarray:
        ids = np.array([[numbers.index(one) for one in text]])
        lengths = np.array([ids.shape[1]])
        given = {"input": ids, "input_lengths": lengths, "scales": np.array(scales, np.float32), **more}
        (wave,) = session.run(None, given)
        assert wave.ndim == 3
        return wave[0, 0]

    return run


def test_characters_of_a_pronounced_text_are_the_phonemes_of_the_front_end(models):
    run, first = opened(models / "piper" / "voice.onnx"), {"sid": np.array([0])}
    text, wanted = pronounced(), say(models)
    assert text == "네, 궁무리 이써요?"
    jamo = unicodedata.normalize("NFD", text)
    padded = "^_" + "_".join(jamo) + "_$"  # as Piper numbers it
    for written in (text, jamo, padded, text.replace(" ", "  ") + " "):
        np.testing.assert_allclose(run(written, SILENT, **first), wanted, atol=CLOSE)
    without = run(text[:-1], SILENT, **first)
    np.testing.assert_allclose(without, say(models, TEXT[:-1]), atol=CLOSE)  # an end is put to it


def test_a_voice_of_several_speakers_takes_the_speaker_and_the_length(models):
    found = opened(models / "piper" / "voice.onnx")(pronounced(), [0.667, 0.5, 0.8], sid=np.array([1]))
    np.testing.assert_allclose(found, say(models, speaker="나래", speed=2.0), atol=CLOSE)
    told = json.loads((models / "piper" / "voice.onnx.json").read_text(encoding="utf-8"))
    assert told["speaker_id_map"] == {"가람": 0, "나래": 1, "다솜": 2} and told["num_speakers"] == 3


@pytest.mark.slow
def test_a_vits_is_the_same_without_noise_and_draws_it_in_the_graph(vits):
    run = opened(vits / "piper" / "voice.onnx")
    np.testing.assert_allclose(run(pronounced(), SILENT), vits_wave(vits), atol=1e-3)
    waves = [run(pronounced(), [0.667, 1.0, 0.0]) for _ in range(2)]
    assert waves[0].shape == waves[1].shape and np.abs(waves[0] - waves[1]).max() > 1e-4


@pytest.mark.slow
def test_piper_says_the_same(models, vits):
    piper = pytest.importorskip("piper", reason="piper-tts is not installed")
    voice = piper.PiperVoice.load(vits / "piper" / "voice.onnx")
    how = piper.SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, normalize_audio=False)
    found = np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(pronounced(), how)])
    assert voice.config.sample_rate == 22050
    np.testing.assert_allclose(found, vits_wave(vits).clip(-1, 1), atol=1e-3)
    several = piper.PiperVoice.load(models / "piper" / "voice.onnx")
    how = piper.SynthesisConfig(several.config.speaker_id_map["다솜"], normalize_audio=False)
    found = np.concatenate([chunk.audio_float_array for chunk in several.synthesize(pronounced(), how)])
    np.testing.assert_allclose(found, say(models, speaker="다솜"), atol=1e-3)


@pytest.mark.slow
def test_sherpa_onnx_says_the_same(vits):
    sherpa = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed")
    folder = vits / "sherpa-onnx"
    how = sherpa.OfflineTtsVitsModelConfig(
        model=str(folder / "voice.onnx"), tokens=str(folder / "tokens.txt"), noise_scale=0.0, noise_scale_w=0.0
    )
    config = sherpa.OfflineTtsConfig(model=sherpa.OfflineTtsModelConfig(vits=how, num_threads=1))
    assert config.validate()
    said = sherpa.OfflineTts(config).generate(pronounced(), sid=0, speed=1.0)
    assert said.sample_rate == 22050
    np.testing.assert_allclose(np.array(said.samples), vits_wave(vits), atol=1e-3)


def test_what_has_no_place_is_refused_and_only_its_own_is_replaced(models, tmp_path, capsys, monkeypatch):
    acoustic = str(models / "acoustic")
    with pytest.raises(OptionError, match="--for festival: one of piper, sherpa-onnx, onnx-asr"):
        export_for("festival", acoustic, tmp_path / "new")
    with pytest.raises(ModelError, match=r"piper has no place for a vocos; for one of fastspeech, fastspeech2, vits$"):
        export_for("piper", str(models / "vocoder"), tmp_path / "new")
    with pytest.raises(ModelError, match="sherpa-onnx has no place for a conformer"):
        export_for("sherpa-onnx", "conformer-ko", tmp_path / "new")
    assert run(["export", acoustic, str(tmp_path / "new"), "--for", "piper", "--shared-weights"]) == 2
    assert "a graph for piper holds its weights" in capsys.readouterr().err
    assert run(["export", acoustic, acoustic, "--for", "piper"]) == 2
    assert not list(tmp_path.iterdir()) and (models / "acoustic" / "config.json").is_file()
    monkeypatch.setattr("malsori.export.programs.onnx_bytes", lambda *_rest: b"a graph")
    asked = ["export", acoustic, str(tmp_path / "new"), "--vocoder", str(models / "vocoder"), "--for", "piper"]
    assert run(asked) == 0 and run(asked) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"voice.onnx", "voice.onnx.json", "card.md"}
