"""What public recognisers say of themselves, as our settings: one function a layout.

Each returns the model with an untrained network; `layouts.adopt` puts the weights in.
"""

import re
from collections.abc import Callable
from typing import Any

import torch

from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.errors import ModelError
from malsori.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config, Wav2Vec2Pretraining, Wav2Vec2PretrainingConfig
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.convert import Public, describe
from malsori.pretrained.ctranslate2 import generation_config
from malsori.pretrained.folder import SavedModel, kept_files
from malsori.text.hangul import to_nfc
from malsori.text.letters import LETTERS
from malsori.text.symbols import SymbolTable

#: Our setting → theirs, and what it is where their file leaves it out (transformers 5, Wav2Vec2Config).
_WAV2VEC2_SETTINGS: dict[str, tuple[str, Any]] = {
    "conv_channels": ("conv_dim", (512,) * 7),
    "conv_kernel_sizes": ("conv_kernel", (10, 3, 3, 3, 3, 2, 2)),
    "conv_strides": ("conv_stride", (5, 2, 2, 2, 2, 2, 2)),
    "conv_bias": ("conv_bias", False),
    "norm": ("feat_extract_norm", "group"),
    "norm_first": ("do_stable_layer_norm", False),
    "norm_epsilon": ("layer_norm_eps", 1e-5),
    "hidden_size": ("hidden_size", 768),
    "num_layers": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 12),
    "ffn_size": ("intermediate_size", 3072),
    "position_kernel_size": ("num_conv_pos_embeddings", 128),
    "position_groups": ("num_conv_pos_embedding_groups", 16),
    "dropout": ("hidden_dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "inner_dropout": ("activation_dropout", 0.1),
    "input_dropout": ("feat_proj_dropout", 0.0),
    "layer_drop": ("layerdrop", 0.1),
}
#: Setting in CTranslate2's model.bin → the only value a Whisper has; 3 is their GELU, 1 would be the approximate one.
_CTRANSLATE2_FIXED = {
    "decoder/activation": 3,
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}


def transformers_whisper(public: Public) -> SavedModel:
    """Return a Whisper of any size, with the files of its tokenizer and of what it must never write."""
    for name, only in (("activation_function", "gelu"), ("scale_embedding", False), ("tie_word_embeddings", True)):
        if public.config.get(name, only) != only:
            raise ModelError(f"{public.folder}: {name} is {public.config[name]!r}; a Whisper has {only!r}")
    config = WhisperConfig(
        vocab=public["vocab_size"],
        mel_channels=public["num_mel_bins"],
        hidden_size=public["d_model"],
        num_encoder_layers=public["encoder_layers"],
        num_encoder_heads=public["encoder_attention_heads"],
        encoder_ffn_size=public["encoder_ffn_dim"],
        encoder_positions=public["max_source_positions"],
        num_decoder_layers=public["decoder_layers"],
        num_decoder_heads=public["decoder_attention_heads"],
        decoder_ffn_size=public["decoder_ffn_dim"],
        decoder_positions=public["max_target_positions"],
    )
    return _whisper(public, config, kept_files(public.folder))


def ctranslate2_whisper(public: Public) -> SavedModel:
    """Return a Whisper of any size from faster-whisper's folder, with its tokenizer and what it must never write."""
    for name, only in _CTRANSLATE2_FIXED.items():
        if public.config.get(name, only) != only:
            raise ModelError(f"{public.folder}: {name} is {public.config[name]}; a Whisper has {only}")
    embedding, first = public.tensor("decoder/embeddings/weight"), public.tensor("encoder/conv1/weight")
    if not torch.equal(public.weights.get("decoder/projection/weight", embedding), embedding):
        raise ModelError(f"{public.folder}: 'decoder/projection/weight' is not the embedding; a Whisper's is")
    blocks = {found[0] for name in public.weights if (found := re.match(r"(en|de)coder/layer_\d+/", name))}
    num_encoder_layers = sum(block.startswith("en") for block in blocks)
    config = WhisperConfig(
        vocab=len(embedding),
        mel_channels=first.shape[1],
        hidden_size=len(first),
        num_encoder_layers=num_encoder_layers,
        num_encoder_heads=public["encoder/num_heads"],
        encoder_ffn_size=len(public.tensor("encoder/layer_0/ffn/linear_0/bias")),
        encoder_positions=len(public.tensor("encoder/position_encodings/encodings")),
        num_decoder_layers=len(blocks) - num_encoder_layers,
        num_decoder_heads=public["decoder/num_heads"],
        decoder_ffn_size=len(public.tensor("decoder/layer_0/ffn/linear_0/bias")),
        decoder_positions=len(public.tensor("decoder/position_encodings/encodings")),
    )
    own = {"generation_config.json": generation_config(public)}
    return _whisper(public, config, own | kept_files(public.folder))


def openai_whisper(public: Public) -> SavedModel:
    """Return a Whisper of any size from OpenAI's own file, which holds no tokenizer."""
    config = WhisperConfig(
        vocab=public["n_vocab"],
        mel_channels=public["n_mels"],
        hidden_size=public["n_audio_state"],
        num_encoder_layers=public["n_audio_layer"],
        num_encoder_heads=public["n_audio_head"],
        encoder_ffn_size=4 * public["n_audio_state"],
        encoder_positions=public["n_audio_ctx"],
        num_decoder_layers=public["n_text_layer"],
        num_decoder_heads=public["n_text_head"],
        decoder_ffn_size=4 * public["n_text_state"],
        decoder_positions=public["n_text_ctx"],
    )
    return _whisper(public, config, {})


def _whisper(public: Public, config: WhisperConfig, files: dict[str, bytes]) -> SavedModel:
    """Return an untrained Whisper with the mel that the folder's files ask for, or the paper's."""
    inputs = public.json("preprocessor_config.json") or public.json("processor_config.json").get(
        "feature_extractor", {}
    )
    audio = AudioConfig(
        sample_rate=inputs.get("sampling_rate", 16000),
        fft_samples=inputs.get("n_fft", 400),
        window_samples=inputs.get("n_fft", 400),
        hop_samples=inputs.get("hop_length", 160),
        mel_channels=config.mel_channels,
        log_floor=1e-10,
    )
    return SavedModel(describe("whisper", config, audio), {}, Whisper(config), files=files)


def transformers_wav2vec2(public: Public) -> SavedModel:
    """Return a wav2vec 2.0, with its letters, or with its quantiser if it is pre-trained and no more."""
    for name, only in (("hidden_act", "gelu"), ("feat_extract_activation", "gelu"), ("add_adapter", False)):
        if public.config.get(name, only) != only:
            raise ModelError(f"{public.folder}: {name} is {public.config[name]!r}; only {only!r} is known here")
    if public.config.get("adapter_attn_dim") is not None:
        raise ModelError(f"{public.folder}: has attention adapters (MMS), which malsori does not know")
    sizes = _encoder_sizes(public)
    if "quantizer.codevectors" in public.weights:
        codes = Wav2Vec2PretrainingConfig(
            **sizes,
            num_codebooks=public.config.get("num_codevector_groups", 2),
            codebook_size=public.config.get("num_codevectors_per_group", 320),
            codevector_size=public.config.get("codevector_dim", 256),
            projection_size=public.config.get("proj_codevector_dim", 256),
            code_dropout=public.config.get("feat_quantizer_dropout", 0.0),
        )
        return SavedModel(describe("wav2vec2-pretrain", codes, RECOGNITION_AUDIO), {}, Wav2Vec2Pretraining(codes))
    vocab = len(public.tensor("lm_head.weight"))
    table, blank = _letters(public, vocab)
    dropout = public.config.get("final_dropout", 0.1)
    config = Wav2Vec2Config(**sizes, vocab=vocab, blank=blank, final_dropout=dropout)
    symbols = {} if table is None else {table.kind: table}
    return SavedModel(describe("wav2vec2", config, RECOGNITION_AUDIO), symbols, Wav2Vec2(config))


def _encoder_sizes(public: Public) -> dict[str, Any]:
    """Return the encoder's settings; a folder may leave out those that are BASE's."""
    given = public.config.get
    inputs = public.json("preprocessor_config.json") or public.json("processor_config.json").get(
        "feature_extractor", {}
    )
    if inputs.get("sampling_rate", RECOGNITION_AUDIO.sample_rate) != RECOGNITION_AUDIO.sample_rate:
        raise ModelError(f"{public.folder}: listens at {inputs['sampling_rate']} Hz; only 16000 Hz is known here")
    vector = "wav2vec2.masked_spec_embed"
    masks = [given("mask_time_prob", 0.05) / (span := given("mask_time_length", 10)), span]
    channel_masks = [given("mask_feature_prob", 0.0) / (span := given("mask_feature_length", 10)), span]
    if not masks[0] and not channel_masks[0]:  # it may be saved all the same
        public.weights.pop(vector, None)
    elif vector not in public.weights:  # some were saved without: they are opened unmasked, training makes a new one
        masks[0] = channel_masks[0] = 0.0
    return {name: given(theirs, default) for name, (theirs, default) in _WAV2VEC2_SETTINGS.items()} | {
        "standardized": inputs.get("do_normalize", True),
        "padding_mask": inputs.get("return_attention_mask", given("feat_extract_norm", "group") == "layer"),
        "mask_prob": masks[0],
        "mask_length": masks[1],
        "mask_channel_prob": channel_masks[0],
        "mask_channel_length": channel_masks[1],
    }


def _letters(public: Public, vocab: int) -> tuple[SymbolTable | None, int]:
    """Return the letters of vocab.json, a space where the words part, and the blank's id; none without that file."""
    ids, told = public.json("vocab.json"), public.json("tokenizer_config.json")
    blank = int(public.config.get("pad_token_id") or 0)
    if not ids:
        return None, blank
    if not all(isinstance(index, int) for index in ids.values()):
        raise ModelError(f"{public.folder}: vocab.json holds several languages, which malsori does not know")
    pad = told.get("pad_token", "<pad>")
    blank = int(ids.get(str(pad["content"] if isinstance(pad, dict) else pad), blank))
    between = told.get("word_delimiter_token", "|")
    letters = {index: " " if letter == between else to_nfc(letter) for letter, index in ids.items()}
    return SymbolTable(LETTERS, "checkpoint", tuple(letters.get(i, f"<{i}>") for i in range(vocab))), blank


#: Layout → what its settings ask for.
READERS: dict[str, Callable[[Public], SavedModel]] = {
    "ctranslate2-whisper": ctranslate2_whisper,
    "openai-whisper": openai_whisper,
    "transformers-wav2vec2": transformers_wav2vec2,
    "transformers-whisper": transformers_whisper,
}
