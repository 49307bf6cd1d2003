"""Options that many commands have, said once: whose words text is read by; where a network runs, and how."""

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from malsori.errors import OptionError

if TYPE_CHECKING:
    from malsori.alignment.subtitles import SubtitleOptions
    from malsori.corpus.pool import Executor

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
        help="Numbers to compute in. auto: float32, on an x86 CPU with float16 weights; half is for GPUs.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads of the CPU to compute on. [default: the runtime's choice]"),
]
RuntimeOption = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="auto|torch|onnx",
        help="What computes; auto: onnx for a model of 'malsori export', and on a CPU for the built-in ones.",
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="auto|ADDRESS",
        help="Do the work on a Ray cluster whose machines see the same paths: its head's host:6379; auto finds the one "
        "that runs here (pip install 'malsori[cluster]').",
    ),
]
Cue = Annotated[
    list[str] | None,
    typer.Option(
        "--cue",
        metavar="NAME=VALUE",
        help="Another shape of subtitles: max_row_characters=16, max_rows=2, min_cue_seconds=0.83, max_cue_seconds=7, "
        "max_characters_per_second=12, max_pause_seconds=1; repeats.",
    ),
]


def prepare_runtime(device: str, precision: str, threads: int | None) -> dict[str, str]:
    """Return device and precision as `load_voice` and `load_recognizer` take them, and set the number of threads.

    Raises: DeviceError if this machine cannot serve one of them, before anything is loaded.
    """
    from malsori.runtime.device import resolve_runtime, use_threads

    resolve_runtime(device, precision, quantize=True)
    use_threads(threads)
    return {"device": device, "precision": precision}


def prepare_for(
    name: str | None, role: str, runtime: str, device: str, precision: str, threads: int | None
) -> dict[str, str]:
    """Return runtime, device and precision for one model, as `load_voice` takes them; PyTorch only if it is asked for.

    Args:
        name: of the model; the default of its role when None.
    Raises: as `prepare_runtime`, and ModelError if the model is of the other runtime.
    """
    from malsori.pretrained.hub import DEFAULT_MODELS
    from malsori.runtime import onnx
    from malsori.runtime.threads import use_threads

    if onnx.chosen_runtime(runtime, name or DEFAULT_MODELS[role], device, precision) == "torch":
        return {"runtime": runtime, **prepare_runtime(device, precision, threads)}
    onnx.check_onnx(device, precision)
    use_threads(threads)
    return {"runtime": runtime, "device": device, "precision": precision}


def shared(*places: Path | str | None) -> list[Path]:
    """Return the places that the machines of a cluster have to see under one path: not what lies under s3://."""
    from malsori.object_store import is_remote

    return [Path(place) for place in places if place is not None and not is_remote(place)]


def cluster_executor(
    address: str | None,
    places: Sequence[Path],
    workers: int = 0,
    device: str = "auto",
    threads: int | None = None,
) -> "Executor | None":
    """Return who does the work on the cluster that --cluster names; None without it.

    Args:
        places: paths that all its machines have to see.
    Raises: OptionError if no cluster answers there, or for an option that its workers cannot serve.
    """
    if address is None:
        return None
    if device not in ("auto", "cpu") or threads is not None:
        given = f"--threads {threads}" if threads is not None else f"--device {device}"
        raise OptionError(f"{given}: a worker of --cluster computes on one thread of a CPU")
    from malsori.cluster import RayExecutor

    return RayExecutor(address, workers, places)


def asked_form(form: _Form | None, as_json: bool, json_form: _Form) -> _Form | None:
    """Return the form that --format or --json asks for; None if neither. Raises: OptionError if they disagree."""
    if as_json and form not in (None, json_form):
        raise OptionError(f"--format {form} and --json: give one of the two")
    return json_form if as_json else form


def subtitle_options(given: Sequence[str] | None, wanted: bool) -> "SubtitleOptions":
    """Return the shape of subtitles that NAME=VALUE options ask for.

    Args:
        wanted: subtitles are written.
    Raises: OptionError if they are not, or for what is no NAME=VALUE; ConfigError for another name or a bad value.
    """
    from malsori.alignment.subtitles import SubtitleOptions

    if given and not wanted:
        raise OptionError(f"--cue {given[0]}: shapes subtitles, and neither srt nor vtt is written")
    values = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals:
            raise OptionError(f"--cue {one}: write NAME=VALUE, for example max_row_characters=20")
        values[name.strip()] = value.strip()
    return SubtitleOptions.parse(values, "--cue")
