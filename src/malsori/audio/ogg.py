"""Ogg files page by page: where each of the recordings chained in one begins, and what it lacks.

libsndfile reads the first link of a chain and is silent about the others, about pages that are damaged, and about a
missing end.

Source: RFC 3533, 6 (page format), 4 (chaining).
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from malsori.audio.stretches import Part, Window, merged

_CONTINUED, _FIRST, _LAST = 1, 2, 4  # flags of a page
_NO_PACKET_ENDS = (1 << 64) - 1  # the position of a page in which none does
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True)
class _Page:
    begin: int
    end: int
    flags: int
    stream: int
    position: int


def ogg_parts(window: Window) -> list[Part]:
    """Return the recordings in a stretch of a file that begins with an Ogg page."""
    links: list[list[_Page]] = []
    broken: list[int] = []
    strange, torn = 0, window.end
    for page, skipped in _pages(window):
        if page is None:
            strange, torn = strange + skipped, window.end - skipped
            continue
        if not links or (page.flags & _FIRST and not links[-1][-1].flags & _FIRST):
            links.append([])
            broken.append(0)
        links[-1].append(page)
        broken[-1], strange, torn = broken[-1] + strange, 0, window.end
    if not links:
        return []
    broken[-1] += strange
    parts = [_part(pages, lost) for pages, lost in zip(links, broken, strict=True)]
    return [*parts[:-1], replace(parts[-1], tail=_saved_page(window, torn, links[-1]))]


def _part(pages: list[_Page], lost: int) -> Part:
    faults = [f"{lost} bytes are no whole Ogg page"] if lost else []
    ended = {page.stream for page in pages if page.flags & _LAST}
    if not lost and {page.stream for page in pages} - ended:
        faults.append("its end mark is missing")
    return Part(merged((page.begin, page.end) for page in pages), faults=tuple(faults))


def _saved_page(window: Window, place: int, pages: list[_Page]) -> bytes:
    """Return a page of the packets that are whole in one that the file's end cuts; b"" if none is.

    Up to a second of sound is in a page. Where it ends now is interpolated from where it and the one before ended.
    """
    head = window.bytes_at(place, 27 + 255)
    if head[:5] != b"OggS\0" or len(head) < 27 or len(head) < 27 + head[26]:
        return b""
    sizes, room = head[27 : 27 + head[26]], window.end - place - 27 - head[26]
    kept = next(
        (count for count in range(len(sizes), 0, -1) if sizes[count - 1] < 255 and sum(sizes[:count]) <= room), 0
    )
    position, stream = int.from_bytes(head[6:14], "little"), int.from_bytes(head[14:18], "little")
    before = max((page.position for page in pages if page.stream == stream and page.position < position), default=0)
    if not kept or position == _NO_PACKET_ENDS:
        return b""
    packets, whole = (sum(size < 255 for size in part) for part in (sizes[:kept], sizes))
    position = before + (position - before) * packets // whole
    front = head[:6] + position.to_bytes(8, "little") + head[14:22]
    body = bytes([kept]) + sizes[:kept] + window.bytes_at(place + 27 + head[26], sum(sizes[:kept]))
    return front + _checksum(front + bytes(4) + body).to_bytes(4, "little") + body


def _pages(window: Window) -> Iterator[tuple[_Page | None, int]]:
    """Yield each whole page, and (None, number of bytes) where there is something else."""
    place = window.begin
    while place < window.end:
        page = _page_at(window, place)
        if page:
            yield page, 0
            place = page.end
            continue
        again = window.find(b"OggS", place + 1)
        again = window.end if again < 0 else again
        yield None, again - place
        place = again


def _page_at(window: Window, place: int) -> _Page | None:
    head = window.bytes_at(place, 27 + 255)
    if head[:5] != b"OggS\0" or len(head) < 27 or len(head) < 27 + head[26]:
        return None
    size = 27 + head[26] + sum(head[27 : 27 + head[26]])
    if place + size > window.end:
        return None
    page = window.bytes_at(place, size)
    if _checksum(page[:22] + bytes(4) + page[26:]) != int.from_bytes(page[22:26], "little"):
        return None
    stream, position = page[14:18], page[6:14]
    return _Page(place, place + size, page[5], int.from_bytes(stream, "little"), int.from_bytes(position, "little"))


def _checksum(data: bytes) -> int:
    """Return Ogg's CRC-32: zlib's polynomial, most significant bit first, nothing inverted."""
    turned = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{turned:032b}"[::-1], 2)
