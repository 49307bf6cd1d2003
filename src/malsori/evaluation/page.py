"""An evaluation as a page and a file: every measure, and the worst utterances to look at and listen to."""

from pathlib import Path

import torch

from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.evaluation.results import Evaluation, Measure, Row
from malsori.files import make_folder, write_json
from malsori.report.page import Page, marked, picture, player, table
from malsori.report.plots import as_png, mels_figure

_SHOWN = 12  # utterances on the page: the worst


def save_evaluation(found: Evaluation, out: Path, title: str) -> None:
    """Write OUT/evaluation.json and OUT/evaluation.html."""
    make_folder(out)
    write_json(out / "evaluation.json", found.as_json())
    page = Page(f"{title} · {found.split}", f"{found.system}, {len(found.rows)} utterances")
    lines = [[name, f"{m.value:.4f}", interval_text(m)] for name, m in found.measures.items()]
    page.section("측정 · Measures", table(["measure", "value", "95 %"], lines))
    for row in sorted(found.rows, key=lambda row: -row.measures["cer_no_space"])[:_SHOWN]:
        compared = [["hypothesis", marked(row.text, row.hypothesis)]]
        cells = [[name, f"{value:.3f}"] for name, value in row.measures.items()]
        page.section(f"{row.id}: {row.text}", *_shown(row, found.audio), table(["", ""], compared + cells))
    page.save(out / "evaluation.html")


def _shown(row: Row, audio: AudioConfig) -> list[str]:
    """Return the players of a row, and the mels of a recording and of what was made beside it."""
    if row.recording is None:
        return [player(row.wave, audio.sample_rate)]
    waves = {"녹음 · recording": row.recording, "합성 · synthetic": row.wave}
    mels = {name: log_mel(torch.from_numpy(wave)[None], audio)[0].numpy() for name, wave in waves.items()}
    figure = mels_figure(mels, audio)
    described = f"녹음과 합성의 멜 스펙트로그램: {row.text}"
    return [*(player(wave, audio.sample_rate) for wave in waves.values()), picture(as_png(figure), described)]


def interval_text(measure: Measure) -> str:
    """Return "0.3120 to 0.4410", or nothing where there is no interval."""
    return "" if measure.low is None else f"{measure.low:.4f} to {measure.high:.4f}"
