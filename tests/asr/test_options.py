"""DecodingOptions: one class for every door, whose every option is served or refused."""

import inspect

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from malsori.asr.ctc import CtcSegmentDecoder
from malsori.asr.options import SOUND_OPTIONS, DecodingOptions
from malsori.asr.recognizer import load_recognizer
from malsori.asr.whisper import WhisperSegmentDecoder
from malsori.cli import run, speech
from malsori.decode.seq2seq import FallbackOptions
from malsori.errors import OptionError
from malsori.systems import SYSTEMS, systems_of

SOUND = np.random.default_rng(0).normal(0, 0.01, 4000).astype(np.float32)

OUT_OF_BOUNDS = {
    "vad": ("perhaps",),
    "vad_threshold": (0.1, 1.0, float("nan")),
    "prompt": ("", "가" * 2001),
    "hotwords": ((), ("!",), "말소리"),
    "hotword_bonus": (-1.0, float("nan")),
    "condition_on_previous_text": ("perhaps",),
    "best_of": (0, "many"),
    "beam": (-3, 0, 1.5, "many"),
    "language": ("",),
    "task": ("sing",),
    "language_weight": (-0.1, 11.0, float("nan")),
    "token_bonus": (float("inf"), float("nan")),
    "temperatures": ((), (-0.1,), (0.0, 2.5), (float("nan"),), "0"),
    "logprob_threshold": (0.1, float("nan")),
    "compression_ratio_threshold": (0.0,),
    "no_speech_threshold": (-0.1, 1.1),
    "min_log_likelihood_ratio": (float("nan"), "much"),
    "timestamps": ("perhaps",),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, many in OUT_OF_BOUNDS.items() for value in many])
def test_a_value_out_of_bounds_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=name):
        DecodingOptions(**{name: value})


def test_every_option_has_a_value_out_of_bounds_above() -> None:
    assert set(OUT_OF_BOUNDS) == set(DecodingOptions.model_fields)


def test_an_unknown_option_is_told_with_the_nearest_one() -> None:
    with pytest.raises(OptionError, match=r"unknown key 'beams'\. Did you mean 'beam'"):
        DecodingOptions(beams=3)


def test_options_that_do_not_agree_are_refused() -> None:
    with pytest.raises(OptionError, match="beam 4 is for temperature 0, which temperatures does not hold"):
        DecodingOptions(beam=4, temperatures=(0.5,))
    with pytest.raises(OptionError, match="hotword_bonus is for hotwords"):
        DecodingOptions(hotword_bonus=2.0)
    with pytest.raises(OptionError, match="best_of 3 is for temperatures above 0"):
        DecodingOptions(best_of=3, temperatures=(0.0,))
    with pytest.raises(OptionError, match="vad_threshold is for what vad=False leaves out"):
        DecodingOptions(vad=False, vad_threshold=0.3)
    assert DecodingOptions(beam=1, temperatures=(0.5,)).given() == {"beam": 1, "temperatures": (0.5,)}


def test_every_option_is_some_systems_and_every_systems_is_an_option() -> None:
    supported = SOUND_OPTIONS | CtcSegmentDecoder.supported_options | WhisperSegmentDecoder.supported_options
    assert supported == set(DecodingOptions.model_fields)
    fallback = set(FallbackOptions.__dataclass_fields__)
    assert fallback <= WhisperSegmentDecoder.supported_options, "an option of the search that no caller can reach"


CTC_REFUSES = {
    "prompt": "말소리",
    "condition_on_previous_text": True,
    "best_of": 2,
    "timestamps": True,
    "temperatures": (0.0,),
    "logprob_threshold": -1.0,
    "compression_ratio_threshold": 2.4,
    "no_speech_threshold": 0.6,
    "min_log_likelihood_ratio": 0.3,
}


@pytest.mark.parametrize("name", CTC_REFUSES)
def test_the_built_in_recognizer_refuses_what_only_a_whisper_has(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name}: a conformer has no such option; it has beam, hotword_bonus"):
        load_recognizer("conformer-ko").transcribe(
            SOUND, DecodingOptions(**{name: CTC_REFUSES[name]}), sample_rate=16000
        )


def test_a_value_that_a_system_cannot_serve_is_refused() -> None:
    recognizer = load_recognizer("conformer-ko")
    for options, told in (
        (DecodingOptions(task="translate"), "task 'translate': a conformer transcribes only"),
        (DecodingOptions(language="en"), "language 'en': this recognizer knows ko"),
        (DecodingOptions(beam=1, hotwords=("말소리",)), "hotwords: beam 1 takes the best letter"),
        (DecodingOptions(beam=1, language_weight=0.5), "language_weight: beam 1 takes the best letter"),
    ):
        with pytest.raises(OptionError, match=told):
            recognizer.transcribe(SOUND, options, sample_rate=16000)
    for language in ("ko", "auto"):
        served = DecodingOptions(
            language=language,
            task="transcribe",
            beam=2,
            language_weight=0.1,
            token_bonus=0.0,
            hotwords=("3호선", "KBS"),
        )
        assert recognizer.transcribe(SOUND, served, sample_rate=16000).language == "ko"


def test_the_command_line_has_every_option_and_says_so() -> None:
    parameters = inspect.signature(speech.transcribe).parameters
    assert set(DecodingOptions.model_fields) <= set(parameters)
    assert all(parameters[name].default is None for name in DecodingOptions.model_fields)
    told = CliRunner().invoke(speech.app, ["transcribe", "--help"], env={"COLUMNS": "200"}).output
    for name in DecodingOptions.model_fields:
        assert f"--{name.replace('_', '-')}" in told
    assert isinstance(speech.app, typer.Typer)


REFUSED = {
    ("--task", "translate"): "task 'translate': a conformer transcribes only; a Whisper translates too",
    ("--beam=-3",): "'beam' = -3",
    ("--temperatures", "0,much"): "--temperatures '0,much': numbers with commas between are accepted",
    ("--no-speech-threshold", "0.5"): "no_speech_threshold: a conformer has no such option",
}


@pytest.mark.parametrize("told", REFUSED, ids=" ".join)
def test_the_command_line_refuses_in_one_line_and_status_2(told: tuple[str, ...], tmp_path, capsys) -> None:
    from malsori.audio.io import save_audio

    save_audio(tmp_path / "a.wav", SOUND, 16000)
    assert run(["transcribe", str(tmp_path / "a.wav"), "--model", "conformer-ko", *told]) == 2
    out, err = capsys.readouterr()
    assert out == "" and REFUSED[told] in err and err.count("\n") == 1


def test_every_decoder_says_what_it_supports() -> None:
    for name in systems_of("recognizer"):
        assert {"language", "task", "beam"} <= SYSTEMS[name].resolve("adapter").supported_options, name
