"""Marks in a text: what they ask for, what only looks like one, and what is refused."""

import pytest

from malsori.errors import TextError
from malsori.text.frontend import Frontend
from malsori.tts.markup import escape, parse_markup

frontend = Frontend(morphology=False)


def spoken(text: str) -> str:
    script = parse_markup(text)
    return frontend.read(script.text, given=script.given).normalized


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("{COEX|코엑스}에서 [pause:0.7] 만나요", "코엑스에서, 만나요"),
        ("{3개|석 개}만", "석 개만"),
        ("안녕하세요\n반가워요.\n\n또 봐요?\n네", "안녕하세요. 반가워요. 또 봐요? 네"),
        ("<speak><p><s>하나</s><s>둘</s></p><p>셋</p></speak>", "하나. 둘. 셋."),
        ("<sub alias='세계보건기구'>WHO</sub>는", "세계보건기구는"),
        ("<sub alias='엑스'>A {B|비} C</sub>는", "엑스는"),
        ("가<voice name='a'>나</voice>다", "가나다"),
        ("가<!-- 아니 -->나 <?xml version='1.0'?>다", "가나 다"),
        (r"\{A|비}와 \<s>", "에이 비와 에스"),
        ("A &lt; B &amp; C", "에이 비 앤드 씨"),
    ],
)
def test_marks_are_read_and_not_spoken(text: str, normalized: str) -> None:
    assert spoken(text) == normalized


@pytest.mark.parametrize("text", ["3 < 5이고 7 > 2", "{x} [1] <제목>", "a<b c>d", "{a|b|c}", "[paus:1]", "값이 <3"])
def test_what_only_looks_like_a_mark_is_left_alone(text: str) -> None:
    script = parse_markup(text)
    assert script.text == text and not script.given and not script.dropped


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("가 [pause:0.7] 나", 0.7),
        ("가 [pause:250ms] 나", 0.25),
        ("가 [pause:2s] 나", 2.0),
        ("가 [pause] 나", 0.4),
        ("가 <break time='500ms'/> 나", 0.5),
        ('가 <break time="1.5s"/> 나', 1.5),
        ("가 <break strength='strong'/> 나", 0.7),
        ("가 <break/> 나", 0.4),
        ("<p>가</p><p>나</p>", 0.7),
    ],
)
def test_a_pause_lasts_as_long_as_is_said(text: str, seconds: float) -> None:
    assert list(parse_markup(text).pauses.values()) == [pytest.approx(seconds)]


def test_a_break_of_no_strength_and_the_ends_of_a_text_are_no_pauses() -> None:
    assert not parse_markup("가 <break strength='none'/> 나").pauses
    assert not parse_markup("<p>가</p>").pauses


@pytest.mark.parametrize(
    ("rate", "value"), [("slow", 0.75), ("x-fast", 1.7), ("80%", 0.8), ("+20%", 1.2), ("-10%", 0.9), ("1.5", 1.5)]
)
def test_a_rate_is_that_of_the_voices_own_pace(rate: str, value: float) -> None:
    script = parse_markup(f"가 <prosody rate='{rate}'>나 다</prosody> 라")
    rates = {sign: script.rate_at(script.text.index(sign)) for sign in "가나다라"}
    assert rates == {"가": 1.0, "나": pytest.approx(value), "다": pytest.approx(value), "라": 1.0}


def test_rates_within_rates_are_multiplied() -> None:
    script = parse_markup("<prosody rate='50%'>가 <prosody rate='2.0'>나</prosody> 다</prosody>")
    assert [script.rate_at(script.text.index(sign)) for sign in "가나다"] == [0.5, 1.0, 0.5]


def test_tags_that_are_not_served_are_named_and_their_words_stay() -> None:
    script = parse_markup("<emphasis>가</emphasis> <prosody rate='slow' pitch='high'>나</prosody> <audio src='x'/>")
    assert script.text.split() == ["가", "나"]
    assert script.dropped == ("<emphasis>", "pitch of <prosody>", "<audio>")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("가\n나 [pause:abc] 다", r"line 2, column 3: '\[pause:abc\]' is no pause; accepted: 0 to 10 s"),
        ("[pause:11]", "is no pause"),
        ("<break time='-1s'/>", "is no pause"),
        ("<break strength='huge'/>", "strength 'huge' of a break; accepted: none, x-weak"),
        ("{COEX|coex}", "line 1, column 1: 'COEX' is to be read 'coex'; accepted: Hangul"),
        ("{값|[값]}", "ends in ㅄ"),
        ("<sub alias='WHO'>세계</sub>", "is to be read 'WHO'"),
        ("<prosody rate='quick'>가</prosody>", "rate 'quick'; accepted: x-slow"),
        ("<prosody rate='900%'>가</prosody>", "rate '900%'"),
        ("<prosody rate='slow'>가", "<prosody> is not closed"),
        ("가</prosody>", "closes nothing: nothing is open"),
        ("<prosody rate='slow'><sub alias='나'>가</prosody></sub>", "<sub> is to be closed first"),
    ],
)
def test_a_mark_that_cannot_be_served_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(TextError, match=told):
        parse_markup(text)


@pytest.mark.parametrize("text", ["{COEX|코엑스}", "<break/>[pause:1]", "a\\b & c &lt;", "그냥"])
def test_an_escaped_text_holds_no_marks(text: str) -> None:
    script = parse_markup(escape(text))
    assert script.text == text and not script.given and not script.pauses
