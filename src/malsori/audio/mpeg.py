"""MP3 files frame by frame: where each of the recordings joined in one begins, how long it is, and what it lacks.

libsndfile believes the number of frames in an info tag, or guesses one from the first frame's bit rate, and reads no
further: a joined file would end with its first recording, one of varying bit rate anywhere. So each recording is handed
over behind an info tag that says how many frames there are.

Source: ISO/IEC 11172-3 and 13818-3, 2.4.2.3 (frame header); LAME's and Xing's info tags as their programs write them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from malsori.audio.stretches import Part, Window, merged

#: Version bits of a header → sample rates in Hz.
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}

_LOW_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)

#: (low sample rates, layer) → bit rates in kbit/s.
_BIT_RATES = {
    (False, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (False, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (True, 2): _LOW_RATES,
    (True, 3): _LOW_RATES,
}

_LONGEST = 2881  # bytes of the longest frame
_CHAIN = 3  # so many frames in a row are no accident
_SEARCHED = 1 << 16
_SYNC = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]", re.DOTALL)
_TAG_FRAMES, _TAG_BYTES, _TAG_TABLE, _TAG_QUALITY = 1, 2, 4, 8  # which fields an info tag has
_TAG_BITRATE = {False: 5, True: 8}  # index of 64 kbit/s: a frame of 192 bytes or more, which an info tag fits into


@dataclass(frozen=True)
class Header:
    """What the four bytes before a frame (`code`) say: its size in bytes, and its sound."""

    size: int
    sample_rate: int
    channels: int
    samples: int
    layer: int
    code: bytes

    def goes_on(self, other: "Header") -> bool:
        """Return whether a frame can belong to the same recording as another."""
        return all(getattr(self, name) == getattr(other, name) for name in ("sample_rate", "channels", "layer"))


@lru_cache(maxsize=4096)
def parse_header(code: bytes) -> Header | None:
    """Return what four bytes say; None if they begin no frame, or one of free format, whose size nothing tells."""
    if len(code) < 4 or code[0] != 0xFF or code[1] & 0xE0 != 0xE0:
        return None
    version, layer, bit_rate, rate = code[1] >> 3 & 3, 4 - (code[1] >> 1 & 3), code[2] >> 4, code[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    low, padding = version != 3, code[2] >> 1 & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and low else 1152
    slot = 4 if layer == 1 else 1
    slots = samples // 8 // slot * _BIT_RATES[low, layer][bit_rate - 1] * 1000 // _RATES[version][rate] + padding
    return Header(slots * slot, _RATES[version][rate], 1 if code[3] >> 6 == 3 else 2, samples, layer, code)


def is_mpeg(window: Window) -> bool:
    """Return whether frames in a row begin a stretch of a file, or follow soon, as where its front is cut off."""
    return _next_frame(window, window.begin, _CHAIN, window.begin + _LONGEST) < window.end


def mpeg_parts(window: Window) -> list[Part]:
    """Return the recordings in a stretch of a file that `is_mpeg`."""
    recordings: list[_Recording] = []
    strange = 0
    for place, header in _frames(window):
        current = recordings[-1] if recordings else None
        if header is None:
            strange += place
            continue
        tag = _info_tag(window.bytes_at(place, header.size), header)
        if current is None or tag or current.is_complete or not header.goes_on(current.header):
            recordings.append(current := _Recording(header, *(tag or (0, b""))))
        current.strange, strange = current.strange + strange, 0
        if not tag:
            current.frames.append((place, place + header.size))
    found = [recording for recording in recordings if recording.frames]
    if found:
        found[-1].strange += strange
    return [recording.part() for recording in found]


@dataclass
class _Recording:
    """One recording: its first header, the frames that its info tag promises (0: unknown), the tag, its frames."""

    header: Header
    promised: int
    tag: bytes
    frames: list[tuple[int, int]] = field(default_factory=list)
    strange: int = 0

    @property
    def is_complete(self) -> bool:
        return 0 < self.promised <= len(self.frames)

    def part(self) -> Part:
        found = len(self.frames)
        cut = self.promised > found + (not self.strange)  # some programs count the tag itself as a frame
        faults = (f"{self.strange} bytes are no whole MP3 frame",) if self.strange else ()
        size = sum(end - begin for begin, end in self.frames)
        head = _tag_saying(found, size, self.tag, self.header, cut) if self.header.layer == 3 else b""
        share = found / self.promised if cut else 1.0
        return Part(merged(self.frames), head, share=share, exact=True, faults=faults)


def _frames(window: Window) -> Iterator[tuple[int, Header | None]]:
    """Yield (place, header) of each frame, and (number of bytes, None) where there is something else than a tag."""
    place, expected = window.begin, False
    while place < window.end:
        if size := tag_size(window, place):
            place, expected = place + size, False
            continue
        header = parse_header(window.bytes_at(place, 4))
        behind = place + header.size if header else place
        if header and behind <= window.end and _may_follow(window, behind):
            yield place, header
            place, expected = behind, True
            continue
        again = _next_frame(window, place + 1, 2, window.end)
        if header and expected and behind <= again:  # a whole frame with something strange behind it
            yield place, header
            place = behind
        if any(window.bytes_at(place, again - place)):  # zeros are padding
            yield again - place, None
        place, expected = again, False


def _may_follow(window: Window, place: int) -> bool:
    code = window.bytes_at(place, 4)
    return not code or parse_header(code) is not None or tag_size(window, place) > 0


def _next_frame(window: Window, place: int, links: int, last: int) -> int:
    """Return where so many frames in a row, or fewer up to the end, next begin before `last`; else the end."""
    while place < last:
        text = window.bytes_at(place, _SEARCHED)
        for match in _SYNC.finditer(text):
            if place + match.start() >= last:
                return window.end
            if _chained(window, place + match.start(), links):
                return place + match.start()
            window.bytes_at(place, _SEARCHED)
        if place + len(text) >= window.end:
            return window.end
        place += len(text) - 3
    return window.end


def _chained(window: Window, place: int, links: int) -> bool:
    first = header = parse_header(window.bytes_at(place, 4))
    for _ in range(links - 1):
        if not header or place + header.size > window.end:
            return False
        place += header.size
        if place == window.end or tag_size(window, place):
            return True
        header = parse_header(window.bytes_at(place, 4))
        if not header or not first or not header.goes_on(first):
            return False
    return header is not None


def tag_size(window: Window, place: int) -> int:
    """Return how many bytes a tag (ID3, APE) takes that begins at a place; 0 if none does."""
    head = window.bytes_at(place, 16)
    if head[:3] == b"ID3" and len(head) >= 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 16:
        return 32 + int.from_bytes(head[12:16], "little")
    return 0


def _tag_place(header: Header, code: bytes) -> int:
    """Return where in a frame its info tag stands: behind the side information, which it leaves empty."""
    low = code[1] >> 3 & 3 != 3
    return 4 + ((9 if low else 17) if header.channels == 1 else (17 if low else 32))


def _info_tag(frame: bytes, header: Header) -> tuple[int, bytes] | None:
    """Return how many frames an info tag promises (0: it does not say), and the tag; None if the frame is sound."""
    if header.layer != 3:
        return None
    place = _tag_place(header, frame)
    if frame[place : place + 4] in (b"Xing", b"Info"):
        told = frame[place + 7] & _TAG_FRAMES if len(frame) >= place + 12 else 0
        return int.from_bytes(frame[place + 8 : place + 12], "big") if told else 0, frame if told else b""
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), b""
    return None


def _tag_saying(frames: int, size: int, tag: bytes, header: Header, cut: bool) -> bytes:
    """Return a frame with an info tag that says how many frames follow and their size in bytes.

    Args:
        tag: the recording's own, which also tells how many samples its encoder added; b"" makes one.
        cut: the recording's end is missing, so that nothing added stands there.
    """
    code = header.code
    place = _tag_place(header, code)
    if not tag:
        low = code[1] >> 3 & 3 != 3
        code = bytes([0xFF, code[1] | 1, code[2] & 0x0C | _TAG_BITRATE[low] << 4, code[3]])
        whole = parse_header(code)
        tag = code + bytes(place - 4) + b"Xing" + bytes(3) + bytes([_TAG_FRAMES]) + bytes(4)
        tag += bytes((whole.size if whole else len(tag)) - len(tag))
    told, new = tag[place + 7], bytearray(tag)
    new[place + 8 : place + 12] = frames.to_bytes(4, "big")
    if told & _TAG_BYTES:
        new[place + 12 : place + 16] = (size + len(tag)).to_bytes(4, "big")
    fields = 4 + 4 * bool(told & _TAG_BYTES) + 100 * bool(told & _TAG_TABLE) + 4 * bool(told & _TAG_QUALITY)
    added = place + 8 + fields + 21  # 12 bits of samples at the front, 12 at the end
    if cut and added + 3 <= len(new):
        new[added + 1] &= 0xF0
        new[added + 2] = 0
    return bytes(new)
