"""Corpora: prepare ground truth, check recordings before any training."""

import json
from pathlib import Path
from typing import Annotated

import typer

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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make waves, spectrograms, pitch and energy of a folder of recordings; run again, it goes on where it was.

    Example: malsori corpus prepare recordings/ work/voice
    """
    from malsori.corpus.ground_truth import PrepareOptions, audio_at, prepare

    values = {"layout": layout, "audio": audio_at(rate), "workers": workers}
    summary = prepare(source, out, PrepareOptions.parse(values, "malsori corpus prepare"))
    print(json.dumps(summary.as_dict(), ensure_ascii=False) if as_json else "\n".join(summary.lines()))


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
