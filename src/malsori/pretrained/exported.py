"""An exported model is a folder too: that of the model, with ONNX files for its weights. To open one needs no PyTorch.

onnx.json      what each graph takes and gives, in which numbers it is stored, and the operator set
GRAPH.onnx     a network, or a part of one
vocoder.json   of a voice that was exported with its vocoder: what that one's config.json says
config.json, symbols.json, card.md, tokenizer.json, language_model.safetensors    as in every model's folder
"""

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from malsori.config import Config
from malsori.errors import ModelError
from malsori.files import read_json
from malsori.pretrained.folder import ModelFacts, SavedModel, kept_files, read_model_facts, read_symbols

MANIFEST, VOCODER_FACTS = "onnx.json", "vocoder.json"
FORMAT = 1


class GraphFacts(Config):
    """A graph: its file, and the axes of each input and output, a number where it is fixed and a name where not."""

    file: str = Field(pattern=r"^[A-Za-z0-9_-]+\.onnx$")
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]


class ExportFacts(Config):
    """What onnx.json says.

    context_frames: of a vocoder: how many frames on each side of one its wave depends on.
    """

    format: int = Field(FORMAT, ge=FORMAT, le=FORMAT)
    opset: int
    weights: str
    graphs: dict[str, GraphFacts]
    context_frames: int | None = None


@dataclass(frozen=True)
class OnnxGraphs:
    """What stands in a network's place in an exported model: where its graphs lie, and what they are.

    Attributes:
        vocoder: facts of the vocoder that lies beside a voice; None if none does.
    """

    folder: Path
    facts: ExportFacts
    vocoder: ModelFacts | None = None

    def path(self, name: str) -> Path:
        """Return a graph's file. Raises: ModelError if the folder has none of that name, or it is missing."""
        if name not in self.facts.graphs:
            raise ModelError(f"{self.folder}: has no graph '{name}': it was exported from another kind of model")
        path = self.folder / self.facts.graphs[name].file
        if not path.is_file():
            raise ModelError(f"{path}: no such file; export the model again")
        return path


def is_exported(folder: Path) -> bool:
    """Return whether a folder holds an exported model."""
    return (folder / MANIFEST).is_file()


def open_exported(folder: Path) -> SavedModel:
    """Return the model in a folder, its network an `OnnxGraphs`. Raises: ModelError or ConfigError if it is none."""
    facts = ExportFacts.parse(read_json(folder / MANIFEST), str(folder / MANIFEST))
    beside = folder / VOCODER_FACTS
    vocoder = ModelFacts.parse(read_json(beside), str(beside)) if beside.is_file() else None
    card = folder / "card.md"
    return SavedModel(
        read_model_facts(folder),
        read_symbols(folder / "symbols.json"),
        OnnxGraphs(folder, facts, vocoder),
        card.read_text(encoding="utf-8") if card.is_file() else "",
        kept_files(folder),
    )


def vocoder_beside(model: SavedModel) -> SavedModel | None:
    """Return the vocoder that was exported with a voice, if one was."""
    graphs = model.network
    if not isinstance(graphs, OnnxGraphs) or graphs.vocoder is None:
        return None
    return replace(model, facts=graphs.vocoder, symbols={}, files={})
