"""Which recognizer listens to a voice that learns: a Conformer, or a Whisper, which hears better and takes longer."""

import functools
import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from malsori.asr.short_window import SilentWindow
from malsori.asr.silent_steps import MARGIN_SECONDS
from malsori.audio.mel import log_mel, whisper_log_mel
from malsori.config import AudioConfig
from malsori.decode.seq2seq import constraints_from_tokenizer
from malsori.errors import ConfigError
from malsori.losses.sequence import cross_entropy_loss
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.hub import load_saved
from malsori.shapes import length_mask, pad_stack
from malsori.text.frontend import Frontend
from malsori.text.hangul import to_nfc
from malsori.text.tokenizer import Tokenizer
from malsori.train.listener import ConformerListener, Listener

_RANGE = 8.0  # decades below the loudest that a Whisper's mel keeps


@dataclass(frozen=True)
class WrittenTexts:
    """What a Whisper writes: each text from its prefix on, the token behind each, which of these are the text's."""

    given_ids: Tensor
    target_ids: Tensor
    judged: Tensor


class TokenHearing:
    """The `Hearing` of a Whisper: tokens as its tokenizer writes a text.

    A text with digits or Latin letters is left out: one who hears it may well write it otherwise.
    """

    def __init__(self, tokenizer: Tokenizer, sizes: WhisperConfig) -> None:
        self.tokenizer = tokenizer
        self.constraints = constraints_from_tokenizer(
            tokenizer, sizes.vocab, sizes.decoder_positions, "ko", "transcribe"
        )
        self.longest = sizes.decoder_positions

    def target(self, text: str, frontend: Frontend) -> list[int] | None:
        """Return a text's tokens from the prefix to the end."""
        text = to_nfc(text.strip())
        if not text or any(letter.isascii() and letter.isalnum() for letter in text):
            return None
        ids = [*self.constraints.prefix, *self.tokenizer.encode(text), self.constraints.end]
        return ids if len(ids) <= self.longest else None

    def batch(self, targets: list[list[int]]) -> WrittenTexts:
        """Return targets as tensors."""
        tokens, lengths = pad_stack([torch.tensor(ids) for ids in targets])
        judged = length_mask(lengths - 1, tokens.shape[1] - 1)
        judged[:, : len(self.constraints.prefix) - 1] = False
        return WrittenTexts(tokens[:, :-1], tokens[:, 1:], judged)


class WhisperListener(Listener):
    """A Whisper: cross-entropy of the written tokens, of a short sound in a window of silence (`asr.short_window`).

    Its mel is made from the voice's: the natural logarithm of magnitudes becomes the decimal one of powers, and what
    the two windows and filters make of white noise is evened out, bin by bin.
    """

    def __init__(self, network: Whisper, tokenizer: Tokenizer, heard: AudioConfig, spoken: AudioConfig) -> None:
        super().__init__(network, heard, spoken, same=("mel_channels", "min_hz", "max_hz"))
        if not network.config.whole_window:
            raise ConfigError("listener: a Whisper that was tuned to short windows cannot listen; name another")
        self.hearing = TokenHearing(tokenizer, network.config)
        self.margin = round(MARGIN_SECONDS / heard.frame_seconds)
        self.offset: Tensor
        self.register_buffer("offset", _offset(heard, spoken), persistent=False)
        self.longest = network.config.window_frames - self.margin

    @functools.cached_property
    def window(self) -> SilentWindow:
        """The network in a window of silence, which is encoded when it first listens."""
        return SilentWindow.of(cast(Whisper, self.recognizer))

    def heard(
        self, mel: Float[Tensor, "batch frames mel_channels"], lengths: Int[Tensor, " batch"], targets: WrittenTexts
    ) -> dict[str, Tensor]:
        """Return the one loss."""
        mel, lengths = mel[:, : self.longest], lengths.clamp(max=self.longest)
        caches = self.window.caches(self.whisper_mel(mel, lengths))
        logits, _ = cast(Whisper, self.recognizer).decoder(targets.given_ids, caches, None)
        return {"token_cross_entropy": cross_entropy_loss(logits, targets.target_ids, targets.judged)}

    def whisper_mel(
        self, mel: Float[Tensor, "batch frames mel_channels"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch longer mel_channels"]:
        """Return a Whisper's mel of a voice's at the Whisper's frames, with a margin of silence behind."""
        real = length_mask(lengths, mel.shape[1])[..., None]
        decades = mel * (2 / math.log(10)) + self.offset
        loudest = decades.detach().masked_fill(~real, -math.inf).amax((1, 2), keepdim=True)
        decades = torch.where(real, torch.maximum(decades, loudest - _RANGE), loudest - _RANGE)
        behind = (loudest - _RANGE).expand(-1, self.margin, mel.shape[2])
        return (torch.cat([decades, behind], 1) + 4.0) / 4.0


def _offset(heard: AudioConfig, spoken: AudioConfig) -> Float[Tensor, " mel_channels"]:
    """Return by how many decades a Whisper's mel lies above a voice's, in white noise."""
    means = []
    for audio in (heard, spoken):
        noise = torch.randn(1, 10 * audio.sample_rate, generator=torch.Generator().manual_seed(0))
        noise = noise * 0.1 * math.sqrt(audio.sample_rate / heard.sample_rate)  # of one density
        if audio is heard:
            means.append((whisper_log_mel(noise, audio) * 4.0 - 4.0).mean((0, 1)))
        else:
            means.append(log_mel(noise, audio).mean((0, 1)) * (2 / math.log(10)))
    return means[0] - means[1]


def open_listener(name: str, spoken: AudioConfig) -> Listener:
    """Return the recognizer of a recipe's `listener`. Raises: ConfigError if it is neither of the two."""
    model = load_saved(name)
    if model.facts.system == "conformer":
        return ConformerListener(model.network, model.facts.audio, spoken)
    if model.facts.system == "whisper":
        return WhisperListener(model.network, Tokenizer(model.files, name), model.facts.audio, spoken)
    raise ConfigError(
        f"listener = {name!r} is a {model.facts.system}; a conformer can listen, such as conformer-ko, or a whisper"
    )
