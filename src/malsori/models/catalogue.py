"""Where a model lies: built into malsori, in a folder, in a run, or on the Hugging Face hub."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from malsori.config import nearest, read_json
from malsori.errors import ModelError
from malsori.models.saved import ModelFacts, SavedModel, open_model

#: What a hub folder must hold to be opened; pickles are not fetched.
_HUB_FILES = ["config.json", "symbols.json", "model.safetensors", "card.md"]


@dataclass(frozen=True)
class Entry:
    """One built-in model: its name, what its config says, and the bytes it takes on disk."""

    name: str
    facts: ModelFacts
    bytes: int


def built_in() -> list[Entry]:
    """Return the models that come with malsori, by name."""
    entries = []
    for folder in sorted(path for path in _assets().iterdir() if (path / "config.json").is_file()):
        facts = ModelFacts.parse(read_json(folder / "config.json"), str(folder / "config.json"))
        entries.append(Entry(folder.name, facts, sum(path.stat().st_size for path in folder.iterdir())))
    return entries


def first_built_in(*systems: str) -> str:
    """Return the name of the first built-in model of one of these systems. Raises: ModelError if there is none."""
    for entry in built_in():
        if entry.facts.system in systems:
            return entry.name
    raise ModelError(f"no built-in model of system {' or '.join(systems)}; name a folder")


def locate(name: str) -> Path:
    """Return the folder of a model: a built-in name, a model's or a run's folder, or a hub id such as owner/name.

    Raises: ModelError if there is none.
    """
    for folder in (Path(name), Path(name) / "model", _assets() / name):
        if (folder / "config.json").is_file():
            return folder
    if Path(name).is_dir():
        raise ModelError(
            f"{name}: no config.json in it or in {name}/model: not a model, or a run that has not saved one"
        )
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return _from_hub(name)
    raise ModelError(f"no model '{name}'.{nearest(name, [entry.name for entry in built_in()])}")


def load_saved(name: str) -> SavedModel:
    """Return a model with everything its folder says. Raises: ModelError as `locate` and `open_model` do."""
    return open_model(locate(name))


def _assets() -> Path:
    return Path(str(resources.files("malsori") / "assets"))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"'{name}': no such folder, and the Hugging Face hub did not give it: {reason}") from error
