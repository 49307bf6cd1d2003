"""An oracle for aligners: Korean spoken by espeak-ng, which knows to the sample when each of its phones begins.

    text ─► front-end ─► its pronunciation in Hangul ─► espeak-ng ─► wave, and the phones that espeak really spoke
                              phonemes ─────────────────────────────► matched: our phoneme ↔ its phones and their times

espeak reads the pronunciation, not the text, so that its own letter-to-sound rules have little to decide; what it spoke
is still taken from it, and where that is not the front-end's reading nothing is matched. Its phones are no person's:

- Before a stop's burst it is silent, and counts that silence to the phone before; here the closure is the stop's own.
- After a nasal or liquid it reports a vowel up to 30 ms after its sound has begun. That is kept as it is.
- A closing ㄹ sounds inside its vowel and is reported when both are over: the two make one span, as do ㄹㄹ in 빨리.

Source: espeak-ng's speak_lib.h (phoneme events) and src/libespeak-ng/synthesize.c (Generate, which places them).
"""

import ctypes
import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malsori.alignment.spans import Span
from malsori.annotations import Float
from malsori.errors import CorpusError
from malsori.extras import import_extra
from malsori.text.frontend import Reading

#: Silence before and after the speech, in seconds.
MARGIN_SECONDS = 0.05
#: A room's faint noise, against full scale: no recording is digital silence.
NOISE_DB = -75.0
#: Silence longer than this before a stop is its closure.
_CLOSURE_SECONDS = 0.005

_SLOWEST, _FASTEST = 80, 450
_SYNCHRONOUS, _PHONEME_EVENTS, _DO_NOT_EXIT, _UTF8 = 2, 1, 0x8000, 1
_RATE_PARAMETER, _PHONEME_EVENT, _LAST_EVENT = 1, 7, 0

#: The phones, in espeak's mnemonics, that each phoneme may be spoken as.
_PHONES = {
    "ㄱ": "g|q|k|k-",
    "ㄲ": "q-|k-",
    "ㄴ": "n",
    "ㄷ": "d|t-|t",
    "ㄸ": "t-",
    "ㄹ": "*|L|l",
    "ㅁ": "m",
    "ㅂ": "p|b|p-",
    "ㅃ": "p-",
    "ㅅ": "s|s-",
    "ㅆ": "s-",
    "ㅈ": "tS;|dZ;|tS;-",
    "ㅉ": "tS;-",
    "ㅊ": "tS h",
    "ㅋ": "kh",
    "ㅌ": "t h",
    "ㅍ": "ph",
    "ㅎ": "h",
    "ㅏ": "a",
    "ㅐ": "E",
    "ㅑ": "j a",
    "ㅒ": "j E",
    "ㅓ": "@",
    "ㅔ": "e",
    "ㅕ": "j @",
    "ㅖ": "j e",
    "ㅗ": "o",
    "ㅘ": "w a",
    "ㅙ": "w E",
    "ㅚ": "w e",
    "ㅛ": "j o",
    "ㅜ": "u",
    "ㅝ": "w @",
    "ㅞ": "w e",
    "ㅟ": "w i",
    "ㅠ": "j u",
    "ㅡ": "u-",
    "ㅢ": "u- j",
    "ㅣ": "i",
    "-ㄱ": "q|k",
    "-ㄴ": "n",
    "-ㄷ": "d-|t-|t",
    "-ㄹ": "L|l|*",
    "-ㅁ": "m",
    "-ㅂ": "p|b",
    "-ㅇ": "N",
}
_LATERAL, _DOUBLE_LATERAL = "L|l|*", "L *|L l|l l|l"


@dataclass(frozen=True)
class SpokenText:
    """What espeak-ng spoke.

    Attributes:
        wave: (samples,) at `rate`.
        own_phones: its phones, in its mnemonics; without pauses.
        phones: the reading's phonemes with its times; a span of several holds them with spaces between. Empty where
            it spoke something else than the reading.
    """

    wave: Float[np.ndarray, " samples"]
    rate: int
    own_phones: tuple[Span, ...]
    phones: tuple[Span, ...]


def speak(reading: Reading, voice: str, words_per_minute: int, seed: int = 0) -> SpokenText:
    """Return a reading spoken by espeak-ng.

    The library carries on from what it spoke before: the same calls in a new process give the same samples.

    Args:
        voice: "ko", or with a variant such as "ko+f2".
        words_per_minute: espeak's measure of speed; 175 is its usual one, 80 to 450 are possible.
        seed: of the room's noise.
    Raises: CorpusError if there is no such voice or speed, or the text makes no sound.
    """
    samples, events = _engine().speak(reading.pronounced, voice, words_per_minute)
    rate = _engine().rate
    margin = round(MARGIN_SECONDS * rate)
    padded = np.pad(samples.astype(np.float32) / 32768, margin)
    noise = np.random.default_rng(seed).normal(0, 10 ** (NOISE_DB / 20), len(padded))
    starts = [(start + margin) / rate for start in [*_starts(samples, events, rate), len(samples)]]
    names = [name for _, name in events]
    own = (Span(name, begin, end) for name, (begin, end) in zip(names, itertools.pairwise(starts), strict=True))
    sounded = tuple(span for span in own if not _is_pause(span.text) and span.end > span.start)
    phones = tuple(_match(reading, names, starts))
    return SpokenText((padded + noise).astype(np.float32).clip(-1, 1), rate, sounded, phones)


def check_voice(voice: str, words_per_minute: int) -> None:
    """Make sure that espeak-ng has a voice, and a speed.

    Raises: CorpusError if not; MissingExtraError if espeak-ng itself is not installed.
    """
    _engine().take(voice, words_per_minute)


def _starts(samples: np.ndarray, events: Sequence[tuple[int, str]], rate: int) -> Iterator[int]:
    """Yield the sample that each phone begins at: the silence at the end of the phone before it is its own."""
    previous, name_before = 0, "_"
    for start, name in events:
        loud = np.flatnonzero(samples[previous:start])
        closure = previous + (int(loud[-1]) + 1 if len(loud) else 0)
        mute = start - closure > _CLOSURE_SECONDS * rate and not (_is_pause(name) or _is_pause(name_before))
        yield closure if mute else start
        previous, name_before = start, name


def _match(reading: Reading, names: Sequence[str], starts: Sequence[float]) -> Iterator[Span]:
    """Yield the reading's phonemes with their times, if the phones are those of the reading."""
    groups = list(_groups(reading))
    spoken = "".join(f"{name} " for name in names)
    match = re.fullmatch("".join(pattern for _, pattern in groups), spoken)
    for number, (symbols, _) in enumerate(groups if match else [], start=1):
        begin, end = (starts[spoken.count(" ", 0, place)] for place in match.span(number))  # type: ignore[union-attr]
        if symbols:
            yield Span(symbols, begin, end)


def _groups(reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield what is spoken as one, phonemes with spaces between ("" for a boundary), and the pattern of its phones."""
    symbols, sounded = reading.phonemes, [word >= 0 for word in reading.phoneme_words]
    place = 0
    while place < len(symbols):
        following = [symbol if sounds else "" for symbol, sounds in zip(symbols, sounded, strict=True)][
            place : place + 3
        ]
        if not following[0]:
            yield "", r"((?:_\S* )*)"
            place += 1
        elif following[1:] == ["-ㄹ", "ㄹ"]:
            yield following[0], _phones(_PHONES[following[0]])
            yield "-ㄹ ㄹ", _phones(_DOUBLE_LATERAL)
            place += 3
        elif following[1:2] == ["-ㄹ"]:
            yield f"{following[0]} -ㄹ", _phones(_PHONES[following[0]], _LATERAL)
            place += 2
        else:
            yield following[0], _phones(_PHONES[following[0]])
            place += 1


def _phones(*alternatives: str) -> str:
    """Return a pattern for one of the alternatives of each place; a glide's seam (;) may stand before."""
    each = ("|".join(re.escape(way) for way in ways.split("|")) for ways in alternatives)
    return "((?:; )?" + "".join(f"(?:{ways}) " for ways in each) + ")"


def _is_pause(name: str) -> bool:
    return name.startswith("_")


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("type", "message", "text_position", "length", "milliseconds", "sample")),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Engine:
    """The library, which is one for the whole process and speaks one text at a time."""

    def __init__(self) -> None:
        espeakng_loader = import_extra("espeakng_loader", "espeak-ng's speech")
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
        self._variants = Path(data) / "voices" / "!v"
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _PHONEME_EVENTS | _DO_NOT_EXIT)
        self._samples: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _SynthCallback(self._collect)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self._samples.append(np.ctypeslib.as_array(wave, (count,)).copy())
        place = 0
        while events[place].type != _LAST_EVENT:
            if events[place].type == _PHONEME_EVENT:
                name = events[place].id.string.decode("ascii", "replace")
                self._events.append((events[place].sample, name.lstrip("',%=")))
            place += 1
        return 0

    def take(self, voice: str, words_per_minute: int) -> None:
        """Speak with a voice from now on, at a speed."""
        variant = voice.partition("+")[2]  # one that it does not know espeak passes over
        known = not variant or (self._variants / variant).is_file()
        if not known or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise CorpusError(f"espeak-ng has no voice '{voice}'; give ko, or a variant such as ko+f2 or ko+m3")
        if not _SLOWEST <= words_per_minute <= _FASTEST:
            raise CorpusError(f"speed {words_per_minute}: espeak-ng speaks {_SLOWEST} to {_FASTEST} words a minute")
        self._library.espeak_SetParameter(_RATE_PARAMETER, words_per_minute, 0)

    def speak(self, text: str, voice: str, words_per_minute: int) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Return 16-bit samples, and the sample and name of each phone."""
        self.take(voice, words_per_minute)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._samples, self._events = [], []
        content = text.encode()
        self._library.espeak_Synth(content, len(content) + 1, 0, 0, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._samples or not any(not _is_pause(name) for _, name in self._events):
            raise CorpusError(f"espeak-ng makes no sound of {text!r}")
        return np.concatenate(self._samples), self._events


@functools.lru_cache(maxsize=1)
def _engine() -> _Engine:
    return _Engine()
