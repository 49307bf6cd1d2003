"""A file a line: each line of a text spoken into a sound of its own, in a folder that can be gone on with.

OUT/0001.wav, 0002.wav, ...     by the number of the line; or by its name, where lines are `name<TAB>text`
OUT/lines.jsonl                 a row for each sound that is there: line, file, text, seconds, and the key of what it
                                was made from; `corpus prepare OUT` reads it
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from malsori.errors import TextError
from malsori.files import make_folder, write_text
from malsori.tts.options import SayOptions
from malsori.tts.voice import Speech, Voice

#: Says which sounds of a folder are whole, and what they say.
INDEX = "lines.jsonl"
_FORBIDDEN = '/\\:*?"<>|'


@dataclass(frozen=True)
class Line:
    """A line to speak: its number from 1, the name of its sound, its text, and why it cannot be, "" if it can."""

    number: int
    name: str
    text: str
    problem: str = ""


@dataclass(frozen=True)
class LineOutput:
    """Where sounds go.

    Attributes:
        folder: is made where it is missing.
        form: format of the sounds, and their ending.
        timing: ending of what `also` writes beside a sound; "" for nothing.
        also: called with each speech and the path of its sound, which is written after it.
    """

    folder: Path
    form: str
    timing: str
    also: Callable[[Speech, Path], None]


@dataclass(frozen=True)
class LineResult:
    """What became of a line: made now, or there already; or the problem with it, "" if there was none."""

    line: int
    made: bool
    problem: str = ""


def parse_lines(text: str) -> list[Line]:
    """Return the lines to speak, empty ones skipped. Raises: TextError if there is none."""
    rows = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not rows:
        raise TextError("nothing to say: the text has no line")
    width = max(4, len(str(rows[-1][0])))
    lines: list[Line] = []
    numbers: dict[str, int] = {}
    for number, line in rows:
        name, tab, said = line.partition("\t")
        name, said = (name.strip(), said) if tab else (f"{number:0{width}}", line)
        problem = ""
        if not name or set(name) & set(_FORBIDDEN) or name.startswith("."):
            problem = f"{name!r} cannot name a file; accepted: name<TAB>text, without {_FORBIDDEN}"
        elif numbers.setdefault(name, number) != number:
            problem = f"the name '{name}' stands in line {numbers[name]} already"
        lines.append(Line(number, name, said, problem))
    return lines


#: What says texts, one after the other: each one's speech, or the error that kept it from being said.
SayAll = Callable[[list[str]], Iterator[Speech | TextError]]


def say_lines(
    voice: Voice, lines: list[Line], options: SayOptions, output: LineOutput, say_all: SayAll | None = None
) -> Iterator[LineResult]:
    """Yield what became of each line, spoken into its file; a line that cannot be said does not end the others.

    A sound that is there, of the same text by the same voice, options and format, is kept.

    Args:
        say_all: says the lines that are to be said, in order; the voice without.
    Raises: OptionError for an option that the voice cannot serve, before any work; FileError if the disk is full.
    """
    voice.acoustic.refuse_unsupported(options)
    make_folder(output.folder)
    index = output.folder / INDEX
    paths = {line: output.folder / f"{line.name}.{output.form}" for line in lines if not line.problem}
    keys, rows = {line: _key(voice, line, options, output) for line in paths}, _rows(index)
    kept = {name: row["key"] for name, row in rows.items()}
    left = {line for line, path in paths.items() if kept.get(path.name) != keys[line] or not path.is_file()}
    still = [row for name, row in rows.items() if name not in {paths[line].name for line in left}]
    write_text(index, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in still))
    speeches = (say_all or partial(_say_all, voice, options))([line.text for line in lines if line in left])
    with index.open("a", encoding="utf-8") as file:
        for line in lines:
            if line not in left:
                yield LineResult(line.number, made=False, problem=line.problem)
                continue
            speech, path, key = next(speeches), paths[line], keys[line]
            if isinstance(speech, TextError):
                yield LineResult(line.number, made=False, problem=str(speech))
                continue
            output.also(speech, path)
            speech.save(path)
            row: dict[str, Any] = {"line": line.number, "file": path.name, "text": line.text}
            file.write(json.dumps(row | {"seconds": round(speech.seconds, 3), "key": key}, ensure_ascii=False) + "\n")
            file.flush()
            yield LineResult(line.number, made=True)


def say_or_error(voice: Voice, options: SayOptions, text: str) -> Speech | TextError:
    """Return a text's speech, or the error that keeps it from being said."""
    try:
        return voice.say(text, options)
    except TextError as error:
        return error


def _say_all(voice: Voice, options: SayOptions, texts: list[str]) -> Iterator[Speech | TextError]:
    return (say_or_error(voice, options, text) for text in texts)


def _key(voice: Voice, line: Line, options: SayOptions, output: LineOutput) -> str:
    """Return the digest of all that a line's sound depends on."""
    vocoder = voice.vocoder.system if voice.vocoder else ""
    made_by = (voice.acoustic.facts.fingerprint(), vocoder, voice.frontend.lexicon.as_rows())
    settings = (line.text, options.model_dump(), made_by, output.form, output.timing)
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]


def _rows(index: Path) -> dict[str, dict[str, Any]]:
    """Return the row of each sound that an earlier run finished; a last line that was cut short is left out."""
    rows: dict[str, dict[str, Any]] = {}
    if index.is_file():
        for line in index.read_text(encoding="utf-8").split("\n"):
            try:
                row = json.loads(line)
                rows[row["file"]] = row | {"key": row["key"]}
            except (ValueError, KeyError, TypeError):
                continue
    return rows
