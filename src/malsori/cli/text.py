"""Korean text: normalize, pronounce, split into phonemes, explain every stage."""

import difflib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from malsori.cli.options import LexiconOption
from malsori.cli.terminal import UNWRITABLE, text_of, watched, write
from malsori.errors import OptionError, TextError
from malsori.files import require_place

if TYPE_CHECKING:
    from malsori.text.frontend import Frontend, Reading
    from malsori.text.normalize import Unreadable
    from malsori.tts.markup import Script

    _Line = tuple[str, Sequence[Unreadable]]  # what a line is read to, and its signs without a reading

app = typer.Typer()
text_app = typer.Typer(help="Korean text: normalize, pronounce, split into phonemes.", no_args_is_help=True)
app.add_typer(text_app, name="text")

#: A text such as -5 is no option; what begins as one does, is.
_ANY_TEXT = {"ignore_unknown_options": True}
_OPTION = re.compile("--?[A-Za-z]")
_OWN_SENTENCES = 3000


class _TextCommand(TyperCommand):
    """A command whose texts may begin with a minus, and whose options must be its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        own = args[: args.index("--")] if "--" in args else args
        for place, word in enumerate(own):
            name = word.partition("=")[0]
            taken = place and own[place - 1] == "--lexicon"
            if _OPTION.match(word) and not taken and name not in known:
                near = difflib.get_close_matches(name, sorted(known), n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise OptionError(f"no option '{name}'.{hint} A text that begins so goes after --")
        return super().parse_args(ctx, args)


_Texts = Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="A line each; standard input without.")]
_Strict = Annotated[bool, typer.Option("--strict", help="Leave with status 2 if any sign has no Korean reading.")]
_Morphology = Annotated[bool, typer.Option(help="Ask the morphological analyzer where rules cannot decide.")]


@text_app.command("normalize", cls=_TextCommand, context_settings=_ANY_TEXT)
def normalize(texts: _Texts = None, lexicon: LexiconOption = None, strict: _Strict = False) -> None:
    """Write text as it is read aloud: 3개 becomes 세 개. A line in, a line out.

    A sign that has no Korean reading is left as it is, and told on standard error. Marks are served as `malsori say`
    does (docs/speaking.md): {COEX|코엑스} is read so, a pause stays where it is.

    Example: malsori text normalize "{COEX|코엑스}에서 3시에 [pause:0.7] 만나요"
    """
    frontend = _frontend(lexicon, morphology=False)

    def read(script: "Script") -> "_Line":
        if script.pauses:
            reading = frontend.read(script.text, keep_unreadable=True, given=script.given)
            return _with_pauses(reading.normalized, reading, script.pauses), reading.unreadable
        spoken = frontend.normalized(script.text, keep_unreadable=True, given=script.given)
        return spoken.text, spoken.unreadable

    _filter_marked(texts, read, strict)


@text_app.command("pronounce", cls=_TextCommand, context_settings=_ANY_TEXT)
def pronounce(
    texts: _Texts = None, lexicon: LexiconOption = None, morphology: _Morphology = True, strict: _Strict = False
) -> None:
    """Write text as it sounds, by the standard pronunciation: 국물 becomes 궁물. A line in, a line out."""
    frontend = _frontend(lexicon, morphology)

    def read(script: "Script") -> "_Line":
        reading = frontend.read(script.text, keep_unreadable=True, given=script.given)
        return _with_pauses(reading.pronounced, reading, script.pauses), reading.unreadable

    _filter_marked(texts, read, strict)


@text_app.command("phonemes", cls=_TextCommand, context_settings=_ANY_TEXT)
def phonemes(
    texts: _Texts = None, lexicon: LexiconOption = None, morphology: _Morphology = True, strict: _Strict = False
) -> None:
    """Write the phonemes a voice speaks, parted by spaces; ␣ is a word boundary. A line in, a line out."""
    frontend = _frontend(lexicon, morphology)

    def read(script: "Script") -> "_Line":
        reading = frontend.read(script.text, keep_unreadable=True, given=script.given)
        return _visible_in_place(reading), reading.unreadable

    _filter_marked(texts, read, strict)


@text_app.command("model")
def count_language_model(
    files: Annotated[list[Path], typer.Argument(help="UTF-8 text, a sentence a line; digits are read out.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="language_model.safetensors in a recognizer's folder.")],
    order: Annotated[int, typer.Option(help="Jamo in the longest n-gram, 2 to 9.")] = 6,
    min_count: Annotated[
        int, typer.Option(min=1, help="Occurrences from which n-grams of four jamo and more are kept.")
    ] = 2,
) -> None:
    """Count the n-gram language model that the beam search of a recognizer consults.

    Example: malsori text model sentences.txt -o runs/recognizer/model/language_model.safetensors
    """
    from malsori.decode.ngram import count_model, save_ngram
    from malsori.text.hangul import only_hangul
    from malsori.text.normalize import normalize as normalized

    texts, refused = [], 0
    for line in "\n".join(text_of(str(path)) for path in files).splitlines():
        try:
            texts.append(only_hangul(normalized(line).text) if line.strip() else "")
        except TextError:
            refused += 1
    model = count_model(texts, order, min_count)
    save_ngram(model, out)
    print(f"{out}: {len(texts)} lines counted, {refused} skipped that cannot be read, {len(model)} n-grams kept")


@text_app.command("prompts")
def choose_texts(
    files: Annotated[
        list[Path] | None, typer.Option("--from", help="UTF-8 text, a sentence a line. [default: malsori's own]")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Sentences.")] = 200,
    min_syllables: Annotated[int, typer.Option(min=1, help="Syllables of the shortest.")] = 8,
    max_syllables: Annotated[int, typer.Option(min=1, help="Syllables of the longest.")] = 40,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; standard output without.")] = None,
) -> None:
    """Choose sentences to record, that hold as many of Korean's sounds beside each other as so few can.

    Lines with digits or Latin letters are left out: two people read them differently. What was left out, and what the
    sentences hold, is told on standard error.

    Example: malsori text prompts --count 200 --from novel.txt -o prompts.txt
    """
    from malsori.corpus.synthesis import sentences
    from malsori.text.prompts import PromptOptions, choose_prompts

    require_place(out)
    values = {"count": count, "min_syllables": min_syllables, "max_syllables": max_syllables}
    options = PromptOptions.parse(values, "malsori text prompts")
    lines = "\n".join(text_of(str(path)) for path in files).splitlines() if files else sentences(_OWN_SENTENCES)
    found = choose_prompts(watched(lines), options)
    write("".join(f"{text}\n" for text in found.texts), out)
    print("\n".join(found.lines()), file=sys.stderr)


@app.command("explain", cls=_TextCommand, context_settings=_ANY_TEXT)
def explain(
    text: Annotated[str, typer.Argument(help="Korean text.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    lexicon: LexiconOption = None,
    morphology: _Morphology = True,
) -> None:
    """Show every stage of a text: normalized, the rules that applied, phonemes, ids, the shapes a model sees."""
    from malsori.tts.markup import parse_markup

    frontend, script = _frontend(lexicon, morphology), parse_markup(text)
    reading = frontend.read(script.text, given=script.given)
    marks = _marks(script)
    stages = reading.as_json() | ({"marks": marks} if marks else {}) | {"ids": frontend.ids(reading)}
    if as_json:
        print(json.dumps(stages, ensure_ascii=False))
        return
    print(f"written     {text if marks else reading.written}")
    for mark in marks:
        print(f"  {' '.join(map(str, mark.values()))}")
    print(f"normalized  {_with_pauses(reading.normalized, reading, script.pauses)}")
    for hit in reading.rules:
        print(f"  {hit.source} → {hit.target} ({hit.article})")
    print(f"pronounced  {_with_pauses(reading.pronounced, reading, script.pauses)}")
    print(f"phonemes    {_visible(reading.phonemes)}")
    count = len(reading.phonemes)
    print(f"ids         {' '.join(map(str, stages['ids']))}")
    print(f"shape       ids (tokens = {count}) → embedding (tokens = {count}, features)")


def _marks(script: "Script") -> list[dict[str, Any]]:
    """Return the marks of a script, in their order: readings that are given, pauses, paces."""
    found: list[tuple[int, dict[str, Any]]] = []
    for given in script.given:
        if given.end > given.start:
            spoken = f"[{given.spoken}]" if given.fixed else given.spoken
            found.append((given.start, {"mark": "reading", "of": script.text[given.start : given.end], "is": spoken}))
    found += [(offset, {"mark": "pause", "seconds": seconds}) for offset, seconds in script.pauses.items()]
    found += [
        (start, {"mark": "rate", "of": script.text[start:end].strip(), "is": round(rate, 3)})
        for start, end, rate in script.rates
    ]
    return [mark for _, mark in sorted(found, key=lambda one: one[0])]


def _with_pauses(text: str, reading: "Reading", pauses: dict[int, float]) -> str:
    """Return a normalized or pronounced text with its pauses where they are, as marks that `malsori say` takes."""
    ends = [match.end() for match in re.finditer("[가-힣]+[,.?!…]*", text)] if pauses else []
    for offset, seconds in sorted(pauses.items(), reverse=True):
        spoken = sum(word.start < offset for word in reading.words)
        place = ends[spoken - 1] if spoken else 0
        mark = f"[pause:{seconds:g}]"
        text = f"{text[:place]} {mark}{text[place:]}" if place else f"{mark} {text}".rstrip()
    return text


def _frontend(lexicon: list[Path] | None, morphology: bool) -> "Frontend":
    from malsori.text.frontend import Frontend

    return Frontend(lexicon, morphology)


def _visible(phonemes: Iterable[str]) -> str:
    """Return phonemes parted by spaces, the word boundary made visible."""
    return " ".join("␣" if phoneme == " " else phoneme for phoneme in phonemes)


def _visible_in_place(reading: "Reading") -> str:
    """Return the visible phonemes of a reading, with the signs that have no reading where they were written."""
    from malsori.text.hangul import is_syllable

    places: dict[int, str] = {}
    syllables = 0
    for sign in reading.normalized:
        if is_syllable(sign):
            syllables += 1
        elif sign not in " ,.?!…":
            places[syllables] = places.get(syllables, "") + sign
    shown: list[str] = []
    for phoneme, syllable in zip(reading.phonemes, (*reading.phoneme_syllables[:-1], syllables), strict=True):
        shown += [places.pop(syllable), phoneme] if syllable in places else [phoneme]
    return _visible(shown)


def _filter_marked(texts: list[str] | None, read: Callable[["Script"], "_Line"], strict: bool) -> None:
    """Print what each line is read to; a line whose marks cannot be served is read as it is written.

    It is told on standard error, and so is a tag that is not served. Raises: TextError for such a line, if strict.
    """
    from malsori.tts.markup import escape, parse_markup

    dropped: set[str] = set()

    def change(line: str, number: int) -> "_Line":
        try:
            script = parse_markup(line)
        except TextError as error:
            told = re.sub("^line 1, ", f"line {number}, ", str(error))
            if strict:
                raise TextError(told) from error
            print(f"malsori: {told}; its marks are read as they are written", file=sys.stderr)
            script = parse_markup(escape(line))
        if not dropped.issuperset(script.dropped):
            dropped.update(script.dropped)
            print(f"malsori: line {number}: left out, not served: {', '.join(script.dropped)}", file=sys.stderr)
        return read(script)

    _filter(texts, change, strict)


def _filter(texts: list[str] | None, change: Callable[[str, int], "_Line"], strict: bool) -> None:
    """Print a line for each line in, in order; an empty line stays empty.

    A sign that has no reading is told on standard error where it stands first; all are counted at the end. What is no
    UTF-8 passes as it came. Raises: TextError with the count, if any sign has no reading and that is not allowed.
    """
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, UNWRITABLE)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    lines: Iterable[str] = (line for text in texts for line in text.split("\n")) if texts else sys.stdin
    signs: Counter[str] = Counter()
    lines_told = 0
    for number, line in enumerate(lines, 1):
        changed, unreadable = change(line.rstrip("\n"), number) if line.strip() else ("", ())
        print(changed)
        for one in unreadable:
            if one.sign not in signs:
                told = f"malsori: line {number}, position {one.position}: {one} has no Korean reading; left as it is"
                print(told, file=sys.stderr)
            signs[one.sign] += 1
        lines_told += bool(unreadable)
    if signs:
        count = f"signs without a Korean reading: {signs.total()}, of {len(signs)} kinds, in lines: {lines_told}"
        if strict:
            raise TextError(f"{count}; write them in Hangul, or leave --strict out")
        print(f"malsori: {count}; left as they are", file=sys.stderr)
