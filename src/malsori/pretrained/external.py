"""Other people's checkpoints as models of ours: their folders, and the files their authors gave out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

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
from malsori.pretrained.ctranslate2 import read_ctranslate2
from malsori.pretrained.folder import KEPT_FILES, SavedModel, kept_files
from malsori.pretrained.hub import CTRANSLATE2_FILE, HUB_FILES, is_ctranslate2
from malsori.pretrained.limits import build_within, check_finite, check_numbers
from malsori.pretrained.remote import from_hub, is_hub_id
from malsori.text.tokenizer import MAX_TIMESTAMPS, Tokenizer, vocab_size


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
    folder = path if path.is_dir() else from_hub(str(path), [*HUB_FILES, "pytorch_model.bin"])
    if is_ctranslate2(folder):
        return folder / CTRANSLATE2_FILE
    whole = folder / "model.safetensors"
    return whole if whole.is_file() else folder / "pytorch_model.bin"


def _read_checkpoint(path: Path, configs: list[Path]) -> tuple[ConversionMap, ExternalCheckpoint]:
    """Return whose a file of weights is, and what it holds with its settings."""
    beside = path.parent / "config.json"
    if path.name == CTRANSLATE2_FILE and beside.is_file() and is_ctranslate2(path.parent):
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
