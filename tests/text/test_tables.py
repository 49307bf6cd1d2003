"""The front-end against tables of words: its own, and the exams and recordings where they are at hand."""

import re
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from malsori.text.frontend import Frontend
from malsori.text.normalize import normalize

HERE = Path(__file__).parent
frontend = Frontend()


def rows(path: Path) -> Iterator[list[str]]:
    """Yield the cells of a table's rows, without comments."""
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if line.strip() and not line.startswith("# "):
            yield line.split("\t")


def bare(text: str) -> str:
    """Return a text without spaces and punctuation, as the exams compare."""
    return re.sub(r"[\W_]", "", text)


@pytest.mark.parametrize(("written", "accepted", "article"), list(rows(HERE / "pronunciation.tsv")))
def test_pronounce_says_what_the_regulation_says(written: str, accepted: str, article: str) -> None:
    reading = frontend.read(written)
    assert bare(reading.pronounced) in accepted.split("|"), (article, reading.rules)


@pytest.mark.parametrize(("written", "accepted"), list(rows(HERE / "normalization.tsv")))
def test_normalize_reads_what_is_written(written: str, accepted: str) -> None:
    assert bare(normalize(written).text) in accepted.split("|")


@pytest.mark.parametrize(("kind", "written", "accepted"), list(rows(HERE / "expressions.tsv")))
def test_an_expression_is_read_by_its_kind(kind: str, written: str, accepted: str) -> None:
    assert bare(normalize(written).text) in {bare(answer) for answer in accepted.split("|")}, kind


def kinds() -> list[tuple[str, list[list[str]]]]:
    """Return the rows of kinds.tsv by their kind."""
    found: dict[str, list[list[str]]] = {}
    for kind, *row in rows(HERE / "kinds.tsv"):
        found.setdefault(kind, []).append(row)
    return list(found.items())


@pytest.mark.parametrize(("kind", "inputs"), kinds())
def test_every_input_of_a_kind_is_read(kind: str, inputs: list[list[str]]) -> None:
    wrong = []
    for command, written, accepted in inputs:
        said = normalize(written).text if command == "normalize" else frontend.read(written).pronounced
        if bare(said) not in {bare(answer) for answer in accepted.split("|")}:
            wrong.append((written, said, accepted))
    assert len(inputs) >= 10 and wrong == [], kind


def test_hanja_are_read_by_word() -> None:
    cells = [cell.split() for row in rows(HERE / "hanja.tsv") for cell in row]
    wrong = [(hanja, normalize(hanja).text, reading) for hanja, reading in cells if normalize(hanja).text != reading]
    assert len(cells) >= 300 and wrong == []


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("여자(女子)와 시월(十月)", "여자와 시월"), ("音樂(음악)을", "음악을"), ("10萬圓과 3個月", "십만 원과 삼 개월"),
        ("6月 5日 3時間", "유월 오 일 세 시간"), ("2024年", "이천이십사 년"), ("그의 生日", "그의 생일"),
        ("金氏의 金", "김씨의 금"), ("金 후보와 李 대표", "김 후보와 이 대표"), ("金永三 대통령", "김영삼 대통령"),
        ("中國·日本", "중국 일본"), ("돈(金)", "돈 금"),
    ],
)  # fmt: skip
def test_hanja_beside_hangul_and_digits(written: str, spoken: str) -> None:
    assert normalize(written).text == spoken


@pytest.fixture(scope="session")
def exams(data_folder: Path) -> Path:
    """Return the folder of exam tables beside the recordings; skip, saying so, where there is none."""
    folder = data_folder.parent / "exams"
    if not folder.is_dir():
        pytest.skip(f"no exams at {folder}")
    return folder


def examine(path: Path, say: str) -> tuple[dict[str, float], str]:
    """Return the share of right rows (all, those that need no lexicon, those that do) and the failures by category."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    failures: dict[str, list[str]] = {}
    for _, category, written, accepted, needs_lexicon, *_ in list(rows(path))[1:]:
        said = frontend.read(written).pronounced if say == "pronounced" else normalize(written).text
        passed = bare(said) in {bare(answer) for answer in accepted.split("|")}
        for group in ("all", f"lexicon {needs_lexicon}"):
            total[group] += 1
            right[group] += passed
        if not passed:
            failures.setdefault(category, []).append(f"  {written} → {said}, not {accepted}")
    report = "\n".join(line for category in sorted(failures) for line in (category, *failures[category]))
    return {group: right[group] / total[group] for group in total}, report


@pytest.mark.data
def test_the_exam_of_pronunciation_is_passed(exams: Path) -> None:
    shares, report = examine(exams / "pronunciation.tsv", "pronounced")
    assert shares["all"] >= 0.98 and shares["lexicon 0"] == 1, f"{shares}\n{report}"


@pytest.mark.data
def test_the_exam_of_normalization_is_passed(exams: Path) -> None:
    shares, report = examine(exams / "normalisation.tsv", "normalized")
    assert shares["all"] >= 0.96, f"{shares}\n{report}"


@pytest.mark.data
def test_words_of_wiktionary_are_said_as_it_says(exams: Path) -> None:
    tool = exams.parent / "tools" / "wikipron.py"
    if not tool.is_file():
        pytest.skip(f"no comparison at {tool}")
    compare = runpy.run_path(str(tool))
    said: dict[str, set[str]] = {}
    for line in (exams / "wikipron.tsv").read_text(encoding="utf-8").splitlines():
        word, ipa = line.split("\t")
        sounds = compare["theirs"](ipa)
        if sounds and re.fullmatch("[가-힣 ]+", word):
            said.setdefault(word, set()).add(compare["loose"](sounds))
    ours = {word: compare["loose"](compare["ours"](frontend.read(word).pronounced)) for word in said}
    wrong = [word for word in said if ours[word] not in said[word]]
    assert len(wrong) <= 0.015 * len(said), f"{len(wrong)} of {len(said)}: {' '.join(wrong)}"


@pytest.mark.data
def test_scripts_are_normalized_to_what_their_readers_said(data_folder: Path) -> None:
    differing, equal = set(), set()
    for script in sorted((data_folder / "emotiontts").glob("**/script/*.txt")):
        transcript = script.parent.parent / "transcript" / script.name
        if transcript.exists():
            pair = tuple(path.read_text(encoding="utf-8-sig").strip() for path in (script, transcript))
            (equal if bare(pair[0]) == bare(pair[1]) else differing).add(pair)
    wrong = [pair for pair in sorted(differing) if bare(normalize(pair[0]).text) != bare(pair[1])]
    listed = "\n".join(f"{normalize(written).text}\n  said: {spoken}" for written, spoken in wrong)
    assert len(wrong) <= 0.15 * len(differing), f"{len(wrong)} of {len(differing)}:\n{listed}"
    assert [written for written, _ in equal if bare(normalize(written).text) != bare(written)] == []
