"""Where a model lies: built into malsori, in a folder, in a run, or on the Hugging Face hub; whosever it is.

`load_saved` is the one door: a folder of ours, exported or not, of transformers and of CTranslate2 open alike. What
only a network of PyTorch needs is imported where one is opened.
"""

import difflib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from malsori.errors import ModelError
from malsori.files import read_json
from malsori.pretrained.exported import OnnxGraphs, has_network, is_exported, open_exported
from malsori.pretrained.folder import ModelFacts, SavedModel, load_exactly, open_model, read_model_facts
from malsori.pretrained.remote import from_hub, hub_id_of, is_hub_id, push_folder, remote_models

if TYPE_CHECKING:
    from torch import nn

#: The weights of CTranslate2's folders.
CTRANSLATE2_FILE = "model.bin"

#: What a hub folder may hold that is needed to open it, ours or a public one; not the same weights again in another
#: precision, nor MMS's adapters for a thousand languages, but Korean's. CTranslate2's model.bin is no pickle; pickles
#: are fetched by `import_external` alone, which reads their weights and runs no code in them.
_WEIGHT_FILES = [
    "model.safetensors",
    "model-*.safetensors",
    "language_model.safetensors",
    "adapter.kor.safetensors",
    CTRANSLATE2_FILE,
    "*.onnx",
]
HUB_FILES = ["*.json", *_WEIGHT_FILES, "card.md", "README.md", "merges.txt", "vocab.txt"]

_SHOWN = 80  # signs of a name that is no model's
_LOOKED_AT = 200  # folders beside it

#: Which built-in model is meant where none is named. An aligner is a recognizer that gives phonemes' probabilities.
DEFAULT_MODELS = {
    "voice": "fastspeech2-ko",
    "vocoder": "vocos-ko",
    "recognizer": "whisper-base-ko",
    "aligner": "conformer-ko",
}


@dataclass(frozen=True)
class ModelEntry:
    """One model: its name, what its config says, and the bytes its folder takes on disk."""

    name: str
    facts: ModelFacts
    bytes: int


def built_in() -> list[ModelEntry]:
    """Return the models that come with malsori, by name."""
    return [describe_model(path.name) for path in sorted(_assets().iterdir()) if (path / "config.json").is_file()]


@dataclass(frozen=True)
class Weights:
    """Weights that come with malsori and are no model by themselves: name, bytes on disk, and whose card says so."""

    name: str
    bytes: int
    license: str


def other_weights() -> list[Weights]:
    """Return what else comes with malsori and learnt from recordings, by name."""
    folders = [path for path in sorted(_assets().iterdir()) if not (path / "config.json").is_file()]
    found = ((path, re.search(r"Licen[cs]e: ([^,.]*(?:\.\d+)?)", _card(path))) for path in folders if path.is_dir())
    return [Weights(path.name, _size(path), license[1] if license else "unknown") for path, license in found]


def describe_model(name: str) -> ModelEntry:
    """Return what a model says of itself; a public one is opened whole for it. Raises: ModelError as `load_saved`."""
    folder = resolve(name)
    facts = open_folder(folder).facts if _is_external(folder) else read_model_facts(folder)
    return ModelEntry(name, facts, _size(folder))


def resolve(name: str) -> Path:
    """Return the folder of a model: a built-in name, a model's or a run's folder, or a hub id such as owner/name.

    Raises: ModelError if there is none, naming what comes near.
    """
    given = Path(name)
    for folder in (given, given / "model", _assets() / name) if name.strip() else ():
        if _is_file(folder / "config.json"):
            return folder
    if name.strip() and _exists(given):
        if given.is_dir():
            raise ModelError(f"{name}: no config.json in it or in {name}/model: no model, nor a run that has saved one")
        raise ModelError(f"{name}: is a file; name the folder of a model, or make one: malsori import {name} -o FOLDER")
    if is_hub_id(name):
        return from_hub(name, HUB_FILES)
    raise ModelError(_no_model(name))


def _no_model(name: str) -> str:
    """Return what to tell of a name that is no model's: what comes near, and what would be accepted."""
    own, remote = [model.name for model in built_in()], [model.hub_id for model in remote_models()]
    found = hub_id_of(name)
    beside = _models_beside(Path(name)) if name.strip() else []
    near = [found] if found else difflib.get_close_matches(name, [*own, *beside, *remote], n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    return (
        f"no model {shown!r}.{hint} Built in: {', '.join(own)}; or name the folder of a model or of a run, or an id of "
        "the Hugging Face hub, OWNER/NAME ('malsori models --remote' lists some)"
    )


def _models_beside(path: Path) -> list[str]:
    """Return the folders of models and runs that lie beside a path."""
    try:
        around = [folder for folder in sorted(path.parent.iterdir())[:_LOOKED_AT] if folder.is_dir()]
    except (OSError, ValueError):
        return []
    return [str(one) for one in around if any((at / "config.json").is_file() for at in (one, one / "model"))]


def _is_file(path: Path) -> bool:
    """Return whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def load_saved(name: str, graphs: bool = False) -> SavedModel:
    """Return a model with everything its folder says, ours or a public one.

    Args:
        graphs: as `open_folder` takes it.
    Raises: ModelError as `resolve`, `open_model` and `open_external` do.
    """
    return open_folder(resolve(name), graphs)


def load_model(name: str) -> "nn.Module":
    """Return the network of a saved model in evaluation mode, the same object that trains.

    Args:
        name: a built-in name, a model's or a run's folder, or a hub id.
    Raises: ModelError if there is none, its weights do not fit, or it was exported.
    """
    saved = load_saved(name)
    require_network(saved, name)
    network: nn.Module = saved.network
    return network


def load_initial_weights(network: "nn.Module", name: str) -> ModelFacts:
    """Load the weights of a saved or public model, and return what that model says of itself.

    Speaker embeddings stay as they are.

    Raises: ModelError if there is no such model or a weight does not fit.
    """
    saved = load_saved(name)
    require_network(saved, name)
    weights = saved.network.state_dict()
    own = network.state_dict()
    shared = {key: tensor for key, tensor in weights.items() if not key.startswith("speaker_embedding.")}
    speakers = {key: tensor for key, tensor in own.items() if key.startswith("speaker_embedding.")}
    load_exactly(network, shared | speakers, name)
    return saved.facts


def open_folder(folder: Path, graphs: bool = False) -> SavedModel:
    """Return the model in a folder, ours or a public one.

    Args:
        graphs: of an exported model that has its network beside it, the graphs are meant.
    """
    if is_exported(folder) and (graphs or not has_network(folder)):
        return open_exported(folder)
    if _is_external(folder):
        from malsori.pretrained.external import open_external

        return open_external(folder)
    return open_model(folder)


def require_network(model: SavedModel, name: str) -> None:
    """Raise ModelError if a model was exported, and so has no network that PyTorch could train or change."""
    if isinstance(model.network, OnnxGraphs):
        raise ModelError(f"{name}: is an export, whose graphs only speak or listen; name the model it was made from")


def is_ctranslate2(folder: Path) -> bool:
    """Return whether a folder holds a model of CTranslate2: model.bin, and a config.json that names no other kind."""
    return (folder / CTRANSLATE2_FILE).is_file() and not {"system", "model_type"} & read_json(
        folder / "config.json"
    ).keys()


def _is_external(folder: Path) -> bool:
    """Return whether a folder is of transformers or of CTranslate2."""
    return "model_type" in read_json(folder / "config.json") or is_ctranslate2(folder)


def push(name: str, hub_id: str, private: bool = False) -> str:
    """Put a saved model on the Hugging Face hub, in one commit, and return its address.

    Args:
        name: a model's or a run's folder.
        hub_id: OWNER/NAME; made if it is not there yet.
    Raises: ModelError if the folder is not one of ours, or the hub does not take it.
    """
    folder = resolve(name)
    model = open_model(folder)
    page = f"---\nlicense: {model.facts.license.lower()}\nlibrary_name: malsori\n---\n\n{model.card}"
    contents: dict[str, Path | bytes] = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    contents["README.md"] = page.encode()
    return push_folder(contents, hub_id, private, f"Add a {model.facts.system} of malsori")


def _card(folder: Path) -> str:
    return (folder / "card.md").read_text(encoding="utf-8")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _assets() -> Path:
    return Path(str(resources.files("malsori") / "assets"))
