"""Options that many commands have, said once: whose words text is read by; where a network runs, and how."""

from pathlib import Path
from typing import Annotated

import typer

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
