"""From CTC spikes to touching spans: planted boundaries, planted pauses, and durations that always sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.alignment.phonemes import alignment_of, frames_of, time_phonemes
from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.errors import AlignmentError
from malsori.text.frontend import Frontend, Reading, Word
from malsori.text.symbols import PHONEMES

STEP = 0.02  # seconds from one frame to the next
LOUD, QUIET = -3.0, -11.0


def reading_of(*words: str, marks: str = "") -> Reading:
    """A reading of words whose syllables are divided by '.' and phonemes by nothing: "ㄴㅏ.ㅁㅜ" is 나무.

    Args:
        marks: the boundary after each word but the last; spaces where not given.
    """
    rows, syllables = [("^", -1, -1)], []
    for index, word in enumerate(words):
        for syllable in word.split("."):
            rows += [(phoneme, len(syllables), index) for phoneme in syllable]
            syllables.append(syllable)
        boundary = (marks or " " * len(words))[index] if index + 1 < len(words) else "."
        rows.append((boundary, -1, -1))
    phonemes, of_syllables, of_words = zip(*rows, strict=True)
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    written = tuple(Word(word, word, start, start + len(word)) for word, start in zip(words, starts, strict=False))
    return Reading(" ".join(words), "", "", (), phonemes, of_syllables, of_words, tuple(syllables), written)


def planted(spoken: str, quiet: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and loudness of 20 ms frames: a phoneme or '_' each; '-' in `quiet` is a silent frame."""
    log_probs = np.full((len(spoken), len(PHONEMES)), np.log(0.1 / (len(PHONEMES) - 1)), dtype=np.float32)
    log_probs[np.arange(len(spoken)), PHONEMES.encode(spoken)] = np.log(0.9)
    loudness = np.array([QUIET if frame == "-" else LOUD for frame in quiet.ljust(len(spoken), "x")])
    return log_probs, loudness


def ends_of(reading: Reading, spoken: str, quiet: str = "") -> list[float]:
    """Where each phoneme ends, in frames."""
    times = time_phonemes(reading, *planted(spoken, quiet), STEP, len(spoken) * STEP)
    return [round(end / STEP, 6) for end in times.ends]


def test_boundaries_are_those_that_were_planted() -> None:
    #                                            ^  ㄴ ㅏ ㅁ ㅜ .
    assert ends_of(reading_of("ㄴㅏ.ㅁㅜ"), "ㄴㄴㅏㅏㅏㅁㅜㅜㅜㅜ") == [0, 2, 5, 6, 10, 10]


def test_blanks_between_two_phonemes_of_a_word_are_shared_half_and_half() -> None:
    assert ends_of(reading_of("ㄴㅏ.ㅁㅜ"), "ㄴ__ㅏ____ㅁㅜ") == [0, 2, 6, 9, 10, 10]


def test_a_silence_inside_a_word_is_no_pause() -> None:
    # the closure of a stop: 200 ms of silence, and still a word
    assert ends_of(reading_of("ㄱㅏ.ㄱㅏ"), "ㄱㅏ__________ㄱㅏ", "xx----------xx") == [0, 1, 7, 13, 14, 14]


def test_the_opening_and_the_closing_silence_belong_to_the_ends_of_the_sentence() -> None:
    assert ends_of(reading_of("ㄴㅏ"), "_____ㄴㅏ______", "----xxxxx----") == [4, 6, 9, 13]


def test_a_phoneme_in_the_opening_silence_keeps_its_frame() -> None:
    # the network is sure of the first sound before it is loud
    assert ends_of(reading_of("ㄴㅏ"), "__ㄴ__ㅏ__", "----xxxx") == [2, 4, 8, 8]


@pytest.mark.parametrize(("silent", "mark", "pause"), [(4, " ", 0), (5, " ", 5), (9, " ", 9), (2, ",", 0), (3, ",", 3)])
def test_a_silence_between_words_is_a_pause_once_it_is_long_enough(silent: int, mark: str, pause: int) -> None:
    blank = "_" * (silent + 2)  # a frame of each neighbour's own sound on both sides
    spoken = f"ㄴㅏ{blank}ㅁㅜ"
    ends = ends_of(reading_of("ㄴㅏ", "ㅁㅜ", marks=mark), spoken, "xxx" + "-" * silent + "xxx")
    if pause:
        assert ends == [0, 1, 3, 3 + pause, 5 + pause, 6 + pause, 6 + pause]
    else:
        middle = 2 + len(blank) / 2
        assert ends == [0, 1, middle, middle, len(spoken) - 1, len(spoken), len(spoken)]


def test_of_two_silences_between_words_the_longer_one_is_the_pause() -> None:
    spoken, quiet = "ㄴㅏ" + "_" * 16 + "ㅁㅜ", "xx------xx-------xxx"
    assert ends_of(reading_of("ㄴㅏ", "ㅁㅜ"), spoken, quiet)[2:4] == [10, 17]


def test_a_phoneme_said_twice_is_told_apart_by_the_blank() -> None:
    assert ends_of(reading_of("ㅏ.ㅏ"), "ㅏㅏ_ㅏㅏㅏ") == [0, 2.5, 6, 6]


def test_confidence_is_the_probability_in_a_phonemes_own_frames() -> None:
    reading = reading_of("ㄴㅏ")
    log_probs, loudness = planted("ㄴㄴㅏ")
    log_probs[2] = np.log(1 / len(PHONEMES))
    times = time_phonemes(reading, log_probs, loudness, STEP, 0.06)
    assert times.confidences.tolist() == pytest.approx([1, 0.9, 1 / len(PHONEMES), 1])
    assert times.score == pytest.approx(0, abs=1e-6)  # nothing is more probable anywhere
    assert times.starts.tolist() == [0, *times.ends[:-1]]


def test_a_sound_too_short_for_its_text_is_refused() -> None:
    with pytest.raises(AlignmentError, match="3 frames are too few for 4 tokens"):
        time_phonemes(reading_of("ㄴㅏ.ㅁㅜ"), *planted("ㄴㅏㅁ"), STEP, 0.06)


def test_a_reading_in_which_nothing_sounds_is_refused() -> None:
    silent = Reading("", "", "", (), ("^", "."), (-1, -1), (-1, -1), (), ())
    with pytest.raises(AlignmentError, match="nothing"):
        time_phonemes(silent, *planted("ㄴㅏㅁ"), STEP, 0.06)


WORDS = st.lists(
    st.lists(st.sampled_from(["ㄴㅏ", "ㅏ", "ㅁㅜ", "ㅎㅔ"]), min_size=1, max_size=3).map(".".join),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(0, 40), st.integers(0, 2**32 - 1), st.floats(-0.02, 0.03))
def test_whatever_the_network_says_spans_touch_and_frames_sum(
    words: list[str], spare: int, seed: int, over: float
) -> None:
    random = np.random.default_rng(seed)
    reading = reading_of(*words, marks="".join(random.choice([" ", ","], len(words))))
    frames = 2 * len(reading.phonemes) + spare
    raw = random.normal(0, 4, (frames, len(PHONEMES)))
    log_probs = (raw - np.log(np.exp(raw).sum(1, keepdims=True))).astype(np.float32)
    seconds = frames * STEP + over
    times = time_phonemes(reading, log_probs, random.choice([LOUD, QUIET, -5.0], frames), STEP, seconds)
    assert (np.diff(times.ends, prepend=0.0) >= 0).all() and times.ends[-1] == seconds
    for audio in (AudioConfig(), RECOGNITION_AUDIO):
        mel_frames = int(seconds / audio.frame_seconds)
        check_durations(frames_of(times.ends, reading, audio, mel_frames), reading, mel_frames)


def check_durations(durations: np.ndarray, reading: Reading, frames: int) -> None:
    assert durations.sum() == frames and (durations >= 0).all() and len(durations) == len(reading.phonemes)
    assert all(frames >= 1 for frames, word in zip(durations, reading.phoneme_words, strict=True) if word >= 0)


@settings(max_examples=150, deadline=None)
@given(WORDS, st.integers(0, 30), st.data())
def test_frames_sum_and_every_sound_has_one_however_the_ends_are_crowded(
    words: list[str], spare: int, data: st.DataObject
) -> None:
    reading = reading_of(*words)
    sounded = sum(word >= 0 for word in reading.phoneme_words)
    frames, audio = sounded + spare, AudioConfig()
    shares = data.draw(st.lists(st.floats(0, 1), min_size=len(reading.phonemes), max_size=len(reading.phonemes)))
    ends = np.sort(shares) * frames * audio.frame_seconds
    check_durations(frames_of(ends, reading, audio, frames), reading, frames)


def test_rounding_adds_no_drift() -> None:
    reading, audio = reading_of(*["ㄴㅏ.ㅁㅜ"] * 40), AudioConfig()
    ends = np.linspace(0, 17.3, len(reading.phonemes) + 1)[1:]
    frames = round(17.3 / audio.frame_seconds)
    durations = frames_of(ends, reading, audio, frames)
    assert np.abs(np.cumsum(durations) * audio.frame_seconds - ends).max() <= 0.51 * audio.frame_seconds


def test_too_few_frames_for_the_sounds_are_refused() -> None:
    reading = reading_of("ㄴㅏ.ㅁㅜ")
    with pytest.raises(AlignmentError, match="3 frames cannot hold 4 phonemes"):
        frames_of(np.linspace(0, 1, 6), reading, AudioConfig(), 3)


def test_tiers_hold_words_syllables_and_phones_and_leave_pauses_out() -> None:
    reading = reading_of("ㄴㅏ.ㅁㅜ", "ㅏ")
    alignment = alignment_of(reading, np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0]))
    spans = {name: [(span.text, span.start, span.end) for span in tier] for name, tier in alignment.tiers.items()}
    assert spans["words"] == [("ㄴㅏ.ㅁㅜ", 0.1, 0.5), ("ㅏ", 0.7, 0.9)]
    assert spans["syllables"] == [("ㄴㅏ", 0.1, 0.3), ("ㅁㅜ", 0.3, 0.5), ("ㅏ", 0.7, 0.9)]
    assert [text for text, _, _ in spans["phones"]] == ["ㄴ", "ㅏ", "ㅁ", "ㅜ", "ㅏ"]
    assert alignment.duration == 1.0


def test_spoken_words_that_were_written_as_one_are_one_word() -> None:
    reading = Frontend(morphology=False).read("64.5%에, 2026년 3월 A4 종이!")
    alignment = alignment_of(reading, np.linspace(0, 9, len(reading.phonemes) + 1)[1:])
    assert [span.text for span in alignment.words] == ["64.5%에,", "2026년", "3월", "A4", "종이!"]
    assert "".join(span.text for span in alignment.syllables) == "".join(word.spoken for word in reading.words)
    edges = [edge for span in alignment.words for edge in (span.start, span.end)]
    assert edges == sorted(edges)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('그는 "좋아요!"라고 (웃으며) 말했다.', ["그는", '"좋아요!"라고', "(웃으며)", "말했다."]),
        ("『책』을 3시 30분에 샀어요… 정말?", ["『책』을", "3시", "30분에", "샀어요…", "정말?"]),
        ("[음악] 안녕 — 반가워요!", ["[음악]", "안녕 —", "반가워요!"]),
        ("나는 ( 빈칸 ) 안", ["나는", "( 빈칸 )", "안"]),
        ("- 안녕\n- 잘 가~", ["- 안녕", "- 잘", "가~"]),
        ("가격은 $5 (약 6,000원)입니다.", ["가격은", "$5", "(약", "6,000원)입니다."]),
        ("3 · 1절, 그래서,그런데", ["3 · 1절,", "그래서,그런데"]),
        ("… 네 .", ["… 네 ."]),
    ],
)
def test_words_are_the_eojeols_as_they_are_written_with_every_mark(text: str, words: list[str]) -> None:
    reading = Frontend().read(text)
    ends = np.arange(1, len(reading.phonemes) + 1) / 10
    alignment = alignment_of(reading, ends)
    assert [word.text for word in alignment.words] == words
    assert " ".join(words).split() == reading.written.split()  # nothing lost, nothing twice
    sounded = [(span.start, span.end) for span in alignment.phones]
    assert (alignment.words[0].start, alignment.words[-1].end) == (sounded[0][0], sounded[-1][1])
