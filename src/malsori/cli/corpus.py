"""Corpora: prepare ground truth, check recordings before any training."""

import enum
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malsori.cli.options import ClusterOption, LexiconOption, cluster_executor, shared
from malsori.cli.terminal import watched
from malsori.errors import CorpusError, OptionError
from malsori.extras import require
from malsori.files import atomic_file, require_place

if TYPE_CHECKING:
    from malsori.corpus.check import CheckReport
    from malsori.text.tokenizer import Tokenizer

#: Samples a second of a corpus that voices learn from.
VOICE_RATE = 22050

#: Pictures drawn when no utterance is named.
_SHOWN = 10


LayoutOption = Annotated[
    str, typer.Option(help="folders, flat, table, json, parquet, lhotse, kaldi, librispeech, ksponspeech; auto looks.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(help="What each column of a table is: path,speaker,_,text; also spoken, split. [default: looks]"),
]

MergeOption = Annotated[
    bool, typer.Option("--merge", help="Add SOURCE to the corpus of another one that OUT holds, nothing of it lost.")
]
PitchOption = Annotated[
    str | None,
    typer.Option(help="autocorrelation, or praat (pip install 'malsori[praat]'). [default: what OUT began with]"),
]


class AlignFrom(enum.StrEnum):
    """What durations begin from."""

    recognizer = "recognizer"
    scratch = "scratch"


app = typer.Typer()
corpus_app = typer.Typer(help="Corpora: prepare ground truth, check, synthesize.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")


@corpus_app.command("prepare")
def prepare_corpus(
    source: Annotated[Path, typer.Argument(help="Folder of recordings and texts; it is only read.")],
    out: Annotated[Path, typer.Argument(help="Corpus folder to make, or to go on with.")],
    layout: LayoutOption = "auto",
    columns: ColumnsOption = None,
    rate: Annotated[int, typer.Option(help="22050 for voices, 16000 for recognizers.")] = 22050,
    merge: MergeOption = False,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each processor.")] = 0,
    pitch: PitchOption = None,
    align_with: Annotated[
        str | None, typer.Option(help="Recognizer that finds durations; none for no durations. [default: the built-in]")
    ] = None,
    align_from: Annotated[
        AlignFrom, typer.Option(help="scratch learns to align from this corpus alone, without a recognizer.")
    ] = AlignFrom.recognizer,
    lexicon: LexiconOption = None,
    cluster: ClusterOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make waves, spectrograms, pitch, energy and durations of a folder of recordings; run again, it goes on.

    Durations are for voices: at a rate of 16000 they are not made unless --align-with names a recognizer, or
    --align-from scratch asks for them.

    Example: malsori corpus prepare recordings/ work/voice
    Example: malsori corpus prepare more-recordings/ work/voice --merge
    Example: malsori corpus prepare /shared/recordings /shared/corpus --cluster auto
    """
    from malsori.asr.recognizer import load_aligner
    from malsori.corpus.claim import held_corpus
    from malsori.corpus.durations import add_durations
    from malsori.corpus.folder import load_corpus
    from malsori.corpus.ground_truth import PrepareOptions, audio_at, prepare

    scratch = align_from is AlignFrom.scratch
    if scratch and align_with is not None:
        raise OptionError(f"--align-with {align_with} and --align-from scratch: give one of the two")
    values = {"layout": layout, "columns": columns, "audio": audio_at(rate), "pitch_tracker": pitch}
    options = values | {"workers": workers, "merge": merge, "lexicon": tuple(str(path) for path in lexicon or ())}
    aligns = align_with != "none" and (scratch or align_with is not None or rate == VOICE_RATE)
    aligner = load_aligner(align_with).model if aligns and not scratch else None  # refused before hours of work
    executor = cluster_executor(cluster, [source], workers)
    summary = prepare(source, out, PrepareOptions.parse(options, "malsori corpus prepare"), executor)
    with held_corpus(source, out):
        unaligned = add_durations(load_corpus(out), aligner, watched, executor) if aligns else {}
    facts = summary.as_dict() | {"unaligned": unaligned}
    without = [f"  without durations, {why}: {len(ids)} ({', '.join(ids[:5])})" for why, ids in unaligned.items()]
    print(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join([*summary.lines(), *without]))


@corpus_app.command("synthesize")
def synthesize_corpus(
    out: Annotated[Path, typer.Argument(help="Folder of recordings to make, or to go on with.")],
    hours: Annotated[float, typer.Option(min=0.0, help="Speak at least so long; 0 counts sentences.")] = 0.0,
    sentences: Annotated[
        int | None, typer.Option(min=1, help="Speak so many. [default: 500, or what the hours need]")
    ] = None,
    voices: Annotated[str | None, typer.Option(help="espeak-ng's: ko, or with a variant: ko+f2,ko+m3.")] = None,
    speeds: Annotated[str | None, typer.Option(help="Words a minute; the outer two are for the test split.")] = None,
    text: Annotated[Path | None, typer.Option(help="Sentences to speak, one a line. [default: malsori's own]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Speak Korean sentences with espeak-ng and keep the exact time of every phone: recordings to measure aligners by.

    Example: malsori corpus synthesize work/oracle --sentences 200
    """
    from malsori.corpus.synthesis import MAX_SENTENCES_PER_HOUR, SynthesisOptions, synthesize
    from malsori.readers.files import read_text

    limit = sentences or (math.ceil(hours * MAX_SENTENCES_PER_HOUR) if hours else None)
    values = {"hours": hours, "sentences": limit, "voices": _split(voices), "speeds": _split(speeds)}
    given = {name: value for name, value in values.items() if value is not None}
    options = SynthesisOptions.parse(given, "malsori corpus synthesize")
    summary = synthesize(out, options, read_text(text).splitlines() if text else None)
    print(json.dumps(summary.as_dict(), ensure_ascii=False) if as_json else "\n".join(summary.lines()))


def _split(values: str | None) -> list[str] | None:
    return [value.strip() for value in values.split(",")] if values is not None else None


@corpus_app.command("check")
def check_corpus(
    source: Annotated[str, typer.Argument(help="Folder of recordings and texts, or a prepared corpus or its shards.")],
    layout: LayoutOption = "auto",
    columns: ColumnsOption = None,
    rate: Annotated[int, typer.Option(help="What it is for: 22050 for voices, 16000 for recognizers.")] = 22050,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each processor.")] = 0,
    whisper: Annotated[str | None, typer.Option(help="The Whisper it is for: counts its tokens too.")] = None,
    listen: Annotated[
        bool, typer.Option("--listen", help="Also check by a recognizer whether each text is said; takes longer.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Recognizer for --listen; the built-in one without.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page: histograms, and the worst to listen to.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Also write a clean copy, with a list of what was changed.")
    ] = None,
    cluster: ClusterOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a corpus before any training: exit 0 if training can start, 2 if a fault forbids it.

    Example: malsori corpus check recordings/ --listen --html check.html
    Example: malsori corpus check recordings/ --fix clean/
    """
    from malsori.asr.recognizer import load_aligner
    from malsori.corpus import check
    from malsori.corpus.ground_truth import audio_at

    if html:
        require("matplotlib", "A page")
    require_place(html)
    require_place(fix, folder=True)
    tokenizer = _tokenizer(whisper) if whisper else None
    recognizer = load_aligner(model).model if listen or model is not None else None
    executor = cluster_executor(cluster, shared(source), workers)
    found = check.check_corpus(
        source, audio_at(rate), workers, layout, columns, tokenizer=tokenizer, recognizer=recognizer, executor=executor
    )
    print(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else "\n".join(found.lines()))
    _write_beside(found, html, fix)
    raise typer.Exit(0 if found.can_train else 2)


def _write_beside(found: "CheckReport", html: Path | None, fix: Path | None) -> None:
    """Write the page and the clean copy of a checked corpus, where they are asked for."""
    from malsori.corpus.fix import write_fixed

    if html:
        from malsori.report.check_page import save_check_page

        save_check_page(found, html)
        print(f"{html}: written", file=sys.stderr)
    if fix:
        changes = write_fixed(found, fix)
        print(f"{fix}: a clean copy, {len(changes)} changes, listed in {fix / 'changes.md'}", file=sys.stderr)


@corpus_app.command("shard")
def shard(
    source: Annotated[Path, typer.Argument(metavar="CORPUS", help="Folder made by 'malsori corpus prepare'.")],
    out: Annotated[str, typer.Argument(help="Folder or s3://BUCKET/PREFIX, new, or to go on with.")],
    utterances: Annotated[int, typer.Option(min=1, help="In a shard.")] = 500,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one for each processor.")] = 1,
    cluster: ClusterOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a prepared corpus as a few large files (Lhotse Shar), which train, evaluate and check read; it goes on.

    Where the storage is and who asks: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or ~/.aws.

    Example: malsori corpus shard work/voice /shared/voice-shards
    Example: malsori corpus shard work/voice s3://corpora/voice && malsori train vocos-small --corpus s3://corpora/voice
    """
    from malsori.corpus.sharding import shard_corpus

    executor = cluster_executor(cluster, shared(source, out), workers)
    found = shard_corpus(source, out, utterances, workers, executor)
    print(json.dumps(found.as_dict(), ensure_ascii=False) if as_json else found.line())


@corpus_app.command("show")
def show_utterances(
    folder: Annotated[str, typer.Argument(metavar="CORPUS", help="A prepared corpus, or its shards.")],
    ids: Annotated[list[str] | None, typer.Argument(help="Utterances; ten, evenly spread, without.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures.")] = Path("pictures"),
) -> None:
    """Draw utterances as training is given them: wave, spectrogram, and each word, syllable and phone in its time.

    Example: malsori corpus show work/voice lmy00001 -o pictures
    """
    from malsori.corpus.folder import load_corpus
    from malsori.report.plots import as_png, utterance_figure

    require("matplotlib", "A picture")
    corpus = load_corpus(folder)
    cuts = {cut.id: cut for split in corpus.cuts.values() for cut in split}
    for name in watched(ids or sorted(cuts)[:: max(1, len(cuts) // _SHOWN)][:_SHOWN]):
        if name not in cuts:
            raise CorpusError(f"'{name}' is no utterance of {folder}; it has {len(cuts)}, such as {next(iter(cuts))}")
        with atomic_file(out / f"{name}.png") as temporary:
            temporary.write_bytes(as_png(utterance_figure(corpus, cuts[name])))
        print(out / f"{name}.png")


def _tokenizer(name: str) -> "Tokenizer":
    from malsori.pretrained.folder import kept_files
    from malsori.pretrained.hub import resolve
    from malsori.text.tokenizer import Tokenizer

    folder = resolve(name)
    return Tokenizer(kept_files(folder), str(folder))
