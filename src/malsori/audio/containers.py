"""What a sound file is made of: the recordings joined in it, and how much of each its headers promise and it holds.

A file is judged by its bytes, never by its name. Nothing is decoded here.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from malsori.audio.mpeg import is_mpeg, mpeg_parts, tag_size
from malsori.audio.ogg import ogg_parts
from malsori.audio.stretches import Part, Window

_MOST_PARTS = 10_000  # of joined recordings: more are no file of sound
_LONGEST_HEADER = 1 << 16


def parts_of(file: BinaryIO) -> list[Part]:
    """Return the recordings in a file, one behind the other; at least one, whatever the file holds."""
    end = file.seek(0, os.SEEK_END)
    begin, parts = tag_size(Window(file, 0, end), 0), list[Part]()
    begin = begin if begin < end else 0
    while begin < end and len(parts) < _MOST_PARTS:
        found, begin = _next_parts(Window(file, begin, end))
        parts += found
    return parts


def _next_parts(window: Window) -> tuple[list[Part], int]:
    """Return the recordings that begin a stretch, and where another kind of recording follows, or its end."""
    head = window.bytes_at(window.begin, 12)
    if head[:4] == b"OggS":
        return ogg_parts(window), window.end
    layout = next((layout for layout in _LAYOUTS if layout.begins(head)), None)
    if layout:
        sound = layout.measure(window)
        behind = sound.end if _begins_recording(window, sound.end) else window.end
        first = sound.body if sound.head else window.begin
        return [Part(((first, behind),), sound.head, share=sound.share, exact=True)], behind
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return [Part(((window.begin, window.end),), faults=_torn_adts(window))], window.end
    if not _SIGNATURES.get(_signature(window, window.begin)) and is_mpeg(window):
        return mpeg_parts(window), window.end
    return _part_by_signature(window)


def _torn_adts(window: Window) -> tuple[str, ...]:
    """Return in words if the last frame of bare AAC (ADTS) is not whole; of any other fault the decoder tells."""
    place = window.begin
    while window.end - place > 1 and window.bytes_at(place, 1) == b"\xff":
        head = window.bytes_at(place, 7)
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if len(head) == 7 else window.end
        if place + max(size, 7) > window.end:
            return (f"the {window.end - place} bytes at the end are no whole AAC frame",)
        place += max(size, 7)
    return ()


@dataclass(frozen=True)
class _Sound:
    """How much of the promised sound there is, where the container ends by its own word, and a header in its stead.

    The header says how much sound there is where the file's own does not; sound follows from `body` on.
    """

    share: float
    end: int
    head: bytes = b""
    body: int = 0


@dataclass(frozen=True)
class _Chunks:
    """A container of chunks, each a name and a size, one of which holds the sound.

    Attributes:
        magic, form: what stands at its byte 0, and 8 (b"" for anything).
        first: where the first chunk's name stands.
        sound: the name of the chunk with the sound.
        size: how struct reads a chunk's size; whether that counts name and size too (`inclusive`).
        pad: chunks begin at multiples of so many bytes.
        ahead: bytes in the sound's chunk that are no sound.
        name_bytes: of which the first four are compared.
    """

    magic: bytes
    form: bytes
    first: int
    sound: bytes
    size: str
    pad: int = 2
    ahead: int = 0
    name_bytes: int = 4
    inclusive: bool = False

    def begins(self, head: bytes) -> bool:
        return head.startswith(self.magic) and head[8 : 8 + len(self.form)] == self.form

    def measure(self, window: Window) -> _Sound:
        place, sound, wide = window.begin + self.first, _Sound(1.0, 0), 0
        size_bytes = struct.calcsize(self.size)
        while place < window.end:
            head = window.bytes_at(place, self.name_bytes + size_bytes)
            name, told = head[:4], head[self.name_bytes :]
            if len(told) < size_bytes or not name.isascii() or not name.strip(b"\0"):
                break
            if place > window.begin + self.first and _begins_recording(window, place):
                break
            size = struct.unpack(self.size, told)[0] - (len(head) if self.inclusive else 0)
            body = place + len(head)
            if name == b"ds64":  # RF64: the sizes that 32 bits do not hold
                wide = struct.unpack("<Q", window.bytes_at(body + 8, 8).ljust(8, b"\0"))[0]
            if name == self.sound:
                size = wide if wide and size == 0xFFFFFFFF else size
                there = window.end - body
                unknown = _is_unknown(size, there, size_bytes)
                size = there if unknown else size
                share = min(1.0, max(0, there - self.ahead) / (size - self.ahead)) if size > self.ahead else 1.0
                sound = _Sound(share, 0, *self._corrected(window, body, told, min(size, there)))
            place = body + max(0, size) + (-size % self.pad)
        return replace(sound, end=min(place, window.end))

    def _corrected(self, window: Window, body: int, told: bytes, size: int) -> tuple[bytes, int]:
        """Return a header with the size that is there, and where the sound begins; b"" if its own is right."""
        size += len(told) + self.name_bytes if self.inclusive else 0
        right = struct.pack(self.size, min(size, 0xFFFFFFFF))
        if right == told or self.magic in (b"RF64", b"BW64") or body - window.begin > _LONGEST_HEADER:
            return b"", 0
        return window.bytes_at(window.begin, body - window.begin - len(told)) + right, body


def _is_unknown(size: int, there: int, size_bytes: int) -> bool:
    """Return whether a chunk's size stands for "not known", as pipes and recorders that were cut off leave it."""
    if size <= 0:
        return there > 0
    return size_bytes == 4 and size > there and (size >= 0xFFFFFF00 or 0x7FFFEF00 <= size <= 0x7FFFFFFF)


@dataclass(frozen=True)
class _Au:
    """Sun's .snd: where the sound begins and its bytes stand in the header."""

    def begins(self, head: bytes) -> bool:
        return head.startswith(b".snd")

    def measure(self, window: Window) -> _Sound:
        offset, size = struct.unpack(">II", window.bytes_at(window.begin + 4, 8).ljust(8, b"\0"))
        there = window.end - window.begin - offset
        if there <= 0 or _is_unknown(size, there, 4):
            unknown = window.bytes_at(window.begin, 8) + b"\xff\xff\xff\xff"
            return _Sound(1.0, window.end, unknown, window.begin + 12)
        return _Sound(min(1.0, there / size), min(window.begin + offset + size, window.end))


_LAYOUTS: tuple[_Chunks | _Au, ...] = (
    _Chunks(b"RIFF", b"WAVE", 12, b"data", "<I"),
    _Chunks(b"RIFX", b"WAVE", 12, b"data", ">I"),
    _Chunks(b"RF64", b"WAVE", 12, b"data", "<I"),
    _Chunks(b"BW64", b"WAVE", 12, b"data", "<I"),
    _Chunks(b"FORM", b"AIF", 12, b"SSND", ">I", ahead=8),
    _Chunks(b"caff", b"", 8, b"data", ">q", pad=1, ahead=4),
    _Chunks(b"riff\x2e\x91\xcf\x11", b"", 40, b"data", "<Q", pad=8, name_bytes=16, inclusive=True),
    _Au(),
)


def _begins_recording(window: Window, place: int) -> bool:
    head = window.bytes_at(place, 12)
    return any(layout.begins(head) for layout in _LAYOUTS)


def _signature(window: Window, place: int) -> bytes:
    """Return which of the signatures stands at a place; b"" if none."""
    head = window.bytes_at(place, 16)
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        return b"ftyp" if 8 <= size <= 256 and head[8:12].isascii() else b""
    return next((signature for signature in _SIGNATURES if head.startswith(signature)), b"")


def _part_by_signature(window: Window) -> tuple[list[Part], int]:
    """Return the recording that begins a stretch, and where the next of its kind does: its signature comes again."""
    signature = _signature(window, window.begin)
    if not signature:
        return [Part(((window.begin, window.end),))], window.end
    ahead = 4 if signature == b"ftyp" else 0
    place, end = window.begin + ahead + 4, window.end
    while (place := window.find(signature, place)) >= 0:
        if _signature(window, place - ahead) == signature and _is_start(window, place - ahead, signature):
            end = place - ahead
            break
        place += 1
    inner = Window(window.file, window.begin, end)
    return [_SIGNATURES[signature](Part(((window.begin, end),)), inner)], end


def _is_start(window: Window, place: int, signature: bytes) -> bool:
    """Return whether what looks like a signature within compressed sound is one."""
    if signature == b"ftyp":
        size = int.from_bytes(window.bytes_at(place, 4), "big")
        return window.bytes_at(place + size + 4, 4) in _BOXES
    if signature == _EBML:
        return b"\x42\x82" in window.bytes_at(place, 64)  # its DocType
    return True


_EBML = b"\x1aE\xdf\xa3"
_BOXES = (b"moov", b"mdat", b"free", b"wide", b"skip", b"uuid", b"moof", b"styp", b"sidx", b"pdin")


def _as_it_is(part: Part, window: Window) -> Part:
    return part


def _mp4(part: Part, window: Window) -> Part:
    """Walk the boxes of MP4: what the last promises, and whether the index is there."""
    place, index = window.begin, False
    while place < window.end:
        head = window.bytes_at(place, 16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        index = index or name in (b"moov", b"moof")
        if size < 8:
            break
        place += size
    share = (window.end - window.begin) / (place - window.begin) if place > window.end else 1.0
    faults = () if index else ("its index ('moov'), which stands at the end, is not there",)
    return replace(part, share=share, faults=faults)


def _matroska(part: Part, window: Window) -> Part:
    """Read how long the segment of Matroska or WebM says it is."""
    place = window.begin + 4
    _, place_of_body, size = _ebml_size(window, place)
    place = place_of_body + size
    if window.bytes_at(place, 4) != b"\x18\x53\x80\x67":
        return part
    known, body, size = _ebml_size(window, place + 4)
    end = body + size if known else window.end
    return replace(part, share=(window.end - window.begin) / (end - window.begin)) if end > window.end else part


def _ebml_size(window: Window, place: int) -> tuple[bool, int, int]:
    """Return whether a size is told, where what it measures begins, and the size."""
    head = window.bytes_at(place, 8).ljust(8, b"\0")
    length = 9 - head[0].bit_length()
    if length > 8:
        return False, place + 1, 0
    value = int.from_bytes(head[:length], "big") & ((1 << 7 * length) - 1)
    return value != (1 << 7 * length) - 1, place + length, value


#: What begins a recording of kinds that do not say where they end → what else is to be known of it.
_SIGNATURES: dict[bytes, Callable[[Part, Window], Part]] = {
    b"fLaC\0\0\0\x22": _as_it_is,
    b"ftyp": _mp4,
    _EBML: _matroska,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa": _as_it_is,  # ASF: WMA
    b"#!AMR": _as_it_is,
    b"TTA1": _as_it_is,
    b"FLV\x01": _as_it_is,
}
