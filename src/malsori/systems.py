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
        adapter: of what speaks, what makes a saved model of it fill its role in `malsori.tts.roles`.
        decoder: of a recognizer, its `malsori.asr.recognizer.SegmentDecoder`.
        encoder: of a recognizer that CTC trains, its `malsori.asr.encode.CtcEncoder`.
    """

    role: Role
    config: str
    network: str
    training: str
    adapter: str = ""
    decoder: str = ""
    encoder: str = ""

    def resolve(self, part: str) -> Any:
        """Return what stands at one of the names above, imported now if it was not before."""
        module, _, name = getattr(self, part).partition(":")
        return getattr(importlib.import_module(module), name)


def _system(role: Role, module: str, network: str, training: str, **parts: str) -> System:
    """Return a row: the config is called after its network, and both stand in one file."""
    place = f"malsori.models.{module}:{network}"
    return System(role=role, config=f"{place}Config", network=place, training=f"malsori.train.{training}", **parts)


_ASR, _TTS = "malsori.asr", "malsori.tts"


def _ctc(encoder: str) -> dict[str, str]:
    """Return the parts of a recognizer that CTC trains."""
    return {"decoder": f"{_ASR}.ctc:CtcSegmentDecoder", "encoder": f"{_ASR}.ctc_encoders:{encoder}"}


def _acoustic(module: str, network: str, training: str, adapter: str) -> System:
    """Return the row of an acoustic model."""
    return _system("acoustic model", module, network, training, adapter=f"{_TTS}.acoustic:{adapter}")


def _vocoder(module: str, network: str, training: str) -> System:
    """Return the row of a vocoder: all are alike to a voice."""
    return _system("vocoder", module, network, training, adapter=f"{_TTS}.vocoders:NetworkVocoder")


SYSTEMS: dict[str, System] = {
    "conformer": _system("recognizer", "conformer", "Conformer", "conformer:CONFORMER", **_ctc("ConformerCtcEncoder")),
    "fastspeech": _acoustic("fastspeech", "FastSpeech", "fastspeech:FASTSPEECH", "FastSpeechAdapter"),
    "fastspeech2": _acoustic("fastspeech2", "FastSpeech2", "fastspeech:FASTSPEECH2", "FastSpeech2Adapter"),
    "hifigan": _vocoder("hifigan", "Hifigan", "hifigan:HIFIGAN"),
    "tacotron": _acoustic("tacotron", "Tacotron", "tacotron:TACOTRON", "TacotronAdapter"),
    "tacotron2": _acoustic("tacotron2", "Tacotron2", "tacotron:TACOTRON2", "TacotronAdapter"),
    "vits": _system("end-to-end voice", "vits", "Vits", "vits:VITS", adapter=f"{_TTS}.end_to_end:VitsAdapter"),
    "vocos": _vocoder("vocos", "Vocos", "hifigan:VOCOS"),
    "wav2vec2": _system("recognizer", "wav2vec2", "Wav2Vec2", "wav2vec2:WAV2VEC2", **_ctc("Wav2Vec2CtcEncoder")),
    "wav2vec2-pretrain": _system("encoder", "wav2vec2", "Wav2Vec2Pretraining", "wav2vec2_pretraining:PRETRAINING"),
    "whisper": _system(
        "recognizer", "whisper", "Whisper", "whisper:WHISPER", decoder=f"{_ASR}.whisper:WhisperSegmentDecoder"
    ),
}


def systems_of(*roles: Role) -> tuple[str, ...]:
    """Return the names of the systems that do one of these things."""
    return tuple(name for name, system in SYSTEMS.items() if system.role in roles)
