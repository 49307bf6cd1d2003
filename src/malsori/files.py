"""Files and folders: read strictly, written whole or not at all.

What is being written lies beside its place as .NAME.*.partial (and its ending, for those who go by endings) and
takes the name at the end; a folder that is replaced waits as .NAME.*.old meanwhile. A process that is killed leaves
such names behind, and `clear_interrupted` settles them.
"""

import json
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from malsori.errors import ConfigError, FileError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name once the block ends well, and is removed otherwise.

    Missing folders above it are made.
    Raises: FileError if the disk does not take it; what was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        _remove(temporary)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` once the block ends well, and is removed otherwise.

    Raises: FileError if the disk does not take it; what was there before stays.
    """
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        yield partial
        _settle(partial)
        if folder.exists():
            retired = partial.with_suffix(".old")
            folder.rename(retired)
            partial.rename(folder)
            shutil.rmtree(retired)
        else:
            partial.rename(folder)
    except OSError as error:
        raise _not_written(folder, error) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def clear_interrupted(folder: Path) -> None:
    """Undo or finish what a killed process was in the middle of writing in a folder."""
    for left in sorted(folder.glob(".*.old")):
        original = folder / left.name.removeprefix(".").rsplit(".", 2)[0]
        if original.exists():
            shutil.rmtree(left)
        else:
            left.replace(original)
    for left in folder.glob(".*.partial*"):
        _remove(left)


def lock_file(file: IO[Any]) -> None:
    """Lock an open file for this process alone, until it is closed or the process ends, killed or not.

    A child that outlives the process does not keep the lock.
    Raises: OSError if another process holds it.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, its line ends as they are, whole or not at all. Raises: FileError as `atomic_file`."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write an object as indented JSON with Hangul kept readable, whole or not at all. Raises: as `atomic_file`."""
    write_text(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises: ConfigError if it is missing or not a JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def read_toml(path: Path) -> dict[str, Any]:
    """Return the nested values of a TOML file. Raises: ConfigError if it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _settle(folder: Path) -> None:
    """Have the disk keep every file of a new folder, and let others read it as they read a folder made by hand."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    folder.chmod(0o755)


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return  # its folder is a file, or its name is too long: it was never there


def _not_written(path: Path, error: OSError) -> FileError:
    if isinstance(error, FileError):
        return error
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return FileError(f"{path}: cannot be written: {reason}")
