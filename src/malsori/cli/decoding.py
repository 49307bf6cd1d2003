"""The options of decoding as a command has them: one parameter for each field of `DecodingOptions`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from malsori.errors import OptionError

if TYPE_CHECKING:
    from malsori.asr.options import DecodingOptions


_CTC, _WHISPER = "Decoding with CTC", "Decoding with Whisper"


def _option(told: str, default: str, panel: str = "Decoding") -> Any:
    return typer.Option(help=told, show_default=default, rich_help_panel=panel)


Vad = Annotated[bool | None, _option("Leave out where nobody speaks before anything is recognized.", "vad")]
VadThreshold = Annotated[float | None, _option("Probability from which on somebody speaks.", "0.5")]
Language = Annotated[str | None, _option("Language spoken, such as ko or en; auto: the recognizer says.", "ko")]
Prompt = Annotated[str | None, _option("What was said before: text whose spelling and style go on.", "none", _WHISPER)]
Hotwords = Annotated[str | None, _option("Names and terms likely to be said, with commas between.", "none")]
HotwordBonus = Annotated[float | None, _option("Nats for each letter of a hotword.", "1.5", _CTC)]
ConditionOnPreviousText = Annotated[
    bool | None, _option("Read what is written so far before going on.", "no-condition-on-previous-text", _WHISPER)
]
Task = Annotated[str | None, _option("transcribe, or translate into English: for Whisper.", "transcribe")]
Beam = Annotated[int | None, _option("Hypotheses kept; 1 asks no language model.", "16; Whisper 5")]
LanguageWeight = Annotated[float | None, _option("What the language model counts beside the sound.", "0.6", _CTC)]
TokenBonus = Annotated[float | None, _option("Added for each letter, against short texts.", "1", _CTC)]
Timestamps = Annotated[bool | None, _option("Let the decoder say itself when words begin and end.", "no", _WHISPER)]
BestOf = Annotated[int | None, _option("Texts sampled at each temperature above 0.", "5", _WHISPER)]
Temperatures = Annotated[
    str | None, _option("Tried in turn while a text is doubtful.", "0,0.2,0.4,0.6,0.8,1", _WHISPER)
]
LogprobThreshold = Annotated[float | None, _option("A mean log-probability below it is doubtful.", "-1", _WHISPER)]
CompressionRatioThreshold = Annotated[float | None, _option("A text that packs smaller is a loop.", "2.4", _WHISPER)]
NoSpeechThreshold = Annotated[
    float | None, _option("A no-speech probability above it rejects a doubtful text.", "0.6", _WHISPER)
]
MinLogLikelihoodRatio = Annotated[
    float | None,
    _option(
        "Nats a token by which the sound must make a text more probable than no speech does; -inf: no such rule.",
        "0.3",
        _WHISPER,
    ),
]


def decoding_options(parameters: dict[str, Any]) -> "DecodingOptions":
    """Return the decoding options among a command's parameters. Raises: OptionError naming the first that is none."""
    from malsori.asr.options import DecodingOptions

    values = {name: parameters[name] for name in DecodingOptions.model_fields if parameters[name] is not None}
    if "temperatures" in values:
        values["temperatures"] = _numbers("--temperatures", values["temperatures"])
    if "hotwords" in values:
        values["hotwords"] = tuple(word.strip() for word in values["hotwords"].split(","))
    return DecodingOptions(**values)


def _numbers(option: str, values: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values.split(","))
    except ValueError as error:
        raise OptionError(f"{option} '{values}': numbers with commas between are accepted, such as 0,0.4") from error
