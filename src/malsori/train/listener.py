"""What a voice learns from texts that nobody has recorded: a recognizer, which stays as it is, must hear them.

    texts ─► voice (durations, pitch, energy as it predicts them) ─► log-mel ─► at 10 ms ─► Conformer ─► CTC

Half an hour of recordings is understood less well than it is learnt: what the voice makes of other sentences is never
judged. A recognizer judges any text. It must not be the one that measures the voice afterwards, and what it asks for
must weigh little: else the voice learns its ways instead of speech.

Source: the idea of Tjandra, Sakti and Nakamura 2017, Listening while Speaking (arXiv:1707.04879), text alone; here the
recognizer is frozen, and the voice is taught by recordings at the same time.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from malsori.config import AudioConfig
from malsori.corpus.batches import Example, SpeakBatch, SpeakCollator, Target
from malsori.errors import ConfigError, TextError
from malsori.losses.sequence import ctc_loss, infeasible
from malsori.models.conformer import Conformer
from malsori.pretrained.hub import load_saved
from malsori.readers.files import read_text
from malsori.shapes import pad_stack
from malsori.text.frontend import Frontend
from malsori.text.hangul import to_jamo
from malsori.text.symbols import JAMO, PHONEMES
from malsori.train.conformer import listening_target

log = logging.getLogger("malsori")

_LONGEST = 120  # phonemes of a text: some ten seconds


@dataclass(frozen=True)
class UnrecordedText:
    """A text to say, and what a recognizer shall hear.

    Attributes: token_ids: of all its phonemes and pauses, as a voice reads them.
    """

    token_ids: list[int]
    target: Target


@dataclass(frozen=True)
class TextBatch:
    """Attributes: tokens (batch, tokens) with a speaker each, and a recognizer's targets, all 0 on padding."""

    token_ids: Tensor
    token_lengths: Tensor
    speaker_ids: Tensor
    jamo_ids: Tensor
    jamo_lengths: Tensor
    phoneme_ids: Tensor
    phoneme_lengths: Tensor


@dataclass(frozen=True)
class SpeakAndTextBatch(SpeakBatch):
    """Recorded utterances, and beside them texts that nobody has recorded."""

    texts: TextBatch


@dataclass(frozen=True)
class SpeakAndTextCollator:
    """Adds to recorded utterances so many texts, drawn anew each time, each by a drawn speaker."""

    speech: SpeakCollator
    texts: Sequence[UnrecordedText]
    count: int

    def __call__(self, examples: list[Example], random: np.random.Generator) -> SpeakAndTextBatch:
        """Return the padded batch."""
        drawn = [self.texts[number] for number in random.integers(0, len(self.texts), self.count)]
        speakers = torch.from_numpy(random.integers(0, len(self.speech.speakers), self.count))
        return SpeakAndTextBatch(**vars(self.speech(examples, random)), texts=text_batch(drawn, speakers))


def text_batch(texts: Sequence[UnrecordedText], speaker_ids: Int[Tensor, " batch"]) -> TextBatch:
    """Return texts as a padded batch."""
    tokens, token_lengths = pad_stack([torch.tensor(text.token_ids) for text in texts])
    jamo, jamo_lengths = pad_stack([torch.tensor(text.target.jamo_ids) for text in texts])
    phonemes, phoneme_lengths = pad_stack([torch.tensor(text.target.phoneme_ids) for text in texts])
    return TextBatch(tokens, token_lengths, speaker_ids, jamo, jamo_lengths, phonemes, phoneme_lengths)


class Listener(nn.Module):
    """A Conformer that learns nothing and hears log-mels of a voice's own kind.

    Args:
        conformer: the recognizer's network, and `heard` the audio settings that it learnt from.
        spoken: the voice's audio settings.
    Raises: ConfigError if their mels differ in more than their frames' length and place.
    """

    def __init__(self, conformer: Conformer, heard: AudioConfig, spoken: AudioConfig) -> None:
        super().__init__()
        for name in ("mel_channels", "min_hz", "max_hz", "convention"):
            ours, theirs = getattr(spoken, name), getattr(heard, name)
            if ours != theirs:
                raise ConfigError(f"listener: audio.{name} is {theirs} in the recognizer and {ours} in the voice")
        self.conformer = conformer.float().requires_grad_(False)
        self.ratio = spoken.frame_seconds / heard.frame_seconds
        self.train()

    def train(self, mode: bool = True) -> "Listener":
        """Stay in evaluation mode: it is asked, not taught."""
        return super().train(False)

    def forward(
        self, mel: Float[Tensor, "batch frames mel_channels"], frame_lengths: Int[Tensor, " batch"], texts: TextBatch
    ) -> dict[str, Tensor]:
        """Return CTC of the written jamo and of the sounded phonemes, each a token."""
        mel, lengths = at_other_rate(mel, frame_lengths, self.ratio)
        heard = self.conformer(mel, lengths)
        frames = heard.frame_lengths
        return {
            "jamo_ctc": _mean_ctc(heard.jamo, frames, texts.jamo_ids, texts.jamo_lengths),
            "phoneme_ctc": _mean_ctc(heard.phonemes, frames, texts.phoneme_ids, texts.phoneme_lengths),
        }


def _mean_ctc(log_probs: Tensor, frames: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Return CTC over the utterances that can be spelt; 0 where none can: a voice that hurries is another loss's."""
    if infeasible(targets, lengths, frames).all():
        return log_probs.sum() * 0.0
    return ctc_loss(log_probs, frames, targets, lengths, skip_infeasible=True)


def at_other_rate(
    mel: Float[Tensor, "batch frames channels"], lengths: Int[Tensor, " batch"], ratio: float
) -> tuple[Float[Tensor, "batch times channels"], Int[Tensor, " batch"]]:
    """Return a mel with `ratio` times as many frames, drawn straight between the centers of the given ones.

    >>> mel, lengths = at_other_rate(torch.tensor([[[0.0], [1.0], [2.0], [9.0]]]), torch.tensor([3]), 2.0)
    >>> mel[0, :, 0].tolist(), lengths.tolist()
    ([0.0, 0.25, 0.75, 1.25, 1.75, 2.0], [6])
    """
    new_lengths = (lengths * ratio).round().long().clamp(min=1)
    times = torch.arange(int(new_lengths.max()), device=mel.device)
    places = (times[None] + 0.5) / ratio - 0.5
    places = torch.minimum(places.clamp(min=0.0), (lengths[:, None] - 1).to(places.dtype))
    before = places.floor().long()
    after = torch.minimum(before + 1, lengths[:, None] - 1)
    share = (places - before)[..., None]
    left, right = (mel.gather(1, at[..., None].expand(-1, -1, mel.shape[2])) for at in (before, after))
    return left + share * (right - left), new_lengths


def open_listener(name: str, spoken: AudioConfig) -> Listener:
    """Return the recognizer of a recipe's `listener`. Raises: ConfigError if it is no Conformer."""
    model = load_saved(name)
    if not isinstance(model.network, Conformer):
        raise ConfigError(
            f"listener = {name!r} is a {model.facts.system}; a conformer can listen, such as conformer-ko"
        )
    return Listener(model.network, model.facts.audio, spoken)


def unrecorded_texts(lines: Sequence[str], frontend: Frontend) -> list[UnrecordedText]:
    """Return the texts of some lines that can be read and are neither empty nor long; say how many are left out.

    Raises: ConfigError if none is left.
    """
    texts = []
    for line in lines:
        try:
            phonemes = list(frontend.read(line).phonemes)
            target = listening_target(frontend, line)
        except TextError:
            continue
        if target.phoneme_ids and target.jamo_ids and len(phonemes) <= _LONGEST:
            texts.append(UnrecordedText(PHONEMES.encode(phonemes), target))
    if not texts:
        raise ConfigError("texts: no line can be read and said within ten seconds")
    log.info(
        "%d texts that nobody has recorded are listened to; %d lines left out", len(texts), len(lines) - len(texts)
    )
    return texts


def example_texts(speaker_ids: Int[Tensor, " batch"]) -> TextBatch:
    """Return two short words, for `Task.example`."""
    target = Target("말", JAMO.encode(to_jamo("말")), PHONEMES.encode(["ㅁ", "ㅏ"]))
    return text_batch([UnrecordedText(PHONEMES.encode(list("ㅁㅏㅁㅏㅁㅏㅁㅏ")), target)] * 2, speaker_ids)


def text_lines(file: str, cuts: dict[str, Any]) -> list[str]:
    """Return the lines of a file, or of the recordings themselves (other speakers say them too) where it is empty."""
    if file:
        return [line for line in read_text(Path(file)).splitlines() if line.strip()]
    return sorted({cut.supervisions[0].text for cut in cuts.values()})
