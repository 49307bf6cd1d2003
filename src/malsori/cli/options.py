"""Options that many commands have, said once: whose words text is read by; where a network runs, and how."""

import enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from malsori.errors import OptionError

_Form = TypeVar("_Form", bound=enum.StrEnum)

LexiconOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--lexicon",
        help="Your words: written, a tab, as read (COEX<TAB>코엑스) or [as pronounced]: docs/speaking.md; repeats.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where to compute; auto: a GPU if there is one.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|float32|bfloat16|float16|int8",
        help="Numbers to compute in. auto: float32, on a CPU int8 in Whisper's output layer; half is for GPUs.",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of the CPU to compute on. [default: PyTorch's choice]")
]


def prepare_runtime(device: str, precision: str, threads: int | None) -> dict[str, str]:
    """Return device and precision as `load_voice` and `load_recognizer` take them, and set the number of threads.

    Raises: DeviceError if this machine cannot serve one of them, before anything is loaded.
    """
    from malsori.runtime.device import resolve_runtime, use_threads

    resolve_runtime(device, precision, int8=True)
    use_threads(threads)
    return {"device": device, "precision": precision}


def asked_form(form: _Form | None, as_json: bool, json_form: _Form) -> _Form | None:
    """Return the form that --format or --json asks for; None if neither. Raises: OptionError if they disagree."""
    if as_json and form not in (None, json_form):
        raise OptionError(f"--format {form} and --json: give one of the two")
    return json_form if as_json else form
