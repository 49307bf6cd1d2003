"""Corpora: prepare ground truth, check recordings before any training."""

import json
from pathlib import Path
from typing import Annotated

import typer

from malsori.cli.terminal import watched

#: Samples a second of a corpus that voices learn from.
VOICE_RATE = 22050

app = typer.Typer()
corpus_app = typer.Typer(help="Corpora: prepare ground truth, check, synthesise.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")


@corpus_app.command("prepare")
def prepare_corpus(
    source: Annotated[Path, typer.Argument(help="Folder of recordings and texts; it is only read.")],
    out: Annotated[Path, typer.Argument(help="Corpus folder to make, or to go on with.")],
    layout: Annotated[str, typer.Option(help="emotiontts, librispeech or ljspeech; auto looks.")] = "auto",
    rate: Annotated[int, typer.Option(help="22050 for voices, 16000 for recognisers.")] = 22050,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each processor.")] = 0,
    align_with: Annotated[
        str | None, typer.Option(help="Recogniser that finds durations; none for no durations. [default: the built-in]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make waves, spectrograms, pitch, energy and durations of a folder of recordings; run again, it goes on.

    Durations are for voices: at a rate of 16000 they are left out unless --align-with names a recogniser.

    Example: malsori corpus prepare recordings/ work/voice
    """
    from malsori.corpus.ground_truth import PrepareOptions, audio_at, prepare

    values = {"layout": layout, "audio": audio_at(rate), "workers": workers}
    summary = prepare(source, out, PrepareOptions.parse(values, "malsori corpus prepare"))
    aligns = align_with != "none" and (align_with is not None or rate == VOICE_RATE)
    unaligned = _align(out, align_with) if aligns else {}
    if as_json:
        print(json.dumps(summary.as_dict() | {"unaligned": unaligned}, ensure_ascii=False))
        return
    print("\n".join(summary.lines()))
    for reason, ids in unaligned.items():
        print(f"  without durations, {reason}: {len(ids)} ({', '.join(ids[:5])})")


def _align(folder: Path, name: str | None) -> dict[str, list[str]]:
    """Add durations to a prepared corpus; return what has none, by reason."""
    from malsori.corpus.durations import add_durations
    from malsori.corpus.folder import load_corpus
    from malsori.recognizer import load_recognizer

    return add_durations(load_corpus(folder), load_recognizer(name).model, watched)


@corpus_app.command("check")
def check_corpus(
    source: Annotated[Path, typer.Argument(help="Folder of recordings and texts, or a prepared corpus.")],
    layout: Annotated[str, typer.Option(help="emotiontts, librispeech or ljspeech; auto looks.")] = "auto",
    rate: Annotated[int, typer.Option(help="What it is for: 22050 for voices, 16000 for recognisers.")] = 22050,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each processor.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Examine a corpus before any training: exit 0 if training can start, 2 if a fault forbids it.

    Example: malsori corpus check recordings/
    """
    from malsori.corpus.doctor import examine
    from malsori.corpus.ground_truth import audio_at

    found = examine(source, audio_at(rate), workers, layout)
    print(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else "\n".join(found.lines()))
    raise typer.Exit(0 if found.can_train else 2)
