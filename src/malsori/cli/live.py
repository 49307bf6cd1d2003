"""Recognition while sound still comes: what `malsori transcribe --stream` shows of it."""

import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from malsori.errors import OptionError

if TYPE_CHECKING:
    from malsori.asr.options import DecodingOptions
    from malsori.asr.recognizer import Recognizer
    from malsori.asr.streaming import StreamEvent, StreamOptions

Stream = Annotated[
    bool, typer.Option("--stream", help="Print results while the sound still comes, from -, microphone or a file.")
]
Rate = Annotated[
    int | None, typer.Option(min=4000, max=384000, help="Hz of raw samples on standard input. [default: 16000]")
]
ChunkSeconds = Annotated[
    float | None, typer.Option(help="New sound from one partial result of --stream to the next. [default: 1]")
]
PauseSeconds = Annotated[float | None, typer.Option(help="Silence that ends an utterance of --stream. [default: 0.6]")]

#: What stands for the microphone where a file is named.
MICROPHONE = Path("microphone")
_STANDARD_INPUT = Path("-")
_FORMS = ("txt", "json")
_MICROPHONE_RATE = 16000
_BLOCK_SECONDS = 0.1


@dataclass(frozen=True)
class LiveSource:
    """What `--stream` reads: the rate of raw samples if one was given, when results come, and as what."""

    source: Path
    rate: int | None
    stream: "StreamOptions"
    as_json: bool


def live_source(parameters: dict[str, Any], form: str) -> LiveSource | None:
    """Return what a command with `--stream` among its parameters reads; None without it.

    Raises: OptionError for an option of it without it, and for what cannot be streamed.
    """
    from malsori.asr.streaming import StreamOptions

    names, files = ("rate", "chunk_seconds", "pause_seconds"), parameters["files"]
    given = {name: parameters[name] for name in names if parameters[name] is not None}
    if not parameters["stream"]:
        for name, value in given.items():
            raise OptionError(f"--{name.replace('_', '-')} {value}: is for --stream, which was not given")
        return None
    if form not in _FORMS:
        raise OptionError(f"--format {form} and --stream: a stream is written as {' or '.join(_FORMS)}")
    if parameters["out"] is not None:
        raise OptionError(f"--out {parameters['out']} and --stream: a stream is written to standard output alone")
    if len(files) != 1:
        raise OptionError(f"--stream takes one source, not {len(files)}: - (standard input), microphone, or a file")
    rate = given.pop("rate", None)
    if rate is not None and files[0] != _STANDARD_INPUT:
        raise OptionError(f"--rate {rate}: is of raw samples on standard input (-); {files[0]} says its own")
    return LiveSource(files[0], rate, StreamOptions(**given), form == "json")


def transcribe_live(recognizer: "Recognizer", live: LiveSource, options: "DecodingOptions") -> None:
    """Print the results of a source as they come; interrupted, those of what was heard until then.

    As text a line each utterance; on a terminal it is rewritten while it is not final. As JSON a line each result.
    """
    sample_rate, parts = _samples(live.source, live.rate)
    session = recognizer.stream_live(options, sample_rate=sample_rate, stream=live.stream)
    show = _show_json if live.as_json else _show_text
    try:
        for part in parts:
            for event in session.push(part):
                show(event)
    except KeyboardInterrupt:
        pass  # how one stops to speak
    for event in session.finish():
        show(event)


def _samples(source: Path, rate: int | None) -> tuple[int, Iterable[Any]]:
    """Return the rate of a source's samples, and the samples as they come."""
    from malsori.audio.io import stream_audio
    from malsori.audio.microphone import microphone
    from malsori.audio.pcm import PcmStream

    if source == MICROPHONE and not source.exists():
        return _MICROPHONE_RATE, microphone(_MICROPHONE_RATE)
    if source == _STANDARD_INPUT:
        stream = PcmStream(cast(BufferedIOBase, sys.stdin.buffer), rate)
        return stream.sample_rate, stream
    return _MICROPHONE_RATE, stream_audio(source, _MICROPHONE_RATE, _BLOCK_SECONDS)


def _show_json(event: "StreamEvent") -> None:
    print(json.dumps(event.as_json(), ensure_ascii=False), flush=True)


def _show_text(event: "StreamEvent") -> None:
    """Print a final text; on a terminal a partial one too, in the row that the final one will take."""
    from rich.cells import cell_len, chop_cells

    terminal = sys.stdout.isatty()
    clear = "\r\x1b[K" if terminal else ""
    if event.kind == "final":
        print(clear + event.text, end="\n" if event.text else "", flush=True)
    elif terminal:
        room = max(2, shutil.get_terminal_size().columns - 1)
        row = event.text if cell_len(event.text) <= room else chop_cells(event.text[::-1], room)[0][::-1]
        print(clear + row, end="", flush=True)
