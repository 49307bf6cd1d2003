"""How much speech the voice activity detector misses: recordings in which it finds nobody, as they are and quieter.

python bench/vad.py CORPUS [--splits dev,test] [--gains 0,-30]
"""

import argparse
import time
from pathlib import Path

import numpy as np

from malsori.asr.vad import FRAME_SECONDS, SpanTracker, SpeechDetector
from malsori.audio.io import load_audio
from malsori.corpus.layouts import read_layout
from malsori.models.silero_vad import SAMPLE_RATE


def speech_seconds(wave: np.ndarray) -> float:
    """Return for how long somebody speaks."""
    detector, tracker = SpeechDetector(SAMPLE_RATE), SpanTracker()
    found = np.concatenate([detector.push(wave), detector.push(np.zeros(0, np.float32), last=True)])
    spans = [*tracker.push(found.tolist(), [0.0] * len(found)), *tracker.finish()]
    return sum(span.end - span.start for span in spans) * FRAME_SECONDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--splits", default="dev,test")
    parser.add_argument("--gains", default="0,-30", help="decibels")
    asked = parser.parse_args()
    items = [item for item in read_layout(asked.corpus, "auto").utterances if item.split in asked.splits.split(",")]
    waves = [load_audio(item.audio_path, SAMPLE_RATE) for item in items]
    for gain in map(float, asked.gains.split(",")):
        began = time.process_time()
        found = np.array([speech_seconds(wave * np.float32(10 ** (gain / 20))) for wave in waves])
        spent, whole = time.process_time() - began, sum(map(len, waves)) / SAMPLE_RATE
        silent = [item.id for item, seconds in zip(items, found, strict=True) if not seconds]
        print(f"{gain:+.0f} dB: nobody found in {len(silent)} of {len(found)} {silent}")
        print(f"       speech {found.sum() / whole:.1%}; {spent / whole:.4f} CPU s a second")


if __name__ == "__main__":
    main()
