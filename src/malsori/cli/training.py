"""Training: a system on a corpus, its losses as a diagram, its runs as curves, a model measured."""

import enum
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from malsori.cli.options import (
    ClusterOption,
    DeviceOption,
    LexiconOption,
    PrecisionOption,
    ThreadsOption,
    cluster_executor,
    prepare_runtime,
    shared,
)
from malsori.cli.terminal import watched
from malsori.errors import OptionError
from malsori.extras import require
from malsori.files import require_place

app = typer.Typer()

_CORPUS = typer.Option(help="Folder made by 'malsori corpus prepare', or shards: a folder or s3://BUCKET/PREFIX.")


class Language(enum.StrEnum):
    """What labels can be written in."""

    en = "en"
    ko = "ko"


@app.command("train")
def train_system(
    recipe: Annotated[str, typer.Argument(help="A recipe that comes with malsori, by name, or a TOML file.")],
    corpus: Annotated[str, _CORPUS],
    out: Annotated[Path, typer.Option(help="Run folder to make, or to go on with.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Another value: train.steps=500; repeats.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly where it was.")
    ] = False,
    lexicon: LexiconOption = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="With --resume: go on although the recipe has changed.")
    ] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Train a system; interrupted anywhere, the same command with --resume goes on as if it had not been.

    The precision stands in the recipe: --set train.precision=bfloat16. On several GPUs or machines torchrun starts it,
    and the processes share each step's batches: torchrun --nproc-per-node 4 -m malsori train ... --set
    train.accumulate=4.

    Example: malsori train vocos-small --corpus work/voice --out runs/vocos --set train.steps=2000
    """
    from malsori.corpus.folder import load_corpus
    from malsori.train.loop import RunOptions, train
    from malsori.train.processes import is_first
    from malsori.train.recipe import read_recipe
    from malsori.train.systems import parse_recipe, set_up

    if accept_changes and not resume:
        raise OptionError("--accept-changes: only a run that goes on can have changed; give --resume too")
    prepare_runtime(device, "float32", threads)
    values = read_recipe(recipe, settings)
    if lexicon:
        values["frontend"] = values.get("frontend", {}) | {"lexicon": [str(path) for path in lexicon]}
    setup = set_up(parse_recipe(values, recipe), load_corpus(corpus))
    measured = train(setup, RunOptions(out=out, resume=resume, accept_changes=accept_changes, device=device))
    if not is_first():
        return
    shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
    kept = (out / "model" / "config.json").is_file()
    told = f"The best model lies in {out / 'model'}" if kept else f"No model was kept in {out}"
    print(told + (f"; last measured: {shown}." if shown else "."))
    uses = _uses(setup.recipe.system, out, corpus) if kept else []
    print("Next: " + " · ".join([*uses, f"malsori runs {out}", f"malsori diagram {out}"]))


def _uses(system: str, out: Path, corpus: str) -> list[str]:
    """Return the commands that use a run's model: speak or listen, then measure."""
    from malsori.systems import systems_of

    if system in systems_of("encoder"):
        return []
    measure = f"malsori evaluate {out} --corpus {corpus}"
    if system in systems_of("recognizer"):
        return [f"malsori transcribe SOUND --model {out}", measure]
    part = "vocoder" if system in systems_of("vocoder") else "voice"
    return [f'malsori say "안녕하세요." --{part} {out} -o hello.wav', measure]


@app.command("diagram")
def draw_diagram(
    model: Annotated[str, typer.Argument(help="A system, a recipe, or the folder of a model or a run.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A .svg, .png or .md file; MODEL.svg without.")
    ] = None,
    language: Annotated[Language, typer.Option(help="Of the labels.")] = Language.en,
) -> None:
    """Draw how a system's losses are combined, from the code that trains it; a run adds what it has measured.

    Example: malsori diagram fastspeech2 -o fastspeech2.svg --language ko
    """
    from malsori.report.diagram import save, schematic

    require("matplotlib", "A diagram")
    path = out or Path(f"{Path(model).stem}.svg")
    save(schematic(model), path, language.value)
    print(path)


@app.command("runs")
def show_runs(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, finished or still going.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Page to write.")] = Path("runs.html"),
) -> None:
    """Draw the logs of runs: curves, contributions of the losses, warnings, in one HTML page.

    Example: malsori runs runs/voice runs/voice-2 -o runs.html
    """
    from malsori.report.curves import save_curves

    require("matplotlib", "A page of curves")
    require_place(out)
    save_curves(runs, out)
    print(out)


_TextsOption = Annotated[
    Path | None, typer.Option(help="For a voice, in place of a corpus: a text a line, or group, tab and text.")
]
_GivenOption = Annotated[
    str, typer.Option(help="What a FastSpeech 2 takes from the recording: durations,pitch,energy or some of them.")
]


def _require_page(out: Path | None) -> None:
    """Make sure that the page of an evaluation can be drawn and written, if one is asked for."""
    if out:
        require("matplotlib", "evaluation.html")
    require_place(out, folder=True)


@app.command("evaluate")
def evaluate_model(
    model: Annotated[str, typer.Argument(help="A built-in model, a folder, a run, or a hub id.")],
    corpus: Annotated[str | None, _CORPUS] = None,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    texts: _TextsOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.html and evaluation.json.")] = None,
    recognizer: Annotated[str | None, typer.Option(help="That transcribes a voice; the built-in one without.")] = None,
    vocoder: Annotated[str | None, typer.Option(help="Of a voice; the built-in one without.")] = None,
    given: _GivenOption = "",
    mos: Annotated[bool, typer.Option("--mos", help="Judge speech by DNSMOS too (extra mos).")] = False,
    lexicon: LexiconOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Measure a voice, a vocoder or a recognizer on a split of a corpus.

    --given shows what each part of a voice costs: with the recording's durations, pitch and energy only its
    decoder and the vocoder speak; 'malsori evaluate vocos-ko' is the vocoder alone.

    Examples:
      malsori evaluate runs/voice --corpus work/voice --out evaluation --mos
      malsori evaluate fastspeech2-ko --vocoder runs/vocoder --corpus work/voice
      malsori evaluate fastspeech2-ko --texts tests/data/hard.txt
    """
    from malsori.corpus.folder import load_corpus
    from malsori.evaluation.corpus import evaluate
    from malsori.evaluation.page import interval_text, save_evaluation
    from malsori.evaluation.texts import evaluate_texts, read_grouped_texts

    if (corpus is None) == (texts is None):
        raise OptionError("give --corpus FOLDER, or --texts FILE for a voice without recordings, and not both")
    if texts and given:
        raise OptionError("--given: there is no recording to take it from; give --corpus")
    _require_page(out)
    asked: dict[str, Any] = {"recognizer": recognizer, "lexicon": lexicon, "mos": mos, "vocoder": vocoder}
    asked |= {"progress": watched, **prepare_runtime(device, precision, threads)}
    asked["executor"] = cluster_executor(cluster, shared(corpus), device=device, threads=threads)
    if texts:
        found = evaluate_texts(model, read_grouped_texts(texts), **asked)
    elif corpus:
        found = evaluate(model, load_corpus(corpus), split, given=given.replace(",", " ").split(), **asked)
    if out:
        save_evaluation(found, out, model)
    lines = [f"{found.system} on {len(found.rows)} utterances of {texts or split}"]
    lines += [f"  {name:28} {one.value:8.4f}   {interval_text(one)}" for name, one in found.measures.items()]
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else "\n".join(lines))
