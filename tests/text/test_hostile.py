"""Random and hostile text: nothing crashes, normalizing twice changes nothing, a long line keeps its time."""

import random
from collections.abc import Iterator

import pytest

from malsori.text.frontend import Frontend
from malsori.text.normalize import normalize

_KOREAN = "가나다라마바사아자차카타파하은는이가을를에서월일시분초년개명원도층번호제대장권"
_SIGNS = "0123456789.,:;-–~/%‰°℃$€¥₩+×÷=<>()[]'\"@#&*_!?…·½¼²³㎡㎏㎾ⅣⅨ①ㄱㅋㅠ漢字不六金年月日"
_LATIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéüñß"
#: Parts that expressions are made of, so that random text meets their readers; _ is a space.
_WRITTEN = (
    "1- 1/2 3:15 2024-03-05 (금) 번호_ 코드 $50M HK$ USD_ 1,000 .5 ~ -4 kg mg/kg ㎡ m² 당 개 명요 쪽 제_ 장 로_ 동_ PM "
    "a.m. Vol. No. .hwp .com @ http:// www. 音樂 不 六月 金氏 1st F-16 MP3 A/S II × x 혈압_ 스코어_ 축척_ 010- +82_ "
    "° ′ 2,3 kWh ㎾ ~9 _"
)
_PARTS = [part.replace("_", " ") for part in _WRITTEN.split(" ")]


def hostile_texts(count: int) -> Iterator[str]:
    """Yield random texts, the same ones every time: any code points, signs beside Hangul, parts of expressions."""
    random_source = random.Random(14)
    alphabets = (_KOREAN + _SIGNS + " ", _SIGNS, _LATIN + _SIGNS, _KOREAN + " ")
    for index in range(count):
        length = random_source.randint(1, 30)
        if index % 4 == 0:
            yield "".join(chr(random_source.randrange(0x110000 if index % 8 else 0x3200)) for _ in range(length))
        elif index % 4 == 1:
            yield "".join(random_source.choices(random_source.choice(alphabets), k=length))
        else:
            yield "".join(random_source.choices([*_PARTS, *_KOREAN], k=length // 3 + 1))


def examine(count: int) -> None:
    """Assert that texts are read, that what has no reading is listed, and that normalizing again changes nothing."""
    frontend = Frontend(morphology=False)
    for index, text in enumerate(hostile_texts(count)):
        normalized = normalize(text, keep_unreadable=True)
        signs = [sign for sign in normalized.text if not ("가" <= sign <= "힣" or sign in " ,.?!…")]
        assert signs == [one.sign for one in normalized.unreadable], ascii(text)
        assert normalize(normalized.text, keep_unreadable=True).text == normalized.text, ascii(text)
        if index % 10 == 0:
            reading = frontend.read(text, keep_unreadable=True)
            assert len(reading.pronounced) == len(normalized.text), ascii(text)


def test_hostile_texts_are_read() -> None:
    examine(600)


@pytest.mark.slow
def test_a_hundred_thousand_hostile_texts_are_read() -> None:
    examine(100_000)


@pytest.mark.parametrize(
    "part", ["1-", "1", "가", "a", "漢", "1:", "1/", "1,", "a@", "(金)", "번호 1", "½", "ख", "1kg ", "."]
)
def test_a_long_line_of_one_part_is_read(part: str) -> None:
    text = part * (3_000 // len(part))
    normalized = normalize(text, keep_unreadable=True)
    assert normalize(normalized.text, keep_unreadable=True).text == normalized.text
