"""Addresses of the web, mail and files, read part by part."""

import re

from malsori.text.latin import read_code, read_latin, spell
from malsori.text.numbers import cardinal, digit_by_digit
from malsori.text.readers import after, gap, reads
from malsori.text.tables import words

_SIGNS = {
    ".": "점",
    "@": "골뱅이",
    "/": "슬래시",
    "-": "하이픈",
    "_": "언더바",
    ":": "콜론",
    "?": "물음표",
    "=": "는",
    "&": "앤드",
    "%": "퍼센트",
    "#": "샵",
    "~": "물결",
    "+": "플러스",
}


@reads(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@[A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,}"
    r"|(?:https?://|www\.)[A-Za-z0-9./?=&_%#~:+-]*[A-Za-z0-9/]|(?<![A-Za-z0-9-])[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}){0,5}"
    r"\.(?:com|net|org|kr|io|ai|gov|edu|tv|jp|info)\b(?:/[A-Za-z0-9./?=&_%-]*)?"
)
def address(match: re.Match[str], text: str) -> str:
    """Return an address part by part: 'naver.com' is '네이버 닷컴'."""
    spoken = []
    for part in re.findall(r"\.com\b|[A-Za-z]+|\d+|.", match[0].removeprefix("https://").removeprefix("http://")):
        if part.isdigit():
            spoken.append(digit_by_digit(part))
        elif part[0].isalpha():
            short = len(part) <= 4 and read_latin(part) != read_latin(part.capitalize())
            spoken.append(spell(part) if short else read_latin(part))
        else:
            spoken.append("닷컴" if part == ".com" else _SIGNS[part])
    return " ".join(spoken)


@reads(r"(?P<name>[A-Za-z0-9_-]{1,64})?(?P<type>(?:\.[A-Za-z][A-Za-z0-9]{0,4}){1,2})(?![A-Za-z0-9.@])")
def file_name(match: re.Match[str], text: str) -> str | None:
    """Return a file's name with its type: '회의록.hwp' is '회의록 점 에이치더블유피', 'Node.js' '노드 제이에스'."""
    types = match["type"][1:].split(".")
    if any(part.lower() not in words("file_types") for part in types):
        return None
    spoken = "".join(f" 점 {_file_type(part)}" for part in types)
    name = match["name"] or ""
    if name[:1].isupper() and types[0] in ("js", "NET", "io"):
        spoken = spoken.replace(" 점 ", " ")
    parts = re.findall(r"[A-Za-z]+|\d+|[_-]", name)
    said = {"_": " 언더바 ", "-": " "}
    read = [said.get(part) or (cardinal(part) if part.isdigit() else read_latin(part)) for part in parts]
    return "".join(read) + spoken + gap(after(match, text))


def _file_type(name: str) -> str:
    """Return a file's type as it is called: letter by letter, but for the few that are words."""
    called = {
        "json": "제이슨",
        "zip": "집",
        "log": "로그",
        "app": "앱",
        "java": "자바",
        "net": "넷",
        "wav": "웨이브",
        "bak": "백",
    }
    return called.get(name.lower()) or (read_code(name.upper()) if name[-1].isdigit() else None) or _spelled(name)


def _spelled(name: str) -> str:
    """Return letters and digits one by one."""
    return "".join(spell(sign) if sign.isalpha() else digit_by_digit(sign) for sign in name)
