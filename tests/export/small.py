"""Every system that can be exported, at small width and with weights drawn at random."""

from typing import Any

import torch
from torch import nn

from malsori.models.conformer import Conformer, ConformerConfig
from malsori.models.excitation import ExcitationConfig
from malsori.models.fastspeech import FastSpeech, FastSpeechConfig
from malsori.models.fastspeech2 import FastSpeech2, FastSpeech2Config
from malsori.models.hifigan import Hifigan, HifiganConfig
from malsori.models.vits import Vits, VitsConfig
from malsori.models.vits_duration import DurationConfig
from malsori.models.vocos import Vocos, VocosConfig
from malsori.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.runtime.device import Runtime

_SPEAKING = {"hidden_size": 16, "ffn_size": 32, "predictor_hidden_size": 16, "speakers": 3}
_BLOCKS = {"num_encoder_layers": 1, "num_decoder_layers": 1}


def drawn(network: nn.Module, seed: int = 0) -> Any:
    """Return a network whose weights are drawn from the seed where they would begin at nothing."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    return network.eval()


def placed(network: nn.Module) -> Any:
    """Return a network as it infers."""
    return Runtime().place(drawn(network))


def fastspeech2() -> Any:
    network = FastSpeech2(FastSpeech2Config(**_SPEAKING, **_BLOCKS))
    nn.init.constant_(network.adaptor.duration_predictor.project.bias, 1.5)
    return placed(network)


def fastspeech() -> Any:
    network = FastSpeech(FastSpeechConfig(**_SPEAKING, **_BLOCKS))
    nn.init.constant_(network.duration_predictor.project.bias, 1.5)
    return placed(network)


def vocos() -> Any:
    return placed(Vocos(VocosConfig(hidden_size=16, num_layers=2)))


def excited_vocos() -> Any:
    excitation = ExcitationConfig(hidden_size=16, num_layers=2)
    network = placed(Vocos(VocosConfig(hidden_size=16, num_layers=2, excitation=excitation)))
    network.head.bias.data -= 2.0  # softer than what a file would clip
    return network


def hifigan() -> Any:
    return placed(Hifigan(HifiganConfig(channels=16)))


def excited_hifigan() -> Any:
    return placed(Hifigan(HifiganConfig(channels=16, excitation=ExcitationConfig(hidden_size=16, num_layers=2))))


def vits(stochastic: bool, excitation: ExcitationConfig | None = None) -> Any:
    sizes = {
        "hidden_size": 16,
        "latent_channels": 16,
        "ffn_size": 32,
        "num_encoder_layers": 2,
        "num_posterior_layers": 2,
    }
    decoder = HifiganConfig(channels=32, mel_channels=16, excitation=excitation)
    durations = DurationConfig(stochastic=stochastic)
    several = {} if stochastic else {"speakers": 3, "speaker_embedding_size": 8}
    config = VitsConfig(**sizes, num_flows=2, num_flow_layers=2, decoder=decoder, durations=durations, **several)
    return placed(Vits(config))


def conformer(hidden_size: int = 16) -> Any:
    sizes = {"hidden_size": hidden_size, "num_layers": 2, "num_heads": 2, "subsampling_channels": 4}
    return placed(Conformer(ConformerConfig(**sizes, phoneme_ctc_layer=1, first_attention_layer=1)))


def wav2vec2_to_save(**kin: Any) -> Any:
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "ffn_size": 32, "position_groups": 2}
    return drawn(Wav2Vec2(Wav2Vec2Config(**sizes, conv_channels=(8,) * 7, **kin)))


def wav2vec2(**kin: Any) -> Any:
    return placed(wav2vec2_to_save(**kin))


def whisper(hidden_size: int = 16, ffn_size: int = 32) -> Any:
    sides = {"num_encoder_layers": 2, "num_encoder_heads": 2, "num_decoder_layers": 2, "num_decoder_heads": 2}
    sizes = {"hidden_size": hidden_size, "encoder_ffn_size": ffn_size, "decoder_ffn_size": ffn_size}
    return placed(Whisper(WhisperConfig(vocab=70, encoder_positions=100, decoder_positions=30, **sides, **sizes)))
