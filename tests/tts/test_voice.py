"""Speech synthesis: lengths and times that fit, options that do what they say, parts that do not fit refused."""

import math
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from malsori.audio.io import load_audio
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.errors import ModelError, OptionError, TextError
from malsori.models.fastspeech2 import FastSpeech2, FastSpeech2Config
from malsori.models.vocos import Vocos, VocosConfig, VocosOutput
from malsori.pretrained.folder import ModelFacts, SavedModel, Statistics, save_model
from malsori.runtime.device import resolve_runtime
from malsori.text.frontend import FRONTEND_VERSION, RULES_VERSION, Frontend
from malsori.text.symbols import PHONEMES
from malsori.tts import voice as voice_module
from malsori.tts.options import SayOptions
from malsori.tts.roles import AcousticModel, Vocoder
from malsori.tts.vocoders import GriffinLim, NetworkVocoder
from malsori.tts.voice import Speech, Voice, load_voice, open_synthesizer

AUDIO = AudioConfig()
TEXT = "나무가 높다."
SPEAKERS = ("kim", "lee")


def facts(system: str, model: Any, audio: AudioConfig = AUDIO, **more: Any) -> ModelFacts:
    return ModelFacts(
        system=system, model=model.model_dump(), audio=audio, audio_fingerprint=audio.fingerprint(), **more
    )


def acoustic(**more: Any) -> SavedModel:
    """An acoustic model that has learnt nothing but that a phoneme lasts some seven frames."""
    torch.manual_seed(0)
    sizes = FastSpeech2Config(
        speakers=2,
        hidden_size=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
        ffn_size=16,
        ffn_kernel_size=3,
        predictor_hidden_size=8,
    )
    network = FastSpeech2(sizes).eval()
    network.adaptor.duration_predictor.project.bias.data.fill_(math.log1p(7))
    network.project.bias.data.fill_(-4.0)
    about = {"frontend": {"version": FRONTEND_VERSION}, "speakers": SPEAKERS} | more
    moderate = {"pitch_mean": 5.0, "pitch_std": 0.25, "energy_mean": 1.0, "energy_std": 1.0}
    about["statistics"] = {name: Statistics(**moderate) for name in SPEAKERS}
    return SavedModel(facts("fastspeech2", sizes, **about), {"phonemes": PHONEMES}, network)


def vocoder(audio: AudioConfig = AUDIO) -> SavedModel:
    torch.manual_seed(1)
    sizes = VocosConfig(hidden_size=8, num_layers=1)
    return SavedModel(facts("vocos", sizes, audio), {}, Vocos(sizes).eval())


@pytest.fixture(scope="module")
def voice() -> Voice:
    voice = Voice(open_synthesizer(acoustic()), NetworkVocoder(vocoder()))
    voice.frontend = Frontend(morphology=False)
    return voice


def listen_in(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a list to which each call of the acoustic network adds what it was given."""
    calls: list[dict[str, Any]] = []
    infer = voice.acoustic.network.infer

    def recording(token_ids: Any, token_lengths: Any, speaker_ids: Any, **controls: Any) -> Any:
        calls.append({"token_ids": token_ids, "token_lengths": token_lengths, "speaker_ids": speaker_ids} | controls)
        return infer(token_ids, token_lengths, speaker_ids, **controls)

    monkeypatch.setattr(voice.acoustic.network, "infer", recording)
    return calls


def check_times(speech: Speech) -> None:
    """Wave, mel and times are as long as each other; spans are ordered, nested and inside."""
    assert len(speech.wave) == len(speech.mel) * AUDIO.hop_samples
    assert speech.seconds == pytest.approx(len(speech.wave) / AUDIO.sample_rate)
    alignment = speech.alignment
    assert alignment.duration == pytest.approx(speech.seconds)
    for tier in alignment.tiers.values():
        edges = [edge for span in tier for edge in (span.start, span.end)]
        assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= speech.seconds + 1e-9
    assert alignment.syllables[0].start == alignment.words[0].start == alignment.phones[0].start
    assert alignment.syllables[-1].end == alignment.words[-1].end == alignment.phones[-1].end
    assert [span.text for span in alignment.syllables] == list(speech.reading.syllables)
    assert [span.text.strip(".,?!") for span in alignment.words] == [word.written for word in speech.reading.words]


def test_speech_is_as_long_as_its_mel_and_its_times(voice: Voice) -> None:
    speech = voice.say(TEXT)
    check_times(speech)
    assert speech.sample_rate == 22050 and speech.wave.dtype == np.float32 and np.isfinite(speech.wave).all()
    assert speech.mel.shape[1] == 80 and speech.real_time_factor > 0
    assert speech.reading.written == TEXT and len(speech.alignment.words) == 2


def test_the_network_is_given_the_phonemes_that_training_would_read(
    voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = listen_in(voice, monkeypatch)
    voice.say(TEXT, SayOptions(speaker="lee"))
    reading = Frontend(morphology=False).read(TEXT)
    assert calls[0]["token_ids"].tolist() == [PHONEMES.encode(reading.phonemes)]
    assert calls[0]["token_lengths"].tolist() == [len(reading.phonemes)] and calls[0]["speaker_ids"].tolist() == [1]


def test_each_sentence_is_spoken_by_itself_with_a_silence_between(
    voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = listen_in(voice, monkeypatch)
    speech = voice.say("나무가 높다. 바다, 바다가 깊다? 가자!")
    check_times(speech)
    spoken = ["".join(PHONEMES.decode(call["token_ids"][0].tolist())) for call in calls]
    assert [(one[0], one[-1], one.count(",")) for one in spoken] == [("^", ".", 0), ("^", "?", 1), ("^", "!", 0)]
    inner = [symbol for one in spoken for symbol in one[1:-1] if symbol not in " ,-"]
    whole = [symbol for symbol in "".join(speech.reading.phonemes)[1:-1] if symbol not in " ,-"]
    assert inner == whole
    alone = voice.say("나무가 높다.")
    frames = len(alone.mel)
    np.testing.assert_allclose(speech.mel[:frames], alone.mel, atol=1e-5)
    silent = (speech.mel == np.float32(np.log(AUDIO.log_floor))).all(1)
    assert silent.sum() == 2 * 13 and silent[frames : frames + 13].all()  # 0.15 s
    assert speech.alignment.words[:2] == alone.alignment.words


def test_the_same_text_sounds_the_same(voice: Voice) -> None:
    assert np.array_equal(voice.say(TEXT).wave, voice.say(TEXT).wave)


def test_twice_the_speed_is_half_the_time(voice: Voice) -> None:
    fast, slow = voice.say(TEXT, SayOptions(speed=2.0)), voice.say(TEXT, SayOptions(speed=0.5))
    check_times(fast)
    check_times(slow)
    assert slow.seconds / fast.seconds == pytest.approx(4, rel=0.1)


def test_energy_is_asked_of_the_network_and_pitch_of_the_wave(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = listen_in(voice, monkeypatch)
    shifts: list[float] = []
    monkeypatch.setattr("malsori.tts.voice.shift_pitch", lambda wave, _audio, by: shifts.append(by) or wave / 2)
    shifted, plain = voice.say(TEXT, SayOptions(pitch=9.0, energy=-1.5)), voice.say(TEXT, SayOptions(energy=-1.5))
    assert calls[0]["energy_shift"] == -1.5 and calls[0].get("pitch_shift", 0.0) == 0.0 and shifts == [9.0]
    np.testing.assert_allclose(shifted.wave, plain.wave / 2, atol=1e-6)
    assert np.array_equal(
        np.concatenate([one.wave for one in voice.stream(TEXT, SayOptions(pitch=9.0, energy=-1.5))]), shifted.wave
    )


def test_the_first_speaker_speaks_unless_another_is_asked_for(voice: Voice) -> None:
    plain, kim, lee = (voice.say(TEXT, SayOptions(speaker=name)) for name in (None, "kim", "lee"))
    assert np.array_equal(plain.wave, kim.wave) and not np.array_equal(kim.mel, lee.mel)


def test_an_unknown_speaker_is_refused_with_the_nearest(voice: Voice) -> None:
    with pytest.raises(OptionError, match=r"fastspeech2\) has no speaker 'kin'\. Did you mean 'kim'\?"):
        voice.say(TEXT, SayOptions(speaker="kin"))


@pytest.mark.parametrize("text", ["", "   ", "...", "?!"])
def test_where_there_is_nothing_to_say_it_is_told(voice: Voice, text: str) -> None:
    with pytest.raises(TextError, match="nothing to say"):
        voice.say(text)


def test_a_sign_without_a_reading_is_left_out_and_named(voice: Voice, caplog: pytest.LogCaptureFixture) -> None:
    speech = voice.say("한 ख글 ख")
    assert np.array_equal(speech.wave, voice.say("한 글").wave)
    assert len(speech.reading.unreadable) == 2
    (told,) = [record.message for record in caplog.records]
    assert "2 signs: 'ख' (U+0916) DEVANAGARI LETTER KHA at position 2" in told


@pytest.mark.parametrize("speed", [0.0, -1.0, 0.1, 6.0, math.nan, math.inf])
def test_a_speed_nobody_speaks_at_is_refused(voice: Voice, speed: float) -> None:
    with pytest.raises(
        OptionError, match=r"'speed' = .*(less than or equal to 5|greater than or equal to 0\.2|finite)"
    ):
        SayOptions(speed=speed)


@pytest.mark.parametrize(("loudest", "peak"), [(3.0, 1.0), (0.2, 0.2)])
def test_a_peak_beyond_full_scale_is_brought_down_and_a_soft_voice_left_soft(
    voice: Voice, monkeypatch: pytest.MonkeyPatch, loudest: float, peak: float
) -> None:
    def infer(mel: torch.Tensor) -> VocosOutput:
        return VocosOutput(torch.linspace(-loudest, loudest / 2, mel.shape[1] * AUDIO.hop_samples)[None])

    assert isinstance(voice.vocoder, NetworkVocoder)
    monkeypatch.setattr(voice.vocoder.network, "infer", infer)
    wave = voice.say(TEXT).wave
    assert wave[0] == pytest.approx(-peak) and (wave[-1] == pytest.approx(peak / 2) or peak == 1.0)
    assert np.abs(wave).max() <= 1.0


def test_griffin_lim_is_a_vocoder_like_any_other(voice: Voice) -> None:
    plain = Voice(voice.acoustic, GriffinLim(AUDIO))
    plain.frontend = voice.frontend
    speech = plain.say("나무")
    check_times(speech)
    again = log_mel(torch.from_numpy(speech.wave)[None], AUDIO)[0].numpy()
    assert np.abs(again - speech.mel).mean() < 1.0


def test_speech_is_saved_as_a_sound_file(voice: Voice, tmp_path: Path) -> None:
    speech = voice.say(TEXT)
    speech.save(tmp_path / "a.wav")
    read = load_audio(tmp_path / "a.wav", 22050)
    assert len(read) == len(speech.wave) and np.abs(read - speech.wave).max() < 1e-4


# Options, roles, threads, devices


@pytest.mark.parametrize(
    ("name", "value"),
    [("pitch", 9.5), ("pitch", -40.0), ("pitch", math.nan), ("energy", 3.5), ("energy", -math.inf), ("speed", "fast")],
)
def test_an_option_out_of_its_bounds_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"'{name}' = {value!r}: "):
        SayOptions(**{name: value})


def test_an_option_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"unknown key 'sped'\. Did you mean 'speed'\?"):
        SayOptions(sped=1.0)


def test_an_option_that_the_voice_cannot_serve_is_refused_before_any_work(
    voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice.frontend, "read", lambda _text: pytest.fail("the text was read"))
    monkeypatch.setattr(voice.acoustic, "supports_prosody_control", False)
    for options in (SayOptions(energy=-1.0), SayOptions(speaker="park")):
        with pytest.raises(OptionError, match="fastspeech2"):
            voice.say(TEXT, options)


def test_each_adapter_fills_the_role_that_it_says(voice: Voice) -> None:
    assert isinstance(voice.acoustic, AcousticModel) and voice.acoustic.output == "mel"
    assert isinstance(voice.vocoder, Vocoder) and isinstance(GriffinLim(AUDIO), Vocoder)


def test_an_acoustic_model_without_a_vocoder_is_refused(voice: Voice) -> None:
    with pytest.raises(ModelError, match="a fastspeech2 makes mels: it needs a vocoder, such as griffin-lim"):
        Voice(voice.acoustic)


def test_threads_with_different_options_get_what_each_gets_alone(voice: Voice) -> None:
    wishes = [SayOptions(speaker="kim", speed=0.8, pitch=3.0), SayOptions(speaker="lee", speed=1.5, energy=1.0)]
    texts = [TEXT, "바다가 깊다. 가자!"]
    alone = [voice.say(text, wish).wave for text, wish in zip(texts, wishes, strict=True)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda turn: voice.say(texts[turn % 2], wishes[turn % 2]).wave, range(12)))
    assert all(np.array_equal(wave, alone[turn % 2]) for turn, wave in enumerate(found))


def test_half_precision_says_nearly_the_same(voice: Voice) -> None:
    runtime = resolve_runtime("cpu", "bfloat16")
    half = Voice(open_synthesizer(acoustic(), runtime), NetworkVocoder(vocoder(), runtime))
    half.frontend = voice.frontend
    speech, whole = half.say(TEXT), voice.say(TEXT)
    assert speech.mel.dtype == speech.wave.dtype == np.float32 and not np.array_equal(speech.mel, whole.mel)
    assert len(speech.mel) == pytest.approx(len(whole.mel), rel=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_voice_on_the_gpu_says_what_it_says_on_the_cpu(precision: str) -> None:
    on_cpu, on_gpu = load_voice(device="cpu"), load_voice(device="cuda", precision=precision)
    assert next(on_gpu.acoustic.network.parameters()).is_cuda
    speech, other = on_cpu.say("오늘은 날씨가 참 좋네요."), on_gpu.say("오늘은 날씨가 참 좋네요.")
    assert len(other.mel) == pytest.approx(len(speech.mel), abs=2)
    if len(other.mel) == len(speech.mel):
        assert np.abs(other.mel - speech.mel).mean() < (0.01 if precision == "float32" else 0.1)


OPENED = """
import sys
import threading
from malsori.config import AudioConfig
{}
print(*sorted(name for name in sys.modules if name.startswith("malsori.")))
"""


@pytest.mark.parametrize(
    ("opening", "models"),
    [
        pytest.param(
            "from malsori.tts.vocoders import load_vocoder; load_vocoder('vocos-ko', AudioConfig(), runtime='torch')",
            {"vocos", "hifigan"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "from malsori.tts.vocoders import load_vocoder; load_vocoder('griffin-lim', AudioConfig())",
            set(),
            marks=pytest.mark.slow,
        ),
        (
            "from malsori import load_voice; load_voice(vocoder='griffin-lim', runtime='torch')",
            {"fastspeech2", "tacotron", "tacotron2"},
        ),
        ("from malsori import load_voice; load_voice(device='cpu')", set()),
    ],
)
def test_opening_imports_no_recognizer_and_no_other_systems_model(opening: str, models: set[str]) -> None:
    code = [sys.executable, "-c", OPENED.format(opening)]
    opened = set(subprocess.run(code, capture_output=True, text=True, check=True).stdout.split())
    assert {name.split(".")[2] for name in opened if name.startswith("malsori.models.")} == models
    assert "malsori.tts.vocoders" in opened and "malsori.tts.end_to_end" not in opened
    assert not {name for name in opened if name.startswith(("malsori.asr", "malsori.train", "malsori.corpus"))}


# Parts that do not fit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_samples": 300}, r"audio\.hop_samples is 256 in the voice and 300 in the vocoder"),
        ({"sample_rate": 24000}, r"audio\.sample_rate is 22050 in the voice and 24000 in the vocoder"),
        ({"max_hz": 11025.0}, r"audio\.max_hz is 8000\.0 in the voice and 11025\.0 in the vocoder"),
    ],
)
def test_a_vocoder_of_another_sound_is_refused_naming_the_setting_and_both_values(
    changes: dict[str, Any], message: str
) -> None:
    other = vocoder(AUDIO.model_copy(update=changes))
    with pytest.raises(ModelError, match=message):
        Voice(open_synthesizer(acoustic()), NetworkVocoder(other))
    # the settings count, not what an edited file says of them
    stale = replace(other, facts=other.facts.model_copy(update={"audio_fingerprint": AUDIO.fingerprint()}))
    with pytest.raises(ModelError, match=message):
        Voice(open_synthesizer(acoustic()), NetworkVocoder(stale))


def test_a_vocoder_does_not_read_and_an_acoustic_model_is_no_vocoder() -> None:
    with pytest.raises(ModelError, match=r"a vocos is no voice; one of fastspeech, .* is"):
        open_synthesizer(vocoder())
    with pytest.raises(ModelError, match="a fastspeech2 is no vocoder; one of hifigan, vocos is"):
        NetworkVocoder(acoustic())


@pytest.mark.parametrize("frontend", [{}, {"version": "0"}])
def test_a_voice_that_learnt_to_read_otherwise_is_refused(frontend: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="trained with front-end"):
        open_synthesizer(acoustic(frontend=frontend))


def test_a_voice_that_learnt_by_older_rules_speaks_and_is_told_of(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", "malsori")
    for rules, told in (("1", True), (RULES_VERSION, False)):
        facts_of_rules = {"version": FRONTEND_VERSION} | ({"rules": rules} if rules != "1" else {})
        save_model(acoustic(frontend=facts_of_rules), tmp_path / rules)
        caplog.clear()
        assert load_voice(str(tmp_path / rules), "griffin-lim").say(TEXT).wave.size > 0
        assert (f"learnt by reading rules 1, these are {RULES_VERSION}" in caplog.text) is told
    caplog.clear()
    load_voice(vocoder="griffin-lim")
    assert "reading rules" not in caplog.text


def test_a_voice_is_loaded_from_folders_and_sounds_as_it_did(voice: Voice, tmp_path: Path) -> None:
    save_model(acoustic(), tmp_path / "voice" / "model")
    save_model(vocoder(), tmp_path / "vocoder")
    loaded = load_voice(str(tmp_path / "voice"), str(tmp_path / "vocoder"))
    loaded.frontend = voice.frontend
    assert loaded.speakers == SPEAKERS and loaded.audio == AUDIO
    assert np.array_equal(loaded.say(TEXT).wave, voice.say(TEXT).wave)
    assert isinstance(load_voice(str(tmp_path / "voice"), "griffin-lim").vocoder, GriffinLim)


def test_the_built_in_vocoder_is_opened_while_the_voice_is(monkeypatch) -> None:
    opened, opening, opens = threading.Event(), voice_module.load_vocoder, voice_module.open_synthesizer

    def vocoder(*arguments):
        found = opening(*arguments)
        opened.set()
        return found

    def synthesizer(*arguments):
        assert opened.wait(60)
        return opens(*arguments)

    monkeypatch.setattr(voice_module, "load_vocoder", vocoder)
    monkeypatch.setattr(voice_module, "open_synthesizer", synthesizer)
    assert load_voice(runtime="onnx").vocoder is not None
