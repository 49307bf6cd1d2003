"""The page that listens: its graphs hear what the model does, and the browser writes what malsori writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from malsori.asr.longform import SpeechWindows
from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import Recognizer, load_recognizer
from malsori.asr.silent_steps import SilentSteps
from malsori.asr.whisper import whisper_engine, without_speech
from malsori.audio.io import save_audio
from malsori.audio.mel_filters import whisper_log_mel_array
from malsori.audio.resampling import resample
from malsori.cli import run
from malsori.config import WHISPER_AUDIO
from malsori.export.programs import ProgramExport
from malsori.export.web import RUNTIME, export_page
from malsori.export.web_recognizer import LogMel, write_recognizer
from malsori.metrics.error_rate import cer
from malsori.pretrained.hub import load_saved
from malsori.text.tokenizer import Tokenizer, jamo_files
from malsori.tts.voice import load_voice

from . import pages
from .test_whisper_programs import _SPECIAL, byte_files, saved

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

RATE = WHISPER_AUDIO.sample_rate
#: What the built-in voice says; what is heard of it holds digits and Latin letters.
TEXTS = (
    "안녕하세요. 오늘은 날씨가 참 좋네요.",
    "회의는 내일 오후 3시 30분에 시작합니다.",
    "LG 전자 TV를 100만 원에 샀어요.",
    "국물이 맛있어서 두 그릇이나 먹었습니다.",
    "주말에는 가족과 함께 영화를 봤습니다.",
)
#: As the page decodes.
GREEDY = DecodingOptions(vad=False, beam=1, temperatures=(0.0,))


def test_the_log_mel_of_a_page_is_whisper_s():
    chance = np.random.default_rng(0)
    wave = chance.normal(0, 0.05, 3 * RATE).astype(np.float32)
    wave[RATE : 2 * RATE] *= 1e-3
    wave[2 * RATE :] = 0
    for sound in (wave, wave[: RATE // 3], wave[2 * RATE :]):
        with torch.inference_mode():
            found = LogMel(WHISPER_AUDIO)(torch.from_numpy(sound)[None])[0].numpy()
        np.testing.assert_allclose(found, whisper_log_mel_array(sound, WHISPER_AUDIO), atol=1e-4)


def test_the_table_of_silence_counts_the_steps_that_are_to_come():
    chance = np.random.default_rng(0)
    silent = SilentSteps.of(*(chance.normal(size=(2, 310, 4)).astype(np.float32) for _ in range(2)))
    keys, values, counts = silent.table()
    assert [counts[place].sum(-1).tolist() for place in (0, 1, 6, 7)] == [[310] * 2, [260] * 2, [10] * 2, [0] * 2]
    whole_keys, whole_values, bias = silent.rest(0)
    np.testing.assert_allclose(keys, whole_keys)
    np.testing.assert_allclose(values, whole_values)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(np.log(counts[0]), bias, rtol=1e-5)


@pytest.fixture(scope="module")
def ear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small Whisper, `model`, and what a page has of it, `page`."""
    jaxtyping.config.update("jaxtyping_disable", True)
    folder = tmp_path_factory.mktemp("ear")
    saved(folder / "model", byte_files(), 256 + len(_SPECIAL))
    write_recognizer(load_saved(str(folder / "model")), "model", folder / "page", 18)
    return folder


def test_the_graphs_of_a_page_hear_what_the_network_does(ear):
    wave = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)  # the whole window of this one
    ids = np.array([[257, 259, 261, 265, 40, 41, 200]])
    wanted, _ = whisper_engine(load_saved(str(ear / "model"))).start(wave[None]).step(ids)
    encoder, decoder = (
        onnxruntime.InferenceSession(str(ear / "page" / f"{name}.onnx")) for name in ("encoder", "decoder")
    )
    names = [one.name for one in encoder.get_outputs()]
    cross = dict(zip(names, encoder.run(names, {"wave": wave[None], "steps": np.array(50)}), strict=True))
    past = {one.name: np.zeros((1, 2, 0, 8), np.float32) for one in decoder.get_inputs() if "past" in one.name}
    parts = []
    for new in (ids[:, :4], ids[:, 4:5], ids[:, 5:]):
        logits, *present = decoder.run(
            ["logits", *(name.replace("past", "present") for name in past)], {"token_ids": new, **cross, **past}
        )
        past = dict(zip(past, present, strict=True))
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, 1), wanted, atol=0.02 * np.abs(wanted).max())  # int8 weights


def test_a_page_knows_what_the_checkpoint_forbids_and_what_each_token_writes(ear):
    facts, pieces = (
        json.loads((ear / "page" / f"{name}.json").read_text("utf-8")) for name in ("recognizer", "tokens")
    )
    tokenizer = Tokenizer(byte_files())
    assert tuple(facts["prefix"]) == tokenizer.prefix() and facts["end"] == tokenizer.end
    assert {3, 5, 8, tokenizer.start, 265, 267} < set(facts["suppressed"]) and facts["end"] not in facts["suppressed"]
    assert (
        facts["suppressed_first"] == [32, 256] and facts["bytes"] == (ear / "page" / "model.safetensors").stat().st_size
    )
    for text in ("LG 전자, 3시? 뷁!", "é–😀 ㄱ"):
        written = b"".join(pieces[number].encode("latin-1") for number in tokenizer.encode(text))
        assert written.decode() == text
    sounds = np.fromfile(ear / "page" / "without_speech.bin", "<f4").reshape(3, -1)
    np.testing.assert_array_equal(sounds, without_speech(WHISPER_AUDIO))


def test_what_a_page_cannot_hear_with_is_refused(tmp_path, capsys):
    runtime, given = tmp_path / "dist", ["export", "fastspeech2-ko", str(tmp_path / "page")]
    runtime.mkdir()
    for name in RUNTIME:
        (runtime / name).write_bytes(b"//")
    saved(tmp_path / "jamo", jamo_files(), 90)
    saved(tmp_path / "short", byte_files(), 256 + len(_SPECIAL), whole_window=False)
    for name, told in (
        ("conformer-ko", "conformer-ko: a page hears with a whisper, and a conformer is none"),
        (str(tmp_path / "jamo"), "a page opens Whispers of several languages, whose tokens are bytes of a text"),
        (str(tmp_path / "short"), "a page fills them up to a window"),
    ):
        assert run([*given, "--web", str(runtime), "--recognizer", name]) == 2 and not (tmp_path / "page").exists()
        assert told in (error := capsys.readouterr().err) and error.count("\n") == 1
    assert run([*given, "--recognizer", "whisper-base-ko"]) == 2 and "give --web" in capsys.readouterr().err


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return load_recognizer(runtime="onnx")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return sound files: what the voice says of each text, sounds without speech, all texts twice with pauses."""
    pages.runtime()
    voice, folder, chance = load_voice(), tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    spoken = {text: voice.say(text) for text in TEXTS}
    waves = {text: resample(speech.wave, speech.sample_rate, RATE) for text, speech in spoken.items()}
    gap, time = np.zeros(RATE // 2, dtype=np.float32), np.arange(4 * RATE) / RATE
    long = np.concatenate([part for text in 2 * TEXTS for part in (waves[text], gap)])
    waves |= {"silence": np.zeros(3 * RATE), "noise": chance.normal(0, 0.05, 3 * RATE)}
    waves |= {"hum": 0.1 * np.sin(2 * np.pi * 100 * time), "long": long}
    for number, wave in enumerate(waves.values()):
        save_audio(folder / f"{number}.wav", wave.astype(np.float32), RATE)
    return {name: folder / f"{number}.wav" for number, name in enumerate(waves)}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory, sounds: dict[str, Path]) -> Iterator[Any]:
    """A tab with the built-in voice's and recognizer's page in Chromium; its microphone gives the first text once."""
    folder = tmp_path_factory.mktemp("pages") / "page"
    export_page("fastspeech2-ko", folder, pages.runtime(), ProgramExport("float32"), "whisper-base-ko")
    microphone = f"--use-file-for-fake-audio-capture={sounds[TEXTS[0]]}%noloop"
    with pages.opened(
        folder, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", microphone
    ) as tab:
        yield tab


def heard(tab: Any) -> tuple[str, str]:
    """Return the text that is heard and what is told of it, when it is done."""
    tab.wait_for_function("!document.getElementById('sound-file').disabled")
    return tab.inner_text("#heard"), tab.inner_text("#hearing")


@pytest.mark.slow
def test_the_browser_writes_what_malsori_does(tab, sounds, recognizer):
    for name, path in sounds.items():
        tab.set_input_files("#sound-file", str(path))
        wanted = recognizer.transcribe(path, GREEDY).text
        text, told = heard(tab)
        if name == "long":  # a word that is in doubt may be written otherwise
            assert cer(wanted, text).rate < 0.2
        else:
            assert text == wanted and ("no speech is heard" in told) == (name not in TEXTS)
    host = tab.url
    assert all(url.startswith((host, f"blob:{host}", "data:")) for url in tab.asked)


@pytest.mark.slow
def test_the_browser_cuts_a_long_sound_where_malsori_does(tab):
    chance = np.random.default_rng(0)
    loudness = np.repeat(10 ** chance.uniform(-3, -1, 160), RATE // 2)
    wave = (chance.normal(size=len(loudness)) * loudness).astype(np.float32)
    wanted = [len(window.wave) for window in SpeechWindows(RATE, 30, None).windows([wave])]
    ask = (
        "async (wave) => (await import('./recognizer.js')).windows(Float32Array.from(wave), 480000).map(a => a.length)"
    )
    assert tab.evaluate(ask, wave.tolist()) == wanted and len(wanted) > 2


@pytest.mark.slow
def test_what_was_said_and_the_microphone_are_heard(tab):
    assert tab.is_disabled("#hear-said")
    tab.fill("#text", "안녕하세요. 반갑습니다.")
    tab.click("#say")
    tab.wait_for_function("!document.getElementById('hear-said').disabled")
    tab.click("#hear-said")
    assert "반갑습니다" in heard(tab)[0]
    tab.click("#record")
    tab.wait_for_function("document.getElementById('hearing').textContent.includes('recording')")
    tab.wait_for_timeout(4000)
    assert tab.is_disabled("#sound-file")
    tab.click("#record")
    assert "날씨가" in heard(tab)[0]


@pytest.mark.slow
def test_what_cannot_be_heard_is_told(tab, tmp_path):
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    save_audio(tmp_path / "short.wav", np.zeros(800, dtype=np.float32), RATE)
    for name, why in (("text.wav", "cannot read this sound"), ("short.wav", "shorter than 0.1 s")):
        tab.set_input_files("#sound-file", str(tmp_path / name))
        assert heard(tab) == ("", tab.inner_text("#hearing")) and why in tab.inner_text("#hearing")
    refuse = "() => { navigator.mediaDevices.getUserMedia = async () => { throw new Error('Permission denied') } }"
    tab.evaluate(refuse)
    tab.click("#record")
    tab.wait_for_function("document.getElementById('hearing').textContent.includes('no microphone: Permission denied')")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_that_listens_has_no_serious_fault_of_accessibility(tab, width):
    assert not pages.faults(tab, width)
