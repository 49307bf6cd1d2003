"""Listening: transcribe; demo."""

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malsori.cli import decoding, live
from malsori.cli.options import DeviceOption, PrecisionOption, ThreadsOption, asked_form, prepare_runtime
from malsori.cli.terminal import sound_input, sound_progress
from malsori.extras import require

if TYPE_CHECKING:
    from malsori.asr.options import DecodingOptions
    from malsori.asr.recognizer import Recognizer
    from malsori.decode.transcript import Transcript

app = typer.Typer()


class TranscriptForm(enum.StrEnum):
    """What a transcript can be written as."""

    text = "text"
    json = "json"
    srt = "srt"
    vtt = "vtt"
    textgrid = "textgrid"


_Sounds = Annotated[
    list[Path], typer.Argument(help="Sound files of any format, rate and length; - for standard input.")
]
_TranscriptFormat = Annotated[
    TranscriptForm | None, typer.Option("--format", help="How to write the transcript. [default: text]")
]


@app.command("transcribe")
def transcribe(
    files: _Sounds,
    model: Annotated[str | None, typer.Option(help="Recognizer; the built-in one without.")] = None,
    form: _TranscriptFormat = None,
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
    threads: ThreadsOption = None,
) -> None:
    """Write down what is said in sound files, in the order given.

    An option that the recognizer does not support is refused. With --stream standard input is a WAV, or raw samples:
    signed 16-bit little-endian ones of one channel.

    Examples: malsori transcribe talk.m4a --format srt --hotwords 말소리,김나무

    arecord -q -f S16_LE -r 16000 -t raw | malsori transcribe --stream - --json
    """
    options = decoding.decoding_options(locals())
    asked = asked_form(form, as_json, TranscriptForm.json) or TranscriptForm.text
    source = live.live_source(locals(), asked)
    from malsori.asr.recognizer import load_recognizer

    recognizer = load_recognizer(model, **prepare_runtime(device, precision, threads))
    if source:
        return live.transcribe_live(recognizer, source, options)
    _transcribe_files(recognizer, files, options, asked)


def _transcribe_files(
    recognizer: "Recognizer", files: list[Path], options: "DecodingOptions", form: "TranscriptForm"
) -> None:
    """Print the transcript of each file."""
    for path in files:
        with sound_input(path) as sound, sound_progress(sound) as done:
            transcript = recognizer.transcribe(sound, options, on_progress=done)
        print(_transcript_as(form, path, transcript), end="")


def _transcript_as(form: "TranscriptForm", path: Path, transcript: "Transcript") -> str:
    from malsori.alignment.spans import join_lines, subtitles
    from malsori.alignment.textgrid import format_textgrid

    words = [word for segment in transcript.segments for word in segment.words]
    if form is TranscriptForm.json:
        return json.dumps({"file": str(path), **transcript.as_json()}, ensure_ascii=False) + "\n"
    if form is TranscriptForm.textgrid:
        return format_textgrid({"words": tuple(words)}, transcript.duration)
    if form is TranscriptForm.text:
        return transcript.text + "\n"
    return subtitles(join_lines(words), "srt" if form is TranscriptForm.srt else "vtt")


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
    said = run_demo(out, **prepare_runtime(device, precision, threads))
    for one in said:
        print(f"said   {one.text}\nheard  {one.hypothesis}\n       CER {one.cer:.1%}, {one.seconds:.1f} s of speech")
    print(f"CER over all: {mean_cer(said):.1%}. Open {out / 'report.html'} to listen and look.")
