"""A folder that grows take by take: each is judged, written whole, and can be trained from."""

import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from malsori import cli
from malsori.audio.io import load_audio
from malsori.corpus.layouts import read_layout
from malsori.corpus.recording import KEY_SECONDS, TakeFolder, judge_take
from malsori.errors import CorpusError

RATE = 16000
TEXT = "오늘은 날씨가 정말 좋네요."


def read_aloud(loudness: float = 0.3, noise: float = 1e-4, margin: float = 0.5, seconds: float = 2.0) -> np.ndarray:
    """Syllables of a hum between pauses."""
    time = np.arange(round(seconds * RATE)) / RATE
    voice = loudness * np.sin(2 * np.pi * 150 * time) * (np.sin(2 * np.pi * 2.5 * time) ** 2)
    still = np.zeros(round((margin + KEY_SECONDS) * RATE))
    wave = np.concatenate([still, voice, still])
    return (wave + np.random.default_rng(0).normal(0, noise, len(wave))).astype(np.float32)


@pytest.mark.parametrize(
    ("wave", "fault"),
    [
        (read_aloud(), ""),
        (np.clip(read_aloud(3.0), -1, 1), "clipped"),
        (read_aloud(0.005, 1e-5), "too soft"),
        (read_aloud(0.3, 0.1), "background"),
        (read_aloud(seconds=0.5), "syllables a second"),
        (read_aloud(margin=0.0), "within a word"),
        (np.zeros(RATE, np.float32), "right microphone"),
        (np.zeros(100, np.float32), "right microphone"),
    ],
)
def test_a_take_is_judged(wave: np.ndarray, fault: str) -> None:
    take = judge_take(wave, RATE, TEXT)
    assert [fault in told for told in take.faults] == ([True] if fault else [])
    assert len(take.wave) == max(0, len(wave) - 2 * round(KEY_SECONDS * RATE))


def test_a_folder_goes_on_where_it_was_and_can_be_prepared(tmp_path: Path) -> None:
    texts = [TEXT, "내일은 비가 온다고 해요.", "오늘은 날씨가 정말 좋네요!", "끝|났어요."]
    folder, take = TakeFolder(tmp_path / "나의 목소리"), judge_take(read_aloud(), RATE, TEXT)
    assert list(folder.unread(texts)) == [TEXT, texts[1], "끝 났어요."]
    folder.keep(take, TEXT)
    folder.keep(take, texts[1])
    assert folder.drop_last() == texts[1]
    assert folder.keep(take, texts[3]).name == "0002.flac"
    again = TakeFolder(tmp_path / "나의 목소리")
    assert len(again) == 2 and list(again.unread(texts)) == [texts[1]]
    listing = read_layout(tmp_path / "나의 목소리")
    assert [item.spoken for item in listing.utterances] == [TEXT, "끝 났어요."] and not listing.refused
    np.testing.assert_allclose(load_audio(listing.utterances[0].audio_path, RATE), take.wave, atol=1e-4)


def test_what_is_not_of_its_making_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("나")
    with pytest.raises(CorpusError, match="holds other files"):
        TakeFolder(tmp_path)
    (tmp_path / "metadata.csv").write_text("a.wav,네\n")
    with pytest.raises(CorpusError, match=r"metadata\.csv:1: 'a\.wav,네' is no take"):
        TakeFolder(tmp_path)


class Reader:
    """Who sits at the terminal: a microphone, and the keys that are pressed."""

    def __init__(self, keys: list[str], waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys, self.waves, self.given = keys, waves, threading.Event()
        monkeypatch.setattr("malsori.audio.microphone.microphone", self.hear)
        monkeypatch.setattr("builtins.input", self.press)
        monkeypatch.setattr(sys, "stdin", self)

    def hear(self, rate: int, device: object) -> Iterator[np.ndarray]:
        wave = self.waves.pop(0)
        assert rate == RATE and device is None
        yield from np.array_split(wave, 20)
        self.given.set()
        while True:
            yield np.zeros(1, np.float32)  # until the key is pressed

    def press(self, _asked: str) -> str:
        self.given.clear()
        if not self.keys:
            raise EOFError
        return self.keys.pop(0)

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        self.given.wait()
        return "\n"


def test_takes_are_kept_skipped_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = tmp_path / "texts.txt", tmp_path / "voice"
    texts.write_text(f"{TEXT}\n내일은 비가 온다고 해요.\n모레는 눈이 온대요.\n글피는 어떨까요?\n")
    command = ["record", str(texts), "-o", str(out), "--rate", str(RATE)]
    good, soft = read_aloud(), read_aloud(0.005, 1e-5)
    # one is kept; one is skipped; one is too soft and read again; back to it, and the end of the keyboard's patience
    Reader(["", "", "s", "", "", "", "b", "", "r", "", "q"], [good, soft, good, good, good], monkeypatch)
    assert cli.run(command) == 0
    told = capsys.readouterr().out
    assert "[1/4] " + TEXT in told and told.count("! too soft") == 1 and "3 takes" not in told
    assert "2 takes, 2 of them new; 2 texts left" in told and "malsori corpus prepare" in told
    rows = (out / "metadata.csv").read_text(encoding="utf-8").splitlines()
    assert rows == [f"0001|{TEXT}", "0002|모레는 눈이 온대요."]
    Reader([], [], monkeypatch)
    assert cli.run(command) == 0
    assert "[1/2] 내일은" in (told := capsys.readouterr().out) and "2 takes, 0 of them new" in told


def test_it_wants_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text(TEXT)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.run(["record", str(tmp_path / "texts.txt"), "-o", str(tmp_path / "voice")]) == 2
    assert "no terminal" in capsys.readouterr().err and not (tmp_path / "voice").exists()
