"""What each system minimises: a task yields its losses in turns, and the loop does the rest.

task.losses(batch)   yields Turn after Turn; between two of them the loop steps the first one's optimizer
task.parts()         turn → the module that its optimizer steps
task.product()       the network that is shipped
task.validate(...)   numbers on held-out speech; the first named is the one that decides which checkpoint is best
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from malsori.audio.mel import log_mel
from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.corpus.batches import ListenBatch, SegmentBatch, SpeakBatch
from malsori.decode.ctc import greedy
from malsori.losses.adversarial import (
    discriminator_accuracy,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from malsori.losses.regression import l1_loss, l2_loss, log_duration_loss
from malsori.losses.sequence import blank_share, ctc_loss
from malsori.metrics.error_rate import cer
from malsori.models.conformer import Conformer, ConformerConfig
from malsori.models.fastspeech2 import FastSpeech2, FastSpeech2Config
from malsori.models.hifigan import DiscriminatorConfig, HifiganConfig
from malsori.models.vocos import ResolutionConfig, VocosConfig
from malsori.shapes import length_mask
from malsori.text.hangul import from_jamo
from malsori.text.symbols import JAMO
from malsori.train.examples import example_listening, example_segments, example_speech
from malsori.train.recipe import Recipe


@dataclass(frozen=True)
class Turn:
    """One optimizer's share of a step: its name and its named losses, not yet weighted.

    signs: what the run doctor looks at beside the losses (`train.doctor`); no gradient is sent through them.
    """

    name: str
    losses: dict[str, Tensor]
    signs: dict[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """What the loop asks of a system; every task is an nn.Module too."""

    def losses(self, batch: Any) -> Iterator[Turn]:
        """Yield the turns of one step."""

    def parts(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""

    def product(self) -> nn.Module:
        """Return the network that is shipped."""

    def validate(self, batches: Iterable[Any]) -> dict[str, float]:
        """Return measures on held-out batches, lower is better; the first decides."""

    def example(self) -> Any:
        """Return a tiny batch of noise that `losses` takes."""


class VocosRecipe(Recipe):
    """A recipe with a Vocos generator and its discriminators; adversarial = false leaves these out."""

    adversarial: bool = True
    audio: AudioConfig = AudioConfig()
    model: VocosConfig = VocosConfig()
    waves: DiscriminatorConfig = DiscriminatorConfig()
    resolutions: ResolutionConfig = ResolutionConfig()


class HifiganRecipe(Recipe):
    """A recipe with a HiFi-GAN generator and its discriminators; adversarial = false leaves these out."""

    adversarial: bool = True
    audio: AudioConfig = AudioConfig()
    model: HifiganConfig = HifiganConfig()
    waves: DiscriminatorConfig = DiscriminatorConfig()


class FastSpeech2Recipe(Recipe):
    """A recipe with a FastSpeech 2."""

    audio: AudioConfig = AudioConfig()
    model: FastSpeech2Config = FastSpeech2Config()


class ConformerRecipe(Recipe):
    """A recipe with a Conformer recogniser."""

    audio: AudioConfig = RECOGNITION_AUDIO
    model: ConformerConfig = ConformerConfig()


class VocoderTask(nn.Module):
    """A generator against discriminators: HiFi-GAN's three losses, whatever the generator.

    Source: HiFi-GAN (Kong et al. 2020, arXiv:2010.05646), 2.4.
    """

    def __init__(self, generator: nn.Module, discriminators: nn.Module, audio: AudioConfig) -> None:
        super().__init__()
        self.generator, self.discriminators, self.audio = generator, discriminators, audio

    def parts(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"discriminator": self.discriminators, "generator": self.generator}

    def product(self) -> nn.Module:
        """Return the generator."""
        return self.generator

    def losses(self, batch: SegmentBatch) -> Iterator[Turn]:
        """Yield the discriminators' turn, then the generator's, on one and the same generated wave."""
        fake = self.generator(batch.mel).wave
        real_scores = self.discriminators(batch.wave).scores
        fake_scores = self.discriminators(fake.detach()).scores
        signs = {"discriminator_accuracy": discriminator_accuracy(real_scores, fake_scores)}
        yield Turn("discriminator", {"adversarial": discriminator_loss(real_scores, fake_scores)}, signs)
        with frozen(self.discriminators):
            with torch.no_grad():
                real = self.discriminators(batch.wave)
            judged = self.discriminators(fake)
            yield Turn(
                "generator",
                {
                    "mel": l1_loss(log_mel(fake, self.audio), log_mel(batch.wave, self.audio)),
                    "adversarial": generator_loss(judged.scores),
                    "features": feature_matching_loss(real.features, judged.features),
                },
            )

    def validate(self, batches: Iterable[SegmentBatch]) -> dict[str, float]:
        """Return the mean distance of log-mels, recording against copy synthesis."""
        return mel_distance(self.generator, self.audio, batches)

    def example(self) -> SegmentBatch:
        """Return a tiny batch of noise."""
        return example_segments(self.audio)


class MelCopyTask(nn.Module):
    """A vocoder's first lessons, without discriminators: log-mels at three resolutions, at a fraction of the cost.

    What it learns is a start for `VocoderTask`, not yet a voice: it buzzes where phases are free.
    """

    def __init__(self, generator: nn.Module, audio: AudioConfig) -> None:
        super().__init__()
        self.generator, self.audio = generator, audio
        self.resolutions = {"half": _scaled(audio, 0.5), "full": audio, "double": _scaled(audio, 2.0)}

    def parts(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"generator": self.generator}

    def product(self) -> nn.Module:
        """Return the generator."""
        return self.generator

    def losses(self, batch: SegmentBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        fake = self.generator(batch.mel).wave
        distances = [l1_loss(log_mel(fake, at), log_mel(batch.wave, at)) for at in self.resolutions.values()]
        yield Turn("generator", {f"mel_{name}": loss for name, loss in zip(self.resolutions, distances, strict=True)})

    def validate(self, batches: Iterable[SegmentBatch]) -> dict[str, float]:
        """Return the mean distance of log-mels, recording against copy synthesis."""
        return mel_distance(self.generator, self.audio, batches)

    def example(self) -> SegmentBatch:
        """Return a tiny batch of noise."""
        return example_segments(self.audio)


class FastSpeech2Task(nn.Module):
    """Mel, duration, pitch and energy, each against the recording's (FastSpeech 2, 2.3)."""

    def __init__(self, network: FastSpeech2) -> None:
        super().__init__()
        self.network = network

    def parts(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"acoustic": self.network}

    def product(self) -> nn.Module:
        """Return the acoustic model."""
        return self.network

    def losses(self, batch: SpeakBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        output = self.network(
            batch.token_ids, batch.token_lengths, batch.speaker_ids, batch.durations, batch.pitch, batch.energy
        )
        tokens = length_mask(batch.token_lengths, batch.token_ids.shape[1])
        frames = length_mask(batch.frame_lengths, batch.mel.shape[1])
        yield Turn(
            "acoustic",
            {
                "mel": l1_loss(output.mel, batch.mel, frames),
                "duration": log_duration_loss(output.log_durations, batch.durations, tokens),
                "pitch": l2_loss(output.pitch, batch.pitch, frames),
                "energy": l2_loss(output.energy, batch.energy, tokens),
            },
        )

    def example(self) -> SpeakBatch:
        """Return a tiny batch of noise."""
        return example_speech(self.network.config)

    @torch.inference_mode()
    def validate(self, batches: Iterable[SpeakBatch]) -> dict[str, float]:
        """Return the mean of each loss over held-out speech, with the recording's own durations, pitch and energy."""
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            count += 1
            for name, loss in next(self.losses(batch)).losses.items():
                sums[name] = sums.get(name, 0.0) + loss.item()
        return {name: total / count for name, total in sums.items()}


class ConformerTask(nn.Module):
    """CTC twice: written jamo at the top, sounded phonemes half-way up."""

    def __init__(self, network: Conformer, audio: AudioConfig = RECOGNITION_AUDIO) -> None:
        super().__init__()
        self.network, self.audio = network, audio

    def parts(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"recognizer": self.network}

    def product(self) -> nn.Module:
        """Return the recogniser's network."""
        return self.network

    def losses(self, batch: ListenBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        output = self.network(batch.mel, batch.mel_lengths)
        yield Turn(
            "recognizer",
            {
                "jamo_ctc": ctc_loss(output.jamo, output.frame_lengths, batch.jamo_ids, batch.jamo_lengths),
                "phoneme_ctc": ctc_loss(
                    output.phonemes, output.frame_lengths, batch.phoneme_ids, batch.phoneme_lengths
                ),
            },
            {"blank_share": blank_share(output.jamo, output.frame_lengths)},
        )

    def example(self) -> ListenBatch:
        """Return a tiny batch of noise."""
        return example_listening(self.audio)

    @torch.inference_mode()
    def validate(self, batches: Iterable[ListenBatch]) -> dict[str, float]:
        """Return the character error rate without spaces, and with them, of greedy decoding."""
        references, hypotheses = [], []
        for batch in batches:
            output = self.network(batch.mel, batch.mel_lengths)
            for log_probs, length in zip(output.jamo, output.frame_lengths.tolist(), strict=True):
                hypotheses.append(from_jamo(JAMO.decode(greedy(log_probs[:length].cpu().numpy()))))
            references.extend(batch.texts)
        dense = [[text.replace(" ", "") for text in texts] for texts in (references, hypotheses)]
        return {"cer_no_space": cer(dense[0], dense[1]).rate, "cer": cer(references, hypotheses).rate}


@torch.inference_mode()
def mel_distance(generator: nn.Module, audio: AudioConfig, batches: Iterable[SegmentBatch]) -> dict[str, float]:
    """Return the mean absolute distance of log-mels between recordings and what a vocoder makes of their mels."""
    distances = [
        l1_loss(log_mel(generator(batch.mel).wave, audio), log_mel(batch.wave, audio)).item() for batch in batches
    ]
    return {"mel_l1": sum(distances) / len(distances)}


def _scaled(audio: AudioConfig, factor: float) -> AudioConfig:
    sizes = ("fft_samples", "window_samples", "hop_samples")
    return audio.model_copy(update={name: int(getattr(audio, name) * factor) for name in sizes})


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep gradients out of a module's weights for a while; they still pass through it."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
