"""Which models clients may name, loaded once for all of them, and let go when nobody asks for them any more."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from malsori.asr.recognizer import Recognizer, load_aligner, load_recognizer
from malsori.config import nearest
from malsori.errors import ModelError
from malsori.pretrained.hub import built_in, describe_model
from malsori.serve.errors import HttpError
from malsori.serve.settings import ServeSettings
from malsori.systems import systems_of
from malsori.text.userwords import user_lexicon
from malsori.tts.options import SayOptions
from malsori.tts.voice import Voice, load_voice

log = logging.getLogger("malsori.serve")

Role = Literal["voice", "recognizer", "aligner"]

#: What OpenAI's clients ask for unless told otherwise, and so mean the server's own.
OPENAI_MODELS: dict[str, tuple[str, ...]] = {
    "voice": ("tts-1", "tts-1-hd", "gpt-4o-mini-tts"),
    "recognizer": ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"),
}
#: Names of OpenAI's voices, which mean the first speaker.
OPENAI_VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)


@dataclass(frozen=True)
class ServedModel:
    """A model that clients may name: where it lies, what it is for, and who speaks with it."""

    name: str
    place: str
    role: Role
    system: str
    speakers: tuple[str, ...]
    license: str


class ModelTable:
    """The models that the operator serves, the built-in ones among them. Safe for threads.

    Args:
        settings: which, and where they compute.
    Raises: ModelError if one is not there, or neither a voice nor a recognizer.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        user_lexicon(settings.lexicon or None)  # a faulty row is told now
        self.served = {model.name: model for model in _served(settings)}
        self.defaults: dict[Role, str] = {
            "voice": self._default("voice", settings.voice),
            "recognizer": self._default("recognizer", settings.recognizer),
            "aligner": self._default("recognizer", settings.aligner),
        }
        self.preload = settings.preload or (self.defaults["voice"], self.defaults["recognizer"])
        for name in self.preload:
            if name not in self.served:
                raise ModelError(f"preload {name}: is not served.{nearest(name, [*self.served])}")
        self._loaded: dict[tuple[str, Role], tuple[Any, float]] = {}
        self._lock = threading.Lock()
        self._loading: dict[tuple[str, Role], threading.Lock] = {}

    def resolve(self, role: Role, name: str | None) -> ServedModel:
        """Return the model that a client means. Raises: HttpError 404 if it is not served, or is of another role."""
        kind: Role = "voice" if role == "voice" else "recognizer"
        if name is None or name in OPENAI_MODELS[kind]:
            name = self.defaults[role]
        model = self.served.get(name)
        if model is None or model.role != kind:
            known = [known.name for known in self.served.values() if known.role == kind]
            raise HttpError(404, f"no {role} '{name}'.{nearest(name, known)}", "model_not_found", "model")
        return model

    def speaker(self, model: str | None, voice: str | None) -> tuple[ServedModel, str | None]:
        """Return the voice and the speaker that a client means by `model` and `voice`.

        Args:
            voice: one of the model's speakers; a voice's own name; one of OpenAI's names. Where `model` is one of
                OpenAI's names too, a speaker of any voice.
        Raises: HttpError 404 if there is no such voice.
        """
        named = self.resolve("voice", model)
        anyone = model is None or model in OPENAI_MODELS["voice"]
        if voice is None or voice in OPENAI_VOICES:
            return named, None
        voices = [named, *(other for other in self.served.values() if anyone and other.role == "voice")]
        for candidate in voices:
            if voice in candidate.speakers:
                return candidate, voice
        for candidate in voices:
            if voice == candidate.name:
                return candidate, None
        known = [name for one in voices for name in (*one.speakers, one.name)]
        raise HttpError(404, f"no voice '{voice}'.{nearest(voice, known)}", "voice_not_found", "voice")

    def voice(self, name: str) -> Voice:
        """Return a loaded voice."""
        return self._get(name, "voice")

    def recognizer(self, name: str) -> Recognizer:
        """Return a loaded recognizer."""
        return self._get(name, "recognizer")

    def aligner(self, name: str) -> Recognizer:
        """Return a loaded recognizer that aligns. Raises: ModelError if it cannot."""
        return self._get(name, "aligner")

    def loaded(self) -> list[str]:
        """Return the names of the models that are in memory."""
        return sorted({name for name, _ in self._loaded})

    def load_first(self) -> None:
        """Load the models of the preload list, and let each work once: the first time compiles and fills caches."""
        for name in self.preload:
            if self.served[name].role == "voice":
                self.voice(name).say("네.", SayOptions())
            else:
                self.recognizer(name)

    def unload_idle(self) -> list[str]:
        """Let go of the models that nobody asked for of late, but for the preloaded ones, and return their names."""
        idle = self.settings.idle_seconds
        with self._lock:
            gone = [
                key
                for key, (_, used) in self._loaded.items()
                if idle and key[0] not in self.preload and time.monotonic() - used > idle
            ]
            for key in gone:
                del self._loaded[key]
        if gone:
            gc.collect()
        return [name for name, _ in gone]

    def _get(self, name: str, role: Role) -> Any:
        key = (name, role)
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            held = self._loaded.get(key)
            model = held[0] if held else self._load(self.served[name].place, role)
            with self._lock:
                self._loaded[key] = (model, time.monotonic())
        return model

    def _load(self, place: str, role: Role) -> Any:
        where = {"device": self.settings.device, "precision": self.settings.precision}
        load: dict[Role, Callable[..., Any]] = {
            "voice": partial(load_voice, vocoder=self.settings.vocoder, lexicon=self.settings.lexicon or None),
            "recognizer": load_recognizer,
            "aligner": load_aligner,
        }
        return load[role](place, **where)

    def _default(self, role: Role, name: str) -> str:
        model = self.served.get(name)
        if model is None or model.role != role:
            known = [known.name for known in self.served.values() if known.role == role]
            raise ModelError(f"{role} {name}: no such {role} is served.{nearest(name, known)}")
        return name


def _served(settings: ServeSettings) -> Iterator[ServedModel]:
    """Yield the built-in voices and recognizers, and the operator's models."""
    places = {entry.name: entry.name for entry in built_in()}
    places |= {name: place for name, _, place in (model.partition("=") for model in settings.models)}
    voices, recognizers = systems_of("acoustic model", "end-to-end voice"), systems_of("recognizer")
    for name, place in places.items():
        facts = describe_model(place).facts
        if facts.system in voices or facts.system in recognizers:
            role: Role = "voice" if facts.system in voices else "recognizer"
            yield ServedModel(name, place, role, facts.system, tuple(facts.speakers), facts.license)
        elif name != place:
            raise ModelError(f"models {name}={place}: a {facts.system} is neither a voice nor a recognizer")
