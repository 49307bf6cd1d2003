"""Words with times → cues that a Korean viewer can read, as SubRip or WebVTT.

    words ─► no word longer than a row ─► cues: the cheapest of all ways to end them ─► rows ─► time to read

What a way to end cues costs is counted in points (`_boundary_cost`): nothing behind a sentence, little behind a clause,
much between words that belong together (할 수 있다, 그 사람). A cue stays until it is read, if the next one lets it.
"""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from malsori.alignment.spans import Span
from malsori.config import Config

_GAP_SECONDS = 2 / 24  # between cues: two frames of film, so that one is seen to follow the other
#: For each cue; for each further sentence in it; for one that cannot stand until it is read, times what is missing.
_CUE_COST, _SENTENCE_COST, _SHORT_COST = 3.0, 5.0, 12.0


class SubtitleOptions(Config):
    """How subtitles look; the defaults are what Korean viewers are used to.

    max_row_characters, max_rows: of a cue, spaces and punctuation counted.
    min_cue_seconds, max_cue_seconds: how long a cue stands; shorter only where the next one is spoken before.
    max_characters_per_second: a cue stands long enough to be read so fast, if the next one lets it.
    max_pause_seconds: after a longer silence a new cue begins.
    """

    max_row_characters: int = Field(16, ge=1, le=200)
    max_rows: int = Field(2, ge=1, le=10)
    min_cue_seconds: float = Field(0.83, ge=0, le=60)
    max_cue_seconds: float = Field(7.0, gt=0, le=600)
    max_characters_per_second: float = Field(12.0, gt=0, le=1000)
    max_pause_seconds: float = Field(1.0, gt=0, le=600)

    @model_validator(mode="after")
    def _agree(self) -> "SubtitleOptions":
        if self.min_cue_seconds > self.max_cue_seconds:
            raise ValueError(f"min_cue_seconds {self.min_cue_seconds} is longer than max_cue_seconds")
        return self


def join_cues(words: Iterable[Span], options: SubtitleOptions | None = None) -> list[Span]:
    """Return the cues of words in order of time; a cue's rows are divided by line breaks.

    No letter is lost; a word longer than a row is divided.

    >>> words = [Span("오늘은", 0.1, 0.5), Span("날씨가", 0.5, 0.9), Span("좋네요.", 0.9, 1.4), Span("네.", 3.0, 3.2)]
    >>> [(cue.text, cue.start, round(cue.end, 2)) for cue in join_cues(words)]
    [('오늘은 날씨가 좋네요.', 0.1, 1.4), ('네.', 3.0, 3.83)]
    """
    options = options or SubtitleOptions()
    pieces = [piece for word in words for piece in _pieces(word, options.max_row_characters)]
    ends = _cheapest_ends(pieces, options)
    cues = []
    for start, end in zip([0, *ends], ends, strict=False):
        text = "\n".join(_rows([piece.text for piece in pieces[start:end]], options)[0])
        following = pieces[end].start if end < len(pieces) else None
        cues.append(Span(text, pieces[start].start, _end(pieces[start:end], text, following, options)))
    return cues


def format_subtitles(cues: Sequence[Span], style: Literal["srt", "vtt"]) -> str:
    """Return a SubRip or WebVTT file's text.

    >>> print(format_subtitles([Span("안녕하세요.", 0.25, 3661.5)], "srt"), end="")
    1
    00:00:00,250 --> 01:01:01,500
    안녕하세요.
    """
    comma, blocks = "," if style == "srt" else ".", []
    for number, cue in enumerate(cues, start=1):
        head = f"{number}\n" if style == "srt" else ""
        # What a cue's text must not hold: in WebVTT the signs of markup, in SubRip the arrow.
        text = cue.text.replace("-->", "→") if style == "srt" else html.escape(cue.text, quote=False)
        blocks.append(f"{head}{_clock(cue.start, comma)} --> {_clock(cue.end, comma)}\n{text}\n")
    return ("" if style == "srt" else "WEBVTT\n\n") + "\n".join(blocks)


def _clock(seconds: float, comma: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{comma}{milliseconds:03d}"


def _pieces(word: Span, longest: int) -> list[Span]:
    """Return a word, or, longer than a row, its parts, each with its share of the time."""
    text = re.sub(r"\s+", "", word.text)
    step = (word.end - word.start) / max(1, len(text))
    starts = range(0, len(text), longest)
    parts = [(text[at : at + longest], at) for at in starts]
    return [Span(part, word.start + at * step, word.start + (at + len(part)) * step) for part, at in parts]


class _Way(NamedTuple):
    """The cheapest way to divide the first words: its cost, and where its last cue begins."""

    cost: float
    last: int


def _cheapest_ends(words: Sequence[Span], options: SubtitleOptions) -> list[int]:
    """Return behind which word each cue ends."""
    ways = [_Way(0.0, 0)]
    for end in range(1, len(words) + 1):
        found = _Way(float("inf"), end - 1)
        for start in range(end - 1, -1, -1):
            cost = _cue_cost(words, start, end, options)
            if cost is None:
                break  # a cue of still more words fits no more than this one
            found = min(found, _Way(ways[start].cost + cost, start))
        ways.append(found)
    ends, end = [], len(words)
    while end:
        ends.append(end)
        end = ways[end].last
    return ends[::-1]


def _cue_cost(words: Sequence[Span], start: int, end: int, options: SubtitleOptions) -> float | None:
    """Return what a cue of some words costs; None where they are too many for one."""
    cue = words[start:end]
    if len(cue) > 1:
        paused = cue[1].start - cue[0].end > options.max_pause_seconds
        if paused or cue[-1].end - cue[0].start > options.max_cue_seconds:
            return None
    texts = [word.text for word in cue]
    rows, cost = _rows(texts, options)
    if len(rows) > options.max_rows:
        return None
    following = words[end] if end < len(words) else None
    shown = _end(cue, " ".join(texts), following.start if following else None, options) - cue[0].start
    cost += _CUE_COST + _SHORT_COST * max(0.0, 1 - shown / _wanted_seconds(" ".join(texts), options))
    cost += sum(_SENTENCE_COST for text in texts[:-1] if _ends_sentence(text))  # another sentence in the same cue
    return cost + (_boundary_cost(texts[-1], following.text) if following else 0.0)


def _rows(texts: Sequence[str], options: SubtitleOptions) -> tuple[list[str], float]:
    """Return the fewest rows that hold some words, divided where it costs least, and what that costs."""
    best: list[tuple[int, float, list[str]]] = [(0, 0.0, [])]
    for end in range(1, len(texts) + 1):
        ways = []
        for start in range(end - 1, -1, -1):
            row = " ".join(texts[start:end])
            if len(row) > options.max_row_characters:
                break
            count, cost, rows = best[start]
            cut = _boundary_cost(texts[start - 1], texts[start]) / 2 if start else 0.0
            ragged = (1 - len(row) / options.max_row_characters) ** 2
            ways.append((count + 1, cost + cut + ragged, [*rows, row]))
        best.append(min(ways))
    return best[-1][2], best[-1][1]


def _wanted_seconds(text: str, options: SubtitleOptions) -> float:
    wanted = max(options.min_cue_seconds, len(text) / options.max_characters_per_second)
    return max(1e-6, min(wanted, options.max_cue_seconds))


def _end(cue: Sequence[Span], text: str, following: float | None, options: SubtitleOptions) -> float:
    """Return when a cue goes: when it is read, but for the next one that comes before."""
    end = max(cue[-1].end, cue[0].start + _wanted_seconds(text, options))
    if following is not None and end > following - _GAP_SECONDS:
        end = max(min(cue[-1].end, following), following - _GAP_SECONDS)
    return max(end, cue[0].start)


_CLOSING = "\"'”’)]}〉》」』"
_DETERMINERS = re.compile(
    r"(이|그|저|한|두|세|네|몇|새|첫|각|매|약|전|현|또|안|못|더|덜|잘|좀|제|내|우리|아주|매우|너무|정말|가장|다른|어떤|어느|무슨|모든|"
    r"이런|그런|저런|왜|다|꼭|바로|및|지난|다음|그리고|그래서|그러나|하지만|그런데|그러면|또는|혹은|즉|\d+)"
)
_DEPENDENT = re.compile(
    r"(수|것|거|게|건|걸|겁|줄|데|때|중|동안|만큼|뿐|대로|채|적|지|듯|바|리|터|뻔|척|체|등|번째|개|명|번|시|분|초|원|년|월|일|살|가지)"
    r"(?:[은는이가을를도만에의로]|에서|까지|부터|니다|예요|이에요|입니다|인데|같\w*)?\W*$"
)
_AUXILIARY = re.compile(r"[싶않있없주줘줬줍보봐봤봅버놓놨두둬뒀하해했합한할되돼됐말마못]")
#: What a word ends in → points for ending a row or a cue behind it; the first that fits.
_ENDINGS = (
    (re.compile(r"[,;:·、，]$"), 1.0),
    (re.compile(r"(고|며|면서|서|면|니까|지만|데|도록|려고|거나|든지|다가|므로|더니|으니|자마자)$"), 2.0),
    (re.compile(r"(에서|에게|한테|께서|부터|까지|보다|처럼|으로|마다|조차|마저|이나|라도)$"), 2.5),
    (re.compile(r"의$"), 6.0),
    (re.compile(r"[을를이가에로와과도만께]$"), 3.0),
    (re.compile(r"[은는]$"), 3.5),
)


def _ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING).endswith((".", "?", "!", "…", "。", "？", "！"))


def _boundary_cost(before: str, after: str) -> float:
    """Return how much it hurts to end a row or a cue between two words."""
    if _ends_sentence(before):
        return 0.0
    bare = before.rstrip(_CLOSING)
    if _DETERMINERS.fullmatch(bare) or _DEPENDENT.match(after):
        return 8.0
    if re.search(r"[고지아어여해게야려]$", bare) and _AUXILIARY.match(after):
        return 7.0
    return next((cost for pattern, cost in _ENDINGS if pattern.search(bare)), 5.0)
