"""Small corpora for the tests: a voice that buzzes, in each of the layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from malsori.audio.io import save_audio

RATE = 16000

SENTENCES = (
    "안녕하세요.",
    "오늘은 날씨가 참 좋네요.",
    "내일 아침에 다시 만나요.",
    "저는 책을 읽고 있어요.",
    "강아지가 공원에서 뛰어놉니다.",
    "점심은 무엇을 드셨어요?",
    "기차가 역에 도착했습니다.",
    "커피 한 잔 주세요.",
    "바다에 가고 싶어요.",
    "노래를 정말 잘하시네요.",
    "이 길로 쭉 가세요.",
    "우리 같이 걸어요.",
)


def buzz(seconds: float = 1.2, hertz: float = 140.0, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Return a buzz that rises and falls like a sentence, with some breath in every band."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(hertz * (1 + 0.2 * np.sin(2 * np.pi * time / seconds))) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 16)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    breath = np.random.default_rng(seed).normal(0, 3e-3, len(time))
    return (0.15 * voice + breath).astype(np.float32)


def spoken(
    seed: int = 0, seconds: float = 1.2, before: float = 0.4, after: float = 0.5, rate: int = RATE
) -> np.ndarray:
    """Return a buzz with a quiet room before and after it."""
    room = np.random.default_rng(1000 + seed).normal(0, 1e-4, round((before + seconds + after) * rate))
    start = round(before * rate)
    voice = buzz(seconds, 120 + 9 * seed, seed, rate)
    room[start : start + len(voice)] += voice
    return room.astype(np.float32)


def write_text(path: Path, text: str, encoding: str = "utf-8-sig") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def write_emotiontts(
    root: Path, sentences: tuple[str, ...] = SENTENCES, speakers: tuple[str, ...] = ("kim", "lee")
) -> Path:
    """Write one utterance a sentence, the speakers taking turns, as emotiontts lays them out."""
    for number, sentence in enumerate(sentences):
        speaker = speakers[number % len(speakers)]
        folder, name = root / "Main" / speaker, f"{speaker}{number:05d}"
        save_audio(folder / "wav" / f"{name}.flac", spoken(number, 0.2 * len(sentence.replace(" ", ""))), RATE)
        write_text(folder / "transcript" / f"{name}.txt", sentence + "\n")
    return root


@pytest.fixture
def emotiontts(tmp_path: Path) -> Path:
    """A corpus of twelve utterances by two speakers in the layout of emotiontts, without splits."""
    return write_emotiontts(tmp_path / "recordings")


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """A function that returns every file below a folder with its bytes."""

    def read(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read
