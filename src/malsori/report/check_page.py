"""The report of a corpus check as a page: findings, distributions, and the worst utterances to listen to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from malsori.audio.io import load_audio
from malsori.corpus.check import CheckReport, advice
from malsori.corpus.check_rules import UtteranceStats
from malsori.errors import AudioError
from malsori.report.fonts import use_korean_font
from malsori.report.page import Page, picture, player, table
from malsori.report.plots import as_png

#: Utterances of each check, and of the least fitting texts, that have a player; and of each so many seconds.
_PLAYED, _SECONDS = 3, 15.0
_COLUMNS = 3
_BAR, _MEDIAN = "#457b9d", "#e63946"


def save_check_page(found: CheckReport, out: Path) -> None:
    """Write the report of a corpus check as one self-contained page."""
    verdict = (
        "학습할 수 있습니다 · training can start"
        if found.can_train
        else "먼저 고쳐야 합니다 · faults must be corrected first"
    )
    page = Page(f"말뭉치 검사 · {Path(found.source).name}", f"{found.utterances} utterances, {found.hours:.2f} hours")
    checks = found.by_check()
    rows = [[items[0].severity, name, str(len(items)), advice(name)] for name, items in checks.items()]
    page.section(verdict, table(["", "check", "found", "what to do"], rows or [["", "nothing found", "0", ""]]))
    if found.stats:
        page.section("분포 · How it is spread", picture(_histograms(_measures(found.stats)), "histograms"))
        facts = [[name, *(f"{value:g}" for value in values.values())] for name, values in found.speakers().items()]
        header = ["speaker", *next(iter(found.speakers().values()))]
        page.section("화자 · Speakers", table(header, facts))
    stats = {item.id: item for item in found.stats}
    for name, items in checks.items():
        parts = [_with_player(stats.get(item.id), f"{item.id}: {item.detail}") for item in items[:_PLAYED]]
        more = [table(["also"], [[f"{item.id}: {item.detail}"] for item in items[_PLAYED:]])] if items[_PLAYED:] else []
        page.section(f"{items[0].severity}: {name}", *parts, *more)
    _least_fitting(page, found.stats)
    page.save(out)


def _least_fitting(page: Page, stats: Sequence[UtteranceStats]) -> None:
    """Show the texts that fit their sound the least, found or not: they are worth a listen."""
    fitted = sorted((item for item in stats if item.fit is not None), key=lambda item: item.fit or 0.0)
    if fitted:
        parts = [_with_player(item, f"{item.id}: {item.fit:.2f} nats a phoneme") for item in fitted[:_PLAYED]]
        page.section("가장 덜 맞는 글 · Texts that fit the least", *parts)


def _with_player(item: UtteranceStats | None, title: str) -> str:
    """Return a finding with its text and a player, where there is sound that can be played."""
    if item is None:
        return table([title], [])
    try:
        wave = load_audio(item.utterance.audio_path)
    except AudioError as error:
        return table([title], [[str(error)]])
    rate = item.quality.sample_rate
    return table([title], [[item.utterance.spoken]]) + player(wave[: round(_SECONDS * rate)], rate)


def _measures(stats: Sequence[UtteranceStats]) -> dict[str, list[float]]:
    quality = [item.quality for item in stats]
    measures = {
        "길이 · seconds": [item.seconds for item in quality],
        "빠르기 · syllables a second": [item.syllables / item.quality.sound_seconds for item in stats],
        "쉼 · share of pauses": [item.pause_share for item in quality],
        "크기 · loudest, dB": [item.loudest_db for item in quality],
        "잡음과의 거리 · loudest over faintest, dB": [item.loudest_db - item.faintest_db for item in quality],
        "음높이 · pitch, Hz": [item.pitch_hz for item in stats],
    }
    fits = [item.fit for item in stats if item.fit is not None and np.isfinite(item.fit)]
    return measures | ({"글과 소리 · fit, nats a phoneme": fits} if fits else {})


def _histograms(measures: dict[str, list[float]]) -> bytes:
    """Return a picture of all measures, each with its median."""
    use_korean_font()
    from matplotlib.figure import Figure

    rows = -(-len(measures) // _COLUMNS)
    figure = Figure(figsize=(11.0, 2.6 * rows), dpi=110, layout="constrained")
    places = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, (name, values) in zip(places, measures.items(), strict=False):
        low, high = np.percentile(values, [0.5, 99.5])
        shown = np.clip(values, low, high)  # what lies beyond stands in the outer bars
        axes.hist(shown, bins=min(40, max(5, round(len(values) ** 0.5) * 2)), color=_BAR)
        axes.axvline(float(np.median(values)), color=_MEDIAN, linewidth=1.2)
        axes.set_title(f"{name}  (중앙값 {np.median(values):.3g})", fontsize=9)
        axes.tick_params(labelsize=8)
    for axes in places[len(measures) :]:
        axes.axis("off")
    return as_png(figure)
