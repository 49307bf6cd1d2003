"""Models laid out for other programs: voices for Piper and sherpa-onnx; Whispers for sherpa-onnx and onnx-asr."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malsori.errors import ModelError, OptionError
from malsori.export.characters import PADDING, character_graph, characters
from malsori.export.folder import check_opset, check_place, model_graphs, vocoder_of
from malsori.export.graph import OPSET, Graph, WeightType, onnx_bytes
from malsori.export.whisper_files import WHISPER_FILES, ProgramFiles, whisper_program_files
from malsori.files import atomic_folder, write_text
from malsori.pretrained.folder import ModelFacts, SavedModel
from malsori.pretrained.hub import DEFAULT_MODELS, load_saved
from malsori.systems import SYSTEMS, systems_of
from malsori.text.hangul import is_syllable

#: What `malsori export --for` accepts.
PROGRAMS = ("piper", "sherpa-onnx", "onnx-asr")
_VOICE = "voice.onnx"
_FILES = frozenset((_VOICE, f"{_VOICE}.json", "card.md", *WHISPER_FILES))
_VOICES = tuple(name for name in systems_of("acoustic model", "end-to-end voice") if SYSTEMS[name].graphs)
_ACCEPTED = {"piper": _VOICES, "sherpa-onnx": (*_VOICES, "whisper"), "onnx-asr": ("whisper",)}
_SCALES = {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8}  # as `models.vits.Vits.infer` has them


@dataclass(frozen=True)
class ProgramExport:
    """What was asked for: in which numbers weights are stored, the operator set, the vocoder of a voice."""

    dtype: WeightType = "float32"
    opset: int = OPSET
    vocoder: str | None = None


def export_for(program: str, name: str, folder: Path, asked: ProgramExport = ProgramExport()) -> list[str]:
    """Write a model as another program opens it, whole or not at all, and return the names of the files.

    Args:
        program: one of PROGRAMS.
        name: a built-in name, a model's or run's folder, or a hub id.
    Raises: OptionError for another program; ModelError where it has no place for such a model; FileError if the folder
        holds anything but an earlier export.
    """
    if program not in PROGRAMS:
        raise OptionError(f"--for {program}: one of {', '.join(PROGRAMS)}")
    check_place(folder, _FILES)
    check_opset(asked.opset)
    model = load_saved(name)
    system = model.facts.system
    accepted = _ACCEPTED[program]
    if system not in accepted:
        raise ModelError(f"{name}: {program} has no place for a {system}; for one of {', '.join(accepted)}")
    other, graphs = None, {}
    if system == "whisper":
        if asked.vocoder:
            raise OptionError(f"--vocoder {asked.vocoder}: a whisper makes no mels, and needs none")
        files = whisper_program_files(program, model, name)
    else:
        other = vocoder_of(model, asked.vocoder)
        graphs = model_graphs(model, name)
        graphs |= model_graphs(other, asked.vocoder or DEFAULT_MODELS["vocoder"]) if other else {}
        files = _voice_files(program, model, graphs, name)
    with atomic_folder(folder) as partial:
        for file, graph in files.graphs.items():
            content = onnx_bytes(graph, asked.dtype, asked.opset)
            (partial / file).write_bytes(_with_metadata(content, files.metadata.get(file)))
        for file, text in files.texts.items():
            write_text(partial / file, text)
        write_text(partial / "card.md", _card(model, other, program))
        return sorted(path.name for path in partial.iterdir())


def _voice_files(program: str, model: SavedModel, graphs: dict[str, Graph], name: str) -> ProgramFiles:
    """Return a voice's files. Raises: ModelError for a voice that does not read Korean phonemes."""
    if "phonemes" not in model.symbols:
        raise ModelError(f"{name}: reads letters of its makers; {program} gets voices that read Korean phonemes")
    graph = character_graph(graphs, bool(model.facts.model.get("blanks")), len(model.facts.speakers))
    if program == "piper":
        settings = json.dumps(_piper_settings(model.facts), ensure_ascii=False, indent=1)
        return ProgramFiles({_VOICE: graph}, {f"{_VOICE}.json": settings + "\n"})
    return ProgramFiles({_VOICE: graph}, {"tokens.txt": _sherpa_tokens()}, {_VOICE: _sherpa_metadata(model.facts)})


def _piper_settings(facts: ModelFacts) -> dict[str, Any]:
    """Return what stands beside a Piper voice; it reads a text's characters, decomposed."""
    numbers = {one: [number] for number, one in enumerate(characters()) if not is_syllable(one)}
    return {
        "audio": {"sample_rate": facts.audio.sample_rate},
        "espeak": {"voice": "ko"},  # must be there, and is not asked
        "language": {"code": "ko_KR", "family": "ko", "region": "KR", "name_english": "Korean"},
        "phoneme_type": "text",
        "phoneme_map": {},
        "phoneme_id_map": numbers,
        "num_symbols": len(characters()),
        "inference": _SCALES,
        "num_speakers": max(1, len(facts.speakers)),
        "speaker_id_map": {one: number for number, one in enumerate(facts.speakers)} if len(facts.speakers) > 1 else {},
        "hop_length": facts.audio.hop_samples,
        "piper_version": "1.0.0",
    }


def _sherpa_metadata(facts: ModelFacts) -> dict[str, str]:
    """Return what sherpa-onnx reads in a voice of characters."""
    return {
        "model_type": "vits",
        "comment": "malsori, as a piper voice",  # the second word says which inputs it has
        "language": "Korean",
        "frontend": "characters",
        "sample_rate": str(facts.audio.sample_rate),
        "n_speakers": str(max(1, len(facts.speakers))),
        "add_blank": "0",
        "use_eos_bos": "0",
        "punctuation": ". , ? !",
    }


def _sherpa_tokens() -> str:
    """Return the table of characters, a line each; a line without a character means a space."""
    rows = [(one, number) for number, one in enumerate(characters()) if one not in PADDING]
    return "".join(f"{one} {number}\n" for one, number in rows)


def _with_metadata(content: bytes, values: dict[str, str] | None) -> bytes:
    if values is None:
        return content
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, values)
    return bytes(model.SerializeToString())


def _card(model: SavedModel, vocoder: SavedModel | None, program: str) -> str:
    cards = [one.card.strip() for one in (model, vocoder) if one]
    licenses = ", ".join(dict.fromkeys(one.facts.license for one in (model, vocoder) if one))
    reads = "" if program == "onnx-asr" else " A voice reads Korean as it is pronounced: malsori text pronounce TEXT."
    told = f"# For {program}\n\nWritten by malsori.{reads}\n"
    return "\n\n".join([*cards, f"{told}License: {licenses}."]) + "\n"
