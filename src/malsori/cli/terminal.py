"""What commands ask of the terminal: a text in, a result out, progress while it takes long."""

import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from malsori.errors import TextError
from malsori.files import write_text


def text_of(argument: str) -> str:
    """Return the text that an argument means: standard input for -, a file's content, or itself."""
    if argument == "-":
        return sys.stdin.read()
    try:
        is_file = Path(argument).is_file()
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


def write(text: str, out: Path | None) -> None:
    """Write a result to a file, or to standard output."""
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)


def watched(items: Iterable[Any], total: int | None = None) -> Iterable[Any]:
    """Show a progress bar on a terminal while items are worked through; their total, if they do not know it."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, console=console, description="", total=total, disable=not console.is_terminal)
