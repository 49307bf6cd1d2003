"""The phone model and boundaries: planted sounds found again, from nothing but the order of the text."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from malsori.alignment.boundaries import (
    alignment_input,
    force_align,
    map_adapt,
    refine,
    select_model,
    select_recordings,
    train_flat_start,
)
from malsori.alignment.gmm import GmmHmm, built_in, extract_mfcc, initialize_flat, reestimate
from malsori.alignment.hmm import SILENCE, STATES
from malsori.errors import AlignmentError, ModelError
from malsori.text.frontend import Reading
from malsori.text.symbols import PHONEMES

from .test_phonemes import reading_of

RATE = 16000
#: A tone of its own for each phoneme, in hertz.
TONES = {"ㄴ": 300, "ㅏ": 700, "ㅁ": 1100, "ㅜ": 1600, "ㅅ": 2400, "ㅣ": 3300}
WORDS = ("ㄴㅏ.ㅁㅜ", "ㅅㅏ", "ㅁㅣ.ㅅㅜ", "ㄴㅣ.ㅁㅏ", "ㅜ.ㄴㅏ", "ㅣ.ㅅㅣ")


def tones(reading: Reading, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a wave in which each phoneme is its tone, a pause silence, and where each truly ends in seconds."""
    parts = []
    for symbol, word in zip(reading.phonemes, reading.phoneme_words, strict=True):
        long = 0.3 if symbol == "," else 0.1
        seconds = random.uniform(0.06, 0.16) if word >= 0 else 0.0 if symbol == " " else long
        time = np.arange(round(seconds * RATE)) / RATE
        tone = 0.2 * np.sin(2 * np.pi * TONES[symbol] * time) if word >= 0 else np.zeros(len(time))
        parts.append(tone + random.normal(0, 3e-4, len(time)))
    return np.concatenate(parts).astype(np.float32), np.cumsum([len(part) for part in parts]) / RATE


@pytest.fixture(scope="module")
def spoken() -> list[tuple[Reading, np.ndarray, np.ndarray]]:
    """Forty sentences of three words with a comma after the second: reading, wave, true ends."""
    random = np.random.default_rng(7)
    readings = [reading_of(*random.choice(WORDS, 3), marks=" ,") for _ in range(40)]
    return [(reading, *tones(reading, random)) for reading in readings]


@pytest.fixture(scope="module")
def learnt(spoken: list[tuple[Reading, np.ndarray, np.ndarray]]) -> GmmHmm:
    return train_flat_start([alignment_input(reading, wave, RATE) for reading, wave, _ in spoken])


def test_boundaries_are_found_from_the_order_of_the_phonemes_alone(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: GmmHmm
) -> None:
    errors = []
    for reading, wave, truth in spoken:
        ends = force_align(learnt, alignment_input(reading, wave, RATE))
        assert (np.diff(ends) >= 0).all() and ends[-1] == len(wave) / RATE
        errors.append(np.abs(ends - truth)[:-1])
    errors = np.concatenate(errors)
    assert np.median(errors) < 0.006 and np.percentile(errors, 95) < 0.025


def test_a_recognizer_that_is_late_bounds_the_search_and_its_lateness_is_taken_off(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]],
) -> None:
    random = np.random.default_rng(1)
    sounds = []
    for reading, wave, truth in spoken:
        late = np.minimum(truth + 0.08 + random.normal(0, 0.02, len(truth)), len(wave) / RATE)
        sounds.append(alignment_input(reading, wave, RATE, np.maximum.accumulate(late)))
    model = train_flat_start(sounds)
    errors = [np.abs(force_align(model, s) - truth)[:-1] for s, (_, _, truth) in zip(sounds, spoken, strict=True)]
    assert np.median(np.concatenate(errors)) < 0.006
    assert sounds[0].state_graph().width < len(sounds[0].state_graph().states)


def test_a_short_silence_between_words_is_no_pause_and_goes_to_a_neighbor(learnt: GmmHmm) -> None:
    reading = reading_of("ㄴㅏ", "ㅁㅜ")
    wave, truth = tones(reading, np.random.default_rng(3))
    cut = round(truth[2] * RATE)
    for seconds, is_pause in ((0.06, False), (0.2, True)):
        silence = np.random.default_rng(4).normal(0, 3e-4, round(seconds * RATE)).astype(np.float32)
        apart = np.concatenate([wave[:cut], silence, wave[cut:]])
        ends = force_align(learnt, alignment_input(reading, apart, RATE))
        assert (ends[3] - ends[2] > 0.1) == is_pause
        assert is_pause or ends[3] == ends[2]


def test_adapting_moves_the_models_towards_another_voice(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: GmmHmm
) -> None:
    other = [alignment_input(reading, wave + 0.1 * np.roll(wave, 11), RATE) for reading, wave, _ in spoken[:8]]
    graphs = [(sound.features, sound.state_graph()) for sound in other]
    before = reestimate(learnt, graphs)[1]
    adapted = map_adapt(learnt, other)
    assert reestimate(adapted, graphs)[1] > before
    unheard = STATES * PHONEMES.encode(["ㅎ"])[0]
    np.testing.assert_allclose(adapted.means[unheard], learnt.means[unheard], rtol=1e-9)
    assert map_adapt(learnt, []) is learnt


def test_every_pass_makes_what_was_heard_more_probable(spoken: list[tuple[Reading, np.ndarray, np.ndarray]]) -> None:
    sounds = [alignment_input(reading, wave, RATE) for reading, wave, _ in spoken[:6]]
    model, scores = initialize_flat([sound.cepstra for sound in sounds]), []
    graphs = [(sound.features, sound.state_graph()) for sound in sounds]
    for stage in range(6):
        model, score = reestimate(model.split() if stage == 3 else model, graphs)
        scores.append(score)
    assert scores[0] < scores[1] < scores[2] and scores[3] < scores[4] < scores[5]
    assert (model.variances > 0).all() and np.isfinite(model.means).all()
    quiet = initialize_flat([sound.cepstra for sound in sounds]).means[STATES * SILENCE, 0, 0]
    assert quiet < model.means[STATES * PHONEMES.encode(["ㅏ"])[0], 0, 0]


def test_a_long_recording_is_aligned_a_stretch_at_a_time_as_its_parts_are(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: GmmHmm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malsori.alignment.boundaries.built_in", lambda: (learnt,))
    monkeypatch.setattr("malsori.alignment.boundaries.CHUNK_SECONDS", 4.0)
    some = spoken[:8]
    words = [word for reading, _, _ in some for word in "".join(reading.phonemes).strip("^.").replace(",", " ").split()]
    marks = ("".join(" ,," for _ in some))[:-1]
    whole, offset, truth = [], 0.0, [np.zeros(1)]
    for _, wave, ends in some:
        truth.append(ends[1:] + offset)
        whole.append(wave)
        offset += len(wave) / RATE
    reading, wave, truth_ends = reading_of(*words, marks=marks), np.concatenate(whole), np.concatenate(truth)[:-1]
    # The sentences' first silence belongs to the pause before: one boundary where two sentences meet.
    inner = [n for n, symbol in enumerate(reading.phonemes) if symbol == ","][1::2]
    for place_of_pause, (_, _, ends) in zip(inner, some[1:], strict=False):
        truth_ends[place_of_pause] += ends[0]
    ctc_boundaries = np.append(truth_ends, len(wave) / RATE)
    pieces = [wave[begin : begin + 7001] for begin in range(0, len(wave), 7001)]
    ends = refine(reading, pieces, RATE, ctc_boundaries)
    assert (np.diff(ends) >= 0).all() and ends[-1] == pytest.approx(len(wave) / RATE)
    assert np.median(np.abs(ends - ctc_boundaries)) < 0.006
    np.testing.assert_allclose(refine(reading, [wave], RATE, ctc_boundaries), ends, atol=1e-9)


def test_a_sound_too_short_for_its_text_is_refused_with_both_told() -> None:
    reading = reading_of("ㄴㅏ.ㅁㅜ.ㄴㅏ.ㅁㅜ")
    sound = alignment_input(reading, np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32), RATE)
    with pytest.raises(AlignmentError, match=r"0.10 s cannot hold the 8 phonemes"):
        sound.state_graph()
    with pytest.raises(AlignmentError, match="too short to align"):
        extract_mfcc(np.zeros(100, dtype=np.float32), RATE)
    with pytest.raises(AlignmentError, match="no recording to train"):
        train_flat_start([])


def test_as_much_as_is_needed_is_learnt_from_evenly_spread() -> None:
    assert select_recordings([1.0] * 5) == [0, 1, 2, 3, 4]
    chosen = select_recordings([100.0] * 36)
    assert len(chosen) == 18 and np.ptp(np.diff(chosen)) <= 1


def test_models_come_back_from_disk_and_wrong_files_are_refused(learnt: GmmHmm, tmp_path: Path) -> None:
    learnt.save(tmp_path / "phones.safetensors")
    back = GmmHmm.load(tmp_path / "phones.safetensors")
    for name, array in vars(learnt).items():
        np.testing.assert_allclose(getattr(back, name), array, rtol=1e-6)
    with pytest.raises(ModelError, match="no phone model"):
        GmmHmm.load(tmp_path / "none.safetensors")
    save_file({"means": np.zeros(3, dtype=np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="phone model was expected"):
        GmmHmm.load(tmp_path / "other.safetensors")
    GmmHmm(*(array[:9] for array in vars(learnt).values())).save(tmp_path / "fewer.safetensors")
    with pytest.raises(ModelError, match="of another version"):
        GmmHmm.load(tmp_path / "fewer.safetensors")


@pytest.mark.parametrize("number", range(2))
def test_the_built_in_models_know_every_sounded_phoneme(number: int) -> None:
    model = built_in()[number]
    sounded = [STATES * PHONEMES.encode([symbol])[0] for symbol in "ㄱㄴㅅㅎㅏㅣㅡ"]
    assert np.ptp(model.means[sounded, :, 0].mean(1)) > 1  # they differ: it has learnt
    assert np.allclose(np.exp(model.log_weights).sum(1), 1, atol=1e-2)


def test_a_search_whose_bounds_are_wrong_is_moved_until_the_path_leans_on_none(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: GmmHmm
) -> None:
    reading, wave, truth = spoken[0]
    wrong = np.minimum(truth + 0.55, len(wave) / RATE)  # further than the search goes at once
    ends = force_align(learnt, alignment_input(reading, wave, RATE, wrong))
    assert np.abs(ends - truth).max() < 0.03
    np.testing.assert_allclose(refine(reading, [wave], RATE, wrong)[-1], len(wave) / RATE)


def test_the_model_is_taken_under_which_a_recording_is_more_probable(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: GmmHmm
) -> None:
    sounds = [alignment_input(reading, wave, RATE) for reading, wave, _ in spoken[:2]]
    other = initialize_flat([sound.cepstra for sound in sounds])
    assert select_model((other, learnt), sounds) is select_model((learnt, other), sounds) is learnt
    assert select_model((other,), sounds) is other
    too_short = alignment_input(reading_of("ㄴㅏ.ㅁㅜ.ㄴㅏ.ㅁㅜ"), np.full(1600, 0.1, dtype=np.float32), RATE)
    assert select_model((other, learnt), [too_short, *sounds]) is learnt
