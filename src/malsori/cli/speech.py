"""Listening: transcribe; demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malsori.cli import decoding, live, transcripts
from malsori.cli.options import (
    ClusterOption,
    Cue,
    DeviceOption,
    PrecisionOption,
    RuntimeOption,
    ThreadsOption,
    cluster_executor,
    prepare_for,
    prepare_runtime,
)
from malsori.cli.terminal import require_sound
from malsori.errors import AudioError, OptionError
from malsori.extras import require
from malsori.files import require_place

if TYPE_CHECKING:
    from malsori.asr.options import DecodingOptions

app = typer.Typer()


@app.command("transcribe")
def transcribe(
    files: transcripts.Sounds,
    model: Annotated[str | None, typer.Option(help="Recognizer; the built-in one without.")] = None,
    out: transcripts.Out = None,
    form: transcripts.Forms = None,
    skip_existing: transcripts.SkipExisting = False,
    cue: Cue = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    stream: live.Stream = False,
    rate: live.Rate = None,
    chunk_seconds: live.ChunkSeconds = None,
    pause_seconds: live.PauseSeconds = None,
    vad: decoding.Vad = None,
    vad_threshold: decoding.VadThreshold = None,
    language: decoding.Language = None,
    prompt: decoding.Prompt = None,
    hotwords: decoding.Hotwords = None,
    hotword_bonus: decoding.HotwordBonus = None,
    condition_on_previous_text: decoding.ConditionOnPreviousText = None,
    task: decoding.Task = None,
    beam: decoding.Beam = None,
    language_weight: decoding.LanguageWeight = None,
    token_bonus: decoding.TokenBonus = None,
    timestamps: decoding.Timestamps = None,
    best_of: decoding.BestOf = None,
    temperatures: decoding.Temperatures = None,
    logprob_threshold: decoding.LogprobThreshold = None,
    compression_ratio_threshold: decoding.CompressionRatioThreshold = None,
    no_speech_threshold: decoding.NoSpeechThreshold = None,
    min_log_likelihood_ratio: decoding.MinLogLikelihoodRatio = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    runtime: RuntimeOption = "auto",
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Write down what is said in sound files, in the order given.

    One file that cannot be read does not keep the others from being written: it is named, and the status is 2. An
    option that the recognizer does not support is refused. With --stream standard input is a WAV, or raw samples:
    signed 16-bit little-endian ones of one channel.

    Examples: malsori transcribe talk.m4a -f srt --hotwords 말소리,김나무

    malsori transcribe recordings lecture.mp3 -o texts -f txt,srt,json

    malsori transcribe /shared/talks -o /shared/texts --cluster auto

    arecord -q -f S16_LE -r 16000 -t raw | malsori transcribe --stream - --json
    """
    _transcribe(locals())


def _transcribe(given: dict[str, Any]) -> None:
    """Do what the command's parameters ask for; all of them are checked before anything is loaded."""
    options, wanted = decoding.decoding_options(given), transcripts.wanted_of(given)
    source, files = live.live_source(given, ",".join(wanted.forms)), given["files"]
    if given["cluster"] is not None:
        _transcribe_on_cluster(given, options, wanted)
        return
    if not source and len(files) == 1 and not files[0].is_dir():
        require_sound(files[0])
    from malsori.asr.recognizer import load_recognizer

    asked = (given[name] for name in ("runtime", "device", "precision", "threads"))
    where = prepare_for(given["model"], "recognizer", *asked)
    recognizer = load_recognizer(given["model"], **where)
    if source:
        live.transcribe_live(recognizer, source, options)
    else:
        transcripts.transcribe_files(recognizer, files, options, wanted)


def _transcribe_on_cluster(given: dict[str, Any], options: "DecodingOptions", wanted: transcripts.Wanted) -> None:
    """Transcribe by the machines of a cluster. Raises: OptionError for sound that no file of theirs holds."""
    from malsori.pretrained.hub import resolve

    files = given["files"]
    if given["stream"] or any(str(path) == "-" for path in files):
        raise OptionError("--cluster: standard input and --stream are of this machine; give files on the shared path")
    for path in files:
        if not path.exists():
            raise AudioError(f"{path}: no such file or folder")
    if given["model"]:
        resolve(given["model"])  # refused before any work
    executor = cluster_executor(given["cluster"], files, device=given["device"], threads=given["threads"])
    assert executor is not None, "a cluster was named"
    where = tuple((name, given[name]) for name in ("device", "precision", "runtime"))
    transcripts.ClusterTranscription(given["model"], where, options, wanted).run(files, executor)


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page, the numbers and the sounds.")] = Path("demo"),
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Speak, listen and measure with the built-in models; writes report.html and report.json.

    Example: malsori demo --out demo
    """
    from malsori.demo import mean_cer, run_demo

    require("matplotlib", "The demo's page")
    require_place(out, folder=True)
    said = run_demo(out, **prepare_runtime(device, precision, threads))
    for one in said:
        print(f"said   {one.text}\nheard  {one.hypothesis}\n       CER {one.cer:.1%}, {one.seconds:.1f} s of speech")
    print(f"CER over all: {mean_cer(said):.1%}. Open {out / 'report.html'} to listen and look.")
