"""Numbers about speech and transcripts: score, compare, mcd."""

import enum
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malsori.cli.terminal import watched
from malsori.errors import MetricError, OptionError
from malsori.files import require_place

if TYPE_CHECKING:
    from malsori.metrics.error_rate import TextNormalizer
    from malsori.metrics.keywords import KeywordScore
    from malsori.metrics.score_card import ScoreCard
    from malsori.metrics.speech import PairResult

app = typer.Typer()


class Punctuation(enum.StrEnum):
    """What becomes of punctuation before texts are scored."""

    kept = "kept"
    removed = "removed"


class Case(enum.StrEnum):
    """What becomes of capital letters before texts are compared."""

    kept = "kept"
    folded = "folded"


class Definition(enum.StrEnum):
    """Whose definition of mel-cepstral distortion is used."""

    malsori = "malsori"
    espnet = "espnet"
    pymcd = "pymcd"


_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Punctuation = Annotated[
    Punctuation | None,
    typer.Option(help="Count punctuation, or remove it first. [default: kept; removed by --normalize]"),
]
_Case = Annotated[Case, typer.Option(help="Tell capital letters from small ones, or fold them first.")]


_Normalize = Annotated[
    bool,
    typer.Option("--normalize", help="Compare the texts as they are read aloud, numbers in any reading: 3시, 세 시."),
]


@app.command("score")
def score(
    reference: Annotated[
        str, typer.Argument(help="Reference: a file (a text a line, id<TAB>text, .jsonl), or a text.")
    ],
    hypothesis: Annotated[str, typer.Argument(help="Hypothesis, as recognized: the same.")],
    as_json: _Json = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page: confusions, groups, worst utterances.")] = None,
    punctuation: _Punctuation = None,
    case: _Case = Case.kept,
    normalize: _Normalize = False,
    keywords: Annotated[
        Path | None,
        typer.Option(help="Terms, one a line: also their recall and precision, whatever particle they take."),
    ] = None,
) -> None:
    """Score transcripts: CER, WER and their kin, with counts and 95 % intervals.

    Example: malsori score 사랑해 사량해
    Example: malsori score said.txt recognized.txt --json --html score.html
    Example: malsori score said.txt recognized.txt --normalize --keywords terms.txt
    """
    from malsori.metrics.keywords import read_keywords, score_keywords
    from malsori.metrics.score_card import score as score_texts
    from malsori.metrics.transcripts import read_pairs

    require_place(html)
    terms = read_keywords(keywords) if keywords else []
    pairs, normalizer = read_pairs(reference, hypothesis), _normalizer(punctuation, case, normalize)
    texts = pairs.reference_texts, pairs.hypothesis_texts
    _warn_of_digits(*texts, normalize)
    card = score_texts(*texts, normalizer)
    found = score_keywords(terms, *texts, normalizer) if terms else None
    if html:
        from malsori.report.score_page import save_score_page

        save_score_page(card, pairs, normalizer, html)
        print(f"{html}: written", file=sys.stderr)
    if as_json:
        print(json.dumps(card.as_json() | ({"keywords": found.as_json()} if found else {}), ensure_ascii=False))
        return
    print(_card_as_text(card) + (f"\n{_keywords_as_text(found)}" if found else ""))


def _normalizer(punctuation: Punctuation | None, case: Case, normalize: bool) -> "TextNormalizer":
    """Return the normalizer that the options ask for; what is read aloud has no punctuation unless it is asked for."""
    from malsori.metrics.error_rate import TextNormalizer

    kept = punctuation or (Punctuation.removed if normalize else Punctuation.kept)
    return TextNormalizer(punctuation=kept.value, case=case.value, numbers="read" if normalize else "written")


def _warn_of_digits(references: list[str], hypotheses: list[str], normalize: bool) -> None:
    """Tell on standard error where digits stand on one side only, and so count as wrong."""
    from malsori.metrics.spoken_form import digits_on_one_side

    found = [] if normalize else digits_on_one_side(references, hypotheses)
    if found:
        shown = f"'{references[found[0]][:30]}', '{hypotheses[found[0]][:30]}'"
        print(
            f"malsori: {len(found)} of {len(references)} pairs have digits on one side only, which counts as wrong: "
            f"{shown}; --normalize compares them as they are read",
            file=sys.stderr,
        )


def _keywords_as_text(found: "KeywordScore") -> str:
    """Return the table of a user's terms, those that were missed most first."""
    rows = sorted(found.terms, key=lambda each: (each.right - each.said, each.term))
    lines = [f"{'keywords':20}{'said':>8}{'recognized':>12}{'right':>8}"]
    lines += [f"{each.term:20}{each.said:8}{each.recognized:12}{each.right:8}" for each in rows]
    shares = {"keyword recall": found.recall, "keyword precision": found.precision}
    return "\n".join(
        [*lines, *(f"{name:20}{'-' if share is None else f'{share:.2%}':>8}" for name, share in shares.items())]
    )


def _card_as_text(card: "ScoreCard") -> str:
    head = f"{'':20}{'rate':>8}  {'95 % interval':>19}{'sub':>8}{'del':>8}{'ins':>8}{'of':>9}"
    lines = [head]
    for name, rate in card.rates.items():
        interval = card.intervals[name]
        span = f"{interval[0]:8.2%} - {interval[1]:8.2%}" if interval else "-"
        counts = f"{rate.substitutions:8}{rate.deletions:8}{rate.insertions:8}{rate.reference_length:9}"
        lines.append(f"{name:20}{rate.rate:8.2%}  {span:>19}{counts}")
    return "\n".join([*lines, f"{'spacing_f1':20}{card.spacing_f1:8.4f}", card.signature])


@app.command("compare")
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="An evaluation (folder or file), or a file of transcripts.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The same, of the other system.")],
    reference: Annotated[Path | None, typer.Option(help="Reference transcript, when A and B are transcripts.")] = None,
    metric: Annotated[str, typer.Option(help="cer, cer_no_space, wer, swer, jamo_error_rate, mcd_db, ...")] = "cer",
    as_json: _Json = False,
    punctuation: _Punctuation = None,
    case: _Case = Case.kept,
    normalize: _Normalize = False,
) -> None:
    """Say whether two systems differ on the same utterances: difference, interval, p and a conclusion.

    Example: malsori compare system_a.txt system_b.txt --reference said.txt --metric wer
    Example: malsori compare runs/a/evaluation runs/b/evaluation --metric mcd_db
    """
    from malsori.metrics.comparison import compare_outputs

    found = compare_outputs(a, b, metric, reference, _normalizer(punctuation, case, normalize))
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else found.conclusion)


@app.command("mcd")
def mcd(
    reference: Annotated[Path, typer.Argument(help="A recording, or a folder of them.")],
    hypothesis: Annotated[Path, typer.Argument(help="The same words by another voice; a folder with equal names.")],
    as_json: _Json = False,
    definition: Annotated[Definition, typer.Option("--as", help="Give another tool's number.")] = Definition.malsori,
    order: Annotated[
        int | None, typer.Option(min=1, max=40, help="Last coefficient, in our own definition. [default: 24]")
    ] = None,
    include_c0: Annotated[bool, typer.Option("--c0", help="Count the loudness too, in our own definition.")] = False,
    rate: Annotated[int | None, typer.Option(min=8000, help="Resample both to this many Hz first.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for folders; one a core without.")] = None,
) -> None:
    """Measure mel-cepstral distortion, with pitch, voicing, pace and mel differences along the same path.

    Example: malsori mcd recording.wav spoken.wav
    Example: malsori mcd recordings/ spoken/ --as espnet --json
    """
    from malsori.metrics.speech import compare_files, compare_folders, pair_folders

    if reference.is_dir() != hypothesis.is_dir():
        raise MetricError(
            f"{reference}, {hypothesis}: one is a folder, the other is none; give two files or two folders"
        )
    if not reference.is_dir():
        if workers is not None:
            raise OptionError(f"--workers {workers}: is for folders; two files are one job")
        found = compare_files(reference, hypothesis, rate, definition.value, order, include_c0)
        print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else _difference_as_text(found.as_json()))
        return
    pairs = pair_folders(reference, hypothesis)
    jobs = workers or min(os.cpu_count() or 1, len(pairs))
    results = compare_folders(pairs, rate, definition.value, order, include_c0, jobs)
    _print_folder([*watched(results, len(pairs))], as_json)


def _print_folder(results: "list[PairResult]", as_json: bool) -> None:
    """Print each pair and the means; pairs that could not be measured are reported and make the command fail."""
    from malsori.metrics.speech import mean_difference

    measured = {each.name: each.difference for each in results if each.difference}
    failed = {each.name: each.failure for each in results if not each.difference}
    for failure in failed.values():
        print(f"malsori: {failure}", file=sys.stderr)
    if not measured:
        raise MetricError(f"none of {len(failed)} pairs could be measured")
    means = mean_difference([*measured.values()])
    if as_json:
        rows = [{"id": name} | found.as_json() for name, found in measured.items()]
        print(json.dumps(means | {"rows": rows, "failed": failed}, ensure_ascii=False))
    else:
        for name, found in measured.items():
            print(f"{name}\t{found.mcd_db:.3f} dB")
        print(_difference_as_text(means))
    if failed:
        raise MetricError(f"{len(failed)} of {len(results)} pairs could not be measured; the means are without them")


def _difference_as_text(values: dict[str, Any]) -> str:
    lines = [
        f"{name:20}{value:>12.4f}"
        if isinstance(value, float)
        else f"{name:20}{value if value is not None else '-':>12}"
        for name, value in values.items()
        if name != "definition"
    ]
    return "\n".join([*lines, str(values["definition"])])
