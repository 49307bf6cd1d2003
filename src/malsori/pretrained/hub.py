"""Where a model lies: built into malsori, in a folder, in a run, or on the Hugging Face hub; whosever it is.

`load_saved` is the one door: a folder of ours, of transformers and of CTranslate2 open alike.
"""

import difflib
import re
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from malsori.errors import ConfigError, ModelError
from malsori.files import read_json
from malsori.pretrained.convert import (
    PICKLES,
    ConversionMap,
    ExternalCheckpoint,
    conversion_maps,
    convert,
    detect_format,
    map_by_name,
    map_of_type,
    read_author_file,
    read_transformers_weights,
)
from malsori.pretrained.ctranslate2 import MODEL_FILE, is_ctranslate2, read_ctranslate2
from malsori.pretrained.folder import (
    KEPT_FILES,
    ModelFacts,
    SavedModel,
    kept_files,
    load_exactly,
    open_model,
    read_model_facts,
)
from malsori.pretrained.limits import build_within, check_finite, check_numbers
from malsori.pretrained.remote import from_hub, hub_id_of, is_hub_id, push_folder, remote_models
from malsori.text.tokenizer import MAX_TIMESTAMPS, Tokenizer, vocab_size

#: What a hub folder may hold that is needed to open it, ours or a public one; not the same weights again in another
#: precision, nor adapters for a thousand languages. CTranslate2's model.bin is no pickle; pickles are fetched by
#: `import_external` alone, which reads their weights and runs no code in them.
_WEIGHT_FILES = ["model.safetensors", "model-*.safetensors", "language_model.safetensors", MODEL_FILE]
_HUB_FILES = ["*.json", *_WEIGHT_FILES, "card.md", "README.md", "merges.txt", "vocab.txt"]

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
    external = "model_type" in read_json(folder / "config.json") or is_ctranslate2(folder)
    facts = open_external(folder).facts if external else read_model_facts(folder)
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
        return from_hub(name, _HUB_FILES)
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


def load_saved(name: str) -> SavedModel:
    """Return a model with everything its folder says, ours or a public one.

    Raises: ModelError as `resolve`, `open_model` and `open_external` do.
    """
    return open_folder(resolve(name))


def load_model(name: str) -> nn.Module:
    """Return the network of a saved model in evaluation mode, the same object that trains.

    Args:
        name: a built-in name, a model's or a run's folder, or a hub id.
    Raises: ModelError if there is none, or its weights do not fit.
    """
    return load_saved(name).network


def load_initial_weights(network: nn.Module, name: str) -> ModelFacts:
    """Load the weights of a saved or public model, and return what that model says of itself.

    Speaker embeddings stay as they are.

    Raises: ModelError if there is no such model or a weight does not fit.
    """
    saved = load_saved(name)
    weights = saved.network.state_dict()
    own = network.state_dict()
    shared = {key: tensor for key, tensor in weights.items() if not key.startswith("speaker_embedding.")}
    speakers = {key: tensor for key, tensor in own.items() if key.startswith("speaker_embedding.")}
    load_exactly(network, shared | speakers, name)
    return saved.facts


def open_folder(folder: Path) -> SavedModel:
    """Return the model in a folder, ours or a public one."""
    external = "model_type" in read_json(folder / "config.json") or is_ctranslate2(folder)
    return open_external(folder) if external else open_model(folder)


def open_external(folder: Path) -> SavedModel:
    """Return the model in a folder of transformers or of CTranslate2, as one of ours.

    Raises: ModelError if malsori has no such system, or naming the first tensor that does not fit.
    """
    if is_ctranslate2(folder):
        return convert_checkpoint(map_by_name("ctranslate2-whisper"), read_ctranslate2(folder))
    config = read_json(folder / "config.json")
    return convert_checkpoint(
        _map_of_config(config, folder), ExternalCheckpoint(folder, config, read_transformers_weights(folder))
    )


def import_external(
    path: Path, configs: list[Path], license: str = "unknown", tokenizer: str | None = None
) -> SavedModel:
    """Return the model in an author's own file, its pickle opened without running any code in it.

    Args:
        path: the file; or a folder, or a hub id of one, that has it as model.safetensors or pytorch_model.bin.
        configs: the author's settings, JSON or YAML, later files over earlier ones; config.json beside the file if
            none is named.
        license: what the author says, for the card.
        tokenizer: a folder or hub id of a Whisper's tokenizer, for a file that holds none.
    Raises: ModelError if the file is of no known checkpoint format, or does not fit its settings, naming the first
            thing; or if the tokenizer is missing, or not that of the network.
    """
    path = _weights_file(path)
    conversion, checkpoint = _read_checkpoint(path, configs)
    model = convert_checkpoint(conversion, checkpoint)
    if tokenizer or conversion.origin == "openai":
        model = _with_tokenizer(model, tokenizer, path)
    told = license if license != "unknown" else model.facts.license
    facts = model.facts.model_copy(
        update={"license": told, "trained": {"imported": path.name, "checkpoint_format": conversion.name}}
    )
    card = f"# {conversion.system}\n\nImported from {path.name}, {conversion.reference}.\n\nLicense: {told}.\n"
    return replace(model, facts=facts, card=card)


def _with_tokenizer(model: SavedModel, name: str | None, path: Path) -> SavedModel:
    """Return a Whisper with the tokenizer of a folder or hub id. Raises: ModelError if it is not the network's."""
    if model.facts.system != "whisper":
        raise ModelError(f"{path}: a {model.facts.system} has no tokenizer; --tokenizer {name} has nothing to say")
    vocab = model.network.config.vocab
    if not name:
        raise ModelError(
            f"{path}: holds no tokenizer; name a folder or hub id that has the tokenizer.json of its {vocab} tokens "
            "with --tokenizer, such as openai/whisper-base for 51865 (51864: whisper-base.en, 51866: whisper-large-v3)"
        )
    files = kept_files(Path(name) if Path(name).is_dir() else from_hub(name, list(KEPT_FILES)))
    fits = vocab_size(files) <= vocab <= Tokenizer(files, name).first_timestamp + MAX_TIMESTAMPS
    if not fits:
        raise ModelError(f"{name}: a tokenizer of {vocab_size(files)} tokens; the network in {path} knows {vocab}")
    return replace(model, files=files)


def _weights_file(path: Path) -> Path:
    """Return the file that holds the weights of what is imported: itself, or the one in a folder or a hub id's."""
    on_hub = not path.exists() and path.suffix not in PICKLES and is_hub_id(str(path))
    if not path.is_dir() and not on_hub:
        return path
    folder = path if path.is_dir() else from_hub(str(path), [*_HUB_FILES, "pytorch_model.bin"])
    if is_ctranslate2(folder):
        return folder / MODEL_FILE
    whole = folder / "model.safetensors"
    return whole if whole.is_file() else folder / "pytorch_model.bin"


def _read_checkpoint(path: Path, configs: list[Path]) -> tuple[ConversionMap, ExternalCheckpoint]:
    """Return whose a file of weights is, and what it holds with its settings."""
    beside = path.parent / "config.json"
    if path.name == MODEL_FILE and beside.is_file() and is_ctranslate2(path.parent):
        if configs:
            raise ModelError(f"{path}: its settings stand in it; --config {configs[0]} has nothing to say")
        return map_by_name("ctranslate2-whisper"), read_ctranslate2(path.parent)
    content = read_author_file(path)
    config: dict[str, Any] = {}
    for place in configs or [beside] * beside.is_file():
        config |= _read_settings(place)
    if "model_type" in config:
        conversion, weights = _map_of_config(config, path), content
    else:
        conversion, weights = detect_format(content, path)
        held = content.get(conversion.settings)
        config = (held if isinstance(held, dict) else {}) | config
    weights = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
        if isinstance(tensor, Tensor)
    }
    return conversion, ExternalCheckpoint(path.parent, config, weights)


def convert_checkpoint(conversion: ConversionMap, checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return a public checkpoint as a model of ours. Raises: ModelError if its settings are no such model's."""
    place = str(checkpoint.folder)
    try:
        empty = build_within(
            lambda: conversion.untrained(checkpoint), lambda made: made.network, checkpoint.weights, place
        )
        check_numbers(empty.facts.model, len(checkpoint.weights), place)
        check_finite(checkpoint.weights, place)
    except (LookupError, TypeError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        value = f"{'.'.join(map(str, first['loc']))} = {first['input']!r}: " if first["loc"] else ""
        reason = value + str(first["msg"]).removeprefix("Value error, ")
        raise ModelError(
            f"{checkpoint.folder}: its settings are not those of a {conversion.system}: {reason}"
        ) from error
    return convert(conversion, checkpoint, empty)


def _map_of_config(config: dict[str, Any], place: Path) -> ConversionMap:
    conversion = map_of_type(str(config["model_type"]))
    if conversion is None:
        known = sorted({kind for known in conversion_maps() for kind in known.model_types})
        raise ModelError(
            f"{place}: model_type '{config['model_type']}' is none of malsori's; known: {', '.join(known)}"
        )
    return conversion


def _read_settings(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        return read_json(path)
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: neither JSON nor YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected settings by name, found {type(values).__name__}")
    return values


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
