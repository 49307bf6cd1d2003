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
        graphs: what of its network is exported (`malsori.export.graph.Graph`, by name); "" where nothing can be.
        onnx: makes an exported model of it fill its role, as `adapter` does, or `encoder` where there is one; "" where
            the adapter knows both (`malsori.asr.whisper`).
    """

    role: Role
    config: str
    network: str
    training: str
    adapter: str = ""
    encoder: str = ""
    graphs: str = ""
    onnx: str = ""

    def resolve(self, part: str) -> Any:
        """Return what stands at one of the names above, imported now if it was not before."""
        module, _, name = getattr(self, part).partition(":")
        return getattr(importlib.import_module(module), name)


def _system(role: Role, network: str, training: str, **others: str) -> System:
    """Return a row from names below `malsori`; the config is called after its network, and stands beside it."""
    places = {name: f"malsori.{place}" for name, place in others.items() if place}
    network = f"malsori.models.{network}"
    return System(role=role, config=f"{network}Config", network=network, training=f"malsori.train.{training}", **places)


def _acoustic(network: str, training: str, adapter: str, graphs: str = "") -> System:
    others = {"graphs": f"export.voices:{graphs}", "onnx": "tts.onnx:OnnxAcousticModel"} if graphs else {}
    return _system("acoustic model", network, training, adapter=f"tts.acoustic:{adapter}", **others)


def _vocoder(network: str, training: str, graphs: str) -> System:
    others = {"graphs": f"export.voices:{graphs}", "onnx": "tts.onnx:OnnxVocoder"}
    return _system("vocoder", network, training, adapter="tts.vocoders:NetworkVocoder", **others)


def _ctc(network: str, training: str, encoder: str, graphs: str) -> System:
    adapters = {"adapter": "asr.ctc:CtcSegmentDecoder", "encoder": f"asr.ctc_encoders:{encoder}"}
    others = {"graphs": f"export.recognizers:{graphs}", "onnx": f"asr.onnx_ctc:Onnx{encoder}"}
    return _system("recognizer", network, training, **adapters, **others)


SYSTEMS: dict[str, System] = {
    "conformer": _ctc("conformer:Conformer", "conformer:CONFORMER", "ConformerCtcEncoder", "conformer_graphs"),
    "fastspeech": _acoustic("fastspeech:FastSpeech", "fastspeech:FASTSPEECH", "FastSpeechAdapter", "fastspeech_graphs"),
    "fastspeech2": _acoustic(
        "fastspeech2:FastSpeech2", "fastspeech2:FASTSPEECH2", "FastSpeech2Adapter", "fastspeech2_graphs"
    ),
    "hifigan": _vocoder("hifigan:Hifigan", "hifigan:HIFIGAN", "hifigan_graphs"),
    "tacotron": _acoustic("tacotron:Tacotron", "tacotron:TACOTRON", "TacotronAdapter"),
    "tacotron2": _acoustic("tacotron2:Tacotron2", "tacotron:TACOTRON2", "TacotronAdapter"),
    "vits": _system(
        "end-to-end voice",
        "vits:Vits",
        "vits:VITS",
        adapter="tts.end_to_end:VitsAdapter",
        graphs="export.voices:vits_graphs",
        onnx="tts.onnx:OnnxVits",
    ),
    "vocos": _vocoder("vocos:Vocos", "hifigan:VOCOS", "vocos_graphs"),
    "wav2vec2": _ctc("wav2vec2:Wav2Vec2", "wav2vec2:WAV2VEC2", "Wav2Vec2CtcEncoder", "wav2vec2_graphs"),
    "wav2vec2-pretrain": _system("encoder", "wav2vec2:Wav2Vec2Pretraining", "wav2vec2_pretraining:PRETRAINING"),
    "whisper": _system(
        "recognizer",
        "whisper:Whisper",
        "whisper:WHISPER",
        adapter="asr.whisper:WhisperSegmentDecoder",
        graphs="export.recognizers:whisper_graphs",
    ),
}


def systems_of(*roles: Role) -> tuple[str, ...]:
    """Return the names of the systems that do one of these things."""
    return tuple(name for name, system in SYSTEMS.items() if system.role in roles)
