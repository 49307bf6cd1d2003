"""Whisper's alphabet: text to token ids and back, and the special tokens that say what is wanted.

    <|startoftranscript|><|ko|><|transcribe|><|notimestamps|> 안녕하세요 <|endoftext|>

A public checkpoint brings its own files, which stay with the model as they are: tokenizer.json, or the older vocab.json
with merges.txt and added_tokens.json; and generation_config.json, which says what must never be written. A network that
is trained from nothing has the same files, made here: its alphabet are jamo, which Unicode's normal form D takes a
syllable apart into, and form C puts together again. So there is one way from files to text, whoever made them.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer as Pieces
from tokenizers import decoders, models, normalizers, pre_tokenizers

from malsori.errors import ModelError, TextError
from malsori.text.hangul import describe, to_nfc

TASKS = ("transcribe", "translate")
#: Seconds from one timestamp token to the next.
TIMESTAMP_SECONDS = 0.02
#: Timestamp tokens of a whole alphabet: from 0 to 30 s.
MAX_TIMESTAMPS = 1501

_START, _END, _NO_TIMESTAMPS = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"
_PREVIOUS = "<|startofprev|>"
#: What GPT-2's texts are cut by, as tokenizer files spell it out; it has no repetition within another.
_KNOWN_EXPRESSIONS = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
)
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # the same token; its name was changed


class Tokenizer:
    """A checkpoint's alphabet. Raises: ModelError if its files are missing, damaged, or none of Whisper's.

    Attributes:
        files: name → content, as they are saved with a model.
        start, end: ids of the tokens that begin and end every text.
        no_timestamps: id of the token that says: no timestamps. The timestamps' ids follow it.
        no_speech: id of the token for a sound in which nobody speaks, or None where there is none.
    """

    def __init__(self, files: dict[str, bytes], place: str = "tokenizer") -> None:
        self.files, self._place = files, place
        self._pieces = read_pieces(self.files, place)
        self.start, self.end, self.no_timestamps = (self.special(name) for name in (_START, _END, _NO_TIMESTAMPS))
        known = [self._pieces.token_to_id(name) for name in _NO_SPEECH]
        self.no_speech: int | None = next((index for index in known if index is not None), None)
        self.settings: dict[str, Any] = _read_object(self.files.get("generation_config.json", b"{}"), place)
        _check_settings(self.settings, place)

    @property
    def multilingual(self) -> bool:
        """Whether a language and a task are asked for; the English models' <|endoftext|> is 50256."""
        return bool(self.settings.get("is_multilingual", self.end != 50256))

    @property
    def first_timestamp(self) -> int:
        """Id of <|0.00|>, where the network has timestamps."""
        return self.no_timestamps + 1

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that can be asked for; English alone where none can."""
        if not self.multilingual:
            return ("en",)
        names = (self._pieces.id_to_token(index) or "" for index in range(self.start + 1, self.no_timestamps))
        codes = tuple(name[2:-2] for name in names if name.startswith("<|") and 2 <= len(name) - 4 <= 3)
        return codes or ("en",)

    @property
    def has_previous(self) -> bool:
        """Whether a text that came before can be given."""
        return self.is_token(_PREVIOUS)

    @property
    def language_ids(self) -> dict[str, int]:
        """Return the id of each language's token; none where no language can be asked for."""
        return {code: self.special(f"<|{code}|>") for code in self.languages} if self.multilingual else {}

    def previous(self, text: str, max_tokens: int) -> tuple[int, ...]:
        """Return the ids that put a text before what is to be written, its last tokens if they are too many.

        Raises: ModelError if the alphabet has no token for that (`has_previous`); TextError if it cannot write it.
        """
        return (self.special(_PREVIOUS), *self.encode(f" {text.strip()}")[-max_tokens:])

    def special(self, name: str) -> int:
        """Return the id of a special token. Raises: ModelError if there is none."""
        index = self._pieces.token_to_id(name)
        if index is None:
            raise ModelError(f"{self._place}: no token {name}: not a tokenizer of Whisper")
        return index

    def is_token(self, piece: str) -> bool:
        """Return whether a piece of text is a token by itself."""
        return self._pieces.token_to_id(piece) is not None

    def suppressed_ids(self, setting: str) -> tuple[int, ...]:
        """Return the ids that one of the checkpoint's settings forbids; those beyond its alphabet forbid nothing."""
        return tuple(index for index in self.settings.get(setting) or () if 0 <= index <= self.no_timestamps)

    def prefix(self, language: str = "ko", task: str = "transcribe", timestamps: bool = False) -> tuple[int, ...]:
        """Return the ids that every text begins with.

        Raises: TextError if the language or the task is none of this tokenizer's.
        """
        if language not in self.languages:
            known = ", ".join(self.languages)
            raise TextError(f"language '{language}' is none that the model writes; accepted: {known}")
        if task not in TASKS:
            raise TextError(f"task '{task}' is not known; accepted: {', '.join(TASKS)}")
        no_timestamps = () if timestamps else (self.no_timestamps,)
        if not self.multilingual:
            return (self.start, *no_timestamps)
        return (self.start, self.special(f"<|{language}|>"), self.special(f"<|{task}|>"), *no_timestamps)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens. Raises: TextError naming what cannot be written."""
        text = to_nfc(text)
        ids = self._pieces.encode(text, add_special_tokens=False).ids
        written = self.decode(ids)
        if written != text:
            place = next(place for place in range(len(text)) if text[place] != written[place : place + 1])
            what = f"{describe(text[place])} at position {place}"
            raise TextError(f"{text!r}: {what} cannot be written in the model's alphabet")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids in NFC; special tokens and timestamps are skipped."""
        return to_nfc(self._pieces.decode([index for index in ids if index < self._text_end]))

    def words(self, ids: Sequence[int]) -> list[tuple[str, list[int]]]:
        """Return the words of a text, each with the positions of its tokens; a timestamp parts words too."""
        words: list[tuple[str, list[int]]] = []
        begin = 0
        for place, index in enumerate([*ids, self.end]):
            if index >= self._text_end:
                words += [
                    (word, [begin + member for member in members]) for word, members in self._parted(ids[begin:place])
                ]
                begin = place + 1
        return words

    def _parted(self, ids: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
        text = self.decode(ids)
        places = [max(0, len(self.decode(ids[: number + 1])) - 1) for number in range(len(ids))]
        end = 0
        for word in text.split():
            begin = text.index(word, end)
            end = begin + len(word)
            yield word, [number for number, place in enumerate(places) if begin <= place < end]

    @cached_property
    def _text_end(self) -> int:
        """The first id that is no text."""
        return min(self.end, self.start)


def jamo_files(languages: tuple[str, ...] = ("ko",)) -> dict[str, bytes]:
    """Return the files of an alphabet of jamo and the space, with Whisper's special tokens behind them."""
    letters = [
        " ",
        *map(chr, range(0x1100, 0x1113)),
        *map(chr, range(0x1161, 0x1176)),
        *map(chr, range(0x11A8, 0x11C3)),
    ]
    pieces = Pieces(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    pieces.normalizer, pieces.decoder = normalizers.NFD(), decoders.Fuse()
    asked = [*(f"<|{language}|>" for language in languages), *(f"<|{task}|>" for task in TASKS)]
    pieces.add_special_tokens([_END, _START, *asked, _NO_SPEECH[0], _NO_TIMESTAMPS])
    settings = {"is_multilingual": True, "begin_suppress_tokens": [0, pieces.token_to_id(_END)], "suppress_tokens": []}
    return {
        "tokenizer.json": pieces.to_str().encode(),
        "generation_config.json": json.dumps(settings, indent=1).encode(),
    }


def vocab_size(files: dict[str, bytes]) -> int:
    """Return the size of the vocabulary in the files."""
    return read_pieces(files, "tokenizer").get_vocab_size()


def read_pieces(files: dict[str, bytes], place: str) -> Pieces:
    """Return the tokenizer of a checkpoint's files. Raises: ModelError if there is none, or it is damaged."""
    if "tokenizer.json" in files:
        _refuse_expressions(_read_object(files["tokenizer.json"], place), place)
        try:
            return Pieces.from_str(files["tokenizer.json"].decode())
        except Exception as error:  # the library raises no class of its own
            raise ModelError(f"{place}: tokenizer.json cannot be read: {error}") from error
    if not {"vocab.json", "merges.txt"} <= files.keys():
        raise ModelError(f"{place}: no tokenizer.json beside the weights, nor vocab.json with merges.txt")
    try:
        return _read_pairs(files, place)
    except (TypeError, ValueError, AttributeError) as error:  # ids that are no numbers, merges of unknown pieces
        raise ModelError(f"{place}: vocab.json and merges.txt are no tokenizer: {error}") from error


def _read_pairs(files: dict[str, bytes], place: str) -> Pieces:
    """Return the tokenizer of vocab.json, merges.txt and added_tokens.json."""
    lines = files["merges.txt"].decode().splitlines()
    pairs = [line.split(" ", 1) for line in lines if " " in line and not line.startswith("#version")]
    merges = [(left, right) for left, right in pairs]
    try:
        pieces = Pieces(models.BPE(_read_object(files["vocab.json"], place), merges))
    except Exception as error:  # the library raises no class of its own
        raise ValueError(str(error)) from error
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    added = _read_object(files.get("added_tokens.json", b"{}"), place)
    pieces.add_special_tokens(sorted(added, key=lambda name: added[name]))
    moved = next((name for name, index in added.items() if pieces.token_to_id(name) != index), None)
    if moved is not None:
        raise ModelError(
            f"{place}: added_tokens.json gives {moved} the id {added[moved]}, which does not follow vocab.json"
        )
    return pieces


def _refuse_expressions(values: Any, place: str) -> None:
    """Refuse regular expressions of a tokenizer's own: some take for ever on some texts, and nothing could stop them.

    GPT-2's, by which Whisper's texts are cut, are built into the library. Raises: ModelError with the first other one.
    """
    if isinstance(values, dict):
        pattern = values.get("Regex")
        if isinstance(pattern, str) and pattern not in _KNOWN_EXPRESSIONS:
            raise ModelError(
                f"{place}: tokenizer.json cuts texts by a regular expression of its own ({pattern[:60]!r}), which "
                "could take for ever; accepted: those of GPT-2 and Whisper"
            )
    for value in values.values() if isinstance(values, dict) else values if isinstance(values, list) else ():
        if isinstance(value, dict | list):
            _refuse_expressions(value, place)


def _check_settings(settings: dict[str, Any], place: str) -> None:
    """Refuse lists of ids that are none. Raises: ModelError naming the setting."""
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        found = settings.get(name) or []
        if not isinstance(found, list) or not all(type(index) is int for index in found):
            raise ModelError(f"{place}: generation_config.json: {name} is no list of ids: {str(found)[:60]}")
    heads = settings.get("alignment_heads") or []
    pairs = isinstance(heads, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in heads)
    if not pairs or not all(type(index) is int and index >= 0 for pair in heads for index in pair):
        raise ModelError(f"{place}: generation_config.json: alignment_heads {heads!r:.60} are no pairs of block, head")


def _read_object(content: bytes, place: str) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{place}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{place}: a JSON object was expected, not {type(values).__name__}")
    return values
