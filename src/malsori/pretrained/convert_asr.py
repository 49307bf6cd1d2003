"""What public recognizers say of themselves, as our settings: one function a format.

Each returns the model with an untrained network; `convert.convert` puts the weights in.
"""

import re
from typing import TYPE_CHECKING, Any

import torch

from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.errors import ModelError
from malsori.pretrained.convert import ExternalCheckpoint, external_facts
from malsori.pretrained.ctranslate2 import generation_config
from malsori.pretrained.folder import SavedModel, kept_files, read_weights
from malsori.text.hangul import to_nfc
from malsori.text.letters import LETTERS
from malsori.text.symbols import SymbolTable

if TYPE_CHECKING:
    from malsori.models.whisper import WhisperConfig

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


def transformers_whisper(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return a Whisper of any size, with the files of its tokenizer and of what it must never write."""
    from malsori.models.whisper import WhisperConfig

    for name, only in (("activation_function", "gelu"), ("scale_embedding", False), ("tie_word_embeddings", True)):
        if checkpoint.config.get(name, only) != only:
            raise ModelError(f"{checkpoint.folder}: {name} is {checkpoint.config[name]!r}; a Whisper has {only!r}")
    config = WhisperConfig(
        vocab=checkpoint["vocab_size"],
        mel_channels=checkpoint["num_mel_bins"],
        hidden_size=checkpoint["d_model"],
        num_encoder_layers=checkpoint["encoder_layers"],
        num_encoder_heads=checkpoint["encoder_attention_heads"],
        encoder_ffn_size=checkpoint["encoder_ffn_dim"],
        encoder_positions=checkpoint["max_source_positions"],
        num_decoder_layers=checkpoint["decoder_layers"],
        num_decoder_heads=checkpoint["decoder_attention_heads"],
        decoder_ffn_size=checkpoint["decoder_ffn_dim"],
        decoder_positions=checkpoint["max_target_positions"],
    )
    return _whisper(checkpoint, config, kept_files(checkpoint.folder))


def ctranslate2_whisper(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return a Whisper of any size from faster-whisper's folder, with its tokenizer and what it must never write."""
    from malsori.models.whisper import WhisperConfig

    for name, only in _CTRANSLATE2_FIXED.items():
        if checkpoint.config.get(name, only) != only:
            raise ModelError(f"{checkpoint.folder}: {name} is {checkpoint.config[name]}; a Whisper has {only}")
    embedding, first = checkpoint.tensor("decoder/embeddings/weight"), checkpoint.tensor("encoder/conv1/weight")
    if not torch.equal(checkpoint.weights.get("decoder/projection/weight", embedding), embedding):
        raise ModelError(f"{checkpoint.folder}: 'decoder/projection/weight' is not the embedding; a Whisper's is")
    blocks = {found[0] for name in checkpoint.weights if (found := re.match(r"(en|de)coder/layer_\d+/", name))}
    num_encoder_layers = sum(block.startswith("en") for block in blocks)
    config = WhisperConfig(
        vocab=len(embedding),
        mel_channels=first.shape[1],
        hidden_size=len(first),
        num_encoder_layers=num_encoder_layers,
        num_encoder_heads=checkpoint["encoder/num_heads"],
        encoder_ffn_size=len(checkpoint.tensor("encoder/layer_0/ffn/linear_0/bias")),
        encoder_positions=len(checkpoint.tensor("encoder/position_encodings/encodings")),
        num_decoder_layers=len(blocks) - num_encoder_layers,
        num_decoder_heads=checkpoint["decoder/num_heads"],
        decoder_ffn_size=len(checkpoint.tensor("decoder/layer_0/ffn/linear_0/bias")),
        decoder_positions=len(checkpoint.tensor("decoder/position_encodings/encodings")),
    )
    own = {"generation_config.json": generation_config(checkpoint)}
    return _whisper(checkpoint, config, own | kept_files(checkpoint.folder))


def openai_whisper(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return a Whisper of any size from OpenAI's own file, which holds no tokenizer."""
    from malsori.models.whisper import WhisperConfig

    config = WhisperConfig(
        vocab=checkpoint["n_vocab"],
        mel_channels=checkpoint["n_mels"],
        hidden_size=checkpoint["n_audio_state"],
        num_encoder_layers=checkpoint["n_audio_layer"],
        num_encoder_heads=checkpoint["n_audio_head"],
        encoder_ffn_size=4 * checkpoint["n_audio_state"],
        encoder_positions=checkpoint["n_audio_ctx"],
        num_decoder_layers=checkpoint["n_text_layer"],
        num_decoder_heads=checkpoint["n_text_head"],
        decoder_ffn_size=4 * checkpoint["n_text_state"],
        decoder_positions=checkpoint["n_text_ctx"],
    )
    return _whisper(checkpoint, config, {})


def _whisper(checkpoint: ExternalCheckpoint, config: "WhisperConfig", files: dict[str, bytes]) -> SavedModel:
    """Return an untrained Whisper with the mel that the folder's files ask for, or the paper's."""
    from malsori.models.whisper import Whisper

    inputs = checkpoint.json("preprocessor_config.json") or checkpoint.json("processor_config.json").get(
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
    return SavedModel(external_facts("whisper", config, audio), {}, Whisper(config), files=files)


def transformers_wav2vec2(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return a wav2vec 2.0 or one of its kin, with its letters, or with its quantiser if it is pre-trained alone."""
    from malsori.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config, Wav2Vec2Pretraining, Wav2Vec2PretrainingConfig

    for name, only in (("hidden_act", "gelu"), ("feat_extract_activation", "gelu"), ("add_adapter", False)):
        if checkpoint.config.get(name, only) != only:
            raise ModelError(f"{checkpoint.folder}: {name} is {checkpoint.config[name]!r}; only {only!r} is known here")
    language = _add_adapter(checkpoint) if checkpoint.config.get("adapter_attn_dim") else None
    sizes = _encoder_sizes(checkpoint)
    if "quantizer.codevectors" in checkpoint.weights:
        codes = Wav2Vec2PretrainingConfig(
            **sizes,
            num_codebooks=checkpoint.config.get("num_codevector_groups", 2),
            codebook_size=checkpoint.config.get("num_codevectors_per_group", 320),
            codevector_size=checkpoint.config.get("codevector_dim", 256),
            projection_size=checkpoint.config.get("proj_codevector_dim", 256),
            code_dropout=checkpoint.config.get("feat_quantizer_dropout", 0.0),
        )
        return SavedModel(external_facts("wav2vec2-pretrain", codes, RECOGNITION_AUDIO), {}, Wav2Vec2Pretraining(codes))
    if "lm_head.weight" not in checkpoint.weights:
        kind = checkpoint.config.get("model_type")
        raise ModelError(f"{checkpoint.folder}: a {kind} that writes no letters (no 'lm_head'); give one taught by CTC")
    vocab = len(checkpoint.tensor("lm_head.weight"))
    table, blank = _letters(checkpoint, vocab, language)
    dropout = checkpoint.config.get("final_dropout", 0.1)
    config = Wav2Vec2Config(**sizes, vocab=vocab, blank=blank, final_dropout=dropout)
    symbols = {} if table is None else {table.kind: table}
    return SavedModel(external_facts("wav2vec2", config, RECOGNITION_AUDIO), symbols, Wav2Vec2(config))


def _add_adapter(checkpoint: ExternalCheckpoint) -> str | None:
    """Put one language's adapter and letters among the weights of an MMS, and return its code; None if none is told.

    It is Korean's where that is there, or the only one, or what tokenizer_config.json names: as its weights hold it.
    """
    files = {path.name.split(".")[1]: path for path in sorted(checkpoint.folder.glob("adapter.*.safetensors"))}
    told: str | None = checkpoint.json("tokenizer_config.json").get("target_lang")
    language = "kor" if "kor" in files else next(iter(files)) if len(files) == 1 else told
    if language in files:
        checkpoint.weights.update(read_weights(files[language]))
    return language


def _variant(checkpoint: ExternalCheckpoint) -> dict[str, Any]:
    """Return what HuBERT, data2vec-audio, WavLM and MMS have otherwise than wav2vec 2.0."""
    given = checkpoint.config.get
    if given("model_type") == "hubert":
        positions = "normalized" if given("conv_pos_batch_norm", False) else "convolution"
        return {"positions": positions, "latent_norm": given("feat_proj_layer_norm", True)}
    if given("model_type") == "data2vec-audio":
        return {
            "norm": "layer",
            "positions": "stacked",
            "num_position_layers": given("num_conv_pos_embeddings", 5),
            "position_kernel_size": given("conv_pos_kernel_size", 19),
        }
    if given("model_type") == "wavlm":
        return {"distance_buckets": given("num_buckets", 320), "max_distance": given("max_bucket_distance", 800)}
    return {"adapter_size": given("adapter_attn_dim") or 0}


def _encoder_sizes(checkpoint: ExternalCheckpoint) -> dict[str, Any]:
    """Return the encoder's settings; a folder may leave out those that are BASE's."""
    given = checkpoint.config.get
    inputs = checkpoint.json("preprocessor_config.json") or checkpoint.json("processor_config.json").get(
        "feature_extractor", {}
    )
    if inputs.get("sampling_rate", RECOGNITION_AUDIO.sample_rate) != RECOGNITION_AUDIO.sample_rate:
        raise ModelError(f"{checkpoint.folder}: listens at {inputs['sampling_rate']} Hz; only 16000 Hz is known here")
    vector = f"{str(given('model_type', 'wav2vec2')).replace('-', '_')}.masked_spec_embed"
    masks = [given("mask_time_prob", 0.05) / (span := given("mask_time_length", 10)), span]
    channel_masks = [given("mask_feature_prob", 0.0) / (span := given("mask_feature_length", 10)), span]
    if not masks[0] and not channel_masks[0]:  # it may be saved all the same
        checkpoint.weights.pop(vector, None)
    elif (
        vector not in checkpoint.weights
    ):  # some were saved without: they are opened unmasked, training makes a new one
        masks[0] = channel_masks[0] = 0.0
    sizes = {name: given(source, default) for name, (source, default) in _WAV2VEC2_SETTINGS.items()}
    sizes |= _variant(checkpoint)
    return sizes | {
        "standardized": inputs.get("do_normalize", True),
        "padding_mask": inputs.get("return_attention_mask", sizes["norm"] == "layer"),
        "mask_prob": masks[0],
        "mask_length": masks[1],
        "mask_channel_prob": channel_masks[0],
        "mask_channel_length": channel_masks[1],
    }


def _letters(checkpoint: ExternalCheckpoint, vocab: int, language: str | None) -> tuple[SymbolTable | None, int]:
    """Return the letters of vocab.json, a space where the words part, and the blank's id; none without that file.

    Args:
        language: of a vocab.json with several languages, the one whose letters the weights write.
    """
    ids, told = checkpoint.json("vocab.json"), checkpoint.json("tokenizer_config.json")
    blank = int(checkpoint.config.get("pad_token_id") or 0)
    if not ids:
        return None, blank
    if all(isinstance(letters, dict) for letters in ids.values()):
        if language not in ids:
            known = ", ".join(sorted(ids)[:5])
            raise ModelError(f"{checkpoint.folder}: vocab.json has no language '{language}'; it has {known} ...")
        ids = ids[language]
    if not all(isinstance(index, int) for index in ids.values()):
        raise ModelError(f"{checkpoint.folder}: vocab.json gives letters ids that are no numbers")
    pad = told.get("pad_token", "<pad>")
    blank = int(ids.get(str(pad["content"] if isinstance(pad, dict) else pad), blank))
    between = told.get("word_delimiter_token", "|")
    letters = {index: " " if letter == between else to_nfc(letter) for letter, index in ids.items()}
    return SymbolTable(LETTERS, "checkpoint", tuple(letters.get(i, f"<{i}>") for i in range(vocab))), blank
