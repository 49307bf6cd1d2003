"""Strict, frozen settings: what a recipe, a saved model or a corpus says, checked to the last key.

Every settings class of malsori is a `Config`: a pydantic model that refuses unknown keys, missing keys and wrong
types with one line that carries the dotted name and the nearest valid one.
"""

import difflib
import hashlib
import json
import math
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from malsori.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound="Config")  # not typing.Self: the tests' checks of types do not know it


class Config(BaseModel):
    """A frozen group of settings that accepts exactly the keys it declares."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def parse(cls: type[ConfigType], values: dict[str, Any], place: str) -> ConfigType:
        """Return the checked settings.

        Args:
            values: nested plain values, as TOML or JSON give them.
            place: where they came from, for the message (a file name).
        Raises: ConfigError naming the first bad key by its dotted name, and the nearest valid one.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{place}: {explain(cls, error)}") from error

    def fingerprint(self) -> str:
        """Return twelve hexadecimal digits that differ whenever any setting differs."""
        return digest(self.model_dump(mode="json"))


class AudioConfig(Config):
    """How a wave becomes a log-mel spectrogram; the one place where these numbers stand.

    The defaults are the convention of HiFi-GAN (Kong et al. 2020, arXiv:2010.05646) and its public checkpoints.
    frames = samples // hop_samples, always.

    convention: how a frame is cut and its logarithm taken. "hifigan": centred on its own samples, natural; "tacotron2":
        centred on its first sample, natural (NVIDIA's, and those after it); "speecht5": that, but decimal.
    """

    sample_rate: int = Field(22050, ge=1, le=768_000)
    fft_samples: int = Field(1024, ge=2, le=65_536)
    window_samples: int = Field(1024, ge=1, le=65_536)
    hop_samples: int = Field(256, ge=1, le=65_536)
    mel_channels: int = Field(80, ge=1, le=1024)
    min_hz: float = Field(0.0, ge=0)
    max_hz: float = 8000.0
    log_floor: float = Field(1e-5, gt=0, le=1)
    convention: Literal["hifigan", "tacotron2", "speecht5"] = "hifigan"

    @model_validator(mode="after")
    def _agree(self) -> "AudioConfig":
        if self.window_samples > self.fft_samples:
            raise ValueError(f"window_samples {self.window_samples} is longer than fft_samples {self.fft_samples}")
        if self.min_hz >= self.max_hz:
            raise ValueError(f"min_hz {self.min_hz} does not lie below max_hz {self.max_hz}")
        if self.max_hz > self.sample_rate / 2:
            raise ValueError(f"max_hz {self.max_hz} lies above half of sample_rate {self.sample_rate}")
        if (self.fft_samples - self.hop_samples) % 2:
            raise ValueError("fft_samples - hop_samples must be even: the wave is padded alike on both sides")
        return self

    def fingerprint(self) -> str:
        """Return twelve hexadecimal digits; the first convention, once the only one, leaves no trace in them."""
        return digest(self.model_dump(mode="json", exclude={"convention"} if self.convention == "hifigan" else None))

    @property
    def margin_samples(self) -> int:
        """Samples by which a wave is reflected at its ends, so that frames stand where the convention says."""
        return (self.fft_samples - (self.hop_samples if self.convention == "hifigan" else 0)) // 2

    @property
    def silence(self) -> float:
        """The value of every channel of the log-mel where there is no sound."""
        return math.log10(self.log_floor) if self.convention == "speecht5" else math.log(self.log_floor)

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop_samples / self.sample_rate


#: 16 kHz, 25 ms windows every 10 ms: what recognisers listen to.
RECOGNITION_AUDIO = AudioConfig(sample_rate=16000, fft_samples=512, window_samples=400, hop_samples=160)

#: What Whisper listens to; its mel is a decimal logarithm of the power (`malsori.audio.mel.whisper_log_mel`).
WHISPER_AUDIO = AudioConfig(sample_rate=16000, fft_samples=400, window_samples=400, hop_samples=160, log_floor=1e-10)


def nearest(name: str, valid: list[str]) -> str:
    """Return a hint such as " Did you mean 'batch_seconds'?", or the valid names when none is near."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else f" Valid: {', '.join(sorted(valid))}."


def digest(values: dict[str, Any]) -> str:
    """Return twelve hexadecimal digits of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def explain(cls: type[BaseModel], error: ValidationError) -> str:
    """Return pydantic's first complaint in one line."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    dotted = ".".join(path) or cls.__name__
    if first["type"] == "extra_forbidden":
        return f"unknown key '{dotted}'.{nearest(path[-1], _keys_at(cls, path[:-1]))}"
    if first["type"] == "missing":
        return f"missing key '{dotted}'."
    if isinstance(first["input"], dict):  # settings that do not agree with one another
        return f"{dotted}: {first['msg'].removeprefix('Value error, ')}."
    return f"'{dotted}' = {first['input']!r}: {first['msg']}."


def _keys_at(cls: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys that are valid under a dotted path; a table of settings by free names is gone through."""
    annotation: Any = cls
    for part in path:
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif part in getattr(annotation, "model_fields", {}):
            annotation = annotation.model_fields[part].annotation
    return list(getattr(annotation, "model_fields", {}))
