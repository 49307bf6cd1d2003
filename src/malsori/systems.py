"""The one table of systems: what each is for, and where its parts stand.

Parts are named, not imported: "malsori.models.whisper:Whisper" is imported when it is asked for, so that opening one
system imports one system. Whoever adds a system adds a row.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["acoustic model", "end-to-end voice", "vocoder", "recognizer", "encoder"]


@dataclass(frozen=True, kw_only=True)
class System:
    """One system.

    Attributes:
        role: what a model of it does for its user; an "encoder" only begins a recognizer's training.
        config, network: the class of its sizes, and the network that they build.
        training: its `malsori.train.setup.SystemSpec`.
        adapter: makes a saved model of it fill its role (`malsori.tts.roles`); "" where the role has no such protocol.
    """

    role: Role
    config: str
    network: str
    training: str
    adapter: str = ""

    def resolve(self, part: str) -> Any:
        """Return what stands at one of the names above, imported now if it was not before."""
        module, _, name = getattr(self, part).partition(":")
        return getattr(importlib.import_module(module), name)


def _system(role: Role, module: str, network: str, training: str, adapter: str = "") -> System:
    """Return a row: the config is called after its network, and both stand in one file."""
    place = f"malsori.models.{module}:{network}"
    training = f"malsori.train.{training}"
    return System(role=role, config=f"{place}Config", network=place, training=training, adapter=adapter)


SYSTEMS: dict[str, System] = {
    "conformer": _system("recognizer", "conformer", "Conformer", "conformer:CONFORMER"),
    "fastspeech": _system(
        "acoustic model", "fastspeech", "FastSpeech", "fastspeech:FASTSPEECH", "malsori.tts.acoustic:FastSpeechAdapter"
    ),
    "fastspeech2": _system(
        "acoustic model",
        "fastspeech2",
        "FastSpeech2",
        "fastspeech:FASTSPEECH2",
        "malsori.tts.acoustic:FastSpeech2Adapter",
    ),
    "hifigan": _system("vocoder", "hifigan", "Hifigan", "hifigan:HIFIGAN", "malsori.tts.vocoders:NetworkVocoder"),
    "tacotron": _system(
        "acoustic model", "tacotron", "Tacotron", "tacotron:TACOTRON", "malsori.tts.acoustic:TacotronAdapter"
    ),
    "tacotron2": _system(
        "acoustic model", "tacotron2", "Tacotron2", "tacotron:TACOTRON2", "malsori.tts.acoustic:TacotronAdapter"
    ),
    "vits": _system("end-to-end voice", "vits", "Vits", "vits:VITS", "malsori.tts.end_to_end:VitsAdapter"),
    "vocos": _system("vocoder", "vocos", "Vocos", "hifigan:VOCOS", "malsori.tts.vocoders:NetworkVocoder"),
    "wav2vec2": _system("recognizer", "wav2vec2", "Wav2Vec2", "wav2vec2:WAV2VEC2"),
    "wav2vec2-pretrain": _system("encoder", "wav2vec2", "Wav2Vec2Pretraining", "wav2vec2_pretraining:PRETRAINING"),
    "whisper": _system("recognizer", "whisper", "Whisper", "whisper:WHISPER"),
}


def systems_of(*roles: Role) -> tuple[str, ...]:
    """Return the names of the systems that do one of these things."""
    return tuple(name for name, system in SYSTEMS.items() if system.role in roles)
