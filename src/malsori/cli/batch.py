"""Many files by one command: which they are, where each result goes, and what is told of those that fail."""

import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from malsori.cli.terminal import watched
from malsori.errors import BatchError, MalsoriError, OptionError

if TYPE_CHECKING:
    from malsori.corpus.pool import Executor

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_NAMED = 10  # failed files that the last line names


def sounds_below(folder: Path) -> list[Path]:
    """Return the sound files in a folder and those in it, hidden ones left out, in order of name.

    Raises: OptionError if there is none.
    """
    from malsori.audio.io import SOUND_SUFFIXES

    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(place, name) for name in sorted(names) if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in SOUND_SUFFIXES]
    if not found:
        raise OptionError(f"{folder}: no sound file in it; known endings: {', '.join(SOUND_SUFFIXES)}")
    return found


def result_paths(sounds: Sequence[Path], source: Path, out: Path, ending: str) -> list[Path]:
    """Return where each sound's result goes: under its name in `out`, in the folders that it lies in below `source`.

    Two sounds that differ in their endings alone keep them: a.wav.srt and a.mp3.srt.

    >>> [str(path) for path in result_paths([Path("in/a.wav"), Path("in/b/c.wav")], Path("in"), Path("out"), ".srt")]
    ['out/a.srt', 'out/b/c.srt']
    """
    stems = Counter(sound.with_suffix("") for sound in sounds)
    names = [sound if stems[sound.with_suffix("")] > 1 else sound.with_suffix("") for sound in sounds]
    inside = [name.relative_to(source) if name.is_relative_to(source) else Path(name.name) for name in names]
    return [out / name.parent / (name.name + ending) for name in inside]


@dataclass(frozen=True)
class Guarded(Generic[_Item, _Result]):
    """Work that gives its error back instead of raising it, so that the items after it are done."""

    work: Callable[[_Item], _Result]

    def __call__(self, item: _Item) -> _Result | Exception:
        """Return the work's result, or its error."""
        try:
            return self.work(item)
        except BrokenPipeError:
            raise
        except Exception as error:
            return error


def run_each(
    items: Sequence[_Item],
    work: Callable[[_Item], _Result],
    finish: Callable[[_Item, _Result], None],
    name: Callable[[_Item], str],
    executor: "Executor | None" = None,
) -> None:
    """Do the work for each item; one that fails is told on standard error, and the others are done all the same.

    A bar shows on a terminal how many are done, in a log a line for each.

    Args:
        work: what may be done by another machine; can be pickled if there is an executor.
        finish: what is done here with its result.
        executor: does the work elsewhere.
    Raises: BatchError at the end, naming those that failed.
    """
    failed: list[str] = []
    results = executor.map(Guarded(work), items) if executor else map(Guarded(work), items)
    for number, (item, result) in enumerate(watched(zip(items, results, strict=True), len(items)), start=1):
        try:
            if isinstance(result, Exception):
                raise result
            finish(item, result)
        except BrokenPipeError:
            raise
        except Exception as error:
            failed.append(name(item))
            print(f"malsori: {_told(error, name(item))}", file=sys.stderr)
        else:
            if not sys.stderr.isatty():
                print(f"{name(item)}: done, {number} of {len(items)}", file=sys.stderr)
    if failed:
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise BatchError(f"{len(failed)} of {len(items)} failed: {', '.join(failed[:_NAMED])}{more}")


def _told(error: Exception, name: str) -> str:
    """Return an error on one line that names the item; of one that nobody foresaw its kind too."""
    if os.environ.get("MALSORI_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    message = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename}: {(error.strerror or type(error).__name__).lower()}."
    elif not isinstance(error, MalsoriError):
        message = f"{type(error).__name__}: {message}"
    return message if name in message else f"{name}: {message}"
