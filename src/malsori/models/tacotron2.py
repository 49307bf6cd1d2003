"""Tacotron 2: Natural TTS Synthesis by Conditioning WaveNet on Mel Spectrogram Predictions (Shen et al. 2017,
arXiv:1712.05884).

    tokens ─► embedding ─► 3 convolutions ─► LSTM both ways ─► + speaker ─► attention by content and place ─► LSTM
                                                                                 ▲                              │
                         last frame ─► pre-net ─► LSTM ─► query ─────────────────┘                              │
                             ▲                                                                                  ▼
                             └──────────────────────────────────────────────────────────── frames of log-mel, stop
                                                                                                  │
                                                             5 convolutions (post-net) ─► + ──────┴─► log-mel

Differences from the paper:
- As in NVIDIA's code, whose checkpoints fit: the attention's query comes from the first of the decoder's LSTMs, its
  context goes to both, and it sees the last weights beside the sum of all; the LSTMs' outputs drop out where the paper
  zones out.
- No layer sees padding; in NVIDIA's, the convolutions do, and a short sentence sounds otherwise in company than alone.
- Decoder and post-net take mels that are standardised by two fixed numbers.
- Several frames a step, if wanted (`reduction`); several speakers, whose vectors are added to the encoder's output.
"""

from itertools import pairwise

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from malsori.models.tacotron import AttentionAcousticConfig, AttentionAcousticModel
from malsori.nn.recurrent import (
    AdditiveAttention,
    AttentionDecoder,
    BidirectionalRecurrent,
    DecoderLstm,
    NormedConvolution,
    Prenet,
)


class Tacotron2Config(AttentionAcousticConfig):
    """Sizes; the defaults are the paper's (2.2).

    hidden_size: of the embedding, the encoder's convolutions and both directions of its LSTM together.
    dropout: after each convolution; recurrent_dropout: after each LSTM of the decoder.
    """

    hidden_size: int = 512
    num_encoder_layers: int = 3
    kernel_size: int = 5
    decoder_rnn_size: int = 1024
    attention_size: int = 128
    location_filters: int = 32
    location_kernel_size: int = 31
    prenet_sizes: tuple[int, ...] = (256, 256)
    postnet_hidden_size: int = 512
    num_postnet_layers: int = 5
    dropout: float = 0.5
    recurrent_dropout: float = 0.1


class Tacotron2Encoder(nn.Module):
    """Convolutions over the tokens, then an LSTM in both directions."""

    def __init__(self, config: Tacotron2Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab, config.hidden_size, padding_idx=0)
        self.convolutions = nn.ModuleList(
            NormedConvolution(config.hidden_size, config.hidden_size, config.kernel_size)
            for _ in range(config.num_encoder_layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = BidirectionalRecurrent(nn.LSTM, config.hidden_size, config.hidden_size // 2)

    def forward(
        self, token_ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens features"]:
        """Return the encoded tokens, 0 on padding."""
        hidden = self.embedding(token_ids)
        for convolution in self.convolutions:
            hidden = self.dropout(convolution(hidden, mask).relu())
        return self.lstm(hidden, mask)


class Tacotron2Postnet(nn.Module):
    """Convolutions whose output is added to the decoder's frames, the last one linear."""

    def __init__(self, config: Tacotron2Config) -> None:
        super().__init__()
        inside = [config.postnet_hidden_size] * (config.num_postnet_layers - 1)
        widths = [config.mel_channels, *inside, config.mel_channels]
        layers = [NormedConvolution(before, after, config.kernel_size) for before, after in pairwise(widths)]
        nn.init.constant_(layers[-1].norm.weight, 0.1)  # at first the last one adds little noise to the frames
        self.convolutions = nn.ModuleList(layers)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, frames: Float[Tensor, "batch frames mel_channels"], mask: Bool[Tensor, "batch frames"]
    ) -> Float[Tensor, "batch frames mel_channels"]:
        """Return the frames as they should have been."""
        hidden = frames
        for convolution in self.convolutions[:-1]:
            hidden = self.dropout(convolution(hidden, mask).tanh())
        return frames + self.dropout(self.convolutions[-1](hidden, mask))


class Tacotron2(AttentionAcousticModel):
    """Convolutions and an LSTM before, convolutions after an attention that knows where it was."""

    def __init__(self, config: Tacotron2Config) -> None:
        memory, hidden = config.hidden_size, config.decoder_rnn_size
        decoder = AttentionDecoder(
            Prenet(config.mel_channels, config.prenet_sizes, config.prenet_dropout),
            nn.LSTMCell(config.prenet_sizes[-1] + memory, hidden),
            AdditiveAttention(
                hidden, memory, config.attention_size, config.location_filters, config.location_kernel_size
            ),
            DecoderLstm(hidden, memory, hidden, config.recurrent_dropout),
            config.mel_channels,
            config.reduction,
            config.recurrent_dropout,
        )
        super().__init__(config, Tacotron2Encoder(config), decoder, Tacotron2Postnet(config), memory)
