"""An exported model is a folder too: that of the model, with ONNX files for its weights. To open one needs no PyTorch.

onnx.json      what each graph takes and gives, in which numbers it is stored, and the operator set
GRAPH.onnx     a network, or a part of one
vocoder.json   of a voice that was exported with its vocoder: what that one's config.json says
model.safetensors   the network's weights, where the graphs hold none and point into this file: both runtimes open it
config.json, symbols.json, card.md, tokenizer.json, language_model.safetensors    as in every model's folder
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from malsori.config import Config
from malsori.errors import ModelError
from malsori.files import read_json
from malsori.pretrained.folder import WEIGHTS, ModelFacts, SavedModel, kept_files, read_model_facts, read_symbols

MANIFEST, VOCODER_FACTS = "onnx.json", "vocoder.json"
FORMAT = 1
_SIZE_BYTES, _MAX_HEADER = 8, 100_000_000  # as safetensors has them


class GraphFacts(Config):
    """A graph: its file, and the axes of each input and output, a number where it is fixed and a name where not."""

    file: str = Field(pattern=r"^[A-Za-z0-9_-]+\.onnx$")
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]


class ExportFacts(Config):
    """What onnx.json says.

    context_frames: of a vocoder: how many frames on each side of one its wave depends on.
    weights_layout: of graphs that point into model.safetensors: `weights_layout` of the one they were made for.
    """

    format: int = Field(FORMAT, ge=FORMAT, le=FORMAT)
    opset: int
    weights: str
    graphs: dict[str, GraphFacts]
    context_frames: int | None = None
    weights_layout: str | None = None


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


def has_network(folder: Path) -> bool:
    """Return whether a model's folder holds a network that PyTorch opens; an exported one's may hold both."""
    return not is_exported(folder) or (folder / WEIGHTS).is_file()


def read_header(path: Path) -> tuple[bytes, int]:
    """Return what a safetensors file says of its tensors, and where their bytes begin.

    Raises: ModelError if it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(_SIZE_BYTES), "little")
            header = file.read(min(size, _MAX_HEADER))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not size or len(header) != size:
        raise ModelError(f"{path}: damaged, or not a safetensors file")
    return header, _SIZE_BYTES + size


def weights_layout(path: Path) -> str:
    """Return twelve hexadecimal digits of which tensors lie where in a safetensors file, whatever their values."""
    return hashlib.sha256(read_header(path)[0]).hexdigest()[:12]


def open_exported(folder: Path) -> SavedModel:
    """Return the model in a folder, its network an `OnnxGraphs`. Raises: ModelError or ConfigError if it is none."""
    facts = ExportFacts.parse(read_json(folder / MANIFEST), str(folder / MANIFEST))
    if facts.weights_layout and facts.weights_layout != weights_layout(folder / WEIGHTS):
        raise ModelError(f"{folder / WEIGHTS}: is not the file that the graphs beside it point into; export it again")
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
