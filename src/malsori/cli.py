"""The command `malsori`: one thin function a command; the work is done, and imported, behind it."""

import enum
import errno
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malsori.errors import MalsoriError, ModelError, TextError

if TYPE_CHECKING:
    from malsori.align.spans import Alignment
    from malsori.recognizer import Transcript

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


class AlignmentForm(enum.StrEnum):
    """What an alignment can be written as."""

    textgrid = "textgrid"
    json = "json"
    srt = "srt"


class TranscriptForm(enum.StrEnum):
    """What a transcript can be written as."""

    text = "text"
    json = "json"
    srt = "srt"
    vtt = "vtt"
    textgrid = "textgrid"


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


@app.command("align")
def align_text(
    audio: Annotated[Path, typer.Argument(help="Sound file, of any format and rate.")],
    text: Annotated[str, typer.Argument(help="What is said in it: the text itself, a text file, or - for input.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; standard output without.")] = None,
    form: Annotated[
        AlignmentForm | None, typer.Option("--format", help="By default what --out ends in, or textgrid.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    model: Annotated[str | None, typer.Option(help="Recogniser; the built-in one without.")] = None,
) -> None:
    """Say when each word, syllable and phone of a text sounds.

    Example: malsori align speech.wav "오늘은 3시에 만나요." -o speech.TextGrid
    """
    from malsori.recognizer import load_recognizer

    by_name = out.suffix[1:].lower() if out else ""
    form = AlignmentForm.json if as_json else form or AlignmentForm.__members__.get(by_name, AlignmentForm.textgrid)
    alignment = load_recognizer(model).align(audio, _text_of(text))
    _write(_alignment_as(form, alignment), out)


def _alignment_as(form: "AlignmentForm", alignment: "Alignment") -> str:
    from malsori.align.spans import join_lines, subtitles
    from malsori.align.textgrid import format_textgrid

    if form is AlignmentForm.json:
        return json.dumps(alignment.as_json(), ensure_ascii=False) + "\n"
    if form is AlignmentForm.srt:
        return subtitles(join_lines(alignment.words), "srt")
    return format_textgrid(alignment.tiers, alignment.duration)


@app.command("train")
def train_system(
    recipe: Annotated[str, typer.Argument(help="A recipe that comes with malsori, by name, or a TOML file.")],
    corpus: Annotated[Path, typer.Option(help="Folder made by 'malsori corpus prepare'.")],
    out: Annotated[Path, typer.Option(help="Run folder to make, or to go on with.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Another value: train.steps=500; repeats.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly where it was.")
    ] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="With --resume: go on although the recipe has changed.")
    ] = False,
) -> None:
    """Train a system; broken off anywhere, the same command with --resume goes on as if it had not been.

    Example: malsori train vocos-small --corpus work/voice --out runs/vocos --set train.steps=2000
    """
    from malsori.corpus.folder import load_corpus
    from malsori.train.loop import RunOptions, train
    from malsori.train.recipe import read_recipe
    from malsori.train.systems import parse_recipe, set_up

    setup = set_up(parse_recipe(read_recipe(recipe, settings), recipe), load_corpus(corpus))
    measured = train(setup, RunOptions(out=out, resume=resume, accept_changes=accept_changes))
    shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
    print(f"The best model lies in {out / 'model'}" + (f"; last measured: {shown}." if shown else "."))
    print(f"Next: malsori evaluate {out} --corpus {corpus} · malsori runs {out} · malsori diagram {out}")


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page, the numbers and the sounds.")] = Path("demo"),
) -> None:
    """Speak, listen and measure with the built-in models; writes report.html and report.json.

    Example: malsori demo --out demo
    """
    from malsori.demo import mean_cer, run_demo

    said = run_demo(out)
    for one in said:
        print(f"said   {one.text}\nheard  {one.heard}\n       CER {one.cer:.1%}, {one.seconds:.1f} s of speech")
    print(f"CER over all: {mean_cer(said):.1%}. Open {out / 'report.html'} to listen and look.")


@app.command("say")
def say(
    text: Annotated[str, typer.Argument(help="What to say: the text itself, a text file, or - for standard input.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Sound file to write: .wav, .flac or .ogg.")],
    voice: Annotated[str | None, typer.Option(help="A built-in voice, a folder, a run, or a hub id.")] = None,
    vocoder: Annotated[str | None, typer.Option(help="The same for the vocoder; griffin-lim for none.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Who of the voice's speakers.")] = None,
    speed: Annotated[float, typer.Option(help="2 is twice as fast.")] = 1.0,
    pitch: Annotated[float, typer.Option(help="Semitones up or down.")] = 0.0,
    timing: Annotated[
        Path | None, typer.Option(help="Also write when each phone sounds: .TextGrid, .json, .srt.")
    ] = None,
) -> None:
    """Speak a text into a sound file.

    Example: malsori say "오늘은 날씨가 참 좋네요." -o hello.wav --timing hello.TextGrid
    """
    from malsori.voice import SayOptions, load_voice

    speech = load_voice(voice, vocoder).say(_text_of(text), SayOptions(speaker=speaker, speed=speed, pitch=pitch))
    speech.save(out)
    if timing:
        form = AlignmentForm.__members__.get(timing.suffix[1:].lower(), AlignmentForm.textgrid)
        _write(_alignment_as(form, speech.alignment), timing)
    print(f"{out}: {speech.seconds:.2f} s, made in {speech.real_time_factor:.3f} x real time")


@app.command("transcribe")
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Sound files, of any format, rate and length.")],
    model: Annotated[str | None, typer.Option(help="Recogniser; the built-in one without.")] = None,
    form: Annotated[
        TranscriptForm, typer.Option("--format", help="How to write what was heard.")
    ] = TranscriptForm.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    language: Annotated[str, typer.Option(help="Language spoken; the built-in recogniser knows ko.")] = "ko",
) -> None:
    """Write down what is said in sound files, in the order given.

    Example: malsori transcribe talk.m4a --format srt
    """
    from malsori.recognizer import load_recognizer

    recognizer = load_recognizer(model)
    if language not in recognizer.languages:
        raise ModelError(f"language '{language}': this recogniser knows {', '.join(recognizer.languages)}")
    for path in files:
        print(_transcript_as(TranscriptForm.json if as_json else form, path, recognizer.transcribe(path)), end="")


def _transcript_as(form: "TranscriptForm", path: Path, transcript: "Transcript") -> str:
    from malsori.align.spans import join_lines, subtitles
    from malsori.align.textgrid import format_textgrid

    words = [word for segment in transcript.segments for word in segment.words]
    if form is TranscriptForm.json:
        return json.dumps({"file": str(path), **transcript.as_json()}, ensure_ascii=False) + "\n"
    if form is TranscriptForm.textgrid:
        return format_textgrid({"words": tuple(words)}, transcript.duration)
    if form is TranscriptForm.text:
        return transcript.text + "\n"
    return subtitles(join_lines(words), "srt" if form is TranscriptForm.srt else "vtt")


@app.command("evaluate")
def evaluate_model(
    model: Annotated[str, typer.Argument(help="A built-in model, a folder, a run, or a hub id.")],
    corpus: Annotated[Path, typer.Option(help="Folder made by 'malsori corpus prepare'.")],
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.html and evaluation.json.")] = None,
    recognizer: Annotated[str | None, typer.Option(help="Who listens to a voice; the built-in one without.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a voice, a vocoder or a recogniser on a split of a corpus.

    Example: malsori evaluate runs/voice --corpus work/voice --out evaluation
    """
    from malsori.corpus.folder import load_corpus
    from malsori.evaluate import evaluate, save_evaluation

    found = evaluate(model, load_corpus(corpus), split, recognizer, _watched)
    if out:
        save_evaluation(found, out, model)
    if as_json:
        print(json.dumps(found.as_json(), ensure_ascii=False))
        return
    print(f"{found.system} on {len(found.rows)} utterances of {split}")
    for name, value in found.measures.items():
        print(f"  {name:24} {value:.4f}")


def _watched(items: list[Any]) -> Iterable[Any]:
    """Show a progress bar on a terminal while items are worked through."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, console=console, description="", disable=not console.is_terminal)


@app.command("models")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the models that come with malsori; a folder or a hub id can stand wherever one of these can.

    Example: malsori models
    """
    from malsori.models.catalogue import built_in

    entries = built_in()
    if as_json:
        facts = [{"name": entry.name, "bytes": entry.bytes, **entry.facts.model_dump(mode="json")} for entry in entries]
        print(json.dumps({"models": facts}, ensure_ascii=False))
        return
    for entry in entries:
        size, rate = f"{entry.bytes / 1e6:.1f} MB", entry.facts.audio.sample_rate
        print(f"{entry.name:24} {entry.facts.system:12} {rate:6} Hz {size:>9}  {entry.facts.licence}")


def _text_of(argument: str) -> str:
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


def _write(text: str, out: Path | None) -> None:
    """Write a result to a file, or to standard output."""
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")
