"""Ground truth as rows under one wave, and the voice that a shifted alignment teaches.

The voice is the smallest there is: a phone is the mean of its frames in three parts, beginning, middle and end, over
all times that it was said. It learns from sentences of the built-in voice, whose boundaries are known, with the
boundaries moved by a number of frames; then it says a word with the right durations. What changes is what it learnt.
"""

import itertools
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from malsori.alignment.spans import Span
from malsori.audio.griffin_lim import griffin_lim
from malsori.config import AudioConfig
from malsori.corpus.ground_truth import measure
from malsori.learn import figures
from malsori.learn.boards import RECORDED, heard_recording, recording
from malsori.learn.lesson import Clip, Language
from malsori.learn.mel_board import audio_settings
from malsori.learn.packing import packed, unpacked
from malsori.learn.voices import spoken
from malsori.losses.regression import l1_loss, log_duration_loss
from malsori.nn.lengths import expand_by_durations
from malsori.report.plots import as_png

WORD = "사랑해."
TAUGHT = ("하얀 새가 사라져요.", "이 사람이 노래를 사랑해요.", "사랑하는 해랑이가 왔어요.")
PARTS = 3
MAX_SHIFT = 9  # frames, of 11.6 ms


def frames_of(text: str) -> tuple[list[str], list[int], np.ndarray]:
    """Return phones, the frame where each begins (and the last ends), and the mel, rounded as the toy is given it."""
    speech = spoken(text)
    step = speech.audio.frame_seconds
    phones = speech.alignment.phones
    edges = [round(span.start / step) for span in phones] + [round(phones[-1].end / step)]
    mel = unpacked(packed(speech.mel, -12.0, 3.0))
    return [span.text.removeprefix("-") for span in phones], edges, mel


def parts_of(begin: int, end: int) -> list[tuple[int, int]]:
    """Return beginning, middle and end of a stretch of frames, each at least a frame where there is one."""
    return [
        (
            begin + (end - begin) * part // PARTS,
            max(begin + (end - begin) * part // PARTS + 1, begin + (end - begin) * (part + 1) // PARTS),
        )
        for part in range(PARTS)
    ]


@cache
def taught(shift: int) -> dict[str, Float[np.ndarray, "parts channels"]]:
    """Return each phone's three mean vectors, learnt with every boundary moved later by so many frames."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, np.ndarray] = {}
    for text in TAUGHT:
        phones, edges, mel = frames_of(text)
        for phone, begin, end in zip(phones, edges, edges[1:], strict=False):
            for part, (first, last) in enumerate(parts_of(begin + shift, end + shift)):
                piece = mel[max(0, min(first, len(mel) - 1)) : max(1, min(last, len(mel)))]
                sums.setdefault(phone, np.zeros((PARTS, mel.shape[1])))[part] += piece.sum(0)
                counts.setdefault(phone, np.zeros((PARTS, 1)))[part] += len(piece)
    return {phone: (total / np.maximum(counts[phone], 1)).astype(np.float32) for phone, total in sums.items()}


def said(shift: int) -> tuple[Float[np.ndarray, "frames channels"], Float[np.ndarray, "frames channels"]]:
    """Return the word's mel as the voice taught with a shift says it, and as the built-in voice does: one length."""
    phones, edges, mel = frames_of(WORD)
    vectors, durations = [], []
    for phone, begin, end in zip(phones, edges, edges[1:], strict=False):
        cuts = [first for first, _ in parts_of(begin, end)] + [end]
        vectors += list(taught(shift)[phone])
        durations += [max(0, after - before) for before, after in itertools.pairwise(cuts)]
    hidden = torch.from_numpy(np.stack(vectors))[None]
    spoken_mel = expand_by_durations(hidden, torch.tensor(durations)[None])[0].numpy()
    return spoken_mel, mel[edges[0] : edges[0] + len(spoken_mel)]


def shift_error(shift: int) -> float:
    """Return the L1 between the two."""
    ours, theirs = said(shift)
    return l1_loss(torch.from_numpy(ours), torch.from_numpy(theirs)).item()


@cache
def recorded_truth() -> tuple[dict[str, np.ndarray], Any, AudioConfig]:
    """Return the recording's ground truth at 22.05 kHz, its alignment, and the settings."""
    from malsori.audio.resampling import resample

    audio, sound = AudioConfig(), recording()
    wave = resample(sound.wave, sound.sample_rate, audio.sample_rate)
    return {"wave": wave, **measure(wave, audio)}, heard_recording()[1], audio


@cache
def ground_truth() -> dict[str, str]:
    """Return what the ground truth of the recording holds, and what shifts of an alignment cost."""
    truth, alignment, audio = recorded_truth()
    voiced = truth["pitch_hz"][truth["pitch_hz"] > 0]
    step = audio.frame_seconds
    durations = [round(span.end / step) - round(span.start / step) for span in alignment.phones]
    return {
        "seconds": f"{len(truth['wave']) / audio.sample_rate:.2f}",
        "text": RECORDED,
        "mel_shape": f"({truth['mel'].shape[0]}, {truth['mel'].shape[1]})",
        "frame_ms": f"{1000 * step:.1f}",
        "phones": " ".join(span.text.removeprefix("-") for span in alignment.phones),
        "durations": " ".join(map(str, durations)),
        "lowest_hz": f"{voiced.min():.0f}",
        "highest_hz": f"{voiced.max():.0f}",
        "voiced_share": f"{len(voiced) / len(truth['pitch_hz']):.0%}",
        "thirty_ms": f"{0.030 / step:.1f}",
        "three_frames_ms": f"{3000 * step:.0f}",
        "error_right": f"{shift_error(0):.3f}",
        "error_30": f"{shift_error(3):.3f}",
        "error_70": f"{shift_error(6):.3f}",
        "error_early": f"{shift_error(-3):.3f}",
    }


def truth_answer() -> float:
    """Return how many frames of 256 samples at 22.05 kHz a second of sound has, whole ones."""
    return float(AudioConfig().sample_rate // AudioConfig().hop_samples)


def draw_truth(language: Language) -> bytes:
    """Return the rows of the recording's ground truth on one time axis."""
    from malsori.report.plots import speech_figure

    truth, alignment, audio = recorded_truth()
    figure = speech_figure(truth["wave"], truth["mel"], audio, alignment)
    axes = figure.axes[1].twinx()  # comes last among the figure's axes
    times = np.arange(len(truth["pitch_hz"])) * audio.frame_seconds
    pitch = np.where(truth["pitch_hz"] > 0, truth["pitch_hz"], np.nan)
    axes.plot(times, pitch, color="#56b4e9", linewidth=2)
    axes.set_ylabel("F0 (Hz)")
    figure.axes[0].plot(times, truth["energy"] / truth["energy"].max(), color=figures.COLORS[1], linewidth=1)
    figure.axes[0].set_ylabel({"ko": "파형, 에너지", "en": "wave, energy"}[language])
    tiers = figure.axes[2]
    tiers.set_xlabel({"ko": "초", "en": "seconds"}[language])
    if language == "en":
        tiers.set_yticklabels(["phones", "syllables", "words"])
    return as_png(figure)


def play_truth() -> dict[str, Clip]:
    """Return the recording, and the word as voices say it that were taught with right and with late boundaries."""
    audio = spoken(WORD).audio
    shifted = {
        name: Clip(griffin_lim(torch.from_numpy(said(shift)[0])[None], audio)[0].numpy(), audio.sample_rate)
        for name, shift in (("right", 0), ("late", 6))
    }
    return {"recording": recording(), **shifted}


def truth_toy() -> dict[str, Any]:
    """Return the sentences to learn from, the word, and the recording's rows."""
    truth, alignment, audio = recorded_truth()
    return {
        "audio": audio_settings(audio),
        "sentences": [_sentence(text) for text in TAUGHT],
        "word": _sentence(WORD),
        "parts": PARTS,
        "maxShift": MAX_SHIFT,
        "rows": {
            "seconds": len(truth["wave"]) / audio.sample_rate,
            "wave": _outline(truth["wave"]),
            "words": [span.as_json() for span in alignment.words],
            "phones": [span.as_json() for span in alignment.phones],
            "pitch": [round(float(hz), 1) for hz in truth["pitch_hz"]],
            "energy": [round(float(value), 3) for value in truth["energy"]],
            "mel": packed(truth["mel"], -12.0, 3.0),
        },
    }


@cache
def durations() -> dict[str, str]:
    """Return the syllabus's durations, in seconds and in frames, and the loss of a prediction."""
    spans = [Span("사", 0.00, 0.12), Span("랑", 0.12, 0.38), Span("해", 0.38, 0.60)]
    step = AudioConfig().frame_seconds
    edges = [round(time / step) for time in (0.0, *(span.end for span in spans))]
    rounded_edges = [after - before for before, after in itertools.pairwise(edges)]
    rounded_lengths = [round((span.end - span.start) / step) for span in spans]
    target = torch.tensor([rounded_edges])
    return {
        "seconds": "[" + ", ".join(f"{span.end - span.start:.2f}" for span in spans) + "]",
        "frames": str(rounded_edges),
        "total": str(sum(rounded_edges)),
        "rounded_lengths": str(rounded_lengths),
        "rounded_total": str(sum(rounded_lengths)),
        "loss_right": f"{_duration_loss(target, target):.3f}",
        "loss_short": f"{_duration_loss(torch.tensor([[5, 22, 19]]), target):.4f}",
        "loss_long": f"{_duration_loss(torch.tensor([[10, 27, 19]]), target):.4f}",
        "frames_loss_short": f"{(target - torch.tensor([[5, 22, 19]])).square().float().mean().item():.2f}",
        "frames_loss_long": f"{(target - torch.tensor([[10, 27, 19]])).square().float().mean().item():.2f}",
    }


def duration_answer() -> float:
    """Return the log-duration loss of a token that is predicted to last no frame, and lasts 9."""
    return round(_duration_loss(torch.tensor([[0]]), torch.tensor([[9]])), 2)


def draw_durations(language: Language) -> bytes:
    """Return what a prediction of so many frames costs, of a phone that lasts 5 and of one that lasts 20."""
    guesses = [float(guess) for guess in range(1, 41)]
    lines = {
        f"d = {true}": [_duration_loss(torch.tensor([[int(guess)]]), torch.tensor([[true]])) for guess in guesses]
        for true in (5, 20)
    }
    labels = {"ko": ("예측한 프레임 수", "로그 길이 손실"), "en": ("frames predicted", "log-duration loss")}[language]
    return figures.curves(lines, labels, places=guesses)


def _duration_loss(predicted: Int[torch.Tensor, "batch tokens"], target: Int[torch.Tensor, "batch tokens"]) -> float:
    real = torch.ones(target.shape, dtype=torch.bool)
    return log_duration_loss(torch.log1p(predicted.float()), target, real).item()


def _sentence(text: str) -> dict[str, Any]:
    phones, edges, mel = frames_of(text)
    return {"text": text, "phones": phones, "edges": edges, "mel": packed(mel, -12.0, 3.0)}


def _outline(wave: np.ndarray, points: int = 400) -> list[float]:
    size = len(wave) // points
    return [round(float(value), 3) for value in np.abs(wave[: size * points]).reshape(points, size).max(1)]
