"""What transcribe writes: which forms, of which files, and where to."""

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malsori.cli.batch import result_paths, run_each, sounds_below
from malsori.cli.options import subtitle_options
from malsori.cli.terminal import sound_input, sound_progress, write
from malsori.errors import OptionError
from malsori.files import require_place

if TYPE_CHECKING:
    from malsori.alignment.subtitles import SubtitleOptions
    from malsori.asr.options import DecodingOptions
    from malsori.asr.recognizer import Recognizer
    from malsori.corpus.pool import Executor
    from malsori.decode.transcript import Transcript

Sounds = Annotated[
    list[Path], typer.Argument(help="Sound files of any format, rate and length, folders of them; - for input.")
]
Forms = Annotated[
    str | None,
    typer.Option("-f", "--format", metavar="txt,json,srt,vtt,tsv,textgrid|all", help="How to write it. [default: txt]"),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", help="Folder: a file for each sound and form, named as it. Standard output and one form without."
    ),
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave out sounds whose files lie in --out already: to go on.")
]


class TranscriptForm(enum.StrEnum):
    """What a transcript can be written as."""

    txt = "txt"
    json = "json"
    srt = "srt"
    vtt = "vtt"
    tsv = "tsv"
    textgrid = "textgrid"

    @property
    def ending(self) -> str:
        """What its files end in."""
        return ".TextGrid" if self is TranscriptForm.textgrid else f".{self}"


#: A sound, and the files that its transcript is written to; none for standard output.
_Job = tuple[Path, list[Path]]


@dataclass(frozen=True)
class Wanted:
    """What is written, and where.

    Attributes:
        forms: in the order given.
        out: folder; standard output without.
        skip_existing: sounds that have all their files are left out.
        cues: the shape of subtitles.
    """

    forms: tuple[TranscriptForm, ...]
    out: Path | None
    skip_existing: bool
    cues: "SubtitleOptions"


def wanted_of(given: dict[str, Any]) -> Wanted:
    """Return what a command's options ask for.

    Raises: OptionError for a form that there is none of, several forms without a folder, options that need others;
        ConfigError for a shape of subtitles that cannot be.
    """
    forms, out, as_json = _forms(given["form"]), given["out"], given["as_json"]
    if as_json and given["form"] is not None and forms != (TranscriptForm.json,):
        raise OptionError(f"--format {given['form']} and --json: give one of the two")
    if as_json:
        forms = (TranscriptForm.json,)
    if out is None and len(forms) > 1:
        raise OptionError(f"--format {given['form']}: several forms need a folder to lie in: -o FOLDER")
    if out is None and given["skip_existing"]:
        raise OptionError("--skip-existing: nothing exists on standard output; give a folder with -o")
    if out is not None and out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file; -o names the folder for the transcripts")
    require_place(out, folder=True)
    shown = {"srt", "vtt"} & set(forms)
    return Wanted(forms, out, given["skip_existing"], subtitle_options(given["cue"], bool(shown)))


def _forms(given: str | None) -> tuple[TranscriptForm, ...]:
    names = ["txt" if name == "text" else name for name in (given or "txt").replace(" ", "").lower().split(",")]
    if "all" in names:
        return tuple(TranscriptForm)
    for name in names:
        if name not in TranscriptForm.__members__:
            raise OptionError(f"--format {given}: '{name}' is none of {', '.join(TranscriptForm)}, all")
    return tuple(dict.fromkeys(TranscriptForm(name) for name in names))


def transcribe_files(
    recognizer: "Recognizer", files: Sequence[Path], options: "DecodingOptions", wanted: Wanted
) -> None:
    """Write the transcript of each file; one that fails does not keep the others from being done.

    Raises: OptionError if two files' transcripts would have one name, BatchError naming the files that failed.
    """
    jobs = _jobs(files, wanted)

    def transcribe(job: _Job) -> list[str]:
        with sound_input(job[0]) as sound, sound_progress(sound) as done:
            return _forms_of(job[0], recognizer.transcribe(sound, options, on_progress=done), wanted)

    if len(jobs) == 1 and files[0] == jobs[0][0]:
        _write(jobs[0], transcribe(jobs[0]))
    elif jobs:
        run_each(jobs, transcribe, _write, _name)


@dataclass(frozen=True)
class ClusterTranscription:
    """What a machine of a cluster does with each sound: it loads the recognizer once.

    Attributes:
        model: as `load_recognizer` takes it.
        where: its other arguments, name and value.
    """

    model: str | None
    where: tuple[tuple[str, str], ...]
    options: "DecodingOptions"
    wanted: Wanted

    def __call__(self, job: _Job) -> list[str]:
        """Return a sound's transcript in each form."""
        recognizer = _loaded(self.model, self.where)
        return _forms_of(job[0], recognizer.transcribe(job[0], self.options), self.wanted)

    def run(self, files: Sequence[Path], executor: "Executor") -> None:
        """Write the transcript of each file, as `transcribe_files`, by other machines."""
        run_each(_jobs(files, self.wanted), self, _write, _name, executor)


@lru_cache(maxsize=1)
def _loaded(model: str | None, where: tuple[tuple[str, str], ...]) -> "Recognizer":
    from malsori.asr.recognizer import load_recognizer

    return load_recognizer(model, **dict(where))


def _forms_of(path: Path, transcript: "Transcript", wanted: Wanted) -> list[str]:
    return [transcript_as(form, path, transcript, wanted.cues) for form in wanted.forms]


def _write(job: _Job, texts: list[str]) -> None:
    places: list[Path | None] = [*job[1]] or [None]
    for text, result in zip(texts, places, strict=True):
        write(text, result)


def _name(job: _Job) -> str:
    return str(job[0])


def _jobs(files: Sequence[Path], wanted: Wanted) -> list[_Job]:
    """Return each sound with the files that its transcript is written to, none for standard output."""
    jobs: list[_Job] = []
    for source in files:
        sounds = sounds_below(source) if source.is_dir() else [source]
        if wanted.out is None:
            jobs += [(sound, []) for sound in sounds]
            continue
        root = source if source.is_dir() else source.parent
        named = [Path("stdin") if str(sound) == "-" else sound for sound in sounds]
        columns = [result_paths(named, root, wanted.out, form.ending) for form in wanted.forms]
        jobs += [(sound, list(results)) for sound, *results in zip(sounds, *columns, strict=True)]
    _refuse_shared(jobs)
    if not wanted.skip_existing:
        return jobs
    left = [job for job in jobs if not all(path.exists() for path in job[1])]
    if len(left) < len(jobs):
        typer.echo(f"{len(jobs) - len(left)} of {len(jobs)} have their transcripts already", err=True)
    return left


def _refuse_shared(jobs: Sequence[_Job]) -> None:
    owners: dict[Path, Path] = {}
    for sound, results in jobs:
        for result in results:
            if owners.setdefault(result, sound) != sound:
                raise OptionError(f"{owners[result]} and {sound} would both be written to {result}; rename one")


def transcript_as(form: TranscriptForm, path: Path, transcript: "Transcript", cues: "SubtitleOptions") -> str:
    """Return a transcript as the text of a file."""
    from malsori.alignment.subtitles import format_subtitles, join_cues
    from malsori.alignment.textgrid import format_textgrid

    words = [word for segment in transcript.segments for word in segment.words]
    if form is TranscriptForm.json:
        return json.dumps({"file": str(path), **transcript.as_json()}, ensure_ascii=False) + "\n"
    if form is TranscriptForm.textgrid:
        return format_textgrid({"words": tuple(words)}, transcript.duration)
    if form is TranscriptForm.txt:
        return transcript.text + "\n"
    if form is TranscriptForm.tsv:
        rows = [f"{part.start * 1000:.0f}\t{part.end * 1000:.0f}\t{part.text}" for part in transcript.segments]
        return "\n".join(["start\tend\ttext", *rows]) + "\n"
    return format_subtitles(join_cues(words, cues), "srt" if form is TranscriptForm.srt else "vtt")
