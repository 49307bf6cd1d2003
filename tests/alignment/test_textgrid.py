"""TextGrid and subtitle files, opened by Praat itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malsori.alignment.spans import Alignment, Span
from malsori.alignment.textgrid import format_textgrid, load_textgrid, save_textgrid
from malsori.errors import AlignmentError

WORDS = (Span("사랑해", 0.1, 0.6), Span('그가 "응" 했다', 0.75, 1.25))
PHONES = (Span("ㅅ", 0.1, 0.2), Span("ㅏ", 0.2, 0.6), Span("-ㅇ", 1.0, 1.25))
TIERS = {"words": WORDS, "syllables": (), "phones": PHONES}


def test_praat_opens_what_we_write_and_reads_the_same_labels_and_times(tmp_path):
    parselmouth = pytest.importorskip("parselmouth")
    path = tmp_path / "a.TextGrid"
    save_textgrid(path, TIERS, duration=2.0)
    opened = parselmouth.Data.read(str(path))
    call = parselmouth.praat.call
    assert call(opened, "Get number of tiers") == 3
    assert call(opened, "Get total duration") == 2.0
    for number, (name, spans) in enumerate(TIERS.items(), start=1):
        assert call(opened, "Get tier name", number) == name
        intervals = range(1, int(call(opened, "Get number of intervals", number)) + 1)
        read = [
            Span(
                call(opened, "Get label of interval", number, index),
                call(opened, "Get start time of interval", number, index),
                call(opened, "Get end time of interval", number, index),
            )
            for index in intervals
        ]
        assert tuple(span for span in read if span.text) == spans


@pytest.mark.parametrize("command", ["Save as text file", "Save as short text file"])
def test_we_open_what_praat_writes_in_both_forms(tmp_path, command):
    parselmouth = pytest.importorskip("parselmouth")
    ours, praats = tmp_path / "ours.TextGrid", tmp_path / "praats.TextGrid"
    save_textgrid(ours, TIERS, duration=2.0)
    parselmouth.praat.call(parselmouth.Data.read(str(ours)), command, str(praats))
    assert load_textgrid(praats) == TIERS == load_textgrid(ours)


def test_points_become_spans_of_no_length(tmp_path):
    path = tmp_path / "points.TextGrid"
    head = '"ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n1\n'
    path.write_text(head + '"TextTier"\n"peaks"\n0\n1\n1\n0.5 ! a comment\n"H*"\n', encoding="utf-8")
    assert load_textgrid(path) == {"peaks": (Span("H*", 0.5, 0.5),)}


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1),
                          st.integers(0, 3), st.integers(1, 400)), max_size=8))  # fmt: skip
def test_any_labels_survive_the_way_to_the_file_and_back(tmp_path_factory, parts):
    spans, reached = [], 0
    for text, gap, length in parts:
        spans.append(Span(text, (reached + gap) / 100, (reached + gap + length) / 100))
        reached += gap + length
    path = tmp_path_factory.mktemp("grid") / "a.TextGrid"
    path.write_bytes(format_textgrid({"tier": spans}, duration=1.0).encode())
    assert load_textgrid(path) == {"tier": tuple(spans)}


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        ([Span("가", 0.0, 0.5), Span("나", 0.4, 0.6)], "'나' begins at 0.4 s, before 0.5 s"),
        ([Span("가", 0.5, 0.5)], "'가' at 0.5 s lasts no time"),
    ],
)
def test_spans_that_overlap_or_last_no_time_are_refused(spans, told):
    with pytest.raises(AlignmentError, match=told):
        format_textgrid({"words": spans}, 1.0)


@pytest.mark.parametrize("content", [b"", b"RIFF\xff\xfe", b'"ooTextFile" "TextGrid" 0 1 <exists> 2 "IntervalTier"'])
def test_a_file_that_is_no_whole_textgrid_is_refused_by_name(tmp_path, content):
    path = tmp_path / "bad.TextGrid"
    path.write_bytes(content)
    with pytest.raises(AlignmentError, match=r"bad\.TextGrid"):
        load_textgrid(path)
    with pytest.raises(AlignmentError, match="no such file"):
        load_textgrid(Path("no such file"))


def test_an_alignment_becomes_the_promised_json():
    alignment = Alignment(WORDS[:1], (), PHONES[:1], 2.0)
    assert alignment.as_json() == {
        "words": [{"text": "사랑해", "start": 0.1, "end": 0.6}],
        "syllables": [],
        "phones": [{"text": "ㅅ", "start": 0.1, "end": 0.2}],
    }
