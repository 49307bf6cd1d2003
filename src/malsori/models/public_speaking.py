"""What public voices and vocoders say of themselves, as our settings: one function a layout.

Each returns the model with an untrained network; `layouts.adopt` puts the weights in.
"""

from collections.abc import Callable
from typing import Any

from malsori.config import AudioConfig
from malsori.errors import ModelError
from malsori.models.hifigan import LEAKY_SLOPE, Hifigan, HifiganConfig
from malsori.models.layouts import Public, describe
from malsori.models.saved import SavedModel


def transformers_hifigan(public: Public) -> SavedModel:
    """Return SpeechT5's vocoder; its mel is that of SpeechT5's feature extractor, which no file beside it names.

    Source: transformers 5, SpeechT5FeatureExtractor: 64 ms windows every 16 ms, 80 channels from 80 to 7600 Hz.
    """
    rate, channels = public["sampling_rate"], public["model_in_dim"]
    standardizes, slope = public["normalize_before"], public["leaky_relu_slope"]
    if slope != LEAKY_SLOPE:
        raise ModelError(f"{public.folder}: leaky_relu_slope {slope} is not that of the paper, {LEAKY_SLOPE}")
    if not standardizes:  # their buffers are saved all the same, and not looked at
        public.weights.pop("mean", None)
        public.weights.pop("scale", None)
    config = HifiganConfig(
        mel_channels=channels,
        channels=public["upsample_initial_channel"],
        upsample_rates=tuple(public["upsample_rates"]),
        upsample_kernels=tuple(public["upsample_kernel_sizes"]),
        block_kernels=tuple(public["resblock_kernel_sizes"]),
        block_dilations=_tuples(public["resblock_dilation_sizes"]),
        standardizes=standardizes,
    )
    audio = AudioConfig(
        sample_rate=rate,
        fft_samples=4 * config.samples_a_frame,
        window_samples=4 * config.samples_a_frame,
        hop_samples=config.samples_a_frame,
        mel_channels=channels,
        min_hz=80.0,
        max_hz=min(7600.0, rate / 2),
        log_floor=1e-10,
        convention="speecht5",
    )
    return SavedModel(describe("hifigan", config, audio), {}, Hifigan(config))


def jik876_hifigan(public: Public) -> SavedModel:
    """Return the HiFi-GAN authors' generator, V1 to V3 or of any other sizes; their mel is ours."""
    config = HifiganConfig(
        mel_channels=public["num_mels"],
        channels=public["upsample_initial_channel"],
        upsample_rates=tuple(public["upsample_rates"]),
        upsample_kernels=tuple(public["upsample_kernel_sizes"]),
        block_kernels=tuple(public["resblock_kernel_sizes"]),
        block_dilations=_tuples(public["resblock_dilation_sizes"]),
        block_convolutions=2 if str(public["resblock"]) == "1" else 1,
    )
    rate = public["sampling_rate"]
    audio = AudioConfig(
        sample_rate=rate,
        fft_samples=public["n_fft"],
        window_samples=public["win_size"],
        hop_samples=public["hop_size"],
        mel_channels=config.mel_channels,
        min_hz=public["fmin"],
        max_hz=public["fmax"] or rate / 2,
    )
    return SavedModel(describe("hifigan", config, audio), {}, Hifigan(config))


def _tuples(nested: list[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(one) for one in nested)


#: Layout → what its settings ask for.
READERS: dict[str, Callable[[Public], SavedModel]] = {
    "jik876-hifigan": jik876_hifigan,
    "transformers-hifigan": transformers_hifigan,
}
