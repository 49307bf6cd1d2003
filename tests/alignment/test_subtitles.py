"""Subtitles: what a Korean viewer can read in the time there is, and nothing lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from malsori.alignment.spans import Span
from malsori.alignment.subtitles import SubtitleOptions, format_subtitles, join_cues


def spoken(text: str, seconds_per_letter: float = 0.15, pause: float = 0.3) -> list[Span]:
    """Words one after the other, a pause after each sentence."""
    words, now = [], 0.0
    for word in text.split():
        words.append(Span(word, now, now + len(word) * seconds_per_letter))
        now = words[-1].end + (pause if word.endswith((".", "?", "!")) else 0.0)
    return words


def texts(text: str, **options: float) -> list[str]:
    return [cue.text.replace("\n", " / ") for cue in join_cues(spoken(text), SubtitleOptions(**options))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("안녕하세요. 반갑습니다.", ["안녕하세요.", "반갑습니다."]),
        ("우리가 함께 만들 수 있는 것들을 생각해 봅시다.", ["우리가 함께 만들 수 있는 / 것들을 생각해 봅시다."]),
        ("비가 많이 내려서 길이 막혔지만 늦지 않게 도착할 수 있었습니다.",
         ["비가 많이 내려서", "길이 막혔지만 늦지 않게 / 도착할 수 있었습니다."]),
        ("나는 가고 싶다고 말했지만 그 사람은 오지 않았다.", ["나는 가고 싶다고 말했지만 / 그 사람은 오지 않았다."]),
    ],
)  # fmt: skip
def test_cues_and_rows_end_where_a_phrase_ends(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_a_word_longer_than_a_row_is_divided_and_keeps_its_time() -> None:
    cues = join_cues([Span("가" * 40, 0.0, 4.0)])
    assert [cue.text for cue in cues] == ["가" * 16, "가" * 16 + "\n" + "가" * 8]
    assert cues[1].start == pytest.approx(1.6)


def test_a_short_word_stands_until_it_is_read_but_not_into_the_next_cue() -> None:
    alone, held, last = join_cues([Span("네.", 0.0, 0.2), Span("아니요.", 4.0, 4.2), Span("왜 그래요?", 4.88, 5.9)])
    assert alone.end == pytest.approx(0.83)
    assert 4.7 < held.end < 4.88 and last.end == pytest.approx(5.9)


def test_a_new_cue_begins_after_a_long_silence() -> None:
    assert len(join_cues([Span("그래서", 0.0, 0.5), Span("갔다.", 2.0, 2.5)])) == 2


def test_options_that_contradict_are_refused() -> None:
    with pytest.raises(ValidationError, match="min_cue_seconds 8"):
        SubtitleOptions(min_cue_seconds=8)


TEXTS = st.text("가나다라마는을고서수것.?, a1", min_size=1, max_size=40)
WORDS = st.lists(st.tuples(TEXTS, st.floats(0, 3), st.floats(0, 2)), max_size=40)


@settings(max_examples=80, deadline=None)
@given(WORDS, st.integers(4, 30), st.integers(1, 3))
def test_every_cue_keeps_the_bounds_and_nothing_is_lost(
    drawn: list[tuple[str, float, float]], row: int, rows: int
) -> None:
    words, now = [], 0.0
    for text, lasts, pause in drawn:
        words.append(Span(text, now, now + lasts))
        now += lasts + pause
    options = SubtitleOptions(max_row_characters=row, max_rows=rows)
    cues = join_cues(words, options)
    assert "".join("".join(cue.text.split()) for cue in cues) == "".join("".join(text.split()) for text, _, _ in drawn)
    for cue, following in zip(cues, [*cues[1:], None], strict=False):
        lines = cue.text.split("\n")
        assert len(lines) <= rows and all(len(line) <= row for line in lines)
        assert cue.start <= cue.end
        assert following is None or cue.end <= following.start + 1e-9


def test_a_file_of_each_style_is_as_its_players_read_it() -> None:
    cues = [Span("가\n나", 0.0, 60.0), Span("다 --> 라 & 마", 3599.9994, 7325.25)]
    assert format_subtitles(cues[:1], "srt") == "1\n00:00:00,000 --> 00:01:00,000\n가\n나\n"
    assert format_subtitles(cues[1:], "srt") == "1\n00:59:59,999 --> 02:02:05,250\n다 → 라 & 마\n"
    assert format_subtitles(cues[1:], "vtt") == "WEBVTT\n\n00:59:59.999 --> 02:02:05.250\n다 --&gt; 라 &amp; 마\n"
