"""What public voices and vocoders say of themselves, as our settings: one function a format.

Each returns the model with an untrained network; `convert.convert` puts the weights in.
"""

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from malsori.config import AudioConfig
from malsori.errors import ModelError
from malsori.pretrained.convert import ExternalCheckpoint, external_facts
from malsori.pretrained.folder import SavedModel
from malsori.text.symbols import SymbolTable

if TYPE_CHECKING:
    from malsori.models.vits import VitsConfig
    from malsori.models.vits_duration import DurationConfig

log = logging.getLogger(__name__)


def transformers_hifigan(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return SpeechT5's vocoder; its mel is that of SpeechT5's feature extractor, which no file beside it names.

    Source: transformers 5, SpeechT5FeatureExtractor: 64 ms windows every 16 ms, 80 channels from 80 to 7600 Hz.
    """
    from malsori.models.hifigan import LEAKY_SLOPE, Hifigan, HifiganConfig

    rate, channels = checkpoint["sampling_rate"], checkpoint["model_in_dim"]
    standardizes, slope = checkpoint["normalize_before"], checkpoint["leaky_relu_slope"]
    if slope != LEAKY_SLOPE:
        raise ModelError(f"{checkpoint.folder}: leaky_relu_slope {slope} is not that of the paper, {LEAKY_SLOPE}")
    if not standardizes:  # their buffers are saved all the same, and not looked at
        checkpoint.weights.pop("mean", None)
        checkpoint.weights.pop("scale", None)
    config = HifiganConfig(
        mel_channels=channels,
        channels=checkpoint["upsample_initial_channel"],
        upsample_rates=tuple(checkpoint["upsample_rates"]),
        upsample_kernel_sizes=tuple(checkpoint["upsample_kernel_sizes"]),
        resblock_kernel_sizes=tuple(checkpoint["resblock_kernel_sizes"]),
        resblock_dilations=_tuples(checkpoint["resblock_dilation_sizes"]),
        standardizes=standardizes,
    )
    audio = AudioConfig(
        sample_rate=rate,
        fft_samples=4 * config.samples_per_frame,
        window_samples=4 * config.samples_per_frame,
        hop_samples=config.samples_per_frame,
        mel_channels=channels,
        min_hz=80.0,
        max_hz=min(7600.0, rate / 2),
        log_floor=1e-10,
        convention="speecht5",
    )
    return SavedModel(external_facts("hifigan", config, audio), {}, Hifigan(config))


def jik876_hifigan(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return the HiFi-GAN authors' generator, V1 to V3 or of any other sizes; their mel is ours.

    A frame is as long as what the generator makes of it; settings that say otherwise are told of.
    """
    from malsori.models.hifigan import Hifigan, HifiganConfig

    # a ResBlock1 has pairs of convolutions and takes three dilations, a ResBlock2 two; further ones are not looked at
    pairs = any(".convs1." in name for name in checkpoint.weights)
    config = HifiganConfig(
        mel_channels=checkpoint["num_mels"],
        channels=checkpoint["upsample_initial_channel"],
        upsample_rates=tuple(checkpoint["upsample_rates"]),
        upsample_kernel_sizes=tuple(checkpoint["upsample_kernel_sizes"]),
        resblock_kernel_sizes=tuple(checkpoint["resblock_kernel_sizes"]),
        resblock_dilations=tuple(one[: 3 if pairs else 2] for one in _tuples(checkpoint["resblock_dilation_sizes"])),
        resblock_convolutions=2 if pairs else 1,
    )
    rate, hop = checkpoint["sampling_rate"], checkpoint["hop_size"]
    if hop != config.samples_per_frame:
        log.warning("hop_size is %s, but upsample_rates multiply to %d: that is taken", hop, config.samples_per_frame)
    audio = AudioConfig(
        sample_rate=rate,
        fft_samples=checkpoint["n_fft"],
        window_samples=checkpoint["win_size"],
        hop_samples=config.samples_per_frame,
        mel_channels=config.mel_channels,
        min_hz=checkpoint["fmin"],
        max_hz=checkpoint["fmax"] or rate / 2,
    )
    return SavedModel(external_facts("hifigan", config, audio), {}, Hifigan(config))


#: What transformers lets one choose in a VITS, and its authors and malsori do not.
_VITS_FIXED = {
    "hidden_act": "relu",
    "use_bias": True,
    "leaky_relu_slope": 0.1,
    "layer_norm_eps": 1e-5,
    "depth_separable_channels": 2,
}


def transformers_vits(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return a VITS that reads letters: vocab.json is its alphabet, tokenizer_config.json says how text gets there.

    Raises: ModelError naming the first setting that no VITS of malsori has.
    """
    from malsori.models.hifigan import HifiganConfig
    from malsori.models.vits import VitsConfig

    for name, wanted in _VITS_FIXED.items():
        if checkpoint[name] != wanted:
            raise ModelError(f"{checkpoint.folder}: {name} is {checkpoint[name]!r}; a VITS of malsori has {wanted!r}")
    letters, reading = _vits_reading(checkpoint)
    config = VitsConfig(
        vocab=checkpoint["vocab_size"],
        speakers=checkpoint["num_speakers"],
        speaker_embedding_size=checkpoint["speaker_embedding_size"],
        blanks=reading.pop("blanks"),
        spectrogram_bins=checkpoint["spectrogram_bins"],
        hidden_size=checkpoint["hidden_size"],
        latent_channels=checkpoint["flow_size"],
        num_encoder_layers=checkpoint["num_hidden_layers"],
        num_heads=checkpoint["num_attention_heads"],
        ffn_size=checkpoint["ffn_dim"],
        ffn_kernel_size=checkpoint["ffn_kernel_size"],
        window_size=checkpoint["window_size"],
        dropout=checkpoint["hidden_dropout"],
        num_posterior_layers=checkpoint["posterior_encoder_num_wavenet_layers"],
        num_flows=checkpoint["prior_encoder_num_flows"],
        num_flow_layers=checkpoint["prior_encoder_num_wavenet_layers"],
        wavenet_kernel_size=checkpoint["wavenet_kernel_size"],
        wavenet_dilation=checkpoint["wavenet_dilation_rate"],
        durations=_transformers_durations(checkpoint),
        decoder=HifiganConfig(
            mel_channels=checkpoint["flow_size"],
            channels=checkpoint["upsample_initial_channel"],
            upsample_rates=tuple(checkpoint["upsample_rates"]),
            upsample_kernel_sizes=tuple(checkpoint["upsample_kernel_sizes"]),
            resblock_kernel_sizes=tuple(checkpoint["resblock_kernel_sizes"]),
            resblock_dilations=_tuples(checkpoint["resblock_dilation_sizes"]),
        ),
    )
    return _vits(config, checkpoint["sampling_rate"], letters, reading)


def jaywalnut310_vits(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return a VITS as its authors' program saves it; its text went through cleaners that are no part of the file.

    Raises: ModelError if its settings name other symbols than it was taught.
    """
    from malsori.models.hifigan import HifiganConfig
    from malsori.models.vits import VitsConfig
    from malsori.models.vits_duration import DurationConfig

    latent, model = checkpoint["model.inter_channels"], checkpoint["model"]
    steered = checkpoint["data.n_speakers"] > 1 or "emb_g.weight" in checkpoint.weights
    _settle_names(checkpoint.weights, steered)
    config = VitsConfig(
        vocab=len(checkpoint.tensor("enc_p.emb.weight")),
        speakers=max(1, checkpoint["data.n_speakers"]),
        speaker_embedding_size=model.get("gin_channels", 0) if steered else 0,
        blanks=checkpoint["data.add_blank"],
        spectrogram_bins=checkpoint["data.filter_length"] // 2 + 1,
        hidden_size=checkpoint["model.hidden_channels"],
        latent_channels=latent,
        num_encoder_layers=checkpoint["model.n_layers"],
        num_heads=checkpoint["model.n_heads"],
        ffn_size=checkpoint["model.filter_channels"],
        ffn_kernel_size=checkpoint["model.kernel_size"],
        dropout=checkpoint["model.p_dropout"],
        durations=DurationConfig(stochastic=model.get("use_sdp", True)),
        decoder=HifiganConfig(
            mel_channels=latent,
            channels=checkpoint["model.upsample_initial_channel"],
            upsample_rates=tuple(checkpoint["model.upsample_rates"]),
            upsample_kernel_sizes=tuple(checkpoint["model.upsample_kernel_sizes"]),
            resblock_kernel_sizes=tuple(checkpoint["model.resblock_kernel_sizes"]),
            resblock_dilations=_tuples(checkpoint["model.resblock_dilation_sizes"]),
            resblock_convolutions=2 if str(checkpoint["model.resblock"]) == "1" else 1,
        ),
    )
    letters = SymbolTable("letters", "authors", tuple(checkpoint.config.get("symbols", ())))
    if letters.symbols and len(letters.symbols) != config.vocab:
        raise ModelError(
            f"{checkpoint.folder}: {len(letters.symbols)} symbols in its settings, {config.vocab} in the file"
        )
    return _vits(
        config, checkpoint["data.sampling_rate"], letters, {"cleaners": checkpoint["data"].get("text_cleaners", [])}
    )


def _settle_names(weights: dict[str, Tensor], steered: bool) -> None:
    """Drop what a speaker would steer by where there is none, and name the plain duration predictor's last layer."""
    if "dp.post_pre.weight" not in weights:  # without the stochastic predictor this name means another layer
        for name in [name for name in weights if name.startswith("dp.proj.")]:
            weights[name.replace("proj", "last")] = weights.pop(name)
    for name in [name for name in weights if ".cond" in name and not steered]:
        weights.pop(name)  # it is there, and never used


def _vits_reading(checkpoint: ExternalCheckpoint) -> tuple[SymbolTable, dict[str, Any]]:
    """Return the letters that VitsTokenizer knows, and how text becomes them; without its settings, as it stands."""
    alphabet, reading = checkpoint.json("vocab.json"), checkpoint.json("tokenizer_config.json")
    phonemized = reading.get("phonemize", bool(reading))  # the tokenizer's own default
    letters = SymbolTable("letters", "vocab.json", tuple(sorted(alphabet, key=alphabet.__getitem__)))
    romanized, blanks = reading.get("is_uroman", False), reading.get("add_blank", True)
    return letters, {"blanks": blanks, "romanized": romanized, "cleaners": ["phonemize"] * phonemized}


def _transformers_durations(checkpoint: ExternalCheckpoint) -> "DurationConfig":
    from malsori.models.vits_duration import DurationConfig

    return DurationConfig(
        stochastic=checkpoint["use_stochastic_duration_prediction"],
        hidden_size=checkpoint["duration_predictor_filter_channels"],
        kernel_size=checkpoint["duration_predictor_kernel_size"],
        dropout=checkpoint["duration_predictor_dropout"],
        num_flows=checkpoint["duration_predictor_num_flows"],
        num_layers=checkpoint["depth_separable_num_layers"],
        num_bins=checkpoint["duration_predictor_flow_bins"],
        tail_bound=checkpoint["duration_predictor_tail_bound"],
    )


def _vits(config: "VitsConfig", rate: int, letters: SymbolTable, frontend: dict[str, Any]) -> SavedModel:
    """Return an untrained VITS with what it says of itself."""
    from malsori.models.vits import Vits

    audio = AudioConfig(
        sample_rate=rate,
        fft_samples=2 * (config.spectrogram_bins - 1),
        window_samples=2 * (config.spectrogram_bins - 1),
        hop_samples=config.decoder.samples_per_frame,
        max_hz=rate / 2,
    )
    speakers = tuple(str(number) for number in range(config.speakers)) if config.speakers > 1 else ()
    facts = external_facts("vits", config, audio, frontend=frontend, speakers=speakers)
    return SavedModel(facts, {"letters": letters} if letters.symbols else {}, Vits(config))


def ming024_fastspeech2(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return the FastSpeech 2 of ming024's program; its own symbols are not in the file, so it takes ids, not text.

    Raises: ModelError if one of pitch and energy is a phoneme's there and the other a frame's.
    """
    from malsori.models.fastspeech2 import FastSpeech2, FastSpeech2Config

    level = checkpoint["preprocessing.pitch.feature"]
    if level != (other := checkpoint["preprocessing.energy.feature"]) or level not in ("phoneme_level", "frame_level"):
        raise ModelError(
            f"{checkpoint.folder}: pitch is {level} and energy {other}; phoneme_level or frame_level for both is known"
        )
    if checkpoint["transformer.encoder_head"] != checkpoint["transformer.decoder_head"]:
        raise ModelError(f"{checkpoint.folder}: encoder and decoder have another number of heads; they must agree")
    adaptor = "variance_adaptor"
    vocab, hidden_size = checkpoint.tensor("encoder.src_word_emb.weight").shape
    predictor = checkpoint.tensor(f"{adaptor}.duration_predictor.conv_layer.conv1d_1.conv.weight").shape
    checkpoint.weights.setdefault("speaker_emb.weight", torch.zeros(1, hidden_size, device="cpu"))  # of one voice
    config = FastSpeech2Config(
        vocab=vocab,
        speakers=len(checkpoint.tensor("speaker_emb.weight")),
        mel_channels=len(checkpoint.tensor("mel_linear.bias")),
        hidden_size=hidden_size,
        num_encoder_layers=checkpoint["transformer.encoder_layer"],
        num_decoder_layers=checkpoint["transformer.decoder_layer"],
        num_heads=checkpoint["transformer.encoder_head"],
        ffn_size=checkpoint["transformer.conv_filter_size"],
        ffn_kernel_size=checkpoint["transformer.conv_kernel_size"][0],
        dropout=checkpoint["transformer.encoder_dropout"],
        predictor_hidden_size=predictor[0],
        predictor_kernel_size=predictor[2],
        pitch_predictor_kernel_size=predictor[2],
        predictor_dropout=checkpoint["variance_predictor.dropout"],
        post_norm=True,
        interleaved=True,
        num_bins=len(checkpoint.tensor(f"{adaptor}.pitch_embedding.weight")),
        frame_level_bins=level == "frame_level",
        postnet_hidden_size=len(checkpoint.tensor("postnet.convolutions.0.0.conv.bias")),
    )
    audio = _ming024_audio(checkpoint, config.mel_channels)
    named = checkpoint.json("speakers.json")  # their numbers by their names, used or not
    numbers = tuple(str(number) for number in range(config.speakers))
    speakers = tuple(sorted(named, key=named.__getitem__)) if len(named) == config.speakers else numbers
    return SavedModel(external_facts("fastspeech2", config, audio, speakers=speakers), {}, FastSpeech2(config))


def _ming024_audio(checkpoint: ExternalCheckpoint, mel_channels: int) -> AudioConfig:
    rate = checkpoint["preprocessing.audio.sampling_rate"]
    return AudioConfig(
        sample_rate=rate,
        fft_samples=checkpoint["preprocessing.stft.filter_length"],
        window_samples=checkpoint["preprocessing.stft.win_length"],
        hop_samples=checkpoint["preprocessing.stft.hop_length"],
        mel_channels=mel_channels,
        min_hz=checkpoint["preprocessing.mel.mel_fmin"],
        max_hz=checkpoint["preprocessing.mel.mel_fmax"] or rate / 2,
        convention="tacotron2",
    )


def _tuples(nested: list[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(one) for one in nested)


def nvidia_tacotron2(checkpoint: ExternalCheckpoint) -> SavedModel:
    """Return NVIDIA's Tacotron 2: its sizes are those of its tensors, and its stop counts wherever it comes.

    Raises: ModelError if it writes several frames a step.
    """
    from malsori.models.tacotron2 import Tacotron2, Tacotron2Config
    from malsori.nn.recurrent import DecodingLimits

    hidden, width = checkpoint.tensor("decoder.prenet.layers.0.linear_layer.weight").shape
    location = checkpoint.tensor("decoder.attention_layer.location_layer.location_conv.conv.weight")
    inside = checkpoint.tensor("postnet.convolutions.0.0.conv.weight")
    if width != (mels := inside.shape[1]):
        raise ModelError(f"{checkpoint.folder}: n_frames_per_step is {width / mels:g}; only 1 is known")
    vocab, hidden_size = checkpoint.tensor("embedding.weight").shape
    recurrent = checkpoint.tensor("decoder.attention_rnn.weight_hh").shape[1]
    config = Tacotron2Config(
        vocab=vocab,
        mel_channels=mels,
        hidden_size=hidden_size,
        num_encoder_layers=sum(
            name.startswith("encoder.") and name.endswith("0.conv.weight") for name in checkpoint.weights
        ),
        kernel_size=inside.shape[2],
        decoder_rnn_size=recurrent,
        attention_size=len(checkpoint.tensor("decoder.attention_layer.query_layer.linear_layer.weight")),
        location_filters=len(location),
        location_kernel_size=location.shape[2],
        prenet_sizes=(hidden, len(checkpoint.tensor("decoder.prenet.layers.1.linear_layer.weight"))),
        postnet_hidden_size=len(inside),
        num_postnet_layers=sum(
            name.startswith("postnet.") and name.endswith("0.conv.weight") for name in checkpoint.weights
        ),
        mel_mean=0.0,
        mel_std=1.0,
        limits=DecodingLimits(window=0, patience_frames=1000, max_frames_per_token=1000, stop_anywhere=True),
    )
    for name in [
        name for name in checkpoint.weights if name.endswith(".running_mean")
    ]:  # older files do not count batches
        counted = name.replace("running_mean", "num_batches_tracked")
        checkpoint.weights.setdefault(counted, torch.tensor(0, device="cpu"))
    return SavedModel(
        external_facts("tacotron2", config, _nvidia_audio(checkpoint.config, mels)), {}, Tacotron2(config)
    )


def _nvidia_audio(given: dict[str, Any], mel_channels: int) -> AudioConfig:
    rate = given.get("sampling_rate", 22050)
    return AudioConfig(
        sample_rate=rate,
        fft_samples=given.get("filter_length", 1024),
        window_samples=given.get("win_length", 1024),
        hop_samples=given.get("hop_length", 256),
        mel_channels=mel_channels,
        min_hz=given.get("mel_fmin", 0.0),
        max_hz=given.get("mel_fmax", 8000.0) or rate / 2,
        convention="tacotron2",
    )
