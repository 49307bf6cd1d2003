"""The whole front-end: phonemes and their places, rules and their articles, lexicons, life without Kiwi."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import malsori
from malsori import cli
from malsori.errors import TextError
from malsori.text.frontend import Frontend
from malsori.text.hangul import CODAS, NUCLEI, ONSETS, compose
from malsori.text.lexicon import Lexicon
from malsori.text.pronounce import INSIDE, STOP, WORD, pronounce
from malsori.text.symbols import PHONEMES
from malsori.text.tables import read_rows

frontend = Frontend()
SOUNDED = set(PHONEMES.symbols) - {"_", "ㅇ"}


def test_phonemes_begin_with_silence_and_end_with_the_sentence() -> None:
    assert frontend.read("네").phonemes == ("^", "ㄴ", "ㅔ", ".")
    assert frontend.read("네, 가요?").phonemes == ("^", "ㄴ", "ㅔ", ",", "ㄱ", "ㅏ", "ㅛ", "?")
    assert frontend.read("가!").phonemes[-1] == "!" and frontend.read("가...").phonemes[-1] == "…"


def test_every_phoneme_knows_its_syllable_and_word() -> None:
    reading = frontend.read("KBS가 3시에 시작해요.")
    assert [word.written for word in reading.words] == ["KBS가", "3", "시에", "시작해요"]
    assert [reading.written[word.start : word.end] for word in reading.words] == [
        word.written for word in reading.words
    ]
    for phoneme, syllable, word in zip(reading.phonemes, reading.phoneme_syllables, reading.phoneme_words, strict=True):
        assert (syllable == -1) == (word == -1) == (phoneme in "^ ,.?!…")
    assert sorted({*reading.phoneme_syllables} - {-1}) == list(range(len(reading.syllables)))
    assert "".join(reading.syllables) == "".join(word.spoken for word in reading.words)


def test_ids_are_those_of_the_table() -> None:
    reading = frontend.read("국물")
    assert PHONEMES.decode(frontend.ids(reading)) == list(reading.phonemes)


def test_an_empty_text_is_a_silent_sentence() -> None:
    assert frontend.read("").phonemes == ("^", ".") and frontend.read("  ").words == ()


@pytest.mark.parametrize(
    ("text", "source", "target", "article"),
    [
        ("국물", "국물", "궁물", "제18항"),
        ("옷이", "옷이", "오시", "제13항"),
        ("물고기", "물고기", "물꼬기", "제28항"),
        ("갈등", "갈등", "갈뜽", "제26항"),
        ("할 것", "할 것", "할 껃", "제27항"),
        ("색연필", "색연필", "생년필", "제29항"),
        ("밟는", "밟", "밤", "제10항"),
        ("희망", "희", "히", "제5항"),
        ("닭 앞에", "닭 앞", "다 갑", "제11항, 제15항"),
    ],
)
def test_explanations_name_the_article_that_fired(text: str, source: str, target: str, article: str) -> None:
    hits = {hit.source: hit for hit in frontend.read(text).rules}
    assert source in hits and hits[source].article.startswith(article[:4])
    if source != "닭 앞":
        assert hits[source].target == target


def test_every_pair_of_coda_and_onset_sounds() -> None:
    for kind, coda, onset, nucleus in itertools.product((INSIDE, WORD, STOP), ["", *CODAS], ONSETS, "ㅏㅣㅕㅢ"):
        written = compose("ㄱ", "ㅏ", coda) + compose(onset, nucleus)
        for start, middle, end in pronounce(written, written, [kind, STOP], ["", ""]).syllables:
            parts = {start, middle} | ({f"-{end}"} if end else set())
            assert parts - {"ㅇ"} <= SOUNDED, written


def test_every_syllable_alone_sounds() -> None:
    for onset, nucleus, coda in itertools.product(ONSETS, NUCLEI, ["", *CODAS]):
        written = compose(onset, nucleus, coda)
        ((start, middle, end),) = pronounce(written, written, [STOP], [""]).syllables
        assert {start, middle} - {"ㅇ"} <= SOUNDED and (not end or f"-{end}" in SOUNDED)


def test_without_morphology_only_what_needs_it_changes() -> None:
    plain = Frontend(morphology=False)
    for text in ("국물이 좋아요", "물고기를 먹는다", "닭칼국수", "감고", "값있는", "여덟 개"):
        assert plain.read(text).phonemes[0] == "^"
    assert plain.read("국물이 뜨거워요").pronounced == frontend.read("국물이 뜨거워요").pronounced
    assert plain.read("물고기").pronounced == "물꼬기"
    assert plain._analyzer is None


def test_a_users_lexicon_goes_before_all_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("# mine\n물고기\t물고기\n말소리\t말쏘리\t사전\n", encoding="utf-8")
    own = Frontend(lexicon=path)
    assert own.read("물고기").pronounced == "물고기" and frontend.read("물고기").pronounced == "물꼬기"


@pytest.mark.parametrize(
    ("content", "message"),
    [("물고기\t물꼬!\n", "accepted: Hangul"), ("물고기\n", r"mine\.tsv:1"), ("a\tb\n", "Hangul")],
)
def test_a_users_lexicon_is_checked_row_by_row(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TextError, match=message):
        Frontend(lexicon=path).read("말")


def test_a_missing_lexicon_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"absent\.tsv"):
        Frontend(lexicon=tmp_path / "absent.tsv").read("말")


def test_every_row_of_the_lexicon_respells_syllable_by_syllable() -> None:
    folder = Path(malsori.__file__).parent / "text"
    for word, spoken, article, *_ in read_rows(folder / "lexicon.tsv", 3) + read_rows(folder / "homographs.tsv", 5):
        assert len(word) == len(spoken) and article, word
    assert len(Lexicon()) > 3000


@pytest.mark.parametrize(
    ("text", "pronounced"),
    [
        ("대가를 치르다", "대까를 치르다"), ("문학의 대가", "문하긔 대가"), ("공적 자금", "공쩍 짜금"),
        ("그의 공적", "그의 공적"),
        ("잠자리에 들다", "잠짜리에 들다"), ("고추잠자리", "고추잠자리"),
        ("안과에 갔다", "안꽈에 갇따"), ("물이 물가로", "무리 물까로"),
        ("머리를 감기다", "머리를 감기다"), ("눈을 감기 전에", "누늘 감끼 저네"),
    ],
)  # fmt: skip
def test_homographs_are_told_apart(text: str, pronounced: str) -> None:
    assert frontend.read(text).pronounced == pronounced


def test_the_front_end_needs_no_kiwi_to_be_made_or_to_read_plain_words() -> None:
    code = (
        "import sys; from malsori.text.frontend import Frontend; Frontend().read('나무');"
        "sys.exit('kiwipiepy' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0


def test_filters_keep_lines_and_their_order(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", iter(["3개\n", "\n", "국물\n"]))
    assert cli.run(["text", "normalize"]) == 0
    assert capsys.readouterr().out == "세 개\n\n국물\n"
    assert cli.run(["text", "pronounce", "국물", "-5"]) == 0
    assert capsys.readouterr().out == "궁물\n마이너스 오\n"
    assert cli.run(["text", "phonemes", "네 네"]) == 0
    assert capsys.readouterr().out == "^ ㄴ ㅔ ␣ ㄴ ㅔ .\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("normalize", "한ख글 세 개\n\n같이 龘 국\n"),
        ("pronounce", "한ख글 세 개\n\n가치 龘 국\n"),
        ("phonemes", "^ ㅎ ㅏ -ㄴ ␣ ख ㄱ ㅡ -ㄹ ␣ ㅅ ㅔ ␣ ㄱ ㅐ .\n\n^ ㄱ ㅏ ㅊ ㅣ ␣ 龘 ㄱ ㅜ -ㄱ .\n"),
    ],
)
def test_a_sign_without_a_reading_stays_and_is_told_once(command: str, expected: str, capsys) -> None:
    texts = ["한ख글 3개", "", "같이 龘 국"]
    assert cli.run(["text", command, *texts]) == 0
    printed = capsys.readouterr()
    assert printed.out == expected
    first, second, total = printed.err.splitlines()
    assert "line 1, position 1: 'ख' (U+0916) DEVANAGARI LETTER KHA" in first
    assert "line 3, position 3: '龘' (U+9F98)" in second and "reading: 2, of 2 kinds, in lines: 2;" in total
    assert cli.run(["text", command, "--strict", *texts, "ख"]) == 2
    printed = capsys.readouterr()
    assert (
        printed.out.startswith(expected)
        and printed.err.count("DEVANAGARI") == 1
        and "reading: 3, of 2 kinds" in printed.err
    )


def test_bytes_that_are_not_utf8_pass_through_a_pipe() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2]), "PYTHONUTF8": "1"}
    command, sent = [sys.executable, "-m", "malsori", "text", "normalize"], "3개\n".encode() + b"\xff1\n"
    done = subprocess.run(command, input=sent, capture_output=True, check=True, env=environment)
    assert done.stdout == "세 개\n".encode() + b"\xff" + "일\n".encode() and b"not UTF-8" in done.stderr


def test_a_reading_lists_the_signs_that_no_phoneme_stands_for() -> None:
    with pytest.raises(TextError, match="U\\+0916"):
        frontend.read("한ख글")
    reading = frontend.read("한ख글", keep_unreadable=True)
    assert [(one.sign, one.position) for one in reading.unreadable] == [("ख", 1)]
    assert reading.pronounced == "한ख글" and reading.phonemes == frontend.read("한 글").phonemes
    assert [word.written for word in reading.words] == ["한", "글"]


def test_explain_prints_every_stage_as_json(capsys) -> None:
    assert cli.run(["explain", "국물 3개", "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)
    assert list(stages) == ["written", "normalized", "pronounced", "rules", "phonemes", "ids"]
    assert stages["rules"] == [{"from": "국물", "to": "궁물", "article": "제18항"}]
    assert len(stages["ids"]) == len(stages["phonemes"])
    assert cli.run(["explain", "국물"]) == 0
    assert "국물 → 궁물 (제18항)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "marked", "shown"),
    [
        ("normalize", "{COEX|코엑스}에서 3시에 [pause:0.7] 만나요", "코엑스에서 세 시에, [pause:0.7] 만나요"),
        ("normalize", "[pause] 네 <break time='300ms'/>", "[pause:0.4] 네, [pause:0.3]"),
        ("normalize", r"\{a|b} <i>3개</i>", "어 비 세 개"),
        ("pronounce", "{맛있다|[마싣따]} [pause:0.5] 국물", "마싣따, [pause:0.5] 궁물"),
        ("phonemes", "네 [pause:1] 네", "^ ㄴ ㅔ , ㄴ ㅔ ."),
    ],
)
def test_marks_are_served_and_not_read_aloud(command: str, marked: str, shown: str, capsys) -> None:
    assert cli.run(["text", command, marked]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{shown}\n" and ("not served: <i>" in printed.err) == ("<i>" in marked)


def test_a_wrong_mark_is_told_with_its_line_and_stops_no_pipe(capsys) -> None:
    assert cli.run(["text", "normalize", "하나", "{3개|abc}", "둘"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[::2] == ["하나", "둘"] and "세 개" in printed.out
    assert "malsori: line 2, column 1: '3개' is to be read 'abc'" in printed.err
    assert cli.run(["text", "normalize", "--strict", "하나", "{3개|abc}"]) == 2
    assert "line 2, column 1" in capsys.readouterr().err


def test_explain_lists_the_marks_of_a_text(capsys) -> None:
    marked = "{COEX|코엑스}에서 [pause:0.7] <prosody rate='slow'>만나요</prosody>"
    assert cli.run(["explain", marked, "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)
    assert stages["marks"] == [
        {"mark": "reading", "of": "COEX", "is": "코엑스"},
        {"mark": "pause", "seconds": 0.7},
        {"mark": "rate", "of": "만나요", "is": 0.75},
    ]
    assert stages["normalized"] == "코엑스에서, 만나요" and stages["phonemes"].count(",") == 1
    assert cli.run(["explain", marked]) == 0
    assert "pronounced  코엑쓰에서, [pause:0.7] 만나요" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "pronounced"),
    [
        ("갈 수 있어요.", "갈 쑤 이써요."),
        ("모를 수밖에 없다.", "모를 쑤바께 업따."),
        ("올 거예요.", "올 꺼예요."),
        ("먹을 것 같아.", "머글 껃 까타."),
        ("줄게요.", "줄께요."),
        ("클수록 좋다.", "클쑤록 쪼타."),
        ("할 줄은 알아.", "할 쭈르 나라."),
        ("말을 걸 때", "마를 걸 때"),
        ("힘들게 살지만", "힘들게 살지만"),
        ("오늘 수업", "오늘 수업"),
        ("서울 거리", "서울 거리"),
    ],
)
def test_without_morphemes_an_adnominal_ending_tenses_what_can_only_be_a_dependent_noun(text: str, pronounced: str):
    assert Frontend(morphology=False).read(text).pronounced == pronounced
