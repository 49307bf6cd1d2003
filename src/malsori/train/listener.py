"""What a voice learns from texts that nobody has recorded: a recognizer, which stays as it is, must hear them.

    texts ─► voice (durations, pitch, energy as it predicts them) ─► log-mel ─► at 10 ms ─► Conformer ─► CTC
                                                                                       └──► Whisper ─► cross-entropy

Half an hour of recordings is understood less well than it is learnt: what the voice makes of other sentences is never
judged. A recognizer judges any text. It should not be the one that measures the voice afterwards, and what it asks for
must weigh little: else the voice learns its ways instead of speech.

Source: the idea of Tjandra, Sakti and Nakamura 2017, Listening while Speaking (arXiv:1707.04879), text alone; here the
recognizer is frozen, and the voice is taught by recordings at the same time.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from malsori.config import AudioConfig
from malsori.corpus.batches import Example, SpeakBatch, SpeakCollator, Target
from malsori.errors import ConfigError, TextError
from malsori.losses.sequence import ctc_loss, infeasible
from malsori.readers.files import read_text
from malsori.shapes import pad_stack
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES
from malsori.train.conformer import listening_target

log = logging.getLogger("malsori")

_LONGEST = 120  # phonemes of a text: some ten seconds
_SAME = ("mel_channels", "min_hz", "max_hz", "convention")


@dataclass(frozen=True)
class UnrecordedText:
    """A text to say, and what a recognizer shall hear.

    Attributes:
        token_ids: of all its phonemes and pauses, as a voice reads them.
        target: what the recognizer's `Hearing` made of it.
    """

    token_ids: list[int]
    target: Any


@dataclass(frozen=True)
class TextBatch:
    """Attributes: tokens (batch, tokens), 0 on padding, with a speaker each; and a recognizer's targets."""

    token_ids: Tensor
    token_lengths: Tensor
    speaker_ids: Tensor
    targets: Any


@runtime_checkable
class Hearing(Protocol):
    """What a recognizer's texts are made of."""

    def target(self, text: str, frontend: Frontend) -> Any:
        """Return what shall be heard, None if it cannot be spelt. Raises: TextError if the text cannot be read."""

    def batch(self, targets: list[Any]) -> Any:
        """Return targets as tensors, 0 on padding."""


@dataclass(frozen=True)
class SpelledTexts:
    """What a Conformer hears, 0 on padding."""

    jamo_ids: Tensor
    jamo_lengths: Tensor
    phoneme_ids: Tensor
    phoneme_lengths: Tensor


class SoundHearing:
    """The `Hearing` of a Conformer: jamo and sounded phonemes."""

    def target(self, text: str, frontend: Frontend) -> Target | None:
        """Return a text's, None if it has none."""
        target = listening_target(frontend, text)
        return target if target.phoneme_ids and target.jamo_ids else None

    def batch(self, targets: list[Target]) -> SpelledTexts:
        """Return targets as tensors."""
        jamo = pad_stack([torch.tensor(target.jamo_ids) for target in targets])
        return SpelledTexts(*jamo, *pad_stack([torch.tensor(target.phoneme_ids) for target in targets]))


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
    hearing: Hearing

    def __call__(self, examples: list[Example], random: np.random.Generator) -> SpeakAndTextBatch:
        """Return the padded batch."""
        drawn = [self.texts[number] for number in random.integers(0, len(self.texts), self.count)]
        speakers = torch.from_numpy(random.integers(0, len(self.speech.speakers), self.count))
        return SpeakAndTextBatch(**vars(self.speech(examples, random)), texts=text_batch(drawn, speakers, self.hearing))


def text_batch(texts: Sequence[UnrecordedText], speaker_ids: Int[Tensor, " batch"], hearing: Hearing) -> TextBatch:
    """Return texts as a padded batch."""
    tokens, token_lengths = pad_stack([torch.tensor(text.token_ids) for text in texts])
    return TextBatch(tokens, token_lengths, speaker_ids, hearing.batch([text.target for text in texts]))


class Listener(nn.Module, ABC):
    """A recognizer that learns nothing and hears log-mels of a voice's own kind.

    Args:
        recognizer: its network, and `heard` the audio settings that it learnt from.
        spoken: the voice's audio settings.
        same: settings that must be the same in both.
    Raises: ConfigError if one of these is not.
    """

    hearing: Hearing

    def __init__(
        self, recognizer: nn.Module, heard: AudioConfig, spoken: AudioConfig, same: tuple[str, ...] = _SAME
    ) -> None:
        super().__init__()
        for name in same:
            ours, theirs = getattr(spoken, name), getattr(heard, name)
            if ours != theirs:
                raise ConfigError(f"listener: audio.{name} is {theirs} in the recognizer and {ours} in the voice")
        #: In a tuple, so that it is no part of what is taught, averaged and kept in checkpoints.
        self._held = (recognizer.float().requires_grad_(False).eval(),)
        self.ratio = spoken.frame_seconds / heard.frame_seconds

    @property
    def recognizer(self) -> nn.Module:
        """The network that hears, in evaluation mode whatever the listener's."""
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Listener":
        """Take the recognizer along to a device (what PyTorch's `to` and its kin call)."""
        self.recognizer._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(
        self, mel: Float[Tensor, "batch frames mel_channels"], frame_lengths: Int[Tensor, " batch"], texts: TextBatch
    ) -> dict[str, Tensor]:
        """Return what it makes of texts that were said, each loss a token."""
        mel, lengths = at_other_rate(mel, frame_lengths, self.ratio)
        return self.heard(mel, lengths, texts.targets)

    @abstractmethod
    def heard(
        self, mel: Float[Tensor, "batch frames mel_channels"], lengths: Int[Tensor, " batch"], targets: Any
    ) -> dict[str, Tensor]:
        """Return the losses of mels that have the recognizer's frames."""


class ConformerListener(Listener):
    """A Conformer: CTC of the written jamo and of the sounded phonemes."""

    hearing = SoundHearing()

    def heard(
        self, mel: Float[Tensor, "batch frames mel_channels"], lengths: Int[Tensor, " batch"], targets: SpelledTexts
    ) -> dict[str, Tensor]:
        """Return both."""
        heard = self.recognizer(mel, lengths)
        frames = heard.frame_lengths
        return {
            "jamo_ctc": _mean_ctc(heard.jamo, frames, targets.jamo_ids, targets.jamo_lengths),
            "phoneme_ctc": _mean_ctc(heard.phonemes, frames, targets.phoneme_ids, targets.phoneme_lengths),
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


def unrecorded_texts(lines: Sequence[str], frontend: Frontend, hearing: Hearing) -> list[UnrecordedText]:
    """Return the texts of some lines that can be read and are neither empty nor long; say how many are left out.

    Raises: ConfigError if none is left.
    """
    texts = []
    for line in lines:
        try:
            phonemes = list(frontend.read(line).phonemes)
            target = hearing.target(line, frontend)
        except TextError:
            continue
        if target is not None and len(phonemes) <= _LONGEST:
            texts.append(UnrecordedText(PHONEMES.encode(phonemes), target))
    if not texts:
        raise ConfigError("texts: no line can be read and said within ten seconds")
    log.info(
        "%d texts that nobody has recorded are listened to; %d lines left out", len(texts), len(lines) - len(texts)
    )
    return texts


def example_texts(speaker_ids: Int[Tensor, " batch"], hearing: Hearing) -> TextBatch:
    """Return two short words, for `Task.example`."""
    text = UnrecordedText(PHONEMES.encode(list("ㅁㅏㅁㅏㅁㅏㅁㅏ")), hearing.target("말", Frontend(morphology=False)))
    return text_batch([text] * 2, speaker_ids, hearing)


def text_lines(file: str, cuts: dict[str, Any]) -> list[str]:
    """Return the lines of a file, or of the recordings themselves (other speakers say them too) where it is empty."""
    if file:
        return [line for line in read_text(Path(file)).splitlines() if line.strip()]
    return sorted({cut.supervisions[0].text for cut in cuts.values()})
