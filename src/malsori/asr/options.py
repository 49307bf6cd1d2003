"""How a recognizer decodes one sound: `DecodingOptions`, read alike by the command line, Python and a server.

An option that was not given (None) takes the value that serves the system. One that was given is served or refused:
each system's decoder says which it supports, and `refuse_unsupported` names what it does not.
"""

import math
from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from malsori.config import Config, explain
from malsori.errors import OptionError

Task = Literal["transcribe", "translate"]


class DecodingOptions(Config):
    """How one sound is decoded; whatever is None takes what serves the system.

    Attributes:
        vad: leave out what a voice activity detector takes for no speech before anything is recognized; yes.
        vad_threshold: a probability of speech from which on somebody speaks; 0.5.
        language: code of the language spoken; "auto" lets the recognizer say, by the first speech that it hears.
        prompt: what was said or written before, so that Whisper goes on in its spelling and style.
        hotwords: names and terms that are likely to be said. A Whisper reads them before it listens; with CTC each
            letter of one earns `hotword_bonus`, wherever particles or a space follow it.
        hotword_bonus: nats a letter of a hotword; 1.5.
        condition_on_previous_text: let Whisper read what it has written of the sound so far before it goes on; no,
            for an error then goes on too, and windows of speech have words enough.
        task: transcribe, or translate into English (Whisper).
        beam: hypotheses kept at a time; 1 takes the best symbol each time and asks no language model. 16 with CTC, 5
            with Whisper.
        language_weight: what a CTC recognizer's language model counts beside the sound; 0.6.
        token_bonus: added for each letter of CTC, against the language model's liking for short texts; 1.
        timestamps: let Whisper decode itself when its words begin and end; no.
        best_of: texts that Whisper samples at each temperature above 0; the most probable is taken; 5.
        temperatures: tried one after the other while Whisper's result is doubtful; above 0 tokens are sampled.
        logprob_threshold: a mean log-probability of Whisper's tokens below it is doubtful; -1.
        compression_ratio_threshold: Whisper's text is a loop when its bytes compress by more than this; 2.4.
        no_speech_threshold: a no-speech probability above it rejects what is doubtful; 0.6.
        min_log_likelihood_ratio: nats a token by which the sound must make Whisper's text more probable than silence,
            noise and a chord do; 0.3, and -inf leaves the rule out.
    Raises: OptionError naming the option, its value and what is accepted.
    """

    vad: bool | None = None
    vad_threshold: float | None = Field(None, gt=0.15, lt=1)
    language: str | None = Field(None, min_length=2)
    prompt: str | None = Field(None, min_length=1, max_length=2000)
    hotwords: tuple[str, ...] | None = Field(None, min_length=1, max_length=1000)
    hotword_bonus: float | None = Field(None, ge=0, le=20)
    condition_on_previous_text: bool | None = None
    task: Task | None = None
    beam: int | None = Field(None, ge=1, le=1000)
    language_weight: float | None = Field(None, ge=0, le=10)
    token_bonus: float | None = Field(None, ge=-10, le=10)
    timestamps: bool | None = None
    best_of: int | None = Field(None, ge=1, le=100)
    temperatures: tuple[float, ...] | None = Field(None, min_length=1, max_length=20)
    logprob_threshold: float | None = Field(None, le=0)
    compression_ratio_threshold: float | None = Field(None, gt=0)
    no_speech_threshold: float | None = Field(None, ge=0, le=1)
    min_log_likelihood_ratio: float | None = Field(None, allow_inf_nan=True, ge=-math.inf)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionError(explain(type(self), error)) from error

    @model_validator(mode="after")
    def _agree(self) -> "DecodingOptions":
        for name, value in self.given().items():
            if any(math.isnan(number) for number in _numbers(value)):
                raise ValueError(f"{name} is not a number")
        for temperature in self.temperatures or ():
            if not 0 <= temperature <= 2:
                raise ValueError(f"temperatures: {temperature:g} is outside 0 to 2")
        if self.vad is False and self.vad_threshold is not None:
            raise ValueError("vad_threshold is for what vad=False leaves out: give one of the two")
        if any(not any(map(str.isalnum, word)) for word in self.hotwords or ()):
            raise ValueError("hotwords: one of them holds no letter")
        if self.hotword_bonus is not None and not self.hotwords:
            raise ValueError("hotword_bonus is for hotwords: give some, or leave it out")
        if self.best_of is not None and self.temperatures and not any(self.temperatures):
            raise ValueError(f"best_of {self.best_of} is for temperatures above 0, of which none is given")
        if self.beam is not None and self.beam > 1 and self.temperatures and 0 not in self.temperatures:
            raise ValueError(f"beam {self.beam} is for temperature 0, which temperatures does not hold: leave one out")
        return self

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if value is not None}


#: Options that every recognizer serves: they are of the sound, before a network hears it.
SOUND_OPTIONS = frozenset({"vad", "vad_threshold"})


def refuse_unsupported(options: DecodingOptions, system: str, supported: Collection[str]) -> None:
    """Raise OptionError naming the first given option that a system does not support, and those that it does."""
    every = SOUND_OPTIONS.union(supported)
    for name in options.given():
        if name not in every:
            raise OptionError(f"{name}: a {system} has no such option; it has {', '.join(sorted(every))}")


#: The language that asks the recognizer which it is.
AUTO = "auto"


def check_language(options: DecodingOptions, languages: tuple[str, ...]) -> None:
    """Refuse a language that is none of a recognizer's. Raises: OptionError."""
    if options.language not in (None, AUTO, *languages):
        raise OptionError(f"language '{options.language}': this recognizer knows {', '.join(languages)}; auto asks it")


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, float))
