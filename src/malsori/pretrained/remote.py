"""The Hugging Face hub: which names are ids there, the cache first, then the network; and what malsori gives to it.

huggingface_hub's own environment counts: HF_HOME and HF_HUB_CACHE say where its cache lies, HF_ENDPOINT which server is
asked, HF_TOKEN who asks, HF_HUB_OFFLINE=1 that no server is.
"""

import difflib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from malsori.errors import ModelError
from malsori.files import read_json
from malsori.text.tables import read_rows

#: Of a folder's files those that hold weights; one of them is there, or none of the model is.
_WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class RemoteModel:
    """A public checkpoint that opens by its hub id: its system, size, license, and what it is good for."""

    hub_id: str
    system: str
    megabytes: int
    license: str
    good_for: str


def remote_models() -> list[RemoteModel]:
    """Return the curated list of public checkpoints, as `remote.tsv` has it."""
    rows = read_rows(Path(str(resources.files("malsori") / "pretrained" / "remote.tsv")), 5)
    return [RemoteModel(hub_id, system, int(size), license, use) for hub_id, system, size, license, use in rows]


def is_hub_id(name: str) -> bool:
    """Return whether a name can be one of the hub's, OWNER/NAME.

    >>> is_hub_id("openai/whisper-small"), is_hub_id("models/my/voice"), is_hub_id("./voice"), is_hub_id("a/b..c")
    (True, False, False, False)
    """
    part = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?"
    return bool(re.fullmatch(f"{part}/{part}", name, re.ASCII)) and len(name) <= 96 and not re.search(r"--|\.\.", name)


def hub_id_of(address: str) -> str | None:
    """Return the id in the address of a model's page; None if it is no such address.

    >>> hub_id_of("https://huggingface.co/openai/whisper-base/tree/main")
    'openai/whisper-base'
    """
    found = re.match(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#]+/[^/?#]+)", address)
    return found[1] if found and is_hub_id(found[1]) else None


def from_hub(name: str, files: list[str]) -> Path:
    """Return the folder of a hub id's files: from the cache if they are all there, or else fetched.

    Args:
        files: patterns of the files that are wanted.
    Raises: ModelError, in one line, if neither has them.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        try:
            cached = Path(snapshot_download(name, allow_patterns=files, local_files_only=True))
        except (LocalEntryNotFoundError, IncompleteSnapshotError):
            cached = None
        if cached and _is_whole(cached, files):
            return cached
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # what its HTTP client raises is no part of its interface
        near = difflib.get_close_matches(name, {model.hub_id for model in remote_models()} - {name}, n=1, cutoff=0.8)
        hint = f". Did you mean '{near[0]}'?" if near else ""
        raise ModelError(f"'{name}': no such folder, and {_why_not(error)}{hint}") from error


def push_folder(contents: dict[str, Path | bytes], hub_id: str, private: bool, message: str) -> str:
    """Put files on the hub, in one commit, and return their address.

    Args:
        hub_id: OWNER/NAME; made if it is not there yet.
    Raises: ModelError, in one line, if the hub does not take them.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    operations = [CommitOperationAdd(name, content) for name, content in contents.items()]
    try:
        api = HfApi()
        api.create_repo(hub_id, private=private, exist_ok=True)
        api.create_commit(hub_id, operations, commit_message=message)
    except Exception as error:
        reason = _first_line(error)
        raise ModelError(f"'{hub_id}': the Hugging Face hub did not take the model: {reason}") from error
    return f"https://huggingface.co/{hub_id}"


def _is_whole(folder: Path, files: list[str]) -> bool:
    """Return whether a cached folder holds a model, every file of an index among it; a tokenizer alone needs one file.

    An older cache does not know which files there are.
    """
    names = [path.name for path in folder.iterdir()]
    if not any(pattern.endswith(_WEIGHTS) for pattern in files):
        return bool(names)
    index = folder / "model.safetensors.index.json"
    wanted = set(read_json(index).get("weight_map", {}).values()) if index.is_file() else set()
    return "config.json" in names and any(name.endswith(_WEIGHTS) for name in names) and wanted <= set(names)


def _why_not(error: Exception) -> str:
    """Return why the hub gave nothing, and what to do where that is known."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE and isinstance(error, LocalEntryNotFoundError):
        return "not in the cache of the Hugging Face hub, which HF_HUB_OFFLINE keeps from being asked"
    if isinstance(error, GatedRepoError):
        return "the Hugging Face hub gives it only to who has accepted its terms there: set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "the Hugging Face hub knows no such model, or gives it only to its owner: set HF_TOKEN"
    return f"the Hugging Face hub did not give it: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
