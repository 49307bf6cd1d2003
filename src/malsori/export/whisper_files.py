"""What stands beside a Whisper's graphs for other programs: its tokens, its sizes, its special ids."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tokenizers import pre_tokenizers

from malsori.errors import ModelError
from malsori.export.whispers import onnx_asr_graphs, sherpa_graphs
from malsori.pretrained.folder import SavedModel
from malsori.text.tokenizer import Tokenizer, read_pieces

if TYPE_CHECKING:
    from malsori.export.graph import Graph

#: Names of all files that `whisper_program_files` may give.
WHISPER_FILES = (
    *("encoder_model.onnx", "decoder_model_merged.onnx", "vocab.json", "added_tokens.json", "config.json"),
    *("encoder.onnx", "decoder.onnx", "tokens.txt"),
)
_LANGUAGE = "ko"  # what is written where nobody asks for another


@dataclass(frozen=True)
class ProgramFiles:
    """A folder: graphs and texts by the names of their files; what is told within which graph."""

    graphs: Mapping[str, "Graph"]
    texts: Mapping[str, str]
    metadata: Mapping[str, dict[str, str]] = field(default_factory=dict)


def whisper_program_files(program: str, model: SavedModel, name: str) -> ProgramFiles:
    """Return a Whisper's files for sherpa-onnx or onnx-asr.

    Raises: ModelError for one whose sounds are not filled up to its window, which both programs do; whose tokens are
        not the bytes of a text; or that writes English alone.
    """
    tokenizer, vocab = whisper_alphabet(program, model, name)
    network = model.network.eval()
    if program == "onnx-asr":
        graphs = onnx_asr_graphs(network, tokenizer)
        return ProgramFiles(
            {f"{key}.onnx": graph for key, graph in graphs.items()}, _onnx_asr_texts(model, name, vocab)
        )
    graphs = sherpa_graphs(network, tokenizer)
    return ProgramFiles(
        {f"{key}.onnx": graph for key, graph in graphs.items()},
        {"tokens.txt": _sherpa_tokens(vocab)},
        {"encoder.onnx": _sherpa_metadata(model, tokenizer)},
    )


def whisper_alphabet(program: str, model: SavedModel, name: str) -> tuple[Tokenizer, dict[str, int]]:
    """Return a Whisper's alphabet, and the ids of its pieces of text.

    Raises: ModelError as `whisper_program_files`.
    """
    tokenizer = Tokenizer(model.files, name)
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    vocab = read_pieces(model.files, name).get_vocab(with_added_tokens=False)
    if not model.network.config.whole_window:
        raise ModelError(f"{name}: learnt from sounds as long as they are; {program} fills them up to a window")
    if not tokenizer.multilingual or not all(alphabet.issuperset(piece) for piece in vocab):
        raise ModelError(f"{name}: {program} opens Whispers of several languages, whose tokens are bytes of a text")
    return tokenizer, vocab


def token_bytes(vocab: dict[str, int]) -> dict[int, bytes]:
    """Return what each token of an alphabet of bytes writes, by their ids, in order."""
    own = set(pre_tokenizers.ByteLevel.alphabet())
    others = iter(range(256, 512))  # as GPT-2 names bytes that are no printable signs, in their order
    byte_of = {chr(code) if chr(code) in own else chr(next(others)): code for code in range(256)}
    rows = sorted(vocab.items(), key=lambda item: item[1])
    return {number: bytes(byte_of[sign] for sign in piece) for piece, number in rows}


def _onnx_asr_texts(model: SavedModel, name: str, vocab: dict[str, int]) -> dict[str, str]:
    special = {
        token.content: number for number, token in read_pieces(model.files, name).get_added_tokens_decoder().items()
    }
    config = {"model_type": "whisper", "num_mel_bins": model.network.config.mel_channels}
    texts = {
        "vocab.json": dict(sorted(vocab.items(), key=lambda item: item[1])),
        "added_tokens.json": dict(sorted(special.items(), key=lambda item: item[1])),
        "config.json": config,
    }
    return {file: json.dumps(values, ensure_ascii=False) + "\n" for file, values in texts.items()}


def _sherpa_tokens(vocab: dict[str, int]) -> str:
    """Return the tokens' bytes in base64, and their ids, a line each."""
    return "".join(f"{base64.b64encode(piece).decode()} {number}\n" for number, piece in token_bytes(vocab).items())


def _sherpa_metadata(model: SavedModel, tokenizer: Tokenizer) -> dict[str, str]:
    sizes, languages = model.network.config, tokenizer.language_ids
    language = _LANGUAGE if _LANGUAGE in languages else next(iter(languages))
    prefix = tokenizer.prefix(language)
    values = {
        "model_type": "whisper",
        "version": 1,
        "maintainer": "malsori",
        "n_mels": sizes.mel_channels,
        "n_audio_ctx": sizes.encoder_positions,
        "n_audio_state": sizes.hidden_size,
        "n_audio_head": sizes.num_encoder_heads,
        "n_audio_layer": sizes.num_encoder_layers,
        "n_vocab": sizes.vocab,
        "n_text_ctx": sizes.decoder_positions,
        "n_text_state": sizes.hidden_size,
        "n_text_head": sizes.num_decoder_heads,
        "n_text_layer": sizes.num_decoder_layers,
        "sot_sequence": ",".join(map(str, prefix[:-1])),
        "all_language_tokens": ",".join(map(str, languages.values())),
        "all_language_codes": ",".join(languages),
        "sot": tokenizer.start,
        "sot_index": 0,
        "eot": tokenizer.end,
        "blank_id": tokenizer.encode(" ")[0],
        "is_multilingual": 1,
        "no_speech": tokenizer.start if tokenizer.no_speech is None else tokenizer.no_speech,
        "non_speech_tokens": ",".join(map(str, tokenizer.suppressed_ids("suppress_tokens"))),
        "transcribe": tokenizer.special("<|transcribe|>"),
        "translate": tokenizer.special("<|translate|>"),
        "sot_prev": tokenizer.special("<|startofprev|>"),
        "sot_lm": tokenizer.special("<|startoflm|>"),
        "no_timestamps": tokenizer.no_timestamps,
    }
    return {key: str(value) for key, value in values.items()}
