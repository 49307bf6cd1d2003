"""The bytes of one recording: stretches of a file that are read as if they were a file of their own."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

_WINDOW = 1 << 20


@dataclass(frozen=True)
class Part:
    """One recording in a file: most files hold one, a joined file several.

    Attributes:
        stretches: (first byte, byte behind the last) in the file, in order.
        head: bytes to read before them: a header that tells the truth.
        tail: bytes to read behind them: what could be saved of the last page.
        share: how much of what its header promises is there, at most 1: sound where `exact`, or bytes of the whole.
        exact: `share` counts samples.
        faults: what is known to be missing or damaged, in words.
    """

    stretches: tuple[tuple[int, int], ...]
    head: bytes = b""
    tail: bytes = b""
    share: float = 1.0
    exact: bool = False
    faults: tuple[str, ...] = ()

    @property
    def first(self) -> int:
        """Where it begins in the file."""
        return self.stretches[0][0]


class Window:
    """A stretch of a file, looked at from its front to its end; a little of it is held at a time."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self.file, self.begin, self.end = file, begin, end
        self._at, self._held = begin, b""

    def bytes_at(self, place: int, count: int) -> bytes:
        """Return so many bytes from a place on; fewer where the stretch ends."""
        count = max(0, min(count, self.end - place))
        if not self._at <= place <= place + count <= self._at + len(self._held):
            self.file.seek(place)
            wanted = min(max(count, _WINDOW), self.end - place)
            self._at, self._held = place, self.file.read(wanted)
            if len(self._held) < wanted:  # it was shortened meanwhile, or never held what its size says, as in /sys
                self.end = place + len(self._held)
        return self._held[place - self._at : place - self._at + count]

    def find(self, pattern: bytes, place: int) -> int:
        """Return where a pattern next begins, at or behind a place; -1 if nowhere."""
        while place + len(pattern) <= self.end:
            found = self.bytes_at(place, _WINDOW).find(pattern)
            if found >= 0:
                return place + found
            place += max(1, min(_WINDOW, self.end - place) - len(pattern) + 1)
        return -1


class PartFile(io.RawIOBase):
    """A part as a binary file that decoders read. It never raises: where the disk cannot be read it ends."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._head, self._tail = file, part.head, part.tail
        self._stretches = part.stretches
        self._size = len(part.head) + sum(end - begin for begin, end in part.stretches) + len(part.tail)
        self._at = 0

    def readable(self) -> bool:
        """Return True: as every file that is read."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return at which byte we stand."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, and return which that is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, and return how many bytes there were to fill it with."""
        view, filled = memoryview(buffer).cast("B"), 0
        while filled < len(view):
            piece = self._next(len(view) - filled)
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled, self._at = filled + len(piece), self._at + len(piece)
        return filled

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes; fewer only at the end."""
        buffer = bytearray(max(0, self._size - self._at) if size is None or size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])

    def _next(self, count: int) -> bytes:
        """Return bytes from where we stand, as many as come in one stretch."""
        left = self._at - len(self._head)
        if left < 0:
            return self._head[self._at : self._at + count]
        for begin, end in self._stretches:
            if left < end - begin:
                try:
                    self._file.seek(begin + left)
                    return self._file.read(min(count, end - begin - left))
                except OSError:
                    return b""
            left -= end - begin
        return self._tail[left : left + count]


def merged(stretches: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return stretches in order with those that touch made one."""
    joined: list[tuple[int, int]] = []
    for begin, end in stretches:
        if joined and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return tuple(joined)
