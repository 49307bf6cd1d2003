"""Every validation of what makes sound leaves sounds and pictures behind, and changes nothing else."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from malsori.audio.io import load_audio
from malsori.config import AudioConfig
from malsori.errors import FileError
from malsori.pretrained.hub import load_model
from malsori.train.samples import mel_picture


def picture(path: Path) -> np.ndarray:
    """The pixels of a gray PNG whose rows have no filter, each chunk's sum checked."""
    content, at, found = path.read_bytes(), 8, {}
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        found[kind], at = body, at + 12 + length
    width, height, bits, color = struct.unpack(">IIBB", found[b"IHDR"][:10])
    assert (bits, color) == (8, 0)
    rows = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:]


@pytest.mark.parametrize("name", ["vocos-small", "fastspeech2-small"])
def test_each_validation_writes_a_sound_and_its_mel_and_changes_no_weight(small_run, tmp_path, name) -> None:
    run, plain = small_run("run", "train.samples=1", name=name), small_run("plain", name=name)
    [utterance] = (run / "samples").iterdir()
    made = {path.name for path in utterance.iterdir()}
    assert made == {f"{stem}.{kind}" for stem in ("00000003", "00000006", "recording") for kind in ("wav", "png")}
    for stem in ("00000006", "recording"):
        wave = load_audio(utterance / f"{stem}.wav", 22050)
        pixels = picture(utterance / f"{stem}.png")
        assert len(wave) > 2000 and pixels.shape == (80 * 3, len(wave) // 256 * 3) and pixels.max() == 255
    assert not (plain / "samples").exists()
    kept, other = (load_model(str(folder)).state_dict() for folder in (run, plain))
    assert all(torch.equal(tensor, other[key]) for key, tensor in kept.items())
    if name == "vocos-small":
        check_board(run / "tensorboard", utterance.name)


def check_board(folder: Path, utterance: str) -> None:
    """TensorBoard has the sounds and the pictures too, where it is installed."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = events.EventAccumulator(str(folder)).Reload()
    assert board.Tags()["audio"] == board.Tags()["images"] == [f"samples/{utterance}"]
    assert [event.step for event in board.Audio(f"samples/{utterance}")] == [3, 6]


def test_a_recognizer_makes_none_and_a_full_disk_costs_them_alone(small_run, monkeypatch, caplog) -> None:
    assert not (small_run("ctc", "train.samples=1", name="conformer-small") / "samples").exists()

    def full(*_of: object) -> None:
        raise FileError("samples: no space left on device")

    monkeypatch.setattr("malsori.train.loop.write_samples", full)
    assert (small_run("full", "train.samples=1", name="vocos-small") / "model" / "config.json").is_file()
    assert "step 3: no samples: samples: no space left" in caplog.text


def test_in_the_picture_time_goes_right_and_high_frequencies_up() -> None:
    time = np.arange(22050) / 22050
    wave = np.where(time < 0.5, 0, np.sin(2 * np.pi * 200 * time)) * 0.5  # silence, then a low tone
    pixels = mel_picture(wave, AudioConfig()).astype(int)
    right = pixels[:, -60:].mean(1)
    assert pixels[:, :60].mean() < 2 and right[-60:].max() > 200 and right[-60:].mean() > right[:60].mean() + 30
