"""What `malsori serve` can be told: one class, read from the command line, from MALSORI_* and from Python alike."""

import ipaddress
from os import cpu_count
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from malsori.config import explain
from malsori.errors import OptionError
from malsori.pretrained.hub import DEFAULT_MODELS


def _split(value: Any) -> Any:
    """Return the parts of a text with commas, as the environment has them, or of several such texts."""
    texts = [value] if isinstance(value, str) else value
    return tuple(part.strip() for text in texts for part in str(text).split(",") if part.strip())


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class ServeSettings(BaseSettings):
    """How the server runs: each field is an option of `malsori serve` and a variable MALSORI_NAME.

    Raises: OptionError naming the setting, its value and what is accepted.
    """

    model_config = SettingsConfigDict(env_prefix="MALSORI_", frozen=True, extra="forbid", protected_namespaces=())

    host: str = Field("127.0.0.1", description="Address to listen on. Any but loopback wants --api-key.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_key: Names = Field((), description="Keys that clients may send as a bearer token; none: anyone who connects.")
    allow_unauthenticated: bool = Field(False, description="Serve another host than loopback without a key.")
    allowed_hosts: Names = Field((), description="Host names, beside loopback's, that a request may be sent to.")
    cors_origins: Names = Field((), description="Web pages of other hosts that may call, such as https://chat.example.")

    models: Names = Field((), description="More models to serve, as NAME=FOLDER or NAME=HUB-ID.")
    voice: str = Field(DEFAULT_MODELS["voice"], description="Voice meant by OpenAI's names such as tts-1.")
    vocoder: str | None = Field(None, description="Vocoder of voices that make mels; griffin-lim for none.")
    lexicon: Names = Field((), description="Files of words and how voices read them.")
    recognizer: str = Field(DEFAULT_MODELS["recognizer"], description="Recognizer meant by names such as whisper-1.")
    aligner: str = Field(DEFAULT_MODELS["aligner"], description="Recognizer that aligns, where none is named.")
    preload: Names = Field(
        (), description="Models to load before the first request; the voice and the recognizer if none is named."
    )
    idle_seconds: float = Field(900, ge=0, description="Unload a model unused for so long, unless preloaded; 0: never.")

    studio: bool = Field(False, description="Serve the studio at /studio, for a browser (extra studio).")
    runs: str = Field("runs", description="Folder of training runs that the studio shows.")

    device: str = Field("auto", description="Where to compute: auto, cpu, cuda, mps.")
    precision: str = Field("float32", description="Numbers to compute in: float32, bfloat16, float16.")
    threads: int | None = Field(None, ge=1, description="Threads of the CPU for one piece of work; all, shared out.")
    workers: int = Field(2, ge=1, le=64, description="Pieces of work computed at a time.")

    cluster: str | None = Field(
        None, description="Serve on a Ray cluster: its head's address, or auto (extra replicas)."
    )
    replicas: int = Field(1, ge=1, le=1000, description="Servers on the cluster, each with its own models.")

    max_requests: int = Field(64, ge=1, description="Requests served or waiting at a time; beyond: 429.")
    max_body_mb: float = Field(25, gt=0, description="Largest body of a request, in MB.")
    body_seconds: float = Field(60, gt=0, description="How long a client may take to send a body.")
    max_sound_seconds: float = Field(3600, gt=0, description="Longest sound, in seconds.")
    max_characters: int = Field(4096, ge=1, description="Longest text to speak, align, explain or score.")
    decoders: int = Field(2, ge=1, le=64, description="Processes that decode sounds.")
    decode_seconds: int = Field(60, ge=1, description="CPU time that decoding one sound may take.")
    decode_memory_mb: int = Field(1024, ge=256, description="Memory that decoding one sound may take.")
    drain_seconds: int = Field(30, ge=0, description="How long requests may go on after SIGTERM.")
    log_text: bool = Field(False, description="Let the log hold what was said and what it was written as.")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionError(explain(type(self), error)) from error

    @field_validator("models")
    @classmethod
    def _named(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for model in models:
            name, _, place = model.partition("=")
            if not name or not place:
                raise ValueError(f"{model}: name a model and where it lies, as my-voice=/srv/voices/mine")
        return models

    @model_validator(mode="after")
    def _guarded(self) -> "ServeSettings":
        if not (self.is_loopback or self.api_key or self.allow_unauthenticated):
            raise ValueError(
                f"host {self.host}: others can reach it; give --api-key (MALSORI_API_KEY), or --allow-unauthenticated"
            )
        return self

    @model_validator(mode="after")
    def _placed(self) -> "ServeSettings":
        if self.replicas > 1 and not self.cluster:
            raise ValueError(f"replicas {self.replicas}: they are for a cluster; give --cluster too")
        if self.cluster and self.studio:
            raise ValueError("studio: it is for a server of one machine; leave --cluster out")
        if self.cluster and not self.port:
            raise ValueError("port 0: every machine of a cluster listens on the same port; name one")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def threads_per_worker(self) -> int:
        """Threads of the CPU that one piece of work is computed on."""
        return self.threads or max(1, (cpu_count() or 1) // self.workers)
