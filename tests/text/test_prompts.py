"""Sentences to record: what can be read in one way only, and few that hold much."""

from itertools import pairwise

import pytest

from malsori.errors import ConfigError, TextError
from malsori.text.frontend import Frontend
from malsori.text.prompts import PromptOptions, choose_prompts

FRONTEND = Frontend(morphology=False)
LINES = [
    "오늘은 날씨가 정말 좋네요.",
    "오늘은  날씨가 정말 좋네요!",  # the same
    "오늘은 날씨가 정말 좋았네요.",
    "외계 토끼와 까치가 뽀얀 빵을 쪘다.",
    "세 시에 COEX에서 만나기로 했어요.",
    "3시에 만나기로 약속을 했어요.",
    "네.",
    "가" * 41,
    "",
]


def pairs(text: str) -> set[tuple[str, str]]:
    return set(pairwise(symbol for symbol in FRONTEND.read(text).phonemes if symbol != " "))


def test_the_sentence_that_brings_most_comes_first_and_what_is_left_out_is_counted() -> None:
    found = choose_prompts(LINES, PromptOptions(count=2), FRONTEND)
    assert found.candidates == 3
    assert found.left_out == {
        "that stand there already": 1,
        "with digits, letters or signs": 2,
        "under 8 syllables": 1,
        "over 40 syllables": 1,
    }
    assert "외계 토끼와 까치가 뽀얀 빵을 쪘다." in found.texts  # the other two are nearly one
    held, spoken = set().union(*map(pairs, found.texts)), set().union(*map(pairs, (LINES[0], LINES[2], LINES[3])))
    assert found.pairs == (len(held), len(spoken))
    assert found.phonemes[0] <= found.phonemes[1] and 0.5 < found.spoken_share < 1
    assert choose_prompts(LINES, PromptOptions(count=9), FRONTEND).spoken_share == 1


def test_few_chosen_ones_hold_more_than_as_many_from_the_beginning() -> None:
    nouns = "사과 바나나 토끼 까치 빵집 휘파람 열쇠 의자 창문 봄꽃 괘종 왜가리 웨하스 예쁜이 쌀밥 짬뽕 값 흙 닭 삶"
    lines = [f"{one}하고 {other} 이야기를 했어요." for one in nouns.split() for other in nouns.split()]
    found = choose_prompts(lines, PromptOptions(count=12), FRONTEND)
    first = set().union(*map(pairs, lines[:12]))
    assert len(found.texts) == 12 and found.pairs[0] > 1.3 * len(first)
    assert found.texts == choose_prompts(lines, PromptOptions(count=12), FRONTEND).texts
    assert found.texts[:5] == choose_prompts(lines, PromptOptions(count=5), FRONTEND).texts


def test_nothing_to_choose_from_is_told() -> None:
    with pytest.raises(TextError, match=r"2 with digits.*give Korean sentences"):
        choose_prompts(["3시에 만나요", "hello world"], PromptOptions(), FRONTEND)
    with pytest.raises(ConfigError, match="count"):
        PromptOptions.parse({"count": 0}, "here")
