"""Hanja as they are read: by word where a character has several readings, with the initial law (두음 법칙).

A character has one everyday reading (hanja.tsv); where a word gives it another (音樂 음악, 復活 부활, 六月 유월), the
word or the telling part of it stands in hanja_words.tsv. The initial law then holds at the head of a word, and inside
a longer run at the head of each word of it.

Source: 한글 맞춤법 (notice 2017-12), 제10-12항 (두음 법칙), 제30항 (사이시옷), 제52항 (본음과 속음).
"""

import re
from functools import cache

from malsori.text.hangul import SILENT, compose, decompose, is_syllable
from malsori.text.tables import choice, table, words


@cache
def _readings() -> dict[str, str]:
    return {character: reading for reading, characters in table("hanja.tsv") for character in characters}


@cache
def _readings_in_words() -> dict[str, list[tuple[str, int, str]]]:
    """Return for a character the words that give it another reading, longest first: word, its place there, reading."""
    found: dict[str, list[tuple[str, int, str]]] = {}
    for reading, character, fragments in table("hanja_words.tsv", 3):
        for fragment in fragments.split():
            found.setdefault(character, []).append((fragment, fragment.index(character), reading))
    for rows in found.values():
        rows.sort(key=lambda row: -len(row[0].strip("^$")))
    return found


@cache
def hanja_runs(in_parentheses: bool = False) -> re.Pattern[str]:
    """Return the pattern of a run of Hanja that have a reading, or of one that glosses the word before it."""
    run = f"([{''.join(_readings())}]+)"
    return re.compile(rf"[(（]{run}[)）]" if in_parentheses else run)


def read_hanja(run: str, before: str = "", after: str = "") -> str:
    """Return the reading of a run of Hanja between the texts before and after it.

    >>> read_hanja("音樂"), read_hanja("勞動"), read_hanja("六月"), read_hanja("女性")
    ('음악', '노동', '유월', '여성')
    """
    marked = f"^{run}$" if not is_syllable(before[-1:] or " ") else f" {run}$"
    if is_syllable(after[:1] or " ") and not re.match(choice("hanja_particles"), after):
        marked = f"{marked[:-1]} "
    if run[0] == "金" and len(run) <= 3 and re.match(rf"\s?{choice('titles')}", after):
        return "김" + (read_hanja(run[1:], before="김") if run[1:] else "")
    heads = _heads(run, marked[0] == "^")
    spoken = ""
    for place, character in enumerate(run):
        reading = _reading(character, marked, place + 1)
        spoken += _initial_law(reading, spoken[-1:], place in heads)
    return spoken


def _reading(character: str, marked: str, place: int) -> str:
    """Return the reading of the character at a place of a run, which stands between ^ and $."""
    if character == "不" and decompose(_readings().get(marked[place + 1], "가"))[0] in "ㄷㅈ":
        return "부"
    for fragment, inside, reading in _readings_in_words().get(character, ()):
        if marked.startswith(fragment, max(0, place - inside)) and place >= inside:
            return reading
    return _readings()[character]


def _heads(run: str, initial: bool) -> set[int]:
    """Return the places in a run where a word begins, as far as the initial law asks."""
    heads = {0} if initial else set()
    if len(run) == 4 and run[2:4] not in words("hanja_tails"):
        heads.add(2)
    for place in range(1, len(run) - 1):
        if run[place : place + 2] in words("hanja_heads") and (place > 1 or run[0] in words("hanja_prefixes")):
            heads.add(place)
    return heads


def _initial_law(reading: str, before: str, initial: bool) -> str:
    """Return a reading after the initial law: 女 녀 is 여 at the head of a word, 律 률 is 율 after a vowel or ㄴ."""
    onset, nucleus, coda = decompose(reading)
    if reading in ("렬", "률") and before and decompose(before)[2] in ("", "ㄴ"):
        return compose(SILENT, nucleus, coda)
    if not initial or onset not in "ㄴㄹ":
        return reading
    if nucleus in "ㅑㅕㅛㅠㅣㅖ":
        return compose(SILENT, nucleus, coda)
    return compose("ㄴ", nucleus, coda)
