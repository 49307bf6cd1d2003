"""Praat's TextGrid: tiers of labelled intervals, as text.

Source: Praat manual, "TextGrid file formats": a reader looks only at free-standing numbers, "quoted" strings and
<flags>; everything else is comment. So one small reader opens the long and the short form.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from malsori.alignment.spans import Span
from malsori.errors import AlignmentError
from malsori.files import write_text

_DECIMALS = 6  # a microsecond: finer than a sample
_ITEM = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|<\w+>)(?!\S)|(?<!\S)!.*')


def format_textgrid(tiers: Mapping[str, Sequence[Span]], duration: float) -> str:
    """Return the text of a TextGrid in the long form; the time between spans becomes empty intervals.

    Args:
        tiers: name and spans of each tier, in order of time.
        duration: seconds of the whole sound; a span that ends later makes it longer.
    Raises: AlignmentError naming the span that overlaps its neighbor, or lasts no time.
    """
    total = round(max([duration, *(span.end for spans in tiers.values() for span in spans)]), _DECIMALS)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {total}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, spans) in enumerate(tiers.items(), start=1):
        intervals = list(_without_gaps(name, spans, total))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quote(name)}"]
        lines += ["        xmin = 0", f"        xmax = {total}", f"        intervals: size = {len(intervals)}"]
        for index, span in enumerate(intervals, start=1):
            lines += [f"        intervals [{index}]:", f"            xmin = {span.start}"]
            lines += [f"            xmax = {span.end}", f"            text = {_quote(span.text)}"]
    return "\n".join(lines) + "\n"


def save_textgrid(path: Path, tiers: Mapping[str, Sequence[Span]], duration: float) -> None:
    """Write a TextGrid in UTF-8, whole or not at all. Raises: AlignmentError, as `format_textgrid`."""
    write_text(path, format_textgrid(tiers, duration))


def load_textgrid(path: Path) -> dict[str, tuple[Span, ...]]:
    """Return the spans of each tier by its name; empty intervals are skipped, points become spans of no length.

    Raises: AlignmentError if the file is missing, no TextGrid, or ends early.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise AlignmentError(f"{path}: cannot be read: {error.strerror}") from error
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))  # Praat's own choice where a text is not ASCII
    try:
        return _read_tiers(_items(raw.decode("utf-16" if utf16 else "utf-8-sig")))
    except ValueError as error:
        raise AlignmentError(f"{path}: not a TextGrid in Praat's text form, or damaged ({error})") from error


def _without_gaps(name: str, spans: Sequence[Span], total: float) -> Iterator[Span]:
    """Yield the spans and the empty intervals between them, their ends meeting exactly."""
    reached = 0.0
    for span in spans:
        start, end = round(span.start, _DECIMALS), round(span.end, _DECIMALS)
        if start < reached:
            raise AlignmentError(f"tier '{name}': '{span.text}' begins at {start} s, before {reached} s is over")
        if end <= start:
            raise AlignmentError(f"tier '{name}': '{span.text}' at {start} s lasts no time")
        if start > reached:
            yield Span("", reached, start)
        yield Span(span.text, start, end)
        reached = end
    if reached < total:
        yield Span("", reached, total)


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _items(text: str) -> Iterator[str]:
    """Yield the free-standing items: strings with a leading quote, numbers, flags."""
    for match in _ITEM.finditer(text):
        if match.group(2) is not None:
            yield match.group(2)
        elif match.group(1) is not None:
            yield '"' + match.group(1).replace('""', '"')


def _read_tiers(items: Iterator[str]) -> dict[str, tuple[Span, ...]]:
    if [_next(items), _next(items)] != ['"ooTextFile', '"TextGrid']:
        raise ValueError("it does not begin like one")
    _next(items), _next(items)  # the whole time
    count = int(_next(items)) if _next(items) == "<exists>" else 0
    tiers: dict[str, tuple[Span, ...]] = {}
    for _ in range(count):
        kind, name = _next(items), _next(items)[1:]
        _next(items), _next(items)  # the tier's time
        marks = int(_next(items))
        spans = []
        for _ in range(marks):
            start = float(_next(items))
            end = float(_next(items)) if kind == '"IntervalTier' else start
            spans.append(Span(_next(items)[1:], start, end))
        tiers[name] = tuple(span for span in spans if span.text)
    return tiers


def _next(items: Iterator[str]) -> str:
    item = next(items, None)
    if item is None:
        raise ValueError("it ends early")
    return item
