"""Marks in a text that is spoken: pauses, readings, and a small part of SSML.

    [pause:0.7]  [pause:700ms]  [pause]     a pause of so long, wherever it stands
    {COEX|코엑스}  {맛있다|[마싣따]}         what is written, and how it is read; in brackets how it is pronounced
    <break time="700ms"/>  <break strength="strong"/>
    <p>…</p>  <s>…</s>                      a paragraph, a sentence; so is a line
    <sub alias="코엑스">COEX</sub>
    <prosody rate="slow">…</prosody>        x-slow to x-fast, 80%, +20%, 1.2

Any other tag is dropped, its content is spoken, and `Script.dropped` names it. A backslash before `{`, `[`, `<` or
itself takes it as a sign. What only looks like a mark (a < b, {x}, [1]) is left alone.

Source: W3C, Speech Synthesis Markup Language 1.1 (2010), 3.1.8 (p, s), 3.1.11 (sub), 3.2.3 (break), 3.2.4 (prosody).
"""

import html
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from malsori.errors import TextError
from malsori.text.cleaning import clean
from malsori.text.readings import GivenReading
from malsori.text.userwords import parse_word

#: Seconds that a pause may last.
MAX_PAUSE_SECONDS = 10.0
#: What one rate may be of the voice's own.
MIN_RATE, MAX_RATE = 0.2, 5.0
#: Seconds between two paragraphs, and of SSML's pauses by strength.
PARAGRAPH_SECONDS = 0.7
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.25, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.3, "x-fast": 1.7}

_ATTRIBUTE = r"""[A-Za-z][\w:.-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*')"""
_MARK = re.compile(
    r"\\(?P<escaped>[\\{\[<])"
    r"|(?P<pause>\[pause(?::(?P<seconds>[^\]\n]{0,20}))?\])"
    r"|\{(?P<written>[^{}|\n]+)\|(?P<reading>[^{}|\n]*)\}"
    rf"|<(?P<close>/)?(?P<tag>[A-Za-z][\w:.-]*)(?P<attributes>(?:\s+{_ATTRIBUTE})*)\s*(?P<empty>/)?>"
    r"|(?P<unspoken><!--.{0,500}?-->|<\?.{0,500}?\?>|<![A-Za-z][^<>]*>)"
    r"|(?P<line>\n\s*)"
    r"|(?P<entity>&(?:lt|gt|amp|quot|apos);)",
    re.DOTALL,
)
_SECONDS = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?\s*")
_RATE = re.compile(r"\s*(?P<sign>[+-])?(?P<number>\d+(?:\.\d+)?)(?P<percent>%)?\s*")


@dataclass(frozen=True)
class Script:
    """A text without its marks, and what they asked for; offsets are of `text`.

    Attributes:
        text: as `cleaning.clean` leaves it.
        given: readings, and the signs of punctuation that pauses and ends of sentences put in.
        pauses: offset → seconds of silence there.
        rates: start, end and how fast that is spoken, of the voice's own pace; inner ones after outer ones.
        dropped: tags and attributes that are not served, once each.
    """

    text: str
    given: tuple[GivenReading, ...]
    pauses: dict[int, float]
    rates: tuple[tuple[int, int, float], ...]
    dropped: tuple[str, ...]

    def rate_at(self, offset: int) -> float:
        """Return how fast the text at an offset is spoken."""
        return next((rate for start, end, rate in reversed(self.rates) if start <= offset < end), 1.0)


def parse_markup(text: str) -> Script:
    """Return a text's script.

    >>> script = parse_markup("{COEX|코엑스}에서 [pause:0.7] 만나요")
    >>> script.text, script.pauses
    ('COEX에서   만나요', {7: 0.7})

    Raises: TextError naming a mark that cannot be served, and its place: a pause that is no number or too long, a
        reading that is no Hangul, a tag that is not closed.
    """
    return _Parser(clean(text)).parse()


def escape(text: str) -> str:
    r"""Return a text in which nothing is a mark, for programs that pass on what others wrote.

    >>> escape("{a|b}")
    '\\{a|b}'
    """
    return re.sub(r"([\\{\[<])", r"\\\1", text).replace("&", "&amp;")


@dataclass
class _Open:
    """A tag that waits for its end: where it stands in the source, in the text and in its pieces, and its value."""

    tag: str
    position: int
    offset: int
    piece: int
    value: str | float


@dataclass
class _Parser:
    source: str
    texts: list[str] = field(default_factory=list)
    length: int = 0
    given: list[GivenReading] = field(default_factory=list)
    pauses: dict[int, float] = field(default_factory=dict)
    rates: list[tuple[int, int, float]] = field(default_factory=list)
    dropped: dict[str, None] = field(default_factory=dict)
    opened: list[_Open] = field(default_factory=list)
    paragraphs: list[int] = field(default_factory=list)

    def parse(self) -> Script:
        position = 0
        for match in _MARK.finditer(self.source):
            self._add(self.source[position : match.start()])
            self._take(match)
            position = match.end()
        self._add(self.source[position:])
        if self.opened:
            tag = self.opened[-1]
            raise TextError(f"{self._place(tag.position)}: <{tag.tag}> is not closed; write </{tag.tag}> where it ends")
        text = "".join(self.texts)
        for begin, end in pairwise([*self.paragraphs, len(text)]):
            if text[begin:end].strip() and text[:begin].strip():
                self.pauses.setdefault(begin, PARAGRAPH_SECONDS)
        rates = tuple(sorted(self.rates, key=lambda rate: (rate[0], -rate[1])))
        return Script(text, tuple(self.given), self.pauses, rates, tuple(self.dropped))

    def _add(self, text: str) -> None:
        self.texts.append(text)
        self.length += len(text)

    def _take(self, match: re.Match[str]) -> None:
        """Take a mark out of the text."""
        if match["tag"]:
            self._tag(match)
        elif match["pause"]:
            self._pause(_seconds(match["seconds"] or str(STRENGTHS["medium"])), match)
        elif match["written"]:
            begin = self.length
            self._add(match["written"])
            self._read(begin, match["written"], match["reading"], match.start())
        elif match["line"]:
            self._end_sentence()
            self._add(match["line"])
        else:
            self._add(match["escaped"] or html.unescape(match["entity"] or ""))

    def _tag(self, match: re.Match[str]) -> None:
        tag, closes = match["tag"].lower(), bool(match["close"])
        attributes = {
            name.lower(): html.unescape(value[1:-1])
            for name, value in re.findall(r"""([\w:.-]+)\s*=\s*("[^"]*"|'[^']*')""", match["attributes"])
        }
        if tag == "break" and not closes:
            self._break(attributes, match)
        elif tag in ("p", "s"):
            self._end_sentence()
            if tag == "p":
                self.paragraphs.append(self.length)
            self._add(" ")
        elif tag in ("sub", "prosody"):
            self._span(tag, attributes, match)
        elif tag not in ("speak", "break"):
            self._drop(f"<{tag}>")

    def _break(self, attributes: dict[str, str], match: re.Match[str]) -> None:
        self._drop_others("break", attributes, ("time", "strength"))
        strength = attributes.get("strength", "medium")
        if strength not in STRENGTHS:
            place = self._place(match.start())
            raise TextError(f"{place}: strength '{strength}' of a break; accepted: {', '.join(STRENGTHS)}")
        seconds = _seconds(attributes["time"]) if "time" in attributes else STRENGTHS[strength]
        if seconds != 0.0 or "time" in attributes:
            self._pause(seconds, match)

    def _span(self, tag: str, attributes: dict[str, str], match: re.Match[str]) -> None:
        """Open or close a tag that holds text."""
        if match["close"]:
            if not self.opened or self.opened[-1].tag != tag:
                inner = f"<{self.opened[-1].tag}> is to be closed first" if self.opened else "nothing is open"
                raise TextError(f"{self._place(match.start())}: </{tag}> closes nothing: {inner}")
            self._close(self.opened.pop())
            return
        wanted = "alias" if tag == "sub" else "rate"
        self._drop_others(tag, attributes, (wanted,))
        value: str | float = attributes.get(wanted, "")
        if tag == "prosody":
            value = self._rate(attributes["rate"], match) if "rate" in attributes else 1.0
        if not match["empty"]:
            self.opened.append(_Open(tag, match.start(), self.length, len(self.texts), value))

    def _close(self, tag: _Open) -> None:
        if isinstance(tag.value, float):
            outer = next((one.value for one in reversed(self.opened) if isinstance(one.value, float)), 1.0)
            self.rates.append((tag.offset, self.length, min(MAX_RATE, max(MIN_RATE, tag.value * outer))))
            return
        while self.given and self.given[-1].start >= tag.offset:  # its alias goes before what stands in it
            self.given.pop()
        self._read(tag.offset, "".join(self.texts[tag.piece :]) or tag.value, tag.value, tag.position)

    def _rate(self, value: str, match: re.Match[str]) -> float:
        found = _RATE.fullmatch(value)
        if value in RATES:
            return RATES[value]
        if found and (found["percent"] or not found["sign"]):
            number = float(found["number"]) / (100 if found["percent"] else 1)
            rate = 1 + number * (1 if found["sign"] == "+" else -1) if found["sign"] else number
            if MIN_RATE <= rate <= MAX_RATE:
                return rate
        accepted = f"{', '.join(RATES)}, or {MIN_RATE:.0%} to {MAX_RATE:.0%}"
        raise TextError(f"{self._place(match.start())}: rate '{value}'; accepted: {accepted}")

    def _pause(self, seconds: float | None, match: re.Match[str]) -> None:
        if seconds is None or seconds > MAX_PAUSE_SECONDS:
            raise TextError(
                f"{self._place(match.start())}: {match[0]!r} is no pause; accepted: 0 to {MAX_PAUSE_SECONDS:g} s, as "
                '[pause:0.5], [pause:500ms] or <break time="500ms"/>'
            )
        if self.length not in self.pauses:
            self.given.append(GivenReading(self.length, self.length, " , "))
        self.pauses[self.length] = min(MAX_PAUSE_SECONDS, self.pauses.get(self.length, 0.0) + seconds)
        self._add(" ")

    def _end_sentence(self) -> None:
        self.given.append(GivenReading(self.length, self.length, " . "))

    def _read(self, begin: int, written: str, reading: str, position: int) -> None:
        """Give what was written from an offset on a reading."""
        word = parse_word(written, reading, place=self._place(position))
        self.given.append(GivenReading(begin, self.length, word.spoken, word.fixed))

    def _drop(self, what: str) -> None:
        self.dropped[what] = None

    def _drop_others(self, tag: str, attributes: dict[str, str], served: tuple[str, ...]) -> None:
        for name in attributes:
            if name not in served:
                self._drop(f"{name} of <{tag}>")

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.source))]

    def _place(self, position: int) -> str:
        line = bisect_right(self._lines, position)
        return f"line {line}, column {position - self._lines[line - 1] + 1}"


def _seconds(value: str) -> float | None:
    """Return a time in seconds: 0.5, 0.5s or 500ms; None where it is none."""
    match = _SECONDS.fullmatch(value)
    return float(match[1]) / (1000 if match[2] == "ms" else 1) if match else None
