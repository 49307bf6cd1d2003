"""What commands ask of the terminal: a text in, a result out, progress while it takes long."""

import codecs
import errno
import io
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from malsori.errors import AudioError, SoundWarning, TextError
from malsori.files import write_text


def _unwritable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Give bytes that were no text back as they came, and signs that a stream's encoding lacks as backslash escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


#: Name of how standard output and standard error write what their encoding lacks.
UNWRITABLE = "malsori.unwritable"
codecs.register_error(UNWRITABLE, _unwritable)


def text_of(argument: str) -> str:
    """Return the text that an argument means: standard input for -, a file's content, or itself.

    Raises: TextError if it is no text: neither UTF-8 nor, from standard input, of the terminal's encoding.
    """
    if argument == "-":
        return _standard_input()
    try:
        argument.encode()
        is_file = Path(argument).is_file()
    except UnicodeEncodeError as error:
        raise TextError(f"{argument!a}: not UTF-8 text (at position {error.start}); give it as UTF-8") from error
    except OSError:  # too long for a file's name: it is the text
        is_file = False
    if not is_file and Path(argument).suffix == ".txt":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argument)
    try:
        return Path(argument).read_text(encoding="utf-8-sig") if is_file else argument
    except UnicodeDecodeError as error:
        raise TextError(
            f"{argument}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


def _standard_input() -> str:
    if not isinstance(sys.stdin, io.TextIOWrapper):
        return sys.stdin.read()
    content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        try:
            return content.decode(sys.stdin.encoding)
        except (UnicodeDecodeError, LookupError):
            reason = f"{error.reason} at byte {error.start}"
            raise TextError(f"standard input: not UTF-8 text ({reason}); send it as UTF-8") from error


def write(text: str, out: Path | None) -> None:
    """Write a result to a file, or to standard output."""
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)


@contextmanager
def told_sound_warnings() -> Iterator[None]:
    """Tell what is missing in a sound file in one line on standard error, once however often it is read."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, SoundWarning):
            others(message, category, *place, **more)
        elif str(message) not in told:
            told.add(str(message))
            print(f"malsori: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        others = warnings.showwarning
        warnings.showwarning = show
        warnings.simplefilter("always", SoundWarning)
        yield


@contextmanager
def sound_input(path: Path) -> Iterator[Path]:
    """Yield the path of a sound file; for - that of a copy of standard input, whose faults are told as its own.

    Raises: AudioError if standard input is a terminal.
    """
    if str(path) != "-":
        yield path
        return
    if sys.stdin.isatty():
        raise AudioError("standard input is a terminal; send a sound file into it: malsori transcribe - < talk.mp3")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        copy, show = Path(folder) / "sound", warnings.showwarning
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        warnings.showwarning = lambda message, *place, **more: show(_named(message, copy), *place, **more)
        try:
            yield copy
        except AudioError as error:
            raise AudioError(_named(error, copy)) from error


def require_sound(path: Path) -> None:
    """Refuse a file whose first second cannot be read, before a network is loaded for it; - is read later.

    Raises: AudioError as `load_audio`.
    """
    from malsori.audio.io import stream_audio

    if str(path) != "-":
        next(stream_audio(path, 16000, 1.0), None)


def _named(message: object, copy: Path) -> str:
    return str(message).replace(str(copy), "standard input")


@contextmanager
def sound_progress(path: Path) -> Iterator[Callable[[float], None]]:
    """Yield what is to be told how many seconds of a sound file are done, while it is worked through.

    On a terminal a bar shows them with the real-time factor (seconds of computing to a second of sound); in a log there
    is a line for every minute of sound.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from malsori.audio.io import header_seconds

    console, began, told = Console(stderr=True), time.perf_counter(), 0
    speed = TextColumn("{task.completed:.0f} s, {task.fields[factor]:.3f} x real time")
    columns = TextColumn("{task.description}"), BarColumn(), speed, TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        total = header_seconds(path) if console.is_terminal else None
        task = bar.add_task(path.name, total=total, factor=0.0)

        def done(seconds: float) -> None:
            nonlocal told
            factor = (time.perf_counter() - began) / max(seconds, 1e-9)
            bar.update(task, completed=seconds, factor=factor)
            if not console.is_terminal and seconds >= 60 * (told + 1):
                told = int(seconds // 60)
                print(f"{path}: {seconds:.0f} s done, {factor:.3f} x real time", file=sys.stderr)

        yield done


def watched(items: Iterable[Any], total: int | None = None) -> Iterable[Any]:
    """Show a progress bar on a terminal while items are worked through; their total, if they do not know it."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, console=console, description="", total=total, disable=not console.is_terminal)
