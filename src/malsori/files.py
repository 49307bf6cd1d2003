"""Files and folders: read strictly, written whole or not at all.

What is being written lies beside its place as .NAME.*.partial (and its ending, for those who go by endings) and
takes the name at the end; a folder that is replaced waits as .NAME.*.old meanwhile. A process that is killed leaves
such names behind, and `clear_interrupted` settles them.
"""

import errno
import json
import os
import shutil
import stat
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from malsori.errors import ConfigError, FileError

#: The file in a folder that the process which works in it keeps locked (`held`).
LOCK = ".lock"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name once the block ends well, and is removed otherwise.

    Missing folders above it are made. A link stays one: what it leads to is replaced. A device or a pipe is no file to
    be replaced, and is written to as it is.
    Raises: FileError if the disk does not take it; what was there before stays.
    """
    temporary = path
    try:
        if _is_special(path):
            yield path
            return
        target = path.resolve() if path.is_symlink() else path
        temporary = target.with_name(f".{target.name}.{os.getpid()}.partial{target.suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except _write_errors() as error:
        raise _not_written(path, error) from error
    finally:
        if temporary is not path:
            _remove(temporary)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` once the block ends well, and is removed otherwise.

    Raises: FileError if the disk does not take it; what was there before stays.
    """
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if _is_there(folder) and not folder.is_dir():
            raise NotADirectoryError
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
    except _write_errors() as error:
        raise _not_written(folder, error) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def require_place(*paths: Path | None, folder: bool = False) -> None:
    """Refuse, before any work, paths that nothing can be written to; None is none.

    Args:
        folder: they are folders to write into; or else files.
    Raises: FileError, as writing would.
    """
    for path in paths:
        if path is None:
            continue
        try:
            number = _refusal_of(path, folder)
        except (OSError, ValueError) as error:
            raise _not_written(path, error) from error
        if number:
            raise _not_written(path, OSError(number, os.strerror(number)))


def _refusal_of(path: Path, folder: bool) -> int:
    """Return the number of the error that writing to a path would end in, as far as can be seen; 0 for none.

    Raises: OSError for a name that is too long, ValueError for one that no path can have.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        above = next((place for place in path.absolute().parents if place.exists()), Path("/"))
        if not above.is_dir():
            return errno.ENOTDIR
        return 0 if os.access(above, os.W_OK | os.X_OK) else errno.EACCES
    if stat.S_ISDIR(mode) != folder:
        return errno.ENOTDIR if folder else errno.EISDIR
    place = path if folder or _is_special(path) else path.resolve().parent
    return 0 if os.access(place, os.W_OK) else errno.EACCES


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if it is not there. Raises: FileError if the disk does not take it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(path, error) from error


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


@contextmanager
def held(folder: Path, refusal: Exception) -> Iterator[None]:
    """Hold a folder, made where it is missing, for this process alone.

    Raises: `refusal` if another process holds it; FileError if the folder cannot be made.
    """
    make_folder(folder)
    with (folder / LOCK).open("w") as lock:
        try:
            lock_file(lock)
        except OSError as error:
            raise refusal from error
        yield


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, its line ends as they are, whole or not at all. Raises: FileError as `atomic_file`."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


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
    for path in folder.rglob("*"):
        if path.is_file():
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


def _is_special(path: Path) -> bool:
    """Return whether a path is a device, a pipe or a socket, which nothing may take the place of."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_errors() -> tuple[type[Exception], ...]:
    """Return what writing raises where the disk refuses: OSError, and safetensors' own error where it is in use."""
    safetensors = sys.modules.get("safetensors")
    return (OSError, safetensors.SafetensorError) if safetensors else (OSError,)


def _not_written(path: Path, error: Exception) -> FileError:
    if isinstance(error, FileError):
        return error
    reason = (getattr(error, "strerror", "") or str(error) or type(error).__name__).lower()
    if isinstance(error, FileExistsError | NotADirectoryError):  # the first for a folder that is to be made
        found = next((place for place in (path, *path.parents) if _is_there(place)), path)
        reason = f"{found} is a file, not a folder"
    return FileError(f"{path}: cannot be written: {reason}")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
