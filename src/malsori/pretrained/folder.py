"""A saved model is a folder: config.json, symbols.json, model.safetensors, card.md. To open one reads no pickle.

config.json         the system's name, its sizes, the AudioConfig it was trained with and that one's fingerprint,
                    and the facts about the corpus that it needs to speak or listen
symbols.json        the alphabets it reads or writes
model.safetensors   weights; float16 or int8 rows on disk when asked (storage.py), float32 in memory always
card.md             for a person: what it is, what it learnt from, under which license
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from safetensors import SafetensorError

from malsori.config import AudioConfig, Config, digest
from malsori.errors import FileError, ModelError
from malsori.files import atomic_folder, read_json, write_json, write_text
from malsori.pretrained.legacy import current_facts, former_facts
from malsori.systems import SYSTEMS
from malsori.text.symbols import JAMO, PHONEMES, SymbolTable
from malsori.text.userwords import UserLexicon, lexicon_of_rows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from malsori.pretrained.storage import Storage

#: Where the weights lie.
WEIGHTS = "model.safetensors"
#: What a public checkpoint may bring along that its model cannot do without: the pieces its texts are cut into.
KEPT_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json", "generation_config.json")


class Statistics(Config):
    """Mean and standard deviation of what a voice adds to its tokens, per speaker: log-F0 where voiced, energy."""

    pitch_mean: float = Field(ge=-100, le=100)
    pitch_std: float = Field(ge=0, le=100)
    energy_mean: float = Field(ge=-1e6, le=1e6)
    energy_std: float = Field(ge=0, le=1e6)


class ModelFacts(Config):
    """What config.json says."""

    system: str
    model: dict[str, Any]
    audio: AudioConfig
    audio_fingerprint: str
    frontend: dict[str, Any] = Field(default_factory=dict)
    speakers: tuple[str, ...] = ()
    statistics: dict[str, Statistics] = Field(default_factory=dict)
    license: str = "unknown"
    trained: dict[str, Any] = Field(default_factory=dict)

    def fingerprint(self) -> str:
        """Return twelve hexadecimal digits that differ whenever a fact does; corpora know their aligner by them."""
        return digest(former_facts(self.model_dump(mode="json")))


@dataclass(frozen=True)
class SavedModel:
    """A model in memory with everything its folder says.

    Attributes:
        facts: what config.json says.
        symbols: alphabets by kind ("phonemes", "jamo").
        network: in evaluation mode.
        card: text of card.md.
        files: what else the model cannot do without, such as a checkpoint's tokenizer.json: name → bytes.
    """

    facts: ModelFacts
    symbols: dict[str, SymbolTable]
    network: Any  # an nn.Module; what its `infer` takes is known by the system alone
    card: str = ""
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """How many numbers the network has learnt."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def save_model(saved: SavedModel, folder: Path, storage: "Storage" = "float32") -> None:
    """Write a model's folder, whole or not at all; an earlier folder of that name is replaced.

    Args:
        storage: how the weights are stored; float16 is half the size, int8 rows a quarter.
    """
    from malsori.pretrained.storage import pack

    weights = pack(saved.network.state_dict(), storage)
    with atomic_folder(folder) as partial:
        write_facts(saved, partial)
        save_tensors(partial / WEIGHTS, weights)


def write_facts(saved: SavedModel, folder: Path) -> None:
    """Write all of a model's folder but its weights."""
    symbols = {
        kind: {"version": table.version, "symbols": list(table.symbols)} for kind, table in saved.symbols.items()
    }
    for name, values in (("config.json", saved.facts.model_dump(mode="json")), ("symbols.json", symbols)):
        write_json(folder / name, values)
    write_text(folder / "card.md", saved.card)
    for name, content in saved.files.items():
        (folder / name).write_bytes(content)


def open_model(folder: Path) -> SavedModel:
    """Return the model in a folder, its network in evaluation mode.

    Raises: ModelError if the folder is not a model, or its weights do not fit its sizes, naming the first that
        does not.
    """
    from malsori.pretrained.limits import build_within, check_numbers

    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: not a model folder: it has no config.json")
    facts = read_model_facts(folder)
    if facts.audio_fingerprint != facts.audio.fingerprint():
        raise ModelError(f"{folder}: its audio settings were changed since it was trained (another fingerprint)")
    if facts.system not in SYSTEMS:
        raise ModelError(f"{folder}: unknown system '{facts.system}'; known: {', '.join(sorted(SYSTEMS))}")
    config_class, network_class = (SYSTEMS[facts.system].resolve(part) for part in ("config", "network"))
    config = config_class.parse(facts.model, f"{folder / 'config.json'}: model")
    symbols = read_symbols(folder / "symbols.json")
    _check_facts(facts, config, str(folder / "config.json"))
    weights = read_weights(folder / WEIGHTS)
    check_numbers(facts.model, len(weights), f"{folder / 'config.json'}: model")
    network = build_within(lambda: network_class(config), lambda made: made, weights, str(folder))
    load_exactly(network, weights, str(folder))
    card = folder / "card.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return SavedModel(facts, symbols, network.eval(), text, kept_files(folder))


def _check_facts(facts: ModelFacts, config: Any, place: str) -> None:
    """Raise ModelError where the facts of a model contradict one another."""
    if len(set(facts.speakers)) != len(facts.speakers) or not all(facts.speakers):
        raise ModelError(f"{place}: speakers {', '.join(map(repr, facts.speakers))}: each has a name of its own")
    count = getattr(config, "speakers", None)
    if facts.speakers and count is not None and count != len(facts.speakers):
        raise ModelError(f"{place}: names {len(facts.speakers)} speakers, its network has {count}")
    unknown = sorted(set(facts.statistics) - set(facts.speakers))
    if unknown and facts.speakers:
        raise ModelError(f"{place}: statistics.{unknown[0]}: is none of its speakers, {', '.join(facts.speakers)}")


def read_model_facts(folder: Path) -> ModelFacts:
    """Return what a model's config.json says. Raises: ConfigError naming what is wrong with it."""
    place = str(folder / "config.json")
    return ModelFacts.parse(current_facts(read_json(folder / "config.json"), place), place)


def saved_lexicon(facts: ModelFacts) -> UserLexicon:
    """Return the user's words that a model has learnt to read by."""
    return lexicon_of_rows(facts.frontend.get("lexicon", []), facts.system)


def kept_files(folder: Path) -> dict[str, bytes]:
    """Return those of the files in a model's folder that must stay with it, name → content."""
    return {name: (folder / name).read_bytes() for name in KEPT_FILES if (folder / name).is_file()}


def read_weights(path: Path) -> "dict[str, Tensor]":
    """Return the tensors of a safetensors file, however stored, as float32. Raises: ModelError if unreadable."""
    from safetensors.torch import load_file

    from malsori.pretrained.limits import check_finite
    from malsori.pretrained.storage import unpack

    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except SafetensorError as error:
        raise ModelError(f"{path}: damaged, or not a safetensors file ({error})") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    weights = unpack(tensors)
    check_finite(weights, str(path))
    return weights


def save_tensors(path: Path, tensors: "dict[str, Tensor]") -> None:
    """Write tensors by name as safetensors. Raises: FileError if the disk does not take them."""
    from safetensors.torch import save_file

    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise FileError(f"{path}: cannot be written: {error}") from error


def load_exactly(
    network: "nn.Module", weights: "dict[str, Tensor]", place: str, called: Callable[[str], str] = str
) -> None:
    """Put weights into a network whose names and shapes they match exactly.

    Args:
        called: what a weight is called in the file that it comes from, for the message.
    Raises: ModelError naming the first missing, unknown or misshapen weight.
    """
    own = network.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise ModelError(f"{place}: weight '{called(name)}' is missing")
        if weights[name].shape != tensor.shape:
            found, wanted = tuple(weights[name].shape), tuple(tensor.shape)
            raise ModelError(f"{place}: weight '{called(name)}' has shape {found}, the config wants {wanted}")
        if weights[name].is_floating_point() != tensor.is_floating_point():
            kinds = str(weights[name].dtype).removeprefix("torch."), str(tensor.dtype).removeprefix("torch.")
            raise ModelError(f"{place}: weight '{called(name)}' is of {kinds[0]}, the network has {kinds[1]}")
    unknown = next((name for name in weights if name not in own), None)
    if unknown is not None:
        raise ModelError(f"{place}: weight '{called(unknown)}' belongs to no part of {type(network).__name__}")
    network.load_state_dict(weights)


def read_symbols(path: Path) -> dict[str, SymbolTable]:
    """Return the alphabets by kind. Raises: ModelError naming the one that is no table."""
    tables = {}
    for kind, table in read_json(path).items():
        if not isinstance(table, dict) or not isinstance(table.get("symbols"), list) or "version" not in table:
            raise ModelError(f"{path}: '{kind}' must be an object with version and symbols; save the model anew")
        if not all(isinstance(symbol, str) for symbol in table["symbols"]):
            raise ModelError(f"{path}: '{kind}': symbols must be a list of strings; save the model anew")
        tables[kind] = SymbolTable(kind, str(table["version"]), tuple(table["symbols"]))
        _check_table(tables[kind], path)
    return tables


def _check_table(table: SymbolTable, path: Path) -> None:
    """Raise ModelError for a table of malsori's own that is not what models of its version were trained by."""
    own = {known.kind: known for known in (PHONEMES, JAMO)}.get(table.kind)
    if own is None or table.symbols == own.symbols:
        return
    if table.version != own.version:
        raise ModelError(f"{path}: {table.kind} are of version {table.version}, this is {own.version}: train it anew")
    pairs = enumerate(zip_longest(table.symbols, own.symbols))
    place, (found, wanted) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
    raise ModelError(
        f"{path}: symbol {place} of {table.kind} {table.version} is {found!r}, not {wanted!r}: what the front-end "
        "writes would be read as something else; put the file back that the model was saved with"
    )
