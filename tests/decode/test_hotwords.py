"""Hotwords: a bonus for words that are asked for, with their particles, and for no other."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malsori.decode.ctc import BeamOptions, prefix_beam_search
from malsori.decode.hotwords import PARTICLES, Hotwords
from malsori.text.hangul import to_jamo
from malsori.text.letters import decode_letters
from malsori.text.symbols import JAMO


def ids(text: str) -> list[int]:
    return JAMO.encode(to_jamo(text))


(SPACE,) = ids(" ")


def hotwords(*words: str, bonus: float = 1.0) -> Hotwords:
    return Hotwords(map(ids, words), map(ids, PARTICLES), SPACE, bonus)


def earned(model: Hotwords, text: str) -> float:
    state, total = model.start(), 0.0
    for index in ids(text):
        gain, state = model.step(state, index)
        total += gain
    return total + model.finish(state)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("말소리", 1), ("말소리에서", 1), ("말소리에서는", 1), ("저는 말소리를 좋아해요", 1), ("말소리 말소리", 2),
        ("말소", 0), ("말소리통", 0), ("큰말소리", 0), ("", 0), ("모든 소리", 0), ("말소리입니다", 1),
        ("말소리는말소리", 0),
    ],
)  # fmt: skip
def test_a_hotword_is_favored_with_particles_and_no_other_word_is(text: str, times: int) -> None:
    assert earned(hotwords("말소리"), text) == times * len(ids("말소리"))


def test_words_that_begin_alike_and_words_of_two_parts() -> None:
    one = hotwords("서울", "서울 대학교", "서울대")
    for text, credited in (
        ("서울은", "서울"),
        ("서울대에", "서울대"),
        ("서울 대학교의", "서울 대학교"),
        ("서울 대학생", "서울"),
    ):
        assert earned(one, text) == len(ids(credited)), text


@given(st.lists(st.sampled_from("가나 다"), max_size=12), st.sampled_from(["가", "가나", "나 다", "다가"]))
def test_what_is_earned_is_what_a_search_of_all_readings_finds(letters: list[str], word: str) -> None:
    """By brute force: a text is split into hotwords between spaces, as profitably as can be."""
    text, model = "".join(letters), Hotwords([ids(word)], [], SPACE, 1.0)
    best = 0.0
    spots = [at for at in range(len(text)) if text.startswith(word, at)]
    spots = [at for at in spots if (at == 0 or text[at - 1] == " ") and text[at + len(word) :][:1] in ("", " ")]
    for count in range(len(spots) + 1):
        for chosen in itertools.combinations(spots, count):
            if all(b - a >= len(word) for a, b in itertools.pairwise(chosen)):
                best = max(best, float(count * len(ids(word))))
    assert earned(model, text) == pytest.approx(best)


def test_a_beam_takes_the_hotword_where_the_sound_is_unclear_and_gives_it_up_where_it_is_clear() -> None:
    heard, meant = ids("만소리는"), ids("말소리는")
    log_probs = np.full((2 * len(heard), len(JAMO)), -12.0)
    for place, (one, other) in enumerate(zip(heard, meant, strict=True)):
        log_probs[2 * place, one], log_probs[2 * place, other] = (
            np.log(0.6),
            np.log(0.39) if one != other else np.log(0.6),
        )
        log_probs[2 * place + 1, 0] = 0.0
    options = BeamOptions(width=8)

    def text(favored: Hotwords | None = None) -> str:
        return decode_letters(JAMO, prefix_beam_search(log_probs, options, hotwords=favored)[0].ids)

    assert text() == "만소리는" and text(hotwords("말소리")) == "말소리는"
    assert text(hotwords("물소리", bonus=0.5)) == "만소리는"
    assert text(hotwords("말소리", bonus=0.0)) == "만소리는"
