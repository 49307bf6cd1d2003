"""The memory of preparing: what is kept of each recording is names and numbers, however many there are."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from malsori.alignment import boundaries
from malsori.alignment.boundaries import AlignmentInput
from malsori.alignment.gmm import NUM_CEPSTRA, built_in, initialize_flat
from malsori.config import RECOGNITION_AUDIO
from malsori.corpus import durations, ground_truth
from malsori.corpus.durations import add_durations
from malsori.corpus.folder import Corpus, add_ground_truth, load_corpus
from malsori.corpus.ground_truth import PrepareOptions, prepare
from malsori.text.frontend import Frontend

from .conftest import write_emotiontts

ALONE = PrepareOptions(audio=RECOGNITION_AUDIO, workers=1)
FEW, MANY = 6, 14
KEPT_BYTES = 10_000  # of a recording more: it takes 3 kB; its mel spectrogram has 38 kB, its cepstra 160 kB here


@pytest.fixture
def simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of the true size that nobody computes, and phone models that learn from one recording."""
    frontend = Frontend(morphology=False)
    monkeypatch.setattr(durations, "Frontend", lambda *_words: frontend)
    monkeypatch.setattr(ground_truth, "_frontend", lambda *_words: frontend)
    monkeypatch.setattr(ground_truth, "measure", _measured)
    monkeypatch.setattr(boundaries, "MAX_SECONDS", 1.5)
    monkeypatch.setattr(durations, "alignment_input", _input)
    monkeypatch.setattr(durations, "train_flat_start", lambda sounds: built_in()[0])
    monkeypatch.setattr(durations, "map_adapt", lambda model, sounds: model)
    monkeypatch.setattr(durations, "force_align", lambda model, sound: sound.change)
    monkeypatch.setattr(durations, "frames_of", lambda ends, reading, audio, frames: np.array([frames], np.int32))


def _measured(wave, audio, tracker):
    frames = len(wave) // audio.hop_samples
    ones = np.ones(frames, dtype=np.float32)
    return {"mel": np.ones((frames, audio.mel_channels), dtype=np.float32), "pitch_hz": ones, "energy": ones}


def _input(reading, wave, rate):
    return AlignmentInput(reading, np.ones((2000, NUM_CEPSTRA)), np.ones(2000), len(wave) / rate)


def peak(work: Callable[[], object]) -> float:
    """Return how many bytes more than before were held at once."""
    tracemalloc.start()
    try:
        work()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("simple")
def test_what_is_kept_of_each_recording_is_small(tmp_path: Path) -> None:
    prepare(write_emotiontts(tmp_path / "warm", ("나무가 높다.",) * 2), tmp_path / "first", ALONE)  # imports
    add_durations(load_corpus(tmp_path / "first"), None)
    few, many = (peaks(tmp_path / str(count), count) for count in (FEW, MANY))
    growth = {name: (many[name] - few[name]) / (MANY - FEW) for name in few}
    assert max(growth.values()) < KEPT_BYTES, growth


def peaks(folder: Path, count: int) -> dict[str, float]:
    """Return the peaks of preparing recordings by half as many speakers, of aligning, and of going on with a half."""
    source, out = folder / "in", folder / "out"
    write_emotiontts(source, ("나무가 높다.",) * count, tuple(f"speaker{number:02}" for number in range(count // 2)))
    sounds = sorted(source.rglob("*.flac"))
    for sound in sounds:  # the same work for each
        sound.write_bytes(sounds[0].read_bytes())
    measured = {"prepare": peak(lambda: prepare(source, out, ALONE))}
    measured["align"] = peak(lambda: add_durations(load_corpus(out), None))
    return measured | {"go on": peak(lambda: add_durations(_half_aligned(out), None))}


def _half_aligned(out: Path) -> Corpus:
    """Return the corpus, in which the first of each speaker's recordings is to be aligned again."""
    corpus = load_corpus(out)
    cuts = sorted((cut for split in corpus.cuts.values() for cut in split), key=lambda cut: cut.id)
    for cut in cuts[::2]:
        add_ground_truth(corpus.ground_truth_path(cut), {}, "another aligner")
    return corpus


def test_a_flat_start_holds_no_copy_of_what_it_learns_from_and_equals_one_that_does() -> None:
    random = np.random.default_rng(0)
    sounds = [random.normal(3, 5, (1000, NUM_CEPSTRA)) for _ in range(24)]
    initialize_flat(sounds[:4])
    few, many = (peak(lambda sounds=sounds[:count]: initialize_flat(sounds)) for count in (4, 24))
    assert (many - few) / 20 < sounds[0].nbytes
    whole, model = np.concatenate(sounds), initialize_flat(sounds)
    assert np.array_equal(model.means[-1, 0, :NUM_CEPSTRA], whole.mean(0))
    assert np.array_equal(model.variances[-1, 0, :NUM_CEPSTRA], whole.var(0))
