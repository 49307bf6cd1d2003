"""The score card as a page: rates with their intervals, confusions, groups, and the worst utterances in colour."""

from pathlib import Path

from malsori.metrics import error_analysis
from malsori.metrics.error_rate import TextNormalizer
from malsori.metrics.score_card import RATES, ScoreCard
from malsori.metrics.transcripts import TextPairs
from malsori.report.page import Page, marked, paragraph, table
from malsori.text.frontend import Frontend

#: What the rates are called on the page.
TITLES = {
    "cer": "CER · 글자",
    "cer_no_space": "CER, no spaces · 띄어쓰기 빼고",
    "wer": "WER · 어절",
    "swer": "WER, spaces normalized · 띄어쓰기 맞추고",
    "jamo_error_rate": "Jamo · 자모",
    "sentence_error_rate": "Sentences · 문장",
}


def save_score_page(card: ScoreCard, pairs: TextPairs, normalizer: TextNormalizer, path: Path) -> None:
    """Write one self-contained page about a score card and the texts it is of."""
    score_page(card, pairs, normalizer).save(path)


def score_page(card: ScoreCard, pairs: TextPairs, normalizer: TextNormalizer) -> Page:
    """Return the page about a score card and the texts it is of."""
    pairs, normalizer = pairs.normalized(normalizer), normalizer.model_copy(update={"numbers": "written"})
    page = Page("성적표 · Score card", card.signature)
    page.section("오류율 · Error rates", _rates(card), paragraph(f"띄어쓰기 · spacing F1 {card.spacing_f1:.3f}"))
    page.section(
        "혼동 · Most frequent confusions",
        _confusions(error_analysis.syllable_confusions(pairs, normalizer, 12)),
        _confusions(error_analysis.jamo_confusions(pairs, normalizer, 12)),
    )
    groups = {
        "화자 · By speaker": error_analysis.by_speaker(pairs, normalizer),
        "길이 · By length in syllables": error_analysis.by_length(pairs, normalizer),
        "빠르기 · By speaking rate": error_analysis.by_speaking_rate(pairs, normalizer),
        "표준 발음법 · Words misrecognized, by article of the pronunciation": error_analysis.by_rule(
            pairs, Frontend(morphology=False), normalizer
        ),
    }
    for title, members in groups.items():
        if members:
            page.section(title, _groups(members))
    page.section("가장 틀린 발화 · Worst utterances", _worst(pairs, normalizer))
    return page


def _rates(card: ScoreCard) -> str:
    header = ["", "rate", "95 %", "substituted", "deleted", "inserted", "of"]
    rows = []
    for name in RATES:
        rate, interval = card.rates[name], card.intervals[name]
        span = f"{interval[0]:.2%} - {interval[1]:.2%}" if interval else "one utterance: none"
        counts = [rate.substitutions, rate.deletions, rate.insertions, rate.reference_length]
        rows.append([TITLES[name], f"{rate.rate:.2%}", span, *(f"{count:,}" for count in counts)])
    return table(header, rows)


def _confusions(found: list[error_analysis.Confusion]) -> str:
    names = {"": "", "onset": "초성", "nucleus": "중성", "coda": "종성"}
    rows = [
        [each.reference or "(none)", each.hypothesis or "(none)", f"{each.count:,}", names[each.position]]
        for each in found
    ]
    return table(["said · 말한 것", "recognized · 들은 것", "times", "place"], rows)


def _groups(groups: list[error_analysis.Group]) -> str:
    rows = [[group.name, f"{group.members:,}", f"{group.rate.rate:.2%}", f"{group.rate.edits:,}"] for group in groups]
    return table(["", "members", "rate", "errors"], rows)


def _worst(pairs: TextPairs, normalizer: TextNormalizer) -> str:
    references, hypotheses = normalizer.apply(pairs.reference_texts), normalizer.apply(pairs.hypothesis_texts)
    rows = [
        [
            pairs.references[place].id or str(place + 1),
            f"{rate.rate:.0%}",
            references[place],
            marked(references[place], hypotheses[place]),
        ]
        for place, rate in error_analysis.worst_utterances(pairs, normalizer)
    ]
    return table(["utterance", "CER", "said", "recognized"], rows)
