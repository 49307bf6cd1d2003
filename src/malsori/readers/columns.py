"""Which column of a table is what: by the names of a header, else by what stands in it; and said in words.

path      its cells name sound files
text      what is written there: Hangul, long, and different from line to line
spoken    a reading of the text: the same sentence, its numbers and letters spelled out. Nothing else is taken for it
speaker   few short names or numbers, over and over (or between path and text, as Piper and VITS have them)
split     train, dev, test and the like
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from malsori.errors import CorpusError, TextError
from malsori.readers.records import text_key, to_nfc
from malsori.text.hangul import is_syllable

#: Names that headers have, without case, spaces, hyphens and underscores.
NAMES = {
    "path": """path file filename filepath audio audiofile audiopath audiofilepath audiofilename audioid wav wavpath
        wavfile wavfilename wavs sound soundfile clip recording id uttid utteranceid fileid segmentid name filenm
        파일 파일명 파일이름 음성 음성파일 오디오 녹음 경로""",
    "text": """text sentence transcription transcript script rawtext rawtranscription originaltext written content
        caption label utterance
        orglabeltext stt answerlabeltext 문장 텍스트 전사 대본 원문 내용 글 자막""",
    "spoken": """spoken normalized normalizedtext normalizedtranscription textnormalized normtext
        pronunciation reading translabeltext
        발음 읽기 발음전사""",
    "speaker": """speaker speakerid speakername spk spkid spkr clientid voice reader actor user userid
        화자 성우 화자명 낭독자""",
    "split": "split subset partition set 분할",
}
ROLES = ("path", "text", "spoken", "speaker", "split")


#: What tables call the splits.
SPLIT_NAMES = {
    "train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev",
    "eval": "dev", "test": "test", "testing": "test",
}  # fmt: skip

#: Values that repeat as speakers' names do, and are none.
_NO_SPEAKERS = """male female m f man woman 남 여 남성 여성 남자 여자 neutral happy sad angry surprise fear disgust calm
    excited 중립 기쁨 슬픔 분노 놀람 놀라움 두려움 공포 혐오 행복 평온 무감정 true false yes no"""
_LANGUAGES = "ko kr kor korean ko-kr ko_kr en eng english en-us en-gb zh cn ja jp jpn ja-jp zh-cn yue auto"
_LABELS = frozenset((*_NO_SPEAKERS.split(), *_LANGUAGES.split(), *SPLIT_NAMES))
_NUMBER = re.compile(r"-?\d+([.,]\d+)?")
_SAMPLED = 200  # lines that are looked at
_MIN_LIKENESS = 65.0  # of two texts' jamo, 0 to 100: unlike Korean sentences have 35 to 50
_MAX_NAME_LETTERS = 40


@dataclass(frozen=True)
class Columns:
    """What each column of a table is: a role a column, "_" for one that is not used, and why it is not."""

    roles: tuple[str, ...]
    reasons: dict[int, str] = field(default_factory=dict)

    def cell(self, cells: Sequence[str], role: str) -> str:
        """Return the cell of a role, without spaces around; "" where the line has none."""
        place = self.roles.index(role) if role in self.roles else len(cells)
        return cells[place].strip() if place < len(cells) else ""

    def described(self, names: Sequence[str] = ()) -> str:
        """The columns in words: "1 path, 2 text, 3 not used ('kih': ...)", or by a header's names."""
        if names:
            taken = [f"{name} as {role}" for name, role in zip(names, self.roles, strict=False) if role != "_"]
            left = [name for name, role in zip(names, self.roles, strict=False) if role == "_"]
            return ", ".join(taken) + (f"; not used: {', '.join(left)}" if left else "")
        said = (
            f"{number} {role}" if role != "_" else f"{number} not used{self.reasons.get(number - 1, '')}"
            for number, role in enumerate(self.roles, start=1)
        )
        return ", ".join(said)


def parse_columns(given: str) -> Columns:
    """Return the columns that a user named: "path,speaker,_,text".

    Raises: CorpusError for an unknown role, one named twice, or none for the path or the text.
    """
    roles = tuple(part.strip() for part in given.split(","))
    unknown = [role for role in roles if role not in (*ROLES, "_")]
    twice = [role for role in ROLES if roles.count(role) > 1]
    if unknown or twice or not {"path", "text"} <= set(roles):
        why = (
            f"'{unknown[0]}' is no role"
            if unknown
            else f"'{twice[0]}' stands twice"
            if twice
            else "path and text are needed"
        )
        raise CorpusError(
            f"columns '{given}': {why}; give {', '.join(ROLES)} or _ for each column, such as path,_,text"
        )
    return Columns(roles)


def header_roles(cells: Sequence[str]) -> tuple[str, ...] | None:
    """Return the roles that a first line's names say, "" for other names; None if it is no header.

    It is one if it names a text, or a path and nothing that looks like a sentence.
    """
    found = [next((role for role in ROLES if _plain(cell) in NAMES[role].split()), "") for cell in cells]
    short = all(" " not in cell.strip() for cell in cells)
    named = len(cells) > 1 and ("text" in found or "spoken" in found or ("path" in found and short))
    return tuple(found) if named else None


def decide_columns(
    rows: Sequence[Sequence[str]], header: tuple[str, ...] | None, is_sound: Callable[[str], bool]
) -> Columns:
    """Return what each column of a table is.

    Args:
        rows: the lines with the usual number of cells, without a header.
        header: the roles that a header names.
        is_sound: returns whether a cell names a sound file.
    Raises: CorpusError if two columns could be the text.
    """
    rows = [[to_nfc(cell.strip()) for cell in row] for row in rows[:_SAMPLED]]
    columns = [[row[place] for row in rows] for place in range(len(rows[0]) if rows else 0)]
    named = list(header or [""] * len(columns))
    path = _path_column(columns, named, is_sound)
    reasons: dict[int, str] = {}
    again = [place for place in range(len(columns)) if place != path and _names_again(columns[place], columns[path])]
    rest = [place for place in range(len(columns)) if place != path and named[place] not in ("speaker", "split")]
    rest = [place for place in rest if place not in again]
    written, spoken = _text_columns(columns, named, rest)
    roles = ["_"] * len(columns)
    for place, role in ((path, "path"), (written, "text"), (spoken, "spoken")):
        if place is not None:
            roles[place] = role
    for role in ("speaker", "split"):
        if role in named:
            roles[named.index(role)] = role
    left = [place for place, role in enumerate(roles) if role == "_"]
    for place in left if "speaker" not in named and header is None else []:
        if (
            "speaker" not in roles
            and place not in again
            and _names_speakers(columns[place], between=path < place < (written or 0))
        ):
            roles[place] = "speaker"
    for place in left:
        if roles[place] == "_":
            reasons[place] = _why_unused(columns[place], columns[written] if written is not None else [])
    return Columns(tuple(roles), reasons)


def is_reading(written: str, spoken: str) -> bool:
    """Return whether one text is the other as it is read out: alike in its letters, numbers and Latin letters spelled.

    >>> is_reading("괜찮을 거예요.", "지수 A")
    False
    """
    from rapidfuzz import fuzz

    one, other = text_key(written), text_key(spoken)
    if not one or not other:
        return False
    if one == other or fuzz.ratio(_jamo(one), _jamo(other)) >= _MIN_LIKENESS:
        return True
    if all(map(is_syllable, one)) or not any(map(is_syllable, other)):
        return False
    return fuzz.ratio(_jamo(_read(written)), _jamo(other)) >= _MIN_LIKENESS


def _jamo(key: str) -> str:
    return unicodedata.normalize("NFD", key)


def _read(written: str) -> str:
    """Return the text key of a written text as the front-end reads it; "" if it cannot."""
    from malsori.text.normalize import normalize

    try:
        return text_key(normalize(written, keep_unreadable=True).text)
    except TextError:
        return ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]", "", to_nfc(name).casefold())


def _path_column(columns: list[list[str]], named: list[str], is_sound: Callable[[str], bool]) -> int:
    """Return the column most of whose cells name sound files; without any, the one that is named so, or the first."""
    found = [sum(map(is_sound, column)) for column in columns]
    if max(found, default=0):
        return max(range(len(columns)), key=lambda place: (found[place], named[place] == "path", -place))
    return named.index("path") if "path" in named else 0


def _text_columns(columns: list[list[str]], named: list[str], places: list[int]) -> tuple[int | None, int | None]:
    """Return the columns of the text as written and as spoken; None where there is none."""
    if "text" in named or "spoken" in named:
        text = named.index("text") if "text" in named else named.index("spoken")
        others = [place for place in places if named[place] in ("text", "spoken") and place != text]
        return text, next((place for place in others if _reads(columns[text], columns[place])), None)
    able = [place for place in places if not _is_label(columns[place])]
    able = [place for place in able if _share(columns[place], _has_hangul) >= 0.5] or able
    able = [place for place in able if 2 * len(set(columns[place])) > len(columns[place])] or able
    if not able:
        return None, None
    best = max(able, key=lambda place: _letters(columns[place]))
    repeats = 2 * len(set(columns[best])) <= len(columns[best])
    if repeats and _letters(columns[best]) <= 1 and not any(map(_has_hangul, columns[best])):
        return None, None  # few short words over and over: names
    alike = [place for place in able if place == best or _reads_either(columns[best], columns[place])]
    rivals = [place for place in able if place not in alike and not _below(columns[place], columns[best])]
    if rivals:
        one, other = sorted((best, rivals[0]))
        shown = (f"column {place + 1} ('{columns[place][0]}')" for place in (one, other))
        such = ("path" if place not in places else "text" if place == best else "_" for place in range(len(columns)))
        raise CorpusError(f"{' and '.join(shown)} could both be the text; say which with --columns {','.join(such)}")
    return alike[0], alike[1] if len(alike) > 1 else None


def _reads_either(one: list[str], other: list[str]) -> bool:
    return _reads(one, other) or _reads(other, one)


def _reads(written: list[str], spoken: list[str]) -> bool:
    pairs = [pair for pair in zip(written, spoken, strict=True) if all(pair)]
    return bool(pairs) and sum(is_reading(*pair) for pair in pairs) >= 0.8 * len(pairs)


def _below(column: list[str], best: list[str]) -> bool:
    """Return whether a column is clearly less of a text than the best: much shorter, or much the same in every line."""
    return 2 * _letters(column) < _letters(best) or 2 * len(set(column)) <= len(set(best))


def _is_label(column: list[str]) -> bool:
    values = [cell.casefold() for cell in column if cell]
    if not values:
        return True
    return all(value in _LABELS or _NUMBER.fullmatch(value) for value in values)


def _names_speakers(column: list[str], between: bool) -> bool:
    """Return whether a column's cells are few short names or whole numbers."""
    values = [cell for cell in column if cell]
    plain = {cell.casefold() for cell in values}
    if len(values) < len(column) or not values or max(map(len, values)) > _MAX_NAME_LETTERS:
        return False
    if plain <= _LABELS or any(re.fullmatch(r"-?\d+[.,]\d+", cell) for cell in values):
        return False
    return between or 2 * len(plain) <= len(values)


def _names_again(column: list[str], path: list[str]) -> bool:
    """Return whether a column repeats the names of the sound files, and is no Hangul that could be their text."""
    same = sum(cell.casefold() in name.casefold() for cell, name in zip(column, path, strict=True) if cell)
    return len(set(column)) > 1 and same >= 0.8 * len(column) and not any(map(_has_hangul, column))


def _why_unused(column: list[str], text: list[str]) -> str:
    shown = next((cell for cell in column if cell), "")
    if not shown:
        return " (empty)"
    shown = shown if len(shown) <= 20 else shown[:20] + "…"
    if text and _reads_either(text, column):
        return " (the text again)"
    label = _is_label(column) or not text or 2 * _letters(column) < _letters(text)
    return f" ('{shown}')" if label else f" ('{shown}': no reading of the text)"


def _letters(column: list[str]) -> float:
    """Return how much text a cell of a column holds: its letters, one for a word that has no Hangul and no space."""
    held = [len(text_key(cell)) if _has_hangul(cell) or " " in cell else min(1, len(cell)) for cell in column]
    return sum(held) / max(1, len(held))


def _has_hangul(cell: str) -> bool:
    return any(is_syllable(sign) for sign in cell)


def _share(column: list[str], test: Callable[[str], bool]) -> float:
    values = [cell for cell in column if cell]
    return sum(map(test, values)) / max(1, len(values))
