"""A saved model as an exported one: its graphs, and all that it needs to speak or listen without PyTorch."""

import shutil
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from malsori.errors import FileError, ModelError, OptionError
from malsori.export.graph import OPSET, OPSETS, Graph, WeightType, onnx_bytes, traced
from malsori.export.shared import stored_as, without_weights
from malsori.files import atomic_file, atomic_folder, read_json, require_place, write_json
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
        shared_weights: the graphs hold no weights, and point into the model.safetensors that is written beside them:
            PyTorch opens the folder too. A voice and its vocoder are then two folders. Where the folder is the model's
            own, graphs alone are added to it, and the weights stay as they are stored, whatever the dtype.
    Raises: ModelError if there is none, or nothing of it can be exported; OptionError for a vocoder that is not asked
        for, or another operator set than is served; FileError if the folder holds anything but an earlier export
        without a network.
    """
    own = shared_weights and _is_own(folder, name)
    if not own:
        check_place(folder)
    check_opset(opset)
    model = load_saved(name)
    other = vocoder_of(model, vocoder, shared_weights)
    graphs = model_graphs(model, name, folded=not shared_weights)
    graphs |= model_graphs(other, vocoder or DEFAULT_MODELS["vocoder"]) if other else {}
    context = next((one.network.config.context_frames for one in (other, model) if one and _is_vocoder(one)), None)
    described = {key: _described(key, graph) for key, graph in graphs.items()}
    facts = ExportFacts(opset=opset, weights=dtype, graphs=described, context_frames=context)
    if own:
        return _write_graphs(graphs, facts.model_copy(update={"weights": stored_as(folder / WEIGHTS)}), folder, True)
    beside = resolve(name) / LANGUAGE_MODEL
    with atomic_folder(folder) as partial:
        write_facts(replace(model, card=_card(model, other, facts)), partial)
        if shared_weights:
            save_tensors(partial / WEIGHTS, pack(model.network.state_dict(), dtype))
        if other is not None:
            write_json(partial / VOCODER_FACTS, other.facts.model_dump(mode="json"))
        if beside.is_file():
            shutil.copyfile(beside, partial / LANGUAGE_MODEL)
        return _write_graphs(graphs, facts, partial, shared_weights)


def _write_graphs(graphs: dict[str, Graph], facts: ExportFacts, folder: Path, shared_weights: bool) -> ExportFacts:
    """Write the graphs and what is said of them, which is returned; shared weights lie in the folder already."""
    for key, graph in graphs.items():
        with atomic_file(folder / facts.graphs[key].file) as path:
            if shared_weights:
                content = traced(graph, facts.opset, folded=False)
                precise = () if graph.stepwise else graph.precise  # there few numbers share a scale
                content = without_weights(content, folder / WEIGHTS, precise, graph.stepwise)
            else:
                content = onnx_bytes(graph, cast("WeightType", facts.weights), facts.opset)
            path.write_bytes(content)
    if shared_weights:
        facts = facts.model_copy(update={"weights_layout": weights_layout(folder / WEIGHTS)})
    write_json(folder / MANIFEST, facts.model_dump(mode="json"))
    return facts


def _is_own(folder: Path, name: str) -> bool:
    """Return whether a folder is that of the model itself, and no other program's."""
    if not (folder / "config.json").is_file() or not folder.samefile(resolve(name)):
        return False
    return "system" in read_json(folder / "config.json")


def check_opset(opset: int) -> None:
    """Raise OptionError for an operator set that is not written."""
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise OptionError(
            f"--opset {opset}: {OPSETS[0]} to {OPSETS[1]} are written; {OPSET} is what most programs read"
        )


def check_place(folder: Path, written: Container[str] = ()) -> None:
    """Raise FileError, before any work, where a folder cannot be written or something would be lost by it.

    Args:
        written: names of files that an export of the same kind would hold.
    """
    require_place(folder, folder=True)
    if not folder.is_dir() or all(path.name in written for path in folder.iterdir()):
        return
    if has_network(folder):
        raise FileError(f"{folder}: is there and holds something else than an export; name another folder")


def model_graphs(model: SavedModel, name: str, folded: bool = True) -> dict[str, Graph]:
    """Return a model's graphs, weight norms folded or as they are saved. Raises: ModelError if it has none."""
    require_network(model, name)
    system = SYSTEMS[model.facts.system]
    if not system.graphs:
        known = ", ".join(key for key, one in SYSTEMS.items() if one.graphs)
        raise ModelError(f"{name}: a {model.facts.system} cannot be exported; one of {known} can")
    network = Runtime().place(model.network) if folded else model.network.eval()
    graphs: dict[str, Graph] = system.resolve("graphs")(network)
    return graphs


def _is_vocoder(model: SavedModel) -> bool:
    return SYSTEMS[model.facts.system].role == "vocoder"


def vocoder_of(model: SavedModel, named: str | None, shared_weights: bool = False) -> SavedModel | None:
    """Return the vocoder that goes into a voice's folder, if one does.

    Raises: OptionError where none is asked for; ModelError if what is named is none, or was made for other mels.
    """
    if shared_weights and named:
        raise OptionError(f"--vocoder {named}: with --shared-weights it is a folder of its own; export it by itself")
    if SYSTEMS[model.facts.system].role != "acoustic model":
        if named:
            raise OptionError(f"--vocoder {named}: a {model.facts.system} makes no mels, and needs none")
        return None
    if shared_weights:
        return None
    vocoder = load_saved(named or DEFAULT_MODELS["vocoder"])
    if not _is_vocoder(vocoder):
        raise ModelError(f"a {vocoder.facts.system} is no vocoder")
    if vocoder.facts.audio != model.facts.audio:
        raise ModelError("voice and vocoder were made for other mels: their audio settings differ")
    return vocoder


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
