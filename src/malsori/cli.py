"""The command `malsori`: one thin function a command; the work is done, and imported, behind it."""

import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from malsori.errors import MalsoriError

app = typer.Typer(
    name="malsori",
    help="Korean-first speech synthesis and recognition: train, speak, listen, measure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
text_app = typer.Typer(help="Korean text: normalise, pronounce, split into phonemes.", no_args_is_help=True)
corpus_app = typer.Typer(help="Corpora: prepare ground truth, check, synthesise.", no_args_is_help=True)
app.add_typer(text_app, name="text")
app.add_typer(corpus_app, name="corpus")


def main() -> None:
    """Run the command line and leave: 0 done, 1 our fault, 2 the input is at fault, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Return the exit status of one command; what goes wrong is told in one line on standard error."""
    try:
        return app(arguments, prog_name="malsori", standalone_mode=False) or 0
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "malsori"
        return _fail(error, f"{command}: {error.format_message().rstrip('.')}. Try '{command} --help'.", 2)
    except (MalsoriError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        return _fail(error, f"malsori: {_one_line(error)}", 2)
    except (KeyboardInterrupt, typer.Abort) as error:
        return _fail(error, "malsori: interrupted.", 130)
    except BrokenPipeError:  # the reader of our output (head, less) has left: nothing to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
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


@app.callback()
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


@corpus_app.command("prepare")
def prepare_corpus(
    source: Annotated[Path, typer.Argument(help="Folder of recordings and texts; it is only read.")],
    out: Annotated[Path, typer.Argument(help="Corpus folder to make, or to go on with.")],
    layout: Annotated[str, typer.Option(help="emotiontts, librispeech or ljspeech; auto looks.")] = "auto",
    rate: Annotated[int, typer.Option(help="22050 for voices, 16000 for recognisers.")] = 22050,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each processor.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make waves, spectrograms, pitch and energy of a folder of recordings; run again, it goes on where it was.

    Example: malsori corpus prepare recordings/ work/voice
    """
    from malsori.corpus.ground_truth import PrepareOptions, audio_at, prepare

    values = {"layout": layout, "audio": audio_at(rate), "workers": workers}
    summary = prepare(source, out, PrepareOptions.parse(values, "malsori corpus prepare"))
    if as_json:
        print(json.dumps(summary.as_dict(), ensure_ascii=False))
        return
    for split, count in summary.utterances.items():
        print(f"{split:6} {count:6} utterances {summary.hours[split]:8.3f} hours")
    print(f"{len(summary.speakers)} speakers, {len(summary.refused)} utterances skipped, {summary.reused} made before")
    for reason, ids in summary.skipped.items():
        print(f"  {reason}: {len(ids)} ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})")
