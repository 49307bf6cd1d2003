"""A known text laid over its sound: align, for one recording or for a folder of them."""

import enum
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malsori.cli.batch import result_paths, run_each, sounds_below
from malsori.cli.options import (
    ClusterOption,
    Cue,
    DeviceOption,
    LexiconOption,
    PrecisionOption,
    ThreadsOption,
    asked_form,
    cluster_executor,
    prepare_runtime,
    subtitle_options,
)
from malsori.cli.terminal import require_sound, sound_input, sound_progress, text_of, write
from malsori.errors import CorpusError, OptionError
from malsori.files import require_place

if TYPE_CHECKING:
    from malsori.alignment.spans import Alignment
    from malsori.alignment.subtitles import SubtitleOptions
    from malsori.asr.recognizer import Recognizer
    from malsori.corpus.pool import Executor

app = typer.Typer()


class AlignmentForm(enum.StrEnum):
    """What an alignment can be written as."""

    textgrid = "textgrid"
    json = "json"
    srt = "srt"
    vtt = "vtt"


#: What the files of each form end in.
_ENDINGS = {form: ".TextGrid" if form is AlignmentForm.textgrid else f".{form}" for form in AlignmentForm}


@dataclass(frozen=True)
class _Pair:
    """A sound and what is said in it: the text, a file of it, or why there is none."""

    sound: Path
    text: str | Path = ""
    refused: str = ""

    def said(self) -> str:
        """Return the text. Raises: CorpusError if there is none, TextError if it is not UTF-8."""
        if self.refused:
            raise CorpusError(self.refused)
        return text_of(str(self.text)) if isinstance(self.text, Path) else self.text


_Audio = Annotated[
    Path, typer.Argument(help="Sound file of any format, rate and length, - for input, or a folder of them.")
]
_Text = Annotated[
    str | None,
    typer.Argument(
        help="What is said: the text itself, a text file, or - for input. For a folder a table of it, a line "
        "FILE|TEXT each. Without: the .txt beside each sound, or what the folder's layout has."
    ),
]


@app.command("align")
def align_text(
    audio: _Audio,
    text: _Text = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File or folder to write; standard output without.")
    ] = None,
    form: Annotated[
        AlignmentForm | None, typer.Option("-f", "--format", help="By default what --out ends in, or textgrid.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    cue: Cue = None,
    model: Annotated[str | None, typer.Option(help="Recognizer; the built-in one without.")] = None,
    lexicon: LexiconOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Say when each word, syllable and phone of a text sounds, and tell where text and sound do not belong together.

    Examples: malsori align speech.wav "오늘은 3시에 만나요." -o speech.TextGrid
    malsori align recordings -o aligned -f json    (recordings/a.wav with recordings/a.txt gives aligned/a.json)
    """
    from malsori.alignment.mismatch import describe_mismatch
    from malsori.asr.recognizer import load_aligner

    by_name = AlignmentForm.__members__.get(out.suffix[1:].lower() if out else "", AlignmentForm.textgrid)
    form = asked_form(form, as_json, AlignmentForm.json) or by_name
    cues = subtitle_options(cue, form in (AlignmentForm.srt, AlignmentForm.vtt))
    if audio.is_dir():
        out = _folder_for(audio, out)
        executor = cluster_executor(cluster, [audio], device=device, threads=threads)
        runtime = tuple(prepare_runtime(device, precision, threads).items())
        _Aligning(model, tuple(lexicon or ()), runtime, form, cues).run(_pairs(audio, text), audio, out, executor)
        return
    if cluster is not None:
        raise OptionError(f"--cluster {cluster}: is for a folder of recordings; {audio} is none")
    if out and out.is_dir() and str(audio) != "-":
        out = result_paths([audio], audio.parent, out, _ENDINGS[form])[0]
    where = prepare_runtime(device, precision, threads)
    alignment = _aligned(audio, _pair(audio, text).said(), out, lambda: load_aligner(model, lexicon=lexicon, **where))
    _tell(audio, describe_mismatch(alignment))
    write(alignment_as(form, alignment, cues), out)


def _aligned(audio: Path, said: str, out: Path | None, load: Callable[[], "Recognizer"]) -> "Alignment":
    """Return the alignment of one recording; what could not be read or written is refused before anything is loaded."""
    require_place(out)
    require_sound(audio)
    recognizer = load()
    with sound_input(audio) as sound, sound_progress(sound) as done:
        return recognizer.align(sound, said, on_progress=done)


def _folder_for(audio: Path, out: Path | None) -> Path:
    """Return the folder for a folder's alignments. Raises: OptionError if there is none, FileError if it cannot be."""
    if out is None or out.is_file():
        raise OptionError(f"{audio} is a folder: give the folder for its alignments with -o FOLDER")
    require_place(out, folder=True)
    return out


@dataclass(frozen=True)
class _Aligning:
    """What is done with each sound of a folder, here or on a machine of a cluster: the aligner is loaded once.

    Attributes:
        model, lexicon, where: as `load_aligner` takes them.
    """

    model: str | None
    lexicon: tuple[Path, ...]
    where: tuple[tuple[str, str], ...]
    form: AlignmentForm
    cues: "SubtitleOptions"

    def __call__(self, pair: _Pair) -> tuple[str, str]:
        """Return what `align` does, on a machine of a cluster."""
        return self.align(_kept(self), pair)

    def load(self) -> "Recognizer":
        """Return the aligner. Raises: as `load_aligner`."""
        from malsori.asr.recognizer import load_aligner

        return load_aligner(self.model, lexicon=list(self.lexicon) or None, **dict(self.where))

    def align(self, recognizer: "Recognizer", pair: _Pair) -> tuple[str, str]:
        """Return the alignment as the text of a file, and what is to be told of it, "" for nothing."""
        from malsori.alignment.mismatch import describe_mismatch

        alignment = recognizer.align(pair.sound, pair.said())
        return alignment_as(self.form, alignment, self.cues), describe_mismatch(alignment)

    def run(self, pairs: list[_Pair], source: Path, out: Path, executor: "Executor | None") -> None:
        """Write the alignment of each sound of a folder into its file, by this machine or by a cluster's."""
        recognizer = self.load()  # refused before any work
        results = result_paths([pair.sound for pair in pairs], source, out, _ENDINGS[self.form])
        places = dict(zip(pairs, results, strict=True))

        def finish(pair: _Pair, found: tuple[str, str]) -> None:
            text, told = found
            _tell(pair.sound, told)
            write(text, places[pair])

        work = self if executor else partial(self.align, recognizer)
        run_each(pairs, work, finish, lambda pair: str(pair.sound), executor)


@lru_cache(maxsize=1)
def _kept(aligning: _Aligning) -> "Recognizer":
    return aligning.load()


def _pair(sound: Path, text: str | None = None) -> _Pair:
    """Return a sound with its text, or the .txt beside it."""
    if str(sound) == text == "-":
        raise OptionError("sound and text cannot both be standard input; give one of them as a file")
    if text is not None:
        return _Pair(sound, text_of(text))
    if str(sound) == "-":
        return _Pair(sound, refused="standard input has no text beside it: give the text, or a file of it")
    beside = sound.with_suffix(".txt")
    if beside.is_file():
        return _Pair(sound, beside)
    return _Pair(sound, refused=f"{sound}: has no text; write it into {beside}, or give it")


def _pairs(folder: Path, table: str | None) -> list[_Pair]:
    """Return the sounds of a folder with their texts, also those that have none.

    Raises: OptionError if there is no sound, or no table; CorpusError if there is no text at all.
    """
    from malsori.corpus.layouts import read_layout
    from malsori.readers.files import walk
    from malsori.readers.records import Note, Utterance
    from malsori.readers.tables import read_table

    if table is not None:
        if not Path(table).is_file():
            raise OptionError(
                f"{table!r}: no such file; for a folder give a table with a line FILE|TEXT for each sound"
            )
        found = [item for item in read_table(Path(table), walk(folder).sounds) if not isinstance(item, Note)]
    else:
        pairs = [_pair(sound) for sound in sounds_below(folder)]
        if not all(pair.refused for pair in pairs):
            return pairs
        listing = read_layout(folder)
        found = [*listing.utterances, *listing.refused]
    return [
        _Pair(item.audio_path, item.written)
        if isinstance(item, Utterance)
        else _Pair(folder / item.id, refused=item.detail)
        for item in found
    ]


def _tell(sound: Path, mismatch: str) -> None:
    """Tell on standard error where text and sound do not belong together."""
    if mismatch:
        print(f"malsori: {sound}: {mismatch}", file=sys.stderr)


def alignment_as(form: AlignmentForm, alignment: "Alignment", cues: "SubtitleOptions | None" = None) -> str:
    """Return an alignment as the text of a file."""
    from malsori.alignment.subtitles import format_subtitles, join_cues
    from malsori.alignment.textgrid import format_textgrid

    if form is AlignmentForm.json:
        return json.dumps(alignment.as_json(), ensure_ascii=False) + "\n"
    if form in (AlignmentForm.srt, AlignmentForm.vtt):
        return format_subtitles(join_cues(alignment.words, cues), "srt" if form is AlignmentForm.srt else "vtt")
    return format_textgrid(alignment.tiers, alignment.duration)
