"""What keys of older files are called today: the one table, applied to whatever of theirs is opened.

Saved models, recipes and run folders outlive the names in them. Old keys are renamed as they are read, before they are
checked; nothing writes them any more. A row says a key's old place, dotted, `*` for any name, and its new last part.
"""

from typing import Any

from malsori.errors import ConfigError

Renames = dict[str, str]

#: Of what config.json says beside its sizes.
FACTS: Renames = {
    "licence": "license",
    "trained.layout": "checkpoint_format",
    "statistics.*.pitch_deviation": "pitch_std",
    "statistics.*.energy_deviation": "energy_std",
}

#: Of sizes, by system: `model` in a config.json, `[model]` in a recipe.
MODELS: dict[str, Renames] = {
    "conformer": {
        "features": "hidden_size",
        "blocks": "num_layers",
        "heads": "num_heads",
        "kernel": "kernel_size",
        "expansion": "ffn_expansion_factor",
        "phoneme_block": "phoneme_ctc_layer",
        "attention_from": "first_attention_layer",
    },
    "fastspeech": {
        "features": "hidden_size",
        "encoder_layers": "num_encoder_layers",
        "decoder_layers": "num_decoder_layers",
        "heads": "num_heads",
        "filter_features": "ffn_size",
        "kernels": "ffn_kernel_sizes",
        "predictor_features": "predictor_hidden_size",
        "predictor_kernel": "predictor_kernel_size",
    },
    "fastspeech2": {
        "features": "hidden_size",
        "encoder_layers": "num_encoder_layers",
        "decoder_layers": "num_decoder_layers",
        "heads": "num_heads",
        "filter_features": "ffn_size",
        "kernel": "ffn_kernel_size",
        "predictor_features": "predictor_hidden_size",
        "predictor_kernel": "predictor_kernel_size",
        "pitch_kernel": "pitch_predictor_kernel_size",
        "bins": "num_bins",
        "bins_a_frame": "frame_level_bins",
        "postnet_features": "postnet_hidden_size",
    },
    "hifigan": {
        "upsample_kernels": "upsample_kernel_sizes",
        "block_kernels": "resblock_kernel_sizes",
        "block_dilations": "resblock_dilations",
        "block_convolutions": "resblock_convolutions",
    },
    "tacotron": {
        "embedding_features": "embedding_size",
        "prenet_features": "prenet_sizes",
        "features": "hidden_size",
        "bank": "num_encoder_banks",
        "postnet_bank": "num_postnet_banks",
        "postnet_features": "postnet_hidden_size",
        "highways": "num_highway_layers",
        "recurrent_features": "decoder_rnn_size",
        "attention_features": "attention_size",
        "mel_deviation": "mel_std",
        "limits.frames_a_token": "max_frames_per_token",
    },
    "tacotron2": {
        "features": "hidden_size",
        "encoder_layers": "num_encoder_layers",
        "kernel": "kernel_size",
        "recurrent_features": "decoder_rnn_size",
        "attention_features": "attention_size",
        "location_kernel": "location_kernel_size",
        "prenet_features": "prenet_sizes",
        "postnet_features": "postnet_hidden_size",
        "postnet_layers": "num_postnet_layers",
        "mel_deviation": "mel_std",
        "limits.frames_a_token": "max_frames_per_token",
    },
    "vits": {
        "speaker_features": "speaker_embedding_size",
        "bins": "spectrogram_bins",
        "features": "hidden_size",
        "encoder_layers": "num_encoder_layers",
        "heads": "num_heads",
        "filter_features": "ffn_size",
        "kernel": "ffn_kernel_size",
        "window": "window_size",
        "posterior_layers": "num_posterior_layers",
        "flow_steps": "num_flows",
        "flow_layers": "num_flow_layers",
        "wavenet_kernel": "wavenet_kernel_size",
        "durations.hidden": "hidden_size",
        "durations.kernel": "kernel_size",
        "durations.steps": "num_flows",
        "durations.layers": "num_layers",
        "durations.bins": "num_bins",
        "durations.bound": "tail_bound",
    },
    "vocos": {
        "features": "hidden_size",
        "expansion": "ffn_expansion_factor",
        "blocks": "num_layers",
    },
    "wav2vec2": {
        "channels": "conv_channels",
        "kernels": "conv_kernel_sizes",
        "strides": "conv_strides",
        "convolution_bias": "conv_bias",
        "features": "hidden_size",
        "layers": "num_layers",
        "heads": "num_heads",
        "expanded_features": "ffn_size",
        "position_kernel": "position_kernel_size",
        "mask_starts": "mask_prob",
        "mask_span": "mask_length",
        "channel_mask_starts": "mask_channel_prob",
        "channel_mask_span": "mask_channel_length",
    },
    "whisper": {
        "features": "hidden_size",
        "encoder_layers": "num_encoder_layers",
        "encoder_heads": "num_encoder_heads",
        "encoder_hidden": "encoder_ffn_size",
        "decoder_layers": "num_decoder_layers",
        "decoder_heads": "num_decoder_heads",
        "decoder_hidden": "decoder_ffn_size",
    },
}
MODELS["vits"] |= {f"decoder.{old}": new for old, new in MODELS["hifigan"].items()}
MODELS["wav2vec2-pretrain"] = MODELS["wav2vec2"] | {
    "groups": "num_codebooks",
    "codes": "codebook_size",
    "code_features": "codevector_size",
    "contrast_features": "projection_size",
}

#: Of every recipe.
RECIPES: Renames = {
    "licence": "license",
    "data.longest_seconds": "max_seconds",
    "data.speeds": "speed_perturbation",
    "data.masked_channels": "freq_mask_width",
    "data.masked_frames": "time_mask_width",
    "train.balance_every": "contributions_every",
}

#: Of the recipes of one system alone.
SYSTEM_RECIPES: dict[str, Renames] = {
    "hifigan": {"waves": "discriminator", "weights.generator.features": "feature_matching"},
    "vits": {"waves": "discriminator", "weights.generator.features": "feature_matching"},
    "vocos": {
        "waves": "discriminator",
        "resolutions": "multi_resolution_discriminator",
        "weights.generator.features": "feature_matching",
    },
    "wav2vec2-pretrain": {"optimizers.listener": "encoder", "weights.listener": "encoder"},
    "whisper": {"misread": "token_replacement", "writes": "target_text"},
}

#: Turns in a run's records and checkpoints.
TURNS: Renames = {"listener": "encoder"}

#: Losses in a run's records: turn/loss → the loss's name.
LOSSES: Renames = {"generator/features": "feature_matching"}


def current_facts(values: dict[str, Any], place: str) -> dict[str, Any]:
    """Return what a config.json says, under today's keys. Raises: ConfigError if a key is there under both names."""
    return _renamed(values, FACTS | _model_rows(values), place)


def former_facts(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a config.json says under the keys it once had: what was fingerprinted then keeps its fingerprint.

    >>> former_facts({"system": "vocos", "license": "MIT", "model": {"hidden_size": 8}})
    {'system': 'vocos', 'licence': 'MIT', 'model': {'features': 8}}
    """
    rows = ((old.rpartition("."), new) for old, new in (FACTS | _model_rows(values)).items())
    return _renamed(values, {above + dot + new: last for (above, dot, last), new in rows}, "facts")


def current_recipe(values: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a recipe's values under today's keys. Raises: ConfigError if a key is there under both names."""
    return _renamed(values, _recipe_rows(values), place)


def current_key(values: dict[str, Any], key: str) -> str:
    """Return what a dotted key of a recipe is called today; `values` say which system's recipe it is.

    >>> current_key({"system": "vocos"}, "licence")
    'license'
    """
    rows, parts = _recipe_rows(values), key.split(".")
    for length in range(len(parts), 0, -1):
        new = next((new for old, new in rows.items() if _matches(old.split("."), parts[:length])), parts[length - 1])
        parts = [*parts[: length - 1], new, *parts[length:]]
    return ".".join(parts)


def current_record(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a line of a run's metrics.jsonl or balance.jsonl with its turns and losses under today's names."""
    if entry.get("turn") in TURNS:
        entry = entry | {"turn": TURNS[entry["turn"]]}
    if f"{entry.get('turn')}/{entry.get('loss')}" in LOSSES:
        entry = entry | {"loss": LOSSES[f"{entry['turn']}/{entry['loss']}"]}
    return {_current_value_name(key): value for key, value in entry.items()}


def _current_value_name(key: str) -> str:
    """Return what a value of metrics.jsonl, turn/name, is called today."""
    turn, slash, name = key.partition("/")
    return f"{TURNS.get(turn, turn)}{slash}{LOSSES.get(key, name)}"


def _model_rows(values: dict[str, Any]) -> Renames:
    return {f"model.{old}": new for old, new in MODELS.get(str(values.get("system")), {}).items()}


def _recipe_rows(values: dict[str, Any]) -> Renames:
    return RECIPES | SYSTEM_RECIPES.get(str(values.get("system")), {}) | _model_rows(values)


def _renamed(values: dict[str, Any], rows: Renames, place: str) -> dict[str, Any]:
    """Return nested values with the last part of each old key replaced, a section's after its own keys."""

    def walk(section: dict[str, Any], path: list[str]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in section.items():
            here = [*path, name]
            new = next((new for old, new in rows.items() if _matches(old.split("."), here)), name)
            if new != name and new in section:
                old_key, new_key = ".".join(here), ".".join([*path, new])
                raise ConfigError(f"{place}: has '{old_key}' and '{new_key}', its name today. Keep '{new_key}' alone.")
            result[new] = walk(value, here) if isinstance(value, dict) else value
        return result

    return walk(values, [])


def _matches(old: list[str], path: list[str]) -> bool:
    return len(old) == len(path) and all(part in ("*", name) for part, name in zip(old, path, strict=True))
