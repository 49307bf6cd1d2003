"""Whisper: Robust Speech Recognition via Large-Scale Weak Supervision (Radford et al. 2022, arXiv:2212.04356).

    log-mel 10 ms ─► conv ─► conv /2 ─► + sinusoids ─► blocks ─► LayerNorm ─► encoder output (20 ms)
                                                                                    │ keys, values
    tokens ─► embedding ─► + learned positions ─► blocks with cross-attention ◄─────┘
                  │                                        └─► LayerNorm ─► x embedding transposed ─► logits

    block: LayerNorm ─► attention ─► (LayerNorm ─► cross-attention ─►) LayerNorm ─► GELU layer, each added to its input

Differences from the paper:
- A sound may be given at its own length with `mel_lengths`, and what lies behind it is then masked; without, the
  whole window is encoded, silence and all, as in the paper.
- Dropout can be set, for training from little speech; the paper's models have none, and none is the default.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import Field
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.kv_cache import KVCache
from malsori.nn.transformer import TiedEmbedding
from malsori.shapes import length_mask

_STRIDE = 2  # mel frames to one step of the encoder


class WhisperConfig(Config):
    """Sizes of a Whisper; the defaults are the paper's "small" (table 1: 244 M parameters).

    encoder_positions: steps of 20 ms in the window, 1500 for 30 s; decoder_positions: the most tokens there can be.
    whole_window: a sound is filled up with silence to the window, as the paper's are; otherwise it is masked.
    trailing_silence: seconds of silence that a sound is given behind it where the window is not filled.
    """

    vocab: int = 51865
    mel_channels: int = 80
    hidden_size: int = 768
    num_encoder_layers: int = 12
    num_encoder_heads: int = 12
    encoder_ffn_size: int = 3072
    encoder_positions: int = 1500
    num_decoder_layers: int = 12
    num_decoder_heads: int = 12
    decoder_ffn_size: int = 3072
    decoder_positions: int = 448
    dropout: float = 0.0
    whole_window: bool = True
    trailing_silence: float = Field(0.0, ge=0, le=10)

    @property
    def window_frames(self) -> int:
        """Mel frames of the window."""
        return self.encoder_positions * self.frame_stride

    @property
    def frame_stride(self) -> int:
        """Mel frames to one step of the encoder's output."""
        return _STRIDE


@dataclass(frozen=True)
class WhisperOutput:
    """Attributes: logits of the token that follows each given one (batch, tokens, vocab)."""

    logits: Tensor


class Attention(nn.Module):
    """Multi-head attention; keys have no bias, which could change nothing."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"{hidden_size} features cannot be split into {num_heads} heads")
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def project_kv(self, source: Float[Tensor, "batch time features"]) -> tuple[Tensor, Tensor]:
        """Return keys and values of what is attended to, (batch, heads, time, size) each."""
        return self._split(self.key(source)), self._split(self.value(source))

    def forward(
        self,
        hidden: Float[Tensor, "batch tokens features"],
        keys: Float[Tensor, "rows heads time size"],
        values: Float[Tensor, "rows heads time size"],
        mask: Shaped[Tensor, "#masks #heads #queries time"] | None = None,
    ) -> Float[Tensor, "batch tokens features"]:
        """Return each position's mixture of the values.

        Args:
            keys, values: one row of them serves every item of the batch, whose tokens then see all the same.
            mask: True where a key may be seen, or what is added to its score.
        """
        shared = len(keys) < len(hidden)
        source = hidden.reshape(1, -1, hidden.shape[2]) if shared else hidden
        queries = self._split(self.query(source))
        mixed = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(hidden.shape))

    def weights(
        self,
        hidden: Float[Tensor, "batch tokens features"],
        keys: Float[Tensor, "batch heads time size"],
        mask: Shaped[Tensor, "#batch #heads 1 time"] | None = None,
    ) -> Float[Tensor, "batch heads tokens time"]:
        """Return how much each position looks at each step that the keys stand for; `mask` as above."""
        queries = self._split(self.query(hidden))
        scores = queries @ keys.transpose(2, 3) * queries.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1)

    def _split(self, hidden: Tensor) -> Tensor:
        batch, time, hidden_size = hidden.shape
        return hidden.view(batch, time, self.num_heads, hidden_size // self.num_heads).transpose(1, 2)


class WhisperEncoderBlock(nn.Module):
    """Self-attention over the sound, then two layers with GELU between."""

    def __init__(self, hidden_size: int, num_heads: int, ffn_size: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.attention = Attention(hidden_size, num_heads)
        self.feed_norm = nn.LayerNorm(hidden_size)
        self.feed_in = nn.Linear(hidden_size, ffn_size)
        self.feed_out = nn.Linear(ffn_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch 1 1 time"] | None = None
    ) -> Float[Tensor, "batch time features"]:
        """Return the block's output."""
        normed = self.attention_norm(hidden)
        hidden = hidden + self.dropout(self.attention(normed, *self.attention.project_kv(normed), mask))
        return self.feed_forward(hidden)

    def feed_forward(self, hidden: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time features"]:
        """Return the hidden states with the two layers' output added."""
        inner = nn.functional.gelu(self.feed_in(self.feed_norm(hidden)))
        return hidden + self.dropout(self.feed_out(inner))


class WhisperDecoderBlock(WhisperEncoderBlock):
    """Attention to the tokens so far, attention to the sound, then two layers with GELU between."""

    def __init__(self, hidden_size: int, num_heads: int, ffn_size: int, dropout: float) -> None:
        super().__init__(hidden_size, num_heads, ffn_size, dropout)
        self.cross_norm = nn.LayerNorm(hidden_size)
        self.cross = Attention(hidden_size, num_heads)

    def step(
        self, hidden: Float[Tensor, "batch tokens features"], cache: KVCache, masks: tuple[Tensor, Tensor | None]
    ) -> tuple[Float[Tensor, "batch tokens features"], KVCache]:
        """Return the block's output for new tokens, and the cache with them in it.

        Args:
            masks: which tokens each new one may see; which steps of the sound are real.
        """
        hidden, cache = self.attend_tokens(hidden, cache, masks[0])
        return self.attend_sound(hidden, cache, masks[1]), cache

    def attend_tokens(
        self, hidden: Float[Tensor, "batch tokens features"], cache: KVCache, mask: Tensor
    ) -> tuple[Float[Tensor, "batch tokens features"], KVCache]:
        """Return the hidden states with the attention to the tokens so far added, and the cache with the new ones."""
        normed = self.attention_norm(hidden)
        cache = cache.extended(*self.attention.project_kv(normed))
        return hidden + self.dropout(self.attention(normed, cache.keys, cache.values, mask)), cache

    def attend_sound(
        self, hidden: Float[Tensor, "batch tokens features"], cache: KVCache, mask: Tensor | None
    ) -> Float[Tensor, "batch tokens features"]:
        """Return the block's output: what `attend_tokens` gave, with the attention to the sound and the two layers."""
        mask = cache.cross_bias if mask is None else mask
        crossed = self.cross(self.cross_norm(hidden), cache.cross_keys, cache.cross_values, mask)
        return self.feed_forward(hidden + self.dropout(crossed))


class WhisperEncoder(nn.Module):
    """Two convolutions, the second with stride 2, and a stack of blocks."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.first = nn.Conv1d(config.mel_channels, config.hidden_size, 3, padding=1)
        self.second = nn.Conv1d(config.hidden_size, config.hidden_size, 3, stride=_STRIDE, padding=1)
        self.positions: Tensor
        self.register_buffer("positions", _sinusoids(config.encoder_positions, config.hidden_size))
        sizes = config.hidden_size, config.num_encoder_heads, config.encoder_ffn_size, config.dropout
        self.blocks = nn.ModuleList(WhisperEncoderBlock(*sizes) for _ in range(config.num_encoder_layers))
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(
        self, mel: Float[Tensor, "batch frames mel_channels"], lengths: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch time features"], Bool[Tensor, "batch time"] | None]:
        """Return the encoder's output, and which steps of it are real, if lengths say so."""
        frames = None if lengths is None else length_mask(lengths, mel.shape[1])
        mask = None if frames is None else frames[:, ::_STRIDE]
        hidden = self.embed(mel, frames)
        for block in self.blocks:
            hidden = block(hidden, None if mask is None else mask[:, None, None])
        return self.norm(hidden), mask

    def embed(
        self, mel: Float[Tensor, "batch frames mel_channels"], real: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch time features"]:
        """Return what the blocks are given: the convolutions' output with its positions."""
        frames = 1.0 if real is None else real[:, None]
        hidden = nn.functional.gelu(self.first(mel.transpose(1, 2) * frames)) * frames
        hidden = nn.functional.gelu(self.second(hidden)).transpose(1, 2)
        return hidden + self.positions[: hidden.shape[1]]


class WhisperDecoder(nn.Module):
    """Token embeddings, which are the output layer too, learned positions, and a stack of blocks."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.embedding = TiedEmbedding(config.vocab, config.hidden_size)
        self.positions = nn.Parameter(torch.empty(config.decoder_positions, config.hidden_size))
        for weight in (self.embedding.weight, self.positions):
            nn.init.normal_(weight, std=0.02)
        sizes = config.hidden_size, config.num_decoder_heads, config.decoder_ffn_size, config.dropout
        self.blocks = nn.ModuleList(WhisperDecoderBlock(*sizes) for _ in range(config.num_decoder_layers))
        self.norm = nn.LayerNorm(config.hidden_size)

    @property
    def layers(self) -> list[WhisperDecoderBlock]:
        """The blocks, from the first to the last."""
        return cast(list[WhisperDecoderBlock], list(self.blocks))

    def start_cache(self, encoded: Float[Tensor, "batch time features"]) -> list[KVCache]:
        """Return each block's keys and values of an encoder's output, with no token yet."""
        caches = []
        for block in self.layers:
            caches.append(KVCache(*block.cross.project_kv(encoded)))
        return caches

    def forward(
        self,
        token_ids: Int[Tensor, "rows tokens"],
        caches: list[KVCache],
        sound_mask: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "rows tokens vocab"], list[KVCache]]:
        """Return the logits behind each new token, and the caches with the new tokens in them."""
        hidden, masks = self._embed(token_ids, caches[0], sound_mask)
        extended = []
        for block, cache in zip(self.layers, caches, strict=True):
            hidden, cache = block.step(hidden, cache, masks)
            extended.append(cache)
        return self.embedding.logits(self.norm(hidden)), extended

    def score(
        self,
        token_ids: Int[Tensor, "rows tokens"],
        caches: list[KVCache],
        sound_mask: Bool[Tensor, "batch time"] | None,
        heads: tuple[tuple[int, int], ...],
    ) -> tuple[Float[Tensor, "rows tokens vocab"], Float[Tensor, "rows heads tokens time"]]:
        """Return the logits behind each token, and how much some heads (block, head) look at each step of the sound."""
        hidden, masks = self._embed(token_ids, caches[0], sound_mask)
        weights = {}
        for number, (block, cache) in enumerate(zip(self.layers, caches, strict=True)):
            hidden, cache = block.attend_tokens(hidden, cache, masks[0])
            if any(wanted == number for wanted, _ in heads):
                seen = cache.cross_bias if masks[1] is None else masks[1]
                weights[number] = block.cross.weights(block.cross_norm(hidden), cache.cross_keys, seen)
            hidden = block.attend_sound(hidden, cache, masks[1])
        looks = torch.stack([weights[block][:, head] for block, head in heads], 1)
        return self.embedding.logits(self.norm(hidden)), looks

    def _embed(
        self, token_ids: Tensor, cache: KVCache, sound_mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """Return the new tokens' embeddings; which tokens each may see, and which steps of the sound are real."""
        before, new = cache.tokens, token_ids.shape[1]
        causal = torch.ones(new, before + new, dtype=torch.bool, device=token_ids.device).tril(before)[None, None]
        hidden = self.embedding(token_ids) + self.positions[before : before + new]
        return hidden, (causal, None if sound_mask is None else sound_mask[:, None, None])


class Whisper(nn.Module):
    """The recogniser's network: log-mel and tokens in, logits of the next tokens out."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = WhisperEncoder(config), WhisperDecoder(config)

    def forward(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        token_ids: Int[Tensor, "batch tokens"],
        mel_lengths: Int[Tensor, " batch"] | None = None,
    ) -> WhisperOutput:
        """Return the logits behind every token of a text that is known.

        Args:
            mel: Whisper's log-mel, 10 ms a frame (`malsori.audio.mel.whisper_log_mel`); at most the window.
            token_ids: from <|startoftranscript|> on; ids behind an item's end may be anything.
            mel_lengths: real frames; the rest is masked. Without, all frames are real.
        Raises: ValueError if there are more frames or tokens than positions.
        """
        self._check(mel, token_ids.shape[1])
        encoded, mask = self.encoder(mel, mel_lengths)
        logits, _ = self.decoder(token_ids, self.decoder.start_cache(encoded), mask)
        return WhisperOutput(logits)

    @torch.inference_mode()
    def start(
        self, mel: Float[Tensor, "batch frames mel_channels"], mel_lengths: Int[Tensor, " batch"] | None = None
    ) -> "WhisperState":
        """Return the decoder's state under the encoded sounds, before the first token."""
        self._check(mel, 0)
        encoded, mask = self.encoder(mel, mel_lengths)
        return WhisperState(self.decoder, self.decoder.start_cache(encoded), mask)

    @torch.inference_mode()
    def infer(
        self,
        mel: Float[Tensor, "batch frames mel_channels"],
        token_ids: Int[Tensor, "batch tokens"],
        steps: int,
        mel_lengths: Int[Tensor, " batch"] | None = None,
    ) -> Int[Tensor, "batch longer"]:
        """Return the tokens with the most probable next one added, so many times; no rule of decoding is asked.

        Raises: ValueError if there are more frames or tokens than positions.
        """
        self._check(mel, token_ids.shape[1] + steps - 1)
        state, new = self.start(mel, mel_lengths), token_ids
        for _ in range(steps):
            logits, state = state.step(new)
            new = logits[:, -1].argmax(-1, keepdim=True)
            token_ids = torch.cat([token_ids, new], 1)
        return token_ids

    def _check(self, mel: Tensor, tokens: int) -> None:
        config = self.config
        if mel.shape[1] > config.window_frames:
            raise ValueError(f"a mel of {mel.shape[1]} frames; the window has {config.window_frames}: cut the sound")
        if tokens > config.decoder_positions:
            raise ValueError(f"{tokens} tokens; there are positions for {config.decoder_positions}: cut the text")


@dataclass(frozen=True)
class WhisperState:
    """A decoder's state under encoded sounds: tokens so far lie in the caches, only new ones are worked through."""

    decoder: WhisperDecoder
    caches: list[KVCache]
    sound_mask: Tensor | None

    @torch.inference_mode()
    def step(self, token_ids: Int[Tensor, "rows new"]) -> tuple[Float[Tensor, "rows new vocab"], "WhisperState"]:
        """Return the logits behind each new token of every row, and the state after them."""
        token_ids = token_ids.to(self.decoder.positions.device)
        logits, caches = self.decoder(token_ids, self.caches, self.sound_mask)
        return logits.float(), WhisperState(self.decoder, caches, self.sound_mask)

    @torch.inference_mode()
    def score(
        self, token_ids: Int[Tensor, "rows new"], heads: tuple[tuple[int, int], ...]
    ) -> tuple[Float[Tensor, "rows new vocab"], Float[Tensor, "rows heads new time"]]:
        """Return the logits behind each token, and where in the sound some heads (block, head) look from it."""
        token_ids = token_ids.to(self.decoder.positions.device)
        logits, looks = self.decoder.score(token_ids, self.caches, self.sound_mask, heads)
        return logits.float(), looks

    def select(self, rows: Int[Tensor, " kept"]) -> "WhisperState":
        """Return the state of some of the rows, in that order, a row any number of times; one sound serves them all."""
        one_sound = len(self.caches[0].cross_keys) == 1
        mask = self.sound_mask if one_sound or self.sound_mask is None else self.sound_mask[rows]
        return WhisperState(self.decoder, [cache.select(rows, one_sound) for cache in self.caches], mask)


def _sinusoids(length: int, hidden_size: int) -> Float[Tensor, "time features"]:
    """Return sines, then cosines, of rates that fall from 1 to exactly 1/10000, as in the authors' code."""
    rates = 10000.0 ** (-torch.arange(hidden_size // 2) / (hidden_size // 2 - 1))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
