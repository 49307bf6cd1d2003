"""Checkpoints of other programs: in which format one is, and its tensors under the names of our networks.

A format is known by its conversion map, a file `malsori/pretrained/maps/<origin>-<system>.toml`:

    origin, system, reference  whose it is, which of our systems it becomes, where its names were read
    model_types                what `model_type` in a transformers folder's config.json says
    marks, inside              beginnings of names that all stand in the author's own file, and the entry they lie under
    settings                   the entry of that file that holds its settings; those of a file beside it go before
    [refused]                  how an entry, or a name, of another of their files begins = what to tell who gives it
    spellings                  pairs of a regular expression and what replaces it, in order, before a name is looked up
    [[keys]]                   in order, the first that matches a whole name wins:
        source = 'conv_pre\\.(.*)'      a regular expression
        target = 'conv_in.\\1'           the name here; tensors of one name with part = 0, 1, 2 are joined in that order
        targets = ['a.\\1', '', 'b.\\1']   or: cut into equal parts along its first axis, a name each, '' for none
        dropped = "why"               or: not needed here

Both spellings of weight norm are the one of `torch.nn.utils.parametrizations` before a name is looked up, and weights
without it become what the network has. A linear layer and a convolution one step wide hold the same numbers: the last
axis of size 1 is added or left out.
"""

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from malsori.config import AudioConfig, Config
from malsori.errors import ModelError
from malsori.files import read_json, read_toml
from malsori.pretrained.folder import ModelFacts, SavedModel, load_exactly, read_weights
from malsori.pretrained.pickles import read_pickle

PICKLES = (".pth", ".pt", ".bin", ".ckpt")
_NORM, _DIRECTION = ".parametrizations.weight.original0", ".parametrizations.weight.original1"


class KeyRule(Config):
    """What becomes of the tensors whose whole name matches `source`: they get new names, or are dropped, saying why."""

    source: str
    target: str = ""
    part: int = 0
    targets: tuple[str, ...] = ()
    dropped: str = ""

    @model_validator(mode="after")
    def _one_fate(self) -> "KeyRule":
        if (bool(self.target), bool(self.targets), bool(self.dropped)).count(True) != 1:
            raise ValueError(f"'{self.source}' must say one of target, targets and dropped")
        return self

    @property
    def target_names(self) -> tuple[str, ...]:
        """What the equal parts of a tensor are called here, or the whole of it; "" for a part that is not needed."""
        return self.targets or (self.target,)


class ConversionMap(Config):
    """One origin's way to name the tensors of one system.

    reader: what reads the origin's settings, as module:function of this folder; imported when it is asked for.
    """

    origin: str
    system: str
    reader: str
    reference: str
    model_types: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    inside: str = ""
    settings: str = ""
    refused: dict[str, str] = Field(default_factory=dict)
    spellings: tuple[tuple[str, str], ...] = ()
    keys: tuple[KeyRule, ...]

    @property
    def name(self) -> str:
        """What its file is called, without the ending."""
        return f"{self.origin}-{self.system}"

    def untrained(self, checkpoint: "ExternalCheckpoint") -> SavedModel:
        """Return what a checkpoint's settings ask for, its network not trained. Raises: as the reader does."""
        module, _, function = self.reader.partition(":")
        model: SavedModel = getattr(importlib.import_module(f"malsori.pretrained.{module}"), function)(checkpoint)
        return model

    def tensors_in(self, content: dict[str, Any]) -> dict[str, Tensor] | None:
        """Return the tensors of this format in the content of an author's file; None if it is another's."""
        tensors = content.get(self.inside, content) if self.inside else content
        if not isinstance(tensors, dict) or not self.marks:
            return None
        found = {str(name).removeprefix("module."): value for name, value in tensors.items()}
        marked = all(any(name.startswith(mark) for name in found) for mark in self.marks)
        return {name: value for name, value in found.items() if isinstance(value, Tensor)} if marked else None

    def refusal(self, content: dict[str, Any]) -> str:
        """Return what to tell who gives another file of this author's; nothing if it is none of those."""
        held = content.get(self.inside)
        names = [str(name) for name in (*content, *(held if isinstance(held, dict) else ()))]
        begun = (name for name in self.refused if any(one.startswith(name) for one in names))
        return "".join(f"'{name}': {self.refused[name]}" for name in begun)

    def normalize_name(self, source: str) -> str:
        """Return a source name as the rules look it up: weight norm as PyTorch spells it now, then `spellings`."""
        name = re.sub(r"\.weight_g$", _NORM, re.sub(r"\.weight_v$", _DIRECTION, source))
        for pattern, replacement in self.spellings:
            name = re.sub(pattern, replacement, name)
        return name

    def rule_of(self, source: str) -> tuple[KeyRule, tuple[str, ...]] | None:
        """Return the rule that a source name falls under, and the names it gives here; None if there is none."""
        spelled = self.normalize_name(source)
        for rule in self.keys:
            if match := re.fullmatch(rule.source, spelled):
                return rule, tuple(match.expand(name) for name in rule.target_names)
        return None


@dataclass(frozen=True)
class ExternalCheckpoint:
    """A checkpoint as its makers left it.

    Attributes:
        folder: where its other files lie.
        config: their settings.
        weights: their tensors under their names, floating-point ones as float32.
    """

    folder: Path
    config: dict[str, Any]
    weights: dict[str, Tensor]

    def __getitem__(self, name: str) -> Any:
        """Return one of their settings; dots lead into sections. Raises: ModelError naming the one that is missing."""
        found: Any = self.config
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                raise ModelError(f"{self.folder}: its settings have no '{name}'; give their file with --config")
            found = found[part]
        return found

    def json(self, name: str) -> dict[str, Any]:
        """Return what another of its JSON files says; nothing where there is no such file."""
        return read_json(self.folder / name) if (self.folder / name).is_file() else {}

    def tensor(self, name: str) -> Tensor:
        """Return one tensor by their name, for a size. Raises: ModelError if it is missing."""
        if name not in self.weights:
            raise ModelError(f"{self.folder}: weight '{name}' is missing")
        return self.weights[name]


def external_facts(system: str, config: Config, audio: AudioConfig, **more: Any) -> ModelFacts:
    """Return what a public model says of itself once it is ours: its system, its sizes and its mel."""
    return ModelFacts(
        system=system,
        model=config.model_dump(mode="json"),
        audio=audio,
        audio_fingerprint=audio.fingerprint(),
        **more,
    )


@cache
def conversion_maps() -> tuple[ConversionMap, ...]:
    """Return the conversion map of every format that malsori knows."""
    folder = Path(str(resources.files("malsori") / "pretrained" / "maps"))
    return tuple(ConversionMap.parse(read_toml(path), path.name) for path in sorted(folder.glob("*.toml")))


def map_by_name(name: str) -> ConversionMap:
    """Return the conversion map whose file has this name, without its ending."""
    return next(conversion for conversion in conversion_maps() if conversion.name == name)


def map_of_type(model_type: str) -> ConversionMap | None:
    """Return the conversion map of a transformers folder by its model_type; None if there is none."""
    return next((conversion for conversion in conversion_maps() if model_type in conversion.model_types), None)


def convert(conversion: ConversionMap, checkpoint: ExternalCheckpoint, empty: SavedModel) -> SavedModel:
    """Return a model of ours with a public checkpoint's weights, in evaluation mode.

    Args:
        empty: what the settings ask for, its network with weights of any value.
    Raises: ModelError naming the first tensor that is unknown, missing, there twice or of another shape.
    """
    place = str(checkpoint.folder)
    own = empty.network.state_dict()
    weights = _as_wide(_as_normed(rename(conversion, checkpoint.weights, place), own), own)
    load_exactly(empty.network, weights, place, lambda target: source_names(conversion, target, checkpoint.weights)[0])
    card = checkpoint.folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    stated = re.search(r"^license:\s*[\"']?([^\s\"']+)", text, re.MULTILINE)
    license = stated[1] if stated and empty.facts.license == "unknown" else empty.facts.license
    facts = empty.facts.model_copy(update={"license": license})
    return replace(empty, facts=facts, network=empty.network.eval(), card=empty.card or text)


def rename(conversion: ConversionMap, weights: dict[str, Tensor], place: str) -> dict[str, Tensor]:
    """Return tensors under our names. Raises: ModelError naming the first that no rule knows, or that comes twice."""
    parts: dict[str, dict[int, Tensor]] = {}
    templates: dict[str, str] = {}
    for source, tensor in weights.items():
        found = conversion.rule_of(source)
        if found is None:
            raise ModelError(
                f"{place}: weight '{source}' belongs to no part of a {conversion.system} of {conversion.origin}"
            )
        rule, names = found
        if rule.dropped:
            continue
        if rule.targets and (not tensor.dim() or len(tensor) % len(names)):
            shape = tuple(tensor.shape)
            raise ModelError(f"{place}: weight '{source}' of shape {shape} is not {len(names)} equal parts")
        shares = tensor.chunk(len(names)) if rule.targets else (tensor,)
        for target, template, share in zip(names, rule.target_names, shares, strict=True):
            if not target:
                continue
            if rule.part in parts.setdefault(target, {}):
                raise ModelError(f"{place}: weight '{source}' comes twice, under two spellings")
            parts[target][rule.part], templates[target] = share, template
    for target, given in parts.items():
        wanted = {rule.part for rule in conversion.keys if templates[target] in rule.target_names}
        if wanted != set(given):
            absent = next((name for name in source_names(conversion, target, weights) if name not in weights), target)
            raise ModelError(f"{place}: weight '{absent}' is missing")
    return {
        name: torch.cat([given[part] for part in sorted(given)]) if len(given) > 1 else next(iter(given.values()))
        for name, given in parts.items()
    }


def source_names(conversion: ConversionMap, target: str, weights: Iterable[str]) -> list[str]:
    """Return what a format calls a tensor of ours, part by part; our own name where its map cannot be inverted.

    Args:
        weights: the names in the file: of several that mean the same, the one most like those is taken.
    """
    there = list(weights)
    kinds, modules = {re.sub(r"\d+", "#", name) for name in there}, {name.rpartition(".")[0] for name in there}
    norms = {_NORM: ".weight", _DIRECTION: ".weight"}
    if any(name.endswith((".weight_g", ".weight_v")) for name in there):
        norms = {_NORM: ".weight_g", _DIRECTION: ".weight_v"}
    elif any(name.endswith((_NORM, _DIRECTION)) for name in there):
        norms = {}

    def likeness(name: str) -> tuple[bool, bool]:
        return re.sub(r"\d+", "#", name) in kinds, name.rpartition(".")[0] in modules

    names: dict[int, list[str]] = {}
    templates = [(rule, template) for rule in conversion.keys for template in rule.target_names if template]
    for rule, template in templates:
        spelled = _inverted(rule.source, template, target, whole=True)
        for name in _source_spellings(conversion, spelled) if spelled else ():
            end = next((end for end in norms if name.endswith(end)), "")
            names.setdefault(rule.part, []).append(name.removesuffix(end) + norms.get(end, ""))
    return [max(found, key=likeness) for _, found in sorted(names.items())] or [target]


def _source_spellings(conversion: ConversionMap, spelled: str) -> list[str]:
    """Return the names that are spelled so, the ones most unlike it first."""
    names = [spelled]
    for pattern, replacement in reversed(conversion.spellings):
        before = [_inverted(pattern, replacement, name, whole=False) for name in names]
        names = [
            name for name in before if name and name not in names and conversion.normalize_name(name) == spelled
        ] + names
    return names


def _inverted(pattern: str, replacement: str, name: str, whole: bool) -> str | None:
    """Return what a replacement was made from, for a pattern of plain text and groups; None if it was not made so."""
    plain = pattern.removeprefix("^").removesuffix("$")
    groups, texts = re.findall(r"\([^()]*\)", plain), re.split(r"\([^()]*\)", plain)
    used = [int(number) for number in re.findall(r"\\(\d)", replacement)]
    readable = all(re.fullmatch(r"(\w|/|\\\.)*", text) for text in texts)
    if not readable or sorted(used) != list(range(1, len(groups) + 1)):
        return None
    pieces = [re.escape(piece) for piece in re.split(r"\\\d", replacement)]
    made = pieces[0] + "".join(groups[number - 1] + piece for number, piece in zip(used, pieces[1:], strict=True))
    made = ("^" if pattern.startswith("^") else "") + made + ("$" if pattern.endswith("$") else "")

    def before(match: re.Match[str]) -> str:
        held = [match[used.index(number) + 1] for number in range(1, len(groups) + 1)]
        return "".join(text.replace("\\.", ".") + group for text, group in zip(texts, [*held, ""], strict=True))

    if whole:
        match = re.fullmatch(made, name)
        return before(match) if match else None
    return re.sub(made, before, name)


def read_transformers_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a transformers folder, from one file or from several with an index.

    Raises: ModelError if there are none in safetensors.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return read_weights(whole)
    if not index.is_file():
        found = next((path for path in sorted(folder.iterdir()) if path.suffix in PICKLES), "FILE")
        raise ModelError(f"{folder}: no model.safetensors; a pickle is imported by 'malsori import {found} -o FOLDER'")
    files = read_json(index).get("weight_map", {})
    weights: dict[str, Tensor] = {}
    for name in sorted(set(files.values())):
        weights |= read_weights(folder / Path(name).name)
    missing = next((name for name in files if name not in weights), None)
    if missing is not None:
        raise ModelError(f"{folder}: weight '{missing}' is in none of its files")
    return weights


def detect_format(content: dict[str, Any], path: Path) -> tuple[ConversionMap, dict[str, Tensor]]:
    """Return the conversion map of an author's file and the tensors in it.

    Raises: ModelError naming what the file holds.
    """
    for conversion in conversion_maps():
        tensors = conversion.tensors_in(content)
        if tensors is not None:
            return conversion, tensors
    refused = "".join(conversion.refusal(content) for conversion in conversion_maps())
    held = refused or f"its entries are {', '.join(map(str, list(content)[:6]))}"
    known = ", ".join(conversion.name for conversion in conversion_maps() if conversion.marks)
    raise ModelError(
        f"{path}: of no known checkpoint format ({held}). "
        f"Known: {known}; or a file beside a config.json of transformers"
    )


def read_author_file(path: Path) -> dict[str, Any]:
    """Return the content of an author's file: tensors and plain values, no code of theirs runs.

    Raises: ModelError if it cannot be read so.
    """
    if path.suffix == ".safetensors":
        return dict(read_weights(path))
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}, not weights by name")
    return content


def _as_normed(weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights split into norm and direction where the network has them so, and joined where it has not."""
    fitted = dict(weights)
    for name in weights:
        stem = name.removesuffix(".weight")
        split = stem + _NORM in weights or stem + _DIRECTION in weights
        if stem != name and name not in own and stem + _NORM in own and not split:
            weight = fitted.pop(name)
            wanted = own[stem + _NORM]
            axes = [axis for axis in range(weight.dim()) if wanted.dim() != weight.dim() or wanted.shape[axis] == 1]
            norm = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
            fitted |= {stem + _NORM: norm, stem + _DIRECTION: torch.where(norm == 0, 1.0, weight)}
        stem = name.removesuffix(_NORM)
        if stem != name and stem + ".weight" in own and stem + _DIRECTION in fitted:
            norm, direction = fitted.pop(name), fitted.pop(stem + _DIRECTION)
            axes = [axis for axis in range(norm.dim()) if norm.shape[axis] == 1]
            fitted[stem + ".weight"] = norm * direction / torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return fitted


def _as_wide(weights: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with the last axis of size 1 added or left out as the network has them."""
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    fits = {name: {(*tensor.shape, 1), tuple(tensor.shape)} for name, tensor in weights.items()}
    return {
        name: tensor.reshape(wanted[name])
        if name in wanted and (wanted[name] in fits[name] or (*wanted[name], 1) in fits[name])
        else tensor
        for name, tensor in weights.items()
    }
