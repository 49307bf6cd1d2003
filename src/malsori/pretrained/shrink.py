"""A Whisper's vocabulary cut to what a language needs: a smaller network that writes the same texts.

Half of a small Whisper's parameters are vectors of tokens, most of them pieces of other languages' words. Kept are

    the bytes               so that any text can still be written
    special tokens          of the languages that stay; the 1501 timestamps if they are asked for
    pieces of the script    that the texts are written in (Hangul), whether the texts use them or not
    pieces of characters    bytes that are no whole character: they spell rare syllables
    common ASCII            the first ids are the commonest pieces
    what the texts use      often enough

and what these are merged from, so that each is still reached. A merge that is gone was of no use to a kept piece, so a
text of kept pieces is cut up as before; others spell themselves from smaller ones. Ids keep their order.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field

from malsori.config import Config
from malsori.errors import ModelError
from malsori.models.whisper import Whisper
from malsori.pretrained.folder import SavedModel
from malsori.text.hangul import to_nfc
from malsori.text.tokenizer import Tokenizer, read_pieces

#: Of the letters beyond ASCII in the texts, the share that makes a script theirs.
_SCRIPT_SHARE = 0.1
#: Settings of generation_config.json that are one id, a list of ids, or ids by name.
_ONE_ID = (
    *("bos_token_id", "decoder_start_token_id", "eos_token_id", "no_timestamps_token_id"),
    *("pad_token_id", "prev_sot_token_id"),
)
_IDS, _NAMED_IDS = ("suppress_tokens", "begin_suppress_tokens"), ("lang_to_id", "task_to_id")


class ShrinkOptions(Config):
    """What stays beside what the texts need.

    languages: codes of those that can still be asked for; all when empty. timestamps: whether times can be written.
    min_count: how often the texts must use a piece. ascii_ids: ASCII pieces below this id stay.
    """

    languages: tuple[str, ...] = ()
    timestamps: bool = False
    min_count: int = Field(10, ge=1)
    ascii_ids: int = Field(4000, ge=0)


def shrink(model: SavedModel, texts: Iterable[str], options: ShrinkOptions | None = None) -> SavedModel:
    """Return a Whisper with the pieces that texts need; its network is a new one.

    Args:
        texts: lines of the language, as many as there are.
    Raises: ModelError if the model is no Whisper with a tokenizer of byte pairs, or lacks a language.
    """
    options = options or ShrinkOptions()
    if model.facts.system != "whisper":
        raise ModelError(f"a {model.facts.system} has no vocabulary to shrink; only a whisper has")
    tokenizer = Tokenizer(model.files, "the model's folder")
    content = json.loads(read_pieces(model.files, "the model's folder").to_str())
    if content["model"]["type"] != "BPE" or not content["model"]["merges"]:
        raise ModelError(f"its tokenizer is a {content['model']['type']} without merges; only byte pairs are shrunk")
    kept = sorted(_pieces_needed(content["model"], tokenizer, texts, options) | _specials(content, tokenizer, options))
    ids = {old: new for new, old in enumerate(kept)}
    settings = _settings(tokenizer, ids) | {"is_multilingual": tokenizer.multilingual}
    files = {
        "tokenizer.json": json.dumps(_renumbered(content, ids), ensure_ascii=False).encode(),
        "generation_config.json": json.dumps(settings, indent=1).encode(),
    }
    small = _cut(model.network, kept)
    facts = model.facts.model_copy(update={"model": small.config.model_dump(mode="json")})
    before = model.network.config.vocab
    told = f"\nIts vocabulary was cut from {before} to {len(kept)} tokens; the other weights are unchanged.\n"
    return replace(model, facts=facts, network=small, card=model.card + told, files=files)


def _cut(network: Whisper, kept: list[int]) -> Whisper:
    """Return a network that knows some of the tokens."""
    small = Whisper(network.config.model_copy(update={"vocab": len(kept)}))
    state = network.state_dict()
    name = "decoder.embedding.weight"
    small.load_state_dict(state | {name: state[name][torch.tensor(kept, device=state[name].device)]})
    return small.eval()


def _pieces_needed(
    model: dict[str, Any], tokenizer: Tokenizer, texts: Iterable[str], options: ShrinkOptions
) -> set[int]:
    """Return the ids of the pieces of text that stay, and of what they are merged from."""
    vocab: dict[str, int] = model["vocab"]
    made = {left + right: (left, right) for left, right in map(_pair, model["merges"])}
    names = {index: piece for piece, index in vocab.items()}
    used, scripts = _used(tokenizer, texts, options.min_count)
    wanted = [names[index] for index in used if index in names]
    for piece, index in vocab.items():
        text = _text_of(piece)
        common = text is not None and text.isascii() and index < options.ascii_ids
        if (piece and piece not in made) or text is None or common or _scripts_of(text) & scripts:
            wanted.append(piece)
    needed: set[str] = set()
    while wanted:
        piece = wanted.pop()
        if piece not in needed:
            needed.add(piece)
            wanted += made.get(piece, ())
    return {vocab[piece] for piece in needed}


def _used(tokenizer: Tokenizer, texts: Iterable[str], min_count: int) -> tuple[list[int], set[str]]:
    """Return the ids that the texts use so often, and the scripts they are written in, ASCII not counted."""
    pieces, letters = Counter[int](), Counter[str]()
    for line in texts:
        letters.update(to_nfc(line))
        pieces.update(tokenizer.encode(f" {line.strip()}"))
    scripts = Counter[str]()
    for letter, count in letters.items():
        scripts.update(dict.fromkeys(_scripts_of(letter), count))
    enough = _SCRIPT_SHARE * scripts.total()
    often = [index for index, count in pieces.items() if count >= min_count]
    return often, {script for script, count in scripts.items() if count >= enough}


def _specials(content: dict[str, Any], tokenizer: Tokenizer, options: ShrinkOptions) -> set[int]:
    """Return the ids of the tokens that are no text and stay."""
    unknown = [language for language in options.languages if language not in tokenizer.languages]
    if unknown:
        raise ModelError(f"language '{unknown[0]}' is none of the model's: {', '.join(tokenizer.languages)}")
    gone = set(tokenizer.languages) - set(options.languages or tokenizer.languages)
    lost = {tokenizer.special(f"<|{language}|>") for language in gone}
    added = {token["id"] for token in content["added_tokens"]} - lost
    return {index for index in added if options.timestamps or index < tokenizer.first_timestamp}


def _renumbered(content: dict[str, Any], ids: dict[int, int]) -> dict[str, Any]:
    """Return a tokenizer.json with the tokens that have a new id."""
    model = content["model"]
    vocab = {piece: ids[index] for piece, index in model["vocab"].items() if index in ids}
    merges = [merge for merge in model["merges"] if {*(pair := _pair(merge)), "".join(pair)} <= vocab.keys()]
    added = [token | {"id": ids[token["id"]]} for token in content["added_tokens"] if token["id"] in ids]
    # What it adds of its own accord is not asked for here, and would name tokens by their old ids.
    own = {"model": model | {"vocab": vocab, "merges": merges}, "added_tokens": added, "post_processor": None}
    return content | own


def _settings(tokenizer: Tokenizer, ids: dict[int, int]) -> dict[str, Any]:
    """Return the settings of generation_config.json with the new ids of the tokens that are left."""
    settings = dict(tokenizer.settings)
    settings.pop("forced_decoder_ids", None)  # an old way to say the prefix
    settings |= {name: ids[settings[name]] for name in _ONE_ID if settings.get(name) in ids}
    for name in _IDS:
        settings |= {name: [ids[index] for index in settings[name] if index in ids]} if settings.get(name) else {}
    for name in _NAMED_IDS:
        named = settings.get(name)
        settings |= {name: {key: ids[index] for key, index in named.items() if index in ids}} if named else {}
    return settings


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _text_of(piece: str) -> str | None:
    """Return the text of a piece; None if its bytes are no whole characters."""
    try:
        return bytes(_BYTES[letter] for letter in piece).decode()
    except (KeyError, UnicodeDecodeError):
        return None


def _scripts_of(text: str) -> set[str]:
    """Return the scripts of a text's letters beyond ASCII, by the first word of their Unicode names."""
    letters = (letter for letter in text if not letter.isascii() and letter.isalpha())
    return {unicodedata.name(letter, "").partition(" ")[0] for letter in letters}


def _byte_letters() -> Iterator[tuple[str, int]]:
    """Yield the letter that GPT-2's byte pairs write for each byte, with the byte."""
    moved = 256
    for byte in range(256):
        plain = 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255
        yield chr(byte if plain else moved), byte
        moved += not plain


_BYTES = dict(_byte_letters())
