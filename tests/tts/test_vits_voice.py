"""VITS as a voice: a public folder and a run of ours, through Python and the command line."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from malsori.audio.io import load_audio
from malsori.cli import run as command
from malsori.config import AudioConfig
from malsori.errors import ModelError, OptionError
from malsori.models.vits import Vits, VitsConfig
from malsori.pretrained.folder import ModelFacts, SavedModel, save_model
from malsori.text.frontend import FRONTEND_VERSION
from malsori.text.symbols import PHONEMES
from malsori.tts.options import SayOptions
from malsori.tts.roles import EndToEndVoice
from malsori.tts.vocoders import GriffinLim
from malsori.tts.voice import Voice, load_voice

SMALL = {
    "vocab_size": 24, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 24,
    "flow_size": 16, "upsample_initial_channel": 16, "upsample_rates": [16, 16], "upsample_kernel_sizes": [32, 32],
    "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]], "posterior_encoder_num_wavenet_layers": 1,
    "prior_encoder_num_wavenet_layers": 1,
}  # fmt: skip
TEXT = "안녕하세요, 오늘은 날씨가 좋네요. 또 만나요!"


@pytest.fixture(scope="module")
def public(tmp_path_factory) -> Path:
    """A folder as facebook/mms-tts-kor is one: Latin letters, blanks, 16 kHz."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("uroman")
    folder = tmp_path_factory.mktemp("mms")
    torch.manual_seed(0)
    transformers.VitsModel(transformers.VitsConfig(**SMALL)).save_pretrained(folder)
    letters = {letter: number for number, letter in enumerate("kaeiou ngsmhydlrbjptc-'w")}
    (folder / "vocab.json").write_text(json.dumps(letters))
    reading = {"add_blank": True, "is_uroman": True, "phonemize": False, "normalize": True, "language": "kor"}
    (folder / "tokenizer_config.json").write_text(json.dumps(reading))
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A folder of ours with two speakers and random weights."""
    config = VitsConfig.parse(
        {
            "speakers": 2, "speaker_embedding_size": 4, "hidden_size": 16, "latent_channels": 8,
            "num_encoder_layers": 1,
            "ffn_size": 16, "num_posterior_layers": 1, "num_flows": 2, "num_flow_layers": 1,
            "decoder": {"mel_channels": 8, "channels": 16, "upsample_rates": (16, 16), "upsample_kernel_sizes": (32,
            32)},
        },
        "test",
    )  # fmt: skip
    torch.manual_seed(0)
    audio = AudioConfig()
    facts = ModelFacts(
        system="vits", model=config.model_dump(), audio=audio, audio_fingerprint=audio.fingerprint(),
        frontend={"version": FRONTEND_VERSION}, speakers=("kim", "lee"),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("own") / "model"
    save_model(SavedModel(facts, {"phonemes": PHONEMES}, Vits(config)), folder)
    return folder


@pytest.mark.parametrize("kind", ["public", "own"])
def test_a_text_is_spoken_with_times_that_add_up(kind: str, request: pytest.FixtureRequest) -> None:
    voice = load_voice(str(request.getfixturevalue(kind)))
    speech = voice.say(TEXT)
    assert speech.sample_rate == (16000 if kind == "public" else 22050)
    assert len(speech.wave) == len(speech.mel) * 256 and np.isfinite(speech.wave).all()
    words = speech.alignment.words
    assert [word.text for word in words] == ["안녕하세요,", "오늘은", "날씨가", "좋네요.", "또", "만나요!"]
    assert all(0 <= word.start < word.end <= speech.seconds + 1e-6 for word in words)
    assert all(before.end <= after.start + 1e-6 for before, after in pairwise(words))
    assert np.array_equal(voice.say(TEXT).wave, speech.wave)


def test_speakers_differ_and_speed_shortens(own: Path) -> None:
    voice = load_voice(str(own))
    kim, lee = (voice.say("안녕하세요", SayOptions(speaker=name)).wave for name in ("kim", "lee"))
    assert len(kim) != len(lee) or not np.array_equal(kim, lee)
    assert voice.say(TEXT, SayOptions(speed=0.25)).seconds > 1.5 * voice.say(TEXT).seconds


def test_threads_with_different_options_get_what_each_gets_alone(own: Path) -> None:
    voice, wishes = load_voice(str(own)), [SayOptions(speaker="kim"), SayOptions(speaker="lee", speed=1.3)]
    alone = [voice.say(TEXT, wish).wave for wish in wishes]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda turn: voice.say(TEXT, wishes[turn % 2]).wave, range(6)))
    assert all(np.array_equal(wave, alone[turn % 2]) for turn, wave in enumerate(found))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_the_gpu_a_vits_draws_the_noise_that_it_draws_on_the_cpu(own: Path) -> None:
    on_cpu, on_gpu = (load_voice(str(own), device=device).say(TEXT) for device in ("cpu", "cuda"))
    assert len(on_cpu.wave) == len(on_gpu.wave)
    assert np.abs(on_cpu.wave - on_gpu.wave).max() < 1e-3


def test_an_end_to_end_voice_takes_no_vocoder(own: Path) -> None:
    voice = load_voice(str(own))
    assert isinstance(voice.acoustic, EndToEndVoice) and voice.acoustic.output == "wave" and voice.vocoder is None
    with pytest.raises(ModelError, match="a vits makes the wave itself: name no vocoder"):
        Voice(voice.acoustic, GriffinLim(voice.audio))


def test_what_a_vits_cannot_do_is_refused(own: Path) -> None:
    with pytest.raises(OptionError, match=r"energy 2: a vits has no such control; a fastspeech2 has"):
        load_voice(str(own)).say("안녕", SayOptions(energy=2.0))
    with pytest.raises(ModelError, match="makes the wave itself"):
        load_voice(str(own), vocoder="griffin-lim")


def test_a_voice_that_reads_what_malsori_cannot_write_says_so(public: Path, tmp_path: Path) -> None:
    for path in public.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"phonemize": True}))
    with pytest.raises(ModelError, match=r"symbols of its makers \(phonemize\)"):
        load_voice(str(tmp_path)).say("안녕")


def test_the_command_line_refuses_an_energy_that_a_vits_has_not(own: Path, tmp_path: Path, capsys) -> None:
    assert command(["say", "안녕", "-o", str(tmp_path / "a.wav"), "--voice", str(own), "--energy", "2"]) == 2
    assert capsys.readouterr().err == "malsori: energy 2: a vits has no such control; a fastspeech2 has\n"
    assert command(["say", "안녕", "-o", str(tmp_path / "a.wav"), "--speed", "9"]) == 2
    assert "'speed' = 9.0" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_command_line_says_it(public: Path, tmp_path: Path) -> None:
    assert command(["say", "안녕하세요", "-o", str(tmp_path / "a.wav"), "--voice", str(public)]) == 0
    assert len(load_audio(tmp_path / "a.wav", 16000)) > 256
