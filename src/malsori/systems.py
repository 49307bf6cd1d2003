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
        adapter: makes a saved model of it fill its role: a protocol of `malsori.tts.roles`, or
            `malsori.asr.recognizer.SegmentDecoder`; "" where the role has none.
        encoder: of a recognizer that CTC trains, its `malsori.asr.encode.CtcEncoder`.
    """

    role: Role
    config: str
    network: str
    training: str
    adapter: str = ""
    encoder: str = ""

    def resolve(self, part: str) -> Any:
        """Return what stands at one of the names above, imported now if it was not before."""
        module, _, name = getattr(self, part).partition(":")
        return getattr(importlib.import_module(module), name)


def _system(role: Role, network: str, training: str, adapter: str = "", encoder: str = "") -> System:
    """Return a row from names below `malsori`; the config is called after its network, and stands beside it."""
    place = f"malsori.models.{network}"
    above = [f"malsori.{part}" if part else "" for part in (f"train.{training}", adapter, encoder)]
    return System(
        role=role, config=f"{place}Config", network=place, training=above[0], adapter=above[1], encoder=above[2]
    )


def _acoustic(network: str, training: str, adapter: str) -> System:
    return _system("acoustic model", network, training, f"tts.acoustic:{adapter}")


def _vocoder(network: str, training: str) -> System:
    return _system("vocoder", network, training, "tts.vocoders:NetworkVocoder")


def _ctc(network: str, training: str, encoder: str) -> System:
    return _system("recognizer", network, training, "asr.ctc:CtcSegmentDecoder", f"asr.ctc_encoders:{encoder}")


SYSTEMS: dict[str, System] = {
    "conformer": _ctc("conformer:Conformer", "conformer:CONFORMER", "ConformerCtcEncoder"),
    "fastspeech": _acoustic("fastspeech:FastSpeech", "fastspeech:FASTSPEECH", "FastSpeechAdapter"),
    "fastspeech2": _acoustic("fastspeech2:FastSpeech2", "fastspeech:FASTSPEECH2", "FastSpeech2Adapter"),
    "hifigan": _vocoder("hifigan:Hifigan", "hifigan:HIFIGAN"),
    "tacotron": _acoustic("tacotron:Tacotron", "tacotron:TACOTRON", "TacotronAdapter"),
    "tacotron2": _acoustic("tacotron2:Tacotron2", "tacotron:TACOTRON2", "TacotronAdapter"),
    "vits": _system("end-to-end voice", "vits:Vits", "vits:VITS", "tts.end_to_end:VitsAdapter"),
    "vocos": _vocoder("vocos:Vocos", "hifigan:VOCOS"),
    "wav2vec2": _ctc("wav2vec2:Wav2Vec2", "wav2vec2:WAV2VEC2", "Wav2Vec2CtcEncoder"),
    "wav2vec2-pretrain": _system("encoder", "wav2vec2:Wav2Vec2Pretraining", "wav2vec2_pretraining:PRETRAINING"),
    "whisper": _system("recognizer", "whisper:Whisper", "whisper:WHISPER", "asr.whisper:WhisperSegmentDecoder"),
}


def systems_of(*roles: Role) -> tuple[str, ...]:
    """Return the names of the systems that do one of these things."""
    return tuple(name for name, system in SYSTEMS.items() if system.role in roles)
