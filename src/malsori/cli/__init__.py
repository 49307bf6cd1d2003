"""The command `malsori`: one thin function a command; the work is done, and imported, behind it.

A command stands in the file of its subject; here they are put together, and what goes wrong is told.
"""

import errno
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from malsori.cli.terminal import UNWRITABLE, told_sound_warnings
from malsori.errors import MalsoriError
from malsori.extras import EXTRAS, missing_extra

#: The file of each subject, and its commands, in the order in which `malsori --help` lists them.
SUBJECTS = {
    "say": ("say",),
    "speech": ("transcribe", "demo"),
    "alignment": ("align",),
    "scores": ("score", "compare", "mcd"),
    "text": ("explain", "text"),
    "recording": ("record",),
    "corpus": ("corpus",),
    "training": ("train", "diagram", "runs", "evaluate"),
    "models": ("import", "export", "push", "models"),
    "learning": ("learn",),
    "serving": ("serve", "studio"),
}

#: What the machine refuses because of what it was given: a path that cannot be, a disk that is full.
_REFUSED = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENXIO, errno.EINVAL),
}


def main() -> None:
    """Run the command line and leave: 0 done, 1 our fault, 2 the input is at fault, 130 interrupted."""
    # before numpy is imported, whose products are small here: where other work has the processors, its threads wait for
    # one another a hundred times as long as one of them would take
    os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if sys.platform == "win32":  # a pipe would be given the code page, which lacks half of what is written
            stream.reconfigure(encoding="utf-8")
        elif stream is not sys.stdin and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=UNWRITABLE)  # a terminal of cp949 or ASCII is shown what it lacks as escapes
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Return the exit status of one command; what goes wrong is told in one line on standard error."""
    try:
        with told_sound_warnings():
            status = command_line(arguments)(arguments, prog_name="malsori", standalone_mode=False) or 0
        sys.stdout.flush()  # now, where a full disk can still be told
        return status
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "malsori"
        return _fail(error, f"{command}: {error.format_message().rstrip('.')}. Try '{command} --help'.", 2)
    except MalsoriError as error:
        return _fail(error, f"malsori: {_one_line(error)}", 2)
    except (KeyboardInterrupt, typer.Abort) as error:
        return _fail(error, "malsori: interrupted.", 130)
    except BrokenPipeError:  # the reader of our output (head, less) has left: nothing to tell
        _drop_output()
        return 1
    except OSError as error:
        return _refused(error)
    except ModuleNotFoundError as error:
        package = (error.name or "malsori").partition(".")[0]
        if package == "malsori":
            return _our_fault(error)
        if package in EXTRAS:
            return _fail(error, f"malsori: {missing_extra(package, 'this')}", 2)
        advice = "install all that malsori needs with: pip install malsori"
        return _fail(error, f"malsori: this command needs '{error.name}', which is not installed; {advice}", 2)
    except Exception as error:
        return _our_fault(error)


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the commands, or of them only the subject that arguments ask for: the others take a tenth of a second."""
    asked = next((word for word in arguments if not word.startswith("-")), "")
    app = typer.Typer(
        name="malsori",
        help="Korean-first speech synthesis and recognition: train, speak, listen, measure.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_settings)
    for subject in [name for name, commands in SUBJECTS.items() if asked in commands] or SUBJECTS:
        app.add_typer(importlib.import_module(f"malsori.cli.{subject}").app)
    return app


def _refused(error: OSError) -> int:
    """Tell of a path or a disk that was refused, and return the exit status."""
    if error.errno not in _REFUSED:
        return _our_fault(error)
    if error.filename is None:  # of what is still in standard output's buffer
        _drop_output()
        return _fail(error, f"malsori: cannot be written: {(error.strerror or str(error)).lower()}.", 2)
    return _fail(error, f"malsori: {_one_line(error)}", 2)


def _drop_output() -> None:
    """Lead standard output nowhere, so that Python does not try again to write what it could not."""
    with suppress(OSError):  # in tests it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _our_fault(error: Exception) -> int:
    """Tell of an error that nobody foresaw, and return the exit status."""
    hint = "This is a fault of malsori; 'malsori --debug ...' shows where."
    return _fail(error, f"malsori: {type(error).__name__}: {_one_line(error)} {hint}", 1)


def _fail(error: BaseException, message: str, status: int) -> int:
    """Tell what went wrong on standard error, with the trace if it was asked for, and return the exit status."""
    if os.environ.get("MALSORI_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    print(message, file=sys.stderr)
    return status


def _one_line(error: BaseException) -> str:
    """Return an error's message on one line; a missing file reads 'PATH: no such file'."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or type(error).__name__).lower()}."
    return " ".join(str(error).split())


def _show_version(wanted: bool) -> bool:
    if wanted:
        import malsori

        print(f"malsori {malsori.__version__}")
        raise typer.Exit
    return wanted


def _settings(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the full trace when something goes wrong.")] = False,
) -> None:
    if debug:
        os.environ["MALSORI_DEBUG"] = "1"
    # Progress and warnings of long work go to standard error as plain lines; results alone to standard output.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("malsori").setLevel(logging.INFO)
