"""A corpus whose every boundary is known: sentences spoken by espeak-ng, in a folder that `corpus prepare` reads.

    OUT/VOICE/wav/ID.flac  transcript/ID.txt       the layout "emotiontts", a folder for each voice
    OUT/VOICE/textgrid/ID.TextGrid                 tiers "phones": our phonemes; "words": eojeol; "espeak": its phones
    OUT/splits/{train,dev,test}.txt  synthesis.json

Test sentences stand in no other split, and are spoken at the slowest and the fastest speed, which nothing else is.
"""

import hashlib
import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from malsori.alignment.phonemes import word_spans
from malsori.alignment.textgrid import load_textgrid, save_textgrid
from malsori.annotations import Float
from malsori.audio.io import save_audio
from malsori.config import Config
from malsori.corpus.espeak import SpokenText, check_voice, speak
from malsori.corpus.layouts import SPLITS
from malsori.corpus.pool import run_in_order
from malsori.errors import AlignmentError, CorpusError, TextError
from malsori.files import read_json, write_json, write_text
from malsori.readers.files import read_text
from malsori.readers.records import text_key
from malsori.text.frontend import Frontend, Reading

#: The shortest sentences last about a second: an hour of speech is asked for with no more than these.
MAX_SENTENCES_PER_HOUR = 3600
#: Every tenth sentence goes to dev, the one after it to test.
_HELD_OUT_EVERY = 10
_SENTENCES = Path(__file__).with_name("sentences.tsv")
_FACTS = "synthesis.json"


class SynthesisOptions(Config):
    """How much is spoken, and how; the command line and Python read the same defaults.

    sentences: how many; with `hours`, at most so many.
    hours: of speech, at least; 0 leaves it to `sentences`.
    voices: of espeak-ng, each a speaker.
    speeds: words a minute; with three or more, the slowest and the fastest are for test alone.
    """

    sentences: int = Field(default=500, ge=1)
    hours: float = Field(default=0.0, ge=0)
    voices: tuple[str, ...] = Field(default=("ko", "ko+f2", "ko+m3", "ko+f4", "ko+m7"), min_length=1)
    speeds: tuple[int, ...] = Field(default=(120, 140, 165, 190, 220), min_length=1)


@dataclass(frozen=True)
class Synthesized:
    """What was spoken, and how much of it the tier "phones" tells.

    Attributes:
        utterances: by split.
        hours: of all.
        phonemes: of all readings; `joined`: those that share a span with the one before, `unmatched`: those of
            utterances that espeak read otherwise.
        unread: lines that the front-end could not read.
        other_reading: ids of utterances that espeak read otherwise.
    """

    utterances: dict[str, int]
    hours: float
    phonemes: int
    joined: int
    unmatched: int
    unread: tuple[str, ...]
    other_reading: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        plain = dict(vars(self))
        return plain | {"hours": round(self.hours, 4), "unread": [*self.unread], "other_reading": [*self.other_reading]}

    def lines(self) -> Iterator[str]:
        """Yield the summary as text."""
        counts = ", ".join(f"{split} {count}" for split, count in self.utterances.items())
        yield f"{sum(self.utterances.values())} utterances ({counts}), {self.hours:.3f} hours"
        yield f"{self.phonemes} phonemes: {self.joined} share a span, {self.unmatched} without times"
        for what, items in (("lines that cannot be read", self.unread), ("read otherwise", self.other_reading)):
            if items:
                yield f"  {what}: {len(items)} ({', '.join(items[:5])}{', ...' if len(items) > 5 else ''})"


def synthesize(out: Path, options: SynthesisOptions, lines: Sequence[str] | None = None) -> Synthesized:
    """Return what was spoken into a folder; run again with the same options, it ends in the same bytes.

    Args:
        out: folder to make, or to go on with.
        lines: sentences to speak; without them, sentences put together of parts that come with malsori.
    Raises: CorpusError if `out` holds something else, there is no such voice or speed, or nothing to say.
    """
    for voice, speed in itertools.product(options.voices, options.speeds):
        check_voice(voice, speed)
    texts = (_distinct(lines) if lines is not None else sentences(options.sentences))[: options.sentences]
    planned = list(_plan(texts, options))
    plan = [line for line in planned if line.reading.words]
    made = _Counts(unread=[line.text for line in planned if not line.reading.words])
    if not plan:
        raise CorpusError(f"none of {len(texts)} lines can be spoken; give Korean sentences, one a line")
    _claim(out, options, texts)
    # Spoken anew by a process of its own, whatever lies there: what espeak-ng says depends on what it said before.
    with closing(run_in_order(_spoken, plan, 1, "speaking", apart=True)) as results:
        for line, spoken in zip(plan, results, strict=False):
            if options.hours and made.seconds >= options.hours * 3600:
                break
            _write(out, line, spoken, made)
    return _finish(out, made)


def sentences(count: int) -> list[str]:
    """Return so many different sentences, put together of the parts in sentences.tsv; always the same ones.

    Raises: CorpusError if there are not so many.
    """
    rows = (line.split("\t") for line in read_text(_SENTENCES).splitlines() if not line.startswith("# "))
    parts = {row[0]: row[1:] for row in rows}
    max_count = math.prod(len(options) for options in parts.values()) // 2
    if count > max_count:
        raise CorpusError(f"{count} sentences: malsori has parts for {max_count}; give a text of your own with --text")
    draw, found = random.Random(0), dict[str, None]()
    while len(found) < count:
        when, who, where, what = (draw.choice(parts[slot]) for slot in ("when", "who", "where", "what"))
        order = draw.choice(((when, who, where, what), (when, where, what), (f"{when},", who, what), (who, what)))
        found.setdefault(" ".join(order), None)
    return list(found)


def load_phones(path: Path, reading: Reading) -> Float[np.ndarray, " tokens"]:
    """Return where each phoneme of a reading ends by its TextGrid, in seconds; NaN where espeak-ng does not tell.

    Raises: AlignmentError if the file is missing, or its phones are not those of the reading.
    """
    spans = iter(load_textgrid(path).get("phones", ()))
    ends = np.full(len(reading.phonemes), np.nan)
    place, reached = 0, 0.0
    for span in spans:
        symbols = span.text.split(" ")
        while reading.phoneme_words[place] < 0:
            ends[place], place = span.start, place + 1
        if list(reading.phonemes[place : place + len(symbols)]) != symbols:
            raise AlignmentError(f"{path}: has '{span.text}' where the reading has {reading.phonemes[place]!r}")
        place, reached = place + len(symbols), span.end
        ends[place - 1] = reached
    return ends


@dataclass(frozen=True)
class _Line:
    """A sentence and how it is to be spoken; a reading without words where it cannot be."""

    number: int
    text: str
    reading: Reading
    split: str
    voice: str
    speed: int


@dataclass
class _Counts:
    """What has been spoken so far."""

    ids: dict[str, str] = field(default_factory=dict)  # their splits
    seconds: float = 0.0
    phonemes: int = 0
    joined: int = 0
    unmatched: int = 0
    unread: list[str] = field(default_factory=list)
    other_reading: list[str] = field(default_factory=list)


def _plan(texts: Sequence[str], options: SynthesisOptions) -> Iterator[_Line]:
    """Yield how each text is spoken: voices by turns, speeds by the split."""
    speeds, frontend = sorted(options.speeds), Frontend()
    middle, outer = (speeds[1:-1], [speeds[0], speeds[-1]]) if len(speeds) >= 3 else (speeds, speeds)
    for number, text in enumerate(texts):
        try:
            reading = frontend.read(text)
        except TextError:
            reading = frontend.read("")
        split = {0: "dev", 1: "test"}.get(number % _HELD_OUT_EVERY, "train")
        choice = outer if split == "test" else middle
        # The voice changes from one held-out sentence to the next as well, and so does the speed within a voice.
        turn = number + number // _HELD_OUT_EVERY
        voice = options.voices[turn % len(options.voices)]
        yield _Line(number, text, reading, split, voice, choice[turn // len(options.voices) % len(choice)])


def _spoken(line: _Line) -> SpokenText:
    return speak(line.reading, line.voice, line.speed, seed=line.number)


def _write(out: Path, line: _Line, spoken: SpokenText, made: _Counts) -> None:
    """Write one utterance's files, and count what they hold."""
    speaker = line.voice.replace("+", "-")
    name = f"{speaker}-{line.number:06d}-{line.speed}"
    folder, seconds = out / speaker, len(spoken.wave) / spoken.rate
    words = word_spans(line.reading, spoken.phones)
    tiers = {"phones": spoken.phones, "words": words, "espeak": spoken.own_phones}
    save_textgrid(folder / "textgrid" / f"{name}.TextGrid", tiers, seconds)
    write_text(folder / "transcript" / f"{name}.txt", line.text + "\n")
    save_audio(folder / "wav" / f"{name}.flac", spoken.wave, spoken.rate)
    sounded = sum(word >= 0 for word in line.reading.phoneme_words)
    made.ids[name], made.seconds, made.phonemes = line.split, made.seconds + seconds, made.phonemes + sounded
    if spoken.phones:
        made.joined += sounded - len(spoken.phones)
    else:
        made.unmatched += sounded
        made.other_reading.append(name)


def _finish(out: Path, made: _Counts) -> Synthesized:
    for split in SPLITS:
        names = [name for name, of in made.ids.items() if of == split]
        write_text(out / "splits" / f"{split}.txt", "".join(f"{name}\n" for name in names))
    counts = Counter(made.ids.values())
    return Synthesized(
        {split: counts[split] for split in SPLITS},
        made.seconds / 3600,
        made.phonemes,
        made.joined,
        made.unmatched,
        tuple(made.unread),
        tuple(made.other_reading),
    )


def _claim(out: Path, options: SynthesisOptions, texts: Sequence[str]) -> None:
    """Mark `out` as holding what these options make of these texts. Raises: CorpusError if it holds anything else."""
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
    wanted = {"format": "malsori-synthesis-1", "options": options.model_dump(mode="json"), "texts": digest}
    if (out / _FACTS).is_file():
        if read_json(out / _FACTS) != wanted:
            raise CorpusError(f"{out}: holds speech made with other options; give a folder that is new or empty")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: exists and holds something else; give a folder that is new or empty")
    write_json(out / _FACTS, wanted)


def _distinct(lines: Sequence[str]) -> list[str]:
    """Return the lines that hold letters, those that differ in spaces and marks alone once."""
    return list({text_key(line): line.strip() for line in reversed(lines) if text_key(line)}.values())[::-1]
