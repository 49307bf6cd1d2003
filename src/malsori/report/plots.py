"""Pictures of speech: wave, mel and what is said when, on one time axis."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from malsori.alignment.phonemes import alignment_of
from malsori.alignment.spans import Alignment
from malsori.annotations import Float
from malsori.config import AudioConfig
from malsori.errors import CorpusError
from malsori.metrics.cepstral import CepstralDistortion
from malsori.report.fonts import use_korean_font

if TYPE_CHECKING:
    from lhotse.cut import MonoCut
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from malsori.corpus.folder import Corpus

_INK, _FAINT, _BOUNDARY = "#1d3557", "#8d99ae", "#ffffff"


def speech_figure(
    wave: Float[np.ndarray, " samples"],
    mel: Float[np.ndarray, "frames mel_channels"],
    audio: AudioConfig,
    alignment: Alignment | None = None,
) -> "Figure":
    """Return a picture of a speech: its wave, its log-mel, and words, syllables and phones where they sound."""
    use_korean_font()
    from matplotlib.figure import Figure

    tiers = 0 if alignment is None else 3
    seconds = len(mel) * audio.frame_seconds
    figure = Figure(figsize=(max(7.0, min(16.0, 2.6 * seconds)), 4.0 + 0.3 * tiers), dpi=110, layout="constrained")
    rows = figure.subplots(2 + bool(tiers), 1, sharex=True, height_ratios=[1, 2.4] + [0.95] * bool(tiers))
    _draw_wave(rows[0], wave, audio.sample_rate)
    draw_mel(rows[1], mel, audio, alignment)
    if alignment is not None:
        _draw_tiers(rows[2], alignment)
    rows[-1].set_xlabel("초 (seconds)")
    rows[-1].set_xlim(0, seconds)
    return figure


def utterance_figure(corpus: "Corpus", cut: "MonoCut") -> "Figure":
    """Return a picture of a corpus's utterance, as training will be given it, on its durations where it has them.

    Raises: CorpusError if the durations were measured with another front-end than this one.
    """
    from malsori.audio.io import load_audio
    from malsori.text.frontend import Frontend
    from malsori.text.symbols import PHONEMES

    truth, audio = corpus.ground_truth(cut), corpus.audio
    wave = load_audio(cut.recording.sources[0].source, audio.sample_rate)
    alignment = None
    if "durations" in truth:
        reading = Frontend(corpus.lexicon).read(cut.supervisions[0].text)
        if PHONEMES.encode(reading.phonemes) != truth["token_ids"].tolist():
            raise CorpusError(f"{cut.id}: its durations are of other phonemes; run 'malsori corpus prepare' again")
        alignment = alignment_of(reading, np.cumsum(truth["durations"]) * audio.frame_seconds)
    figure = speech_figure(wave, truth["mel"], audio, alignment)
    figure.suptitle(f"{cut.id}: {cut.supervisions[0].text}", fontsize=11)
    return figure


def attention_figure(
    mel: Float[np.ndarray, "frames mel_channels"],
    attention: Float[np.ndarray, "steps tokens"],
    phonemes: Sequence[str],
    audio: AudioConfig,
) -> "Figure":
    """Return a picture of a mel and, on the same time axis, which phoneme was attended to while it was written."""
    use_korean_font()
    from matplotlib.figure import Figure

    seconds = len(mel) * audio.frame_seconds
    height = min(11.0, 3.2 + 0.11 * len(phonemes))
    figure = Figure(figsize=(max(7.0, min(16.0, 2.6 * seconds)), height), dpi=110, layout="constrained")
    rows = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, height - 2.0])
    draw_mel(rows[0], mel, audio)
    extent = (0.0, seconds, -0.5, len(phonemes) - 0.5)
    rows[1].imshow(attention.T, origin="lower", aspect="auto", extent=extent, cmap="viridis", vmin=0.0, vmax=1.0)
    rows[1].set_yticks(range(len(phonemes)), [phoneme.lstrip("-") for phoneme in phonemes], fontsize=6)
    rows[1].set_xlabel("초 (seconds)")
    return figure


def mels_figure(mels: dict[str, Float[np.ndarray, "frames mel_channels"]], audio: AudioConfig) -> "Figure":
    """Return a picture of several log-mels, one above the other on the same time axis, each with its name."""
    use_korean_font()
    from matplotlib.figure import Figure

    seconds = max(len(mel) for mel in mels.values()) * audio.frame_seconds
    size = (max(7.0, min(16.0, 2.6 * seconds)), 0.4 + 1.7 * len(mels))
    figure = Figure(figsize=size, dpi=80, layout="constrained")
    rows = figure.subplots(len(mels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, mel) in zip(rows, mels.items(), strict=True):
        draw_mel(axes, mel, audio)
        axes.set_title(name, fontsize=9, loc="left")
    rows[-1].set_xlabel("초 (seconds)")
    rows[-1].set_xlim(0, seconds)
    return figure


def path_figure(found: CepstralDistortion) -> "Figure":
    """Return a picture of how the frames of two sounds are paired, and how far apart they are along the path."""
    use_korean_font()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.4), dpi=110, layout="constrained")
    path, along = figure.subplots(1, 2, width_ratios=[1, 1.5])
    times = [frames * found.frame_seconds for frames in (found.hypothesis_frames, found.reference_frames)]
    path.plot(*times, color=_INK, linewidth=1.2)
    path.set(xlabel="견줄 소리, 초 (compared, s)", ylabel="기준 소리, 초 (reference, s)", aspect="equal")
    along.plot(times[1], found.frame_distortions_db, color=_INK, linewidth=0.9)
    along.axhline(found.mcd_db, color="#d55e00", linewidth=1.0)
    along.set(xlabel="기준 소리, 초 (reference, s)", ylabel="dB", ylim=(0, None))
    return figure


def draw_mel(
    axes: "Axes", mel: Float[np.ndarray, "frames mel_channels"], audio: AudioConfig, alignment: Alignment | None = None
) -> None:
    """Draw a log-mel on given axes, phone boundaries as thin lines."""
    seconds = len(mel) * audio.frame_seconds
    floor = audio.silence
    extent = (0.0, seconds, 0.0, float(audio.mel_channels))
    axes.imshow(mel.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=floor, vmax=2.0)
    axes.set_ylabel("mel")
    for span in alignment.phones if alignment else ():
        axes.axvline(span.start, color=_BOUNDARY, linewidth=0.4, alpha=0.6)


def as_png(figure: "Figure") -> bytes:
    """Return a figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_wave(axes: "Axes", wave: np.ndarray, sample_rate: int) -> None:
    """Draw the outline: the least and the greatest sample of each short stretch."""
    stretch = max(1, len(wave) // 2000)
    pieces = wave[: len(wave) // stretch * stretch].reshape(-1, stretch)
    times = (np.arange(len(pieces)) + 0.5) * stretch / sample_rate
    axes.fill_between(times, pieces.min(1), pieces.max(1), color=_INK, linewidth=0)
    axes.set_ylim(-1, 1)
    axes.set_yticks([-1, 0, 1])
    axes.set_ylabel("파형")


def _draw_tiers(axes: "Axes", alignment: Alignment) -> None:
    """Draw words, syllables and phones as boxes with their text, from top to bottom."""
    for row, (spans, size) in enumerate(zip(alignment.tiers.values(), (10, 9, 7), strict=True)):
        for span in spans:
            bottom = 2.0 - row
            axes.add_patch(_box(span.start, bottom, span.end - span.start))
            middle = (span.start + span.end) / 2
            axes.text(
                middle, bottom + 0.45, span.text.lstrip("-"), ha="center", va="center", fontsize=size, clip_on=True
            )
    axes.set_ylim(0, 3)
    axes.set_yticks([0.45, 1.45, 2.45], ["음소", "음절", "어절"])
    axes.tick_params(axis="y", length=0)


def _box(start: float, bottom: float, width: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((start, bottom), width, 0.9, facecolor="#f1f5f9", edgecolor=_FAINT, linewidth=0.5)
