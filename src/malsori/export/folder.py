"""A saved model as an exported one: its graphs, and all that it needs to speak or listen without PyTorch."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from malsori.errors import FileError, ModelError, OptionError
from malsori.export.graph import OPSET, OPSETS, Graph, WeightType, onnx_bytes, traced
from malsori.export.shared import without_weights
from malsori.files import atomic_folder, require_place, write_json
from malsori.pretrained.exported import MANIFEST, VOCODER_FACTS, ExportFacts, GraphFacts, has_network, weights_layout
from malsori.pretrained.folder import WEIGHTS, SavedModel, save_tensors, write_facts
from malsori.pretrained.hub import DEFAULT_MODELS, load_saved, require_network, resolve
from malsori.pretrained.storage import pack
from malsori.runtime.device import Runtime
from malsori.systems import SYSTEMS

#: Stands beside the weights where a recognizer has a language model; it is taken along.
LANGUAGE_MODEL = "language_model.safetensors"


def export_model(
    name: str,
    folder: Path,
    dtype: WeightType = "float32",
    opset: int = OPSET,
    vocoder: str | None = None,
    shared_weights: bool = False,
) -> ExportFacts:
    """Write an exported model's folder (`pretrained.exported`), whole or not at all, and return what it says.

    Args:
        name: a built-in name, a model's or run's folder, or a hub id.
        vocoder: the same of the vocoder that goes with a voice that makes mels; the built-in one when not given.
        shared_weights: a recognizer's graphs hold no weights, and point into the model.safetensors that is written
            beside them: PyTorch opens the folder too.
    Raises: ModelError if there is none, or nothing of it can be exported; OptionError for a vocoder that is not asked
        for, a voice with shared weights, or another operator set than is served; FileError if the folder holds
        anything but an earlier export without a network.
    """
    _check_place(folder)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise OptionError(
            f"--opset {opset}: {OPSETS[0]} to {OPSETS[1]} are written; {OPSET} is what most programs read"
        )
    model, beside = load_saved(name), resolve(name) / LANGUAGE_MODEL
    if shared_weights and SYSTEMS[model.facts.system].role != "recognizer":
        raise OptionError(f"--shared-weights: is for recognizers; {name} is a {model.facts.system}")
    graphs, other = _graphs(model, name), None
    if SYSTEMS[model.facts.system].role == "acoustic model":
        other = load_saved(vocoder or DEFAULT_MODELS["vocoder"])
        _check_vocoder(model, other)
        graphs |= _graphs(other, vocoder or DEFAULT_MODELS["vocoder"])
    elif vocoder is not None:
        raise OptionError(f"--vocoder {vocoder}: a {model.facts.system} makes no mels, and needs none")
    context = next((one.network.config.context_frames for one in (other, model) if one and _is_vocoder(one)), None)
    described = {key: _described(key, graph) for key, graph in graphs.items()}
    facts = ExportFacts(opset=opset, weights=dtype, graphs=described, context_frames=context)
    with atomic_folder(folder) as partial:
        write_facts(replace(model, card=_card(model, other, facts)), partial)
        if shared_weights:
            save_tensors(partial / WEIGHTS, pack(model.network.state_dict(), dtype))
            facts = facts.model_copy(update={"weights_layout": weights_layout(partial / WEIGHTS)})
        write_json(partial / MANIFEST, facts.model_dump(mode="json"))
        if other is not None:
            write_json(partial / VOCODER_FACTS, other.facts.model_dump(mode="json"))
        if beside.is_file():
            shutil.copyfile(beside, partial / LANGUAGE_MODEL)
        for key, graph in graphs.items():
            content = _pointing(graph, opset, partial / WEIGHTS) if shared_weights else onnx_bytes(graph, dtype, opset)
            (partial / facts.graphs[key].file).write_bytes(content)
    return facts


def _pointing(graph: Graph, opset: int, weights: Path) -> bytes:
    return without_weights(traced(graph, opset, folded=False), weights, graph.precise)


def _check_place(folder: Path) -> None:
    """Raise FileError, before any work, where a folder cannot be written or something would be lost by it."""
    require_place(folder, folder=True)
    if folder.is_dir() and any(folder.iterdir()) and has_network(folder):
        raise FileError(f"{folder}: is there and holds something else than an export; name another folder")


def _graphs(model: SavedModel, name: str) -> dict[str, Graph]:
    """Return a model's graphs. Raises: ModelError if it has none."""
    require_network(model, name)
    system = SYSTEMS[model.facts.system]
    if not system.graphs:
        known = ", ".join(key for key, one in SYSTEMS.items() if one.graphs)
        raise ModelError(f"{name}: a {model.facts.system} cannot be exported; one of {known} can")
    graphs: dict[str, Graph] = system.resolve("graphs")(Runtime().place(model.network))
    return graphs


def _is_vocoder(model: SavedModel) -> bool:
    return SYSTEMS[model.facts.system].role == "vocoder"


def _check_vocoder(model: SavedModel, vocoder: SavedModel) -> None:
    """Raise ModelError if a voice's vocoder is none, or was made for other mels."""
    if not _is_vocoder(vocoder):
        raise ModelError(f"a {vocoder.facts.system} is no vocoder")
    if vocoder.facts.audio != model.facts.audio:
        raise ModelError("voice and vocoder were made for other mels: their audio settings differ")


def _described(name: str, graph: Graph) -> GraphFacts:
    """Return what onnx.json says of a graph; the example's sizes stand where an axis is fixed."""

    def axes(key: str, value: Any) -> tuple[int | str, ...]:
        named = graph.axes.get(key, {})
        return tuple(named.get(axis, size) for axis, size in enumerate(value.shape))

    outputs = graph.example_outputs()
    return GraphFacts(
        file=f"{name}.onnx",
        inputs={key: axes(key, value) for key, value in graph.inputs.items()},
        outputs={key: axes(key, value) for key, value in outputs.items()},
    )


def _card(model: SavedModel, vocoder: SavedModel | None, facts: ExportFacts) -> str:
    """Return the model's card with what was done to it."""
    with_vocoder = f", with the vocoder below ({vocoder.facts.license})" if vocoder else ""
    told = (
        f"Exported by malsori to ONNX, operator set {facts.opset}, weights as {facts.weights}{with_vocoder}. "
        f"License: as the model's, {model.facts.license}. onnx.json says what the graphs take and give."
    )
    cards = [model.card.strip(), *([vocoder.card.strip()] if vocoder else []), f"# ONNX\n\n{told}"]
    return "\n\n".join(card for card in cards if card) + "\n"
