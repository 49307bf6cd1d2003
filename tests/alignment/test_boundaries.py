"""Phone models and boundaries: planted sounds found again, from nothing but the order of the text."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from malsori.alignment.boundaries import adapt, learn, place, refine, some_of, sound_of
from malsori.alignment.gmm import PhoneModels, built_in, flat_start, listen, reestimate
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
def learnt(spoken: list[tuple[Reading, np.ndarray, np.ndarray]]) -> PhoneModels:
    return learn([sound_of(reading, wave, RATE) for reading, wave, _ in spoken])


def test_boundaries_are_found_from_the_order_of_the_phonemes_alone(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: PhoneModels
) -> None:
    errors = []
    for reading, wave, truth in spoken:
        ends = place(learnt, sound_of(reading, wave, RATE))
        assert (np.diff(ends) >= 0).all() and ends[-1] == len(wave) / RATE
        errors.append(np.abs(ends - truth)[:-1])
    errors = np.concatenate(errors)
    assert np.median(errors) < 0.006 and np.percentile(errors, 95) < 0.025


def test_a_recogniser_that_is_late_bounds_the_search_and_its_lateness_is_taken_off(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]],
) -> None:
    random = np.random.default_rng(1)
    sounds = []
    for reading, wave, truth in spoken:
        late = np.minimum(truth + 0.08 + random.normal(0, 0.02, len(truth)), len(wave) / RATE)
        sounds.append(sound_of(reading, wave, RATE, np.maximum.accumulate(late)))
    models = learn(sounds)
    errors = [np.abs(place(models, s) - truth)[:-1] for s, (_, _, truth) in zip(sounds, spoken, strict=True)]
    assert np.median(np.concatenate(errors)) < 0.006
    assert sounds[0].chain().width < len(sounds[0].chain().states)


def test_a_short_silence_between_words_is_no_pause_and_goes_to_a_neighbour(learnt: PhoneModels) -> None:
    reading = reading_of("ㄴㅏ", "ㅁㅜ")
    wave, truth = tones(reading, np.random.default_rng(3))
    cut = round(truth[2] * RATE)
    for seconds, lasts in ((0.06, False), (0.2, True)):
        silence = np.random.default_rng(4).normal(0, 3e-4, round(seconds * RATE)).astype(np.float32)
        apart = np.concatenate([wave[:cut], silence, wave[cut:]])
        ends = place(learnt, sound_of(reading, apart, RATE))
        assert (ends[3] - ends[2] > 0.1) == lasts
        assert lasts or ends[3] == ends[2]


def test_adapting_moves_the_models_towards_another_voice(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: PhoneModels
) -> None:
    other = [sound_of(reading, wave + 0.1 * np.roll(wave, 11), RATE) for reading, wave, _ in spoken[:8]]
    chains = [(sound.features, sound.chain()) for sound in other]
    before = reestimate(learnt, chains)[1]
    adapted = adapt(learnt, other)
    assert reestimate(adapted, chains)[1] > before
    unheard = STATES * PHONEMES.encode(["ㅎ"])[0]
    np.testing.assert_allclose(adapted.means[unheard], learnt.means[unheard], rtol=1e-9)
    assert adapt(learnt, []) is learnt


def test_every_pass_makes_what_was_heard_more_probable(spoken: list[tuple[Reading, np.ndarray, np.ndarray]]) -> None:
    sounds = [sound_of(reading, wave, RATE) for reading, wave, _ in spoken[:6]]
    models, scores = flat_start([sound.features for sound in sounds]), []
    chains = [(sound.features, sound.chain()) for sound in sounds]
    for stage in range(6):
        models, score = reestimate(models.split() if stage == 3 else models, chains)
        scores.append(score)
    assert scores[0] < scores[1] < scores[2] and scores[3] < scores[4] < scores[5]
    assert (models.variances > 0).all() and np.isfinite(models.means).all()
    quiet = flat_start([sound.features for sound in sounds]).means[STATES * SILENCE, 0, 0]
    assert quiet < models.means[STATES * PHONEMES.encode(["ㅏ"])[0], 0, 0]


def test_a_long_recording_is_aligned_a_stretch_at_a_time_as_its_parts_are(
    spoken: list[tuple[Reading, np.ndarray, np.ndarray]], learnt: PhoneModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("malsori.alignment.boundaries.built_in", lambda: learnt)
    monkeypatch.setattr("malsori.alignment.boundaries.STRETCH_SECONDS", 4.0)
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
    coarse = np.append(truth_ends, len(wave) / RATE)
    pieces = [wave[begin : begin + 7001] for begin in range(0, len(wave), 7001)]
    ends = refine(reading, pieces, RATE, coarse)
    assert (np.diff(ends) >= 0).all() and ends[-1] == pytest.approx(len(wave) / RATE)
    assert np.median(np.abs(ends - coarse)) < 0.006
    np.testing.assert_allclose(refine(reading, [wave], RATE, coarse), ends, atol=1e-9)


def test_a_sound_too_short_for_its_text_is_refused_with_both_told() -> None:
    reading = reading_of("ㄴㅏ.ㅁㅜ.ㄴㅏ.ㅁㅜ")
    sound = sound_of(reading, np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32), RATE)
    with pytest.raises(AlignmentError, match=r"0.10 s cannot hold the 8 phonemes"):
        sound.chain()
    with pytest.raises(AlignmentError, match="too short to align"):
        listen(np.zeros(100, dtype=np.float32), RATE)
    with pytest.raises(AlignmentError, match="no recording to learn"):
        learn([])


def test_as_much_as_is_needed_is_learnt_from_evenly_spread() -> None:
    assert some_of([1.0] * 5) == [0, 1, 2, 3, 4]
    chosen = some_of([100.0] * 36)
    assert len(chosen) == 18 and np.ptp(np.diff(chosen)) <= 1


def test_models_come_back_from_disk_and_wrong_files_are_refused(learnt: PhoneModels, tmp_path: Path) -> None:
    learnt.save(tmp_path / "phones.safetensors")
    back = PhoneModels.load(tmp_path / "phones.safetensors")
    for name, array in vars(learnt).items():
        np.testing.assert_allclose(getattr(back, name), array, rtol=1e-6)
    with pytest.raises(ModelError, match="no phone models"):
        PhoneModels.load(tmp_path / "none.safetensors")
    save_file({"means": np.zeros(3, dtype=np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="phone models were expected"):
        PhoneModels.load(tmp_path / "other.safetensors")
    PhoneModels(*(array[:9] for array in vars(learnt).values())).save(tmp_path / "fewer.safetensors")
    with pytest.raises(ModelError, match="of another version"):
        PhoneModels.load(tmp_path / "fewer.safetensors")


def test_the_built_in_models_know_every_sounded_phoneme() -> None:
    models = built_in()
    sounded = [STATES * PHONEMES.encode([symbol])[0] for symbol in "ㄱㄴㅅㅎㅏㅣㅡ"]
    assert np.ptp(models.means[sounded, :, 0].mean(1)) > 1  # they differ: it has learnt
    assert np.allclose(np.exp(models.log_weights).sum(1), 1, atol=1e-2)
