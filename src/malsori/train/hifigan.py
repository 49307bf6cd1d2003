"""Vocoders: HiFi-GAN and Vocos against discriminators, or, to begin with, against mels alone."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from malsori.config import AudioConfig
from malsori.corpus.batches import Collator, SegmentBatch, SegmentCollator, remove_unaligned
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError
from malsori.losses.adversarial import (
    discriminator_accuracy,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from malsori.losses.regression import l1_loss, mel_loss, multi_resolution_stft_loss
from malsori.models.excitation import Excitation, ExcitationConfig
from malsori.models.hifigan import DiscriminatorConfig, Discriminators, Hifigan, HifiganConfig
from malsori.models.vocos import MultiResolutionDiscriminatorConfig, Vocos, VocosConfig, VocosDiscriminators
from malsori.train.examples import example_segments
from malsori.train.predicted_mels import predicted_mels
from malsori.train.recipe import Recipe
from malsori.train.setup import SystemSpec, TrainingSetup, model_facts, require_same_audio, select_splits
from malsori.train.systems import build_task
from malsori.train.tasks import Turn, frozen


class VocoderRecipe(Recipe):
    """What a vocoder's recipe has.

    adversarial: train against discriminators; false leaves these out.
    mels_from: a FastSpeech 2 whose predicted mels, with the recordings' durations, pitch and energy, are learnt from;
        the recordings' own mels when empty.
    predicted_share: of the pieces, how many have its mel; the others have the recording's.
    spectra: waves are held to spectra too (`losses.regression.multi_resolution_stft_loss`). A generator that makes the
        samples itself, as HiFi-GAN does, may whistle at half the sample rate, where every mel filter ends, and louder
        than it speaks; narrow discriminators find nothing else then, and it never learns a melody.
    """

    adversarial: bool = True
    mels_from: str = ""
    predicted_share: float = Field(1.0, gt=0, le=1)
    spectra: bool = False
    audio: AudioConfig = AudioConfig()

    @model_validator(mode="after")
    def _share_of_something(self) -> "VocoderRecipe":
        if self.predicted_share < 1 and not self.mels_from:
            raise ValueError(f"predicted_share = {self.predicted_share:g} without mels_from: name the voice too")
        return self


class VocosRecipe(VocoderRecipe):
    """A recipe with a Vocos generator and its discriminators."""

    model: VocosConfig = VocosConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    multi_resolution_discriminator: MultiResolutionDiscriminatorConfig = MultiResolutionDiscriminatorConfig()


class HifiganRecipe(VocoderRecipe):
    """A recipe with a HiFi-GAN generator and its discriminators."""

    model: HifiganConfig = HifiganConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()


class VocoderTask(nn.Module):
    """A generator against discriminators: HiFi-GAN's three losses, whatever the generator.

    Source: HiFi-GAN (Kong et al. 2020, arXiv:2010.05646), 2.4.
    """

    def __init__(
        self, generator: Hifigan | Vocos, discriminators: nn.Module, audio: AudioConfig, spectra: bool = False
    ) -> None:
        super().__init__()
        self.generator, self.discriminators, self.audio, self.spectra = generator, discriminators, audio, spectra

    def optimized_modules(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"discriminator": self.discriminators, "generator": self.generator}

    def exported_model(self) -> nn.Module:
        """Return the generator."""
        return self.generator

    def losses(self, batch: SegmentBatch) -> Iterator[Turn]:
        """Yield the discriminators' turn, then the generator's, on one and the same generated wave."""
        fake = _wave(self.generator, batch)
        real_scores = self.discriminators(batch.wave).scores
        fake_scores = self.discriminators(fake.detach()).scores
        diagnostics = {"discriminator_accuracy": discriminator_accuracy(real_scores, fake_scores)}
        yield Turn("discriminator", {"adversarial": discriminator_loss(real_scores, fake_scores)}, diagnostics)
        with frozen(self.discriminators):
            with torch.no_grad():
                real = self.discriminators(batch.wave)
            generated = self.discriminators(fake)
            yield Turn(
                "generator",
                {
                    "mel": mel_loss(fake, batch.wave, self.audio),
                    "adversarial": generator_loss(generated.scores),
                    "feature_matching": feature_matching_loss(real.feature_maps, generated.feature_maps),
                    **pitch_losses(self.generator.excitation, batch.mel, batch.log_pitch, batch.voiced),
                    **spectral_losses(self.spectra, fake, batch.wave),
                },
            )

    def validate(self, batches: Iterable[SegmentBatch]) -> dict[str, float]:
        """Return the mean distance of log-mels, recording against copy synthesis."""
        return mel_distance(self.generator, self.audio, batches)

    def example(self) -> SegmentBatch:
        """Return a tiny batch of noise."""
        return example_segments(self.audio)


class MelCopyTask(nn.Module):
    """A vocoder trained on log-mels alone, at three resolutions, without discriminators, at a fraction of the cost.

    Its weights are a start for `VocoderTask`, and, of a generator that is given an excitation, a voice already.
    """

    def __init__(self, generator: Hifigan | Vocos, audio: AudioConfig, spectra: bool = False) -> None:
        super().__init__()
        self.generator, self.audio, self.spectra = generator, audio, spectra
        self.resolutions = {"half": _scaled(audio, 0.5), "full": audio, "double": _scaled(audio, 2.0)}

    def optimized_modules(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"generator": self.generator}

    def exported_model(self) -> nn.Module:
        """Return the generator."""
        return self.generator

    def losses(self, batch: SegmentBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        fake = _wave(self.generator, batch)
        distances = [mel_loss(fake, batch.wave, at) for at in self.resolutions.values()]
        losses = {f"mel_{name}": loss for name, loss in zip(self.resolutions, distances, strict=True)}
        losses |= spectral_losses(self.spectra, fake, batch.wave)
        heard = pitch_losses(self.generator.excitation, batch.mel, batch.log_pitch, batch.voiced)
        yield Turn("generator", losses | heard)

    def validate(self, batches: Iterable[SegmentBatch]) -> dict[str, float]:
        """Return the mean distance of log-mels, recording against copy synthesis."""
        return mel_distance(self.generator, self.audio, batches)

    def example(self) -> SegmentBatch:
        """Return a tiny batch of noise."""
        return example_segments(self.audio)


def _wave(generator: Hifigan | Vocos, batch: SegmentBatch) -> Tensor:
    """Return the wave of a batch's mels; a generator that filters an excitation is given the recording's pitch."""
    if generator.excitation is None:
        return generator(batch.mel).wave
    return generator(batch.mel, generator.excitation.given(batch.log_pitch, batch.voiced)).wave


def spectral_losses(wanted: bool, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Return how far apart two waves' spectra are (batch, samples); nothing where it is not wanted."""
    return {"stft": multi_resolution_stft_loss(fake, real)} if wanted else {}


def pitch_losses(
    excitation: Excitation | None,
    mel: Float[Tensor, "batch frames channels"],
    log_pitch: Float[Tensor, "batch frames"],
    voiced: Bool[Tensor, "batch frames"],
) -> dict[str, Tensor]:
    """Return how far off F0 is that is heard in mels or latents, ln(Hz), and whether it is voiced; nothing of none."""
    if excitation is None:
        return {}
    heard, voicing = excitation.pitch(mel)
    return {
        "pitch": l1_loss(heard, log_pitch, voiced),
        "voicing": nn.functional.binary_cross_entropy_with_logits(voicing, voiced.float()),
    }


@torch.inference_mode()
def mel_distance(generator: nn.Module, audio: AudioConfig, batches: Iterable[SegmentBatch]) -> dict[str, float]:
    """Return the mean absolute distance of log-mels between recordings and what a vocoder makes of their mels."""
    distances = [mel_loss(generator(batch.mel).wave, batch.wave, audio).item() for batch in batches]
    return {"mel_l1": sum(distances) / len(distances)}


def require_same_rate(excitation: ExcitationConfig | None, audio: AudioConfig, name: str) -> None:
    """Raises: ConfigError if what makes pulses has another sample rate than the waves."""
    if excitation and excitation.sample_rate != audio.sample_rate:
        made, wanted = excitation.sample_rate, audio.sample_rate
        raise ConfigError(f"{name}.sample_rate is {made}, audio.sample_rate {wanted}: they must agree")


def _scaled(audio: AudioConfig, factor: float) -> AudioConfig:
    sizes = ("fft_samples", "window_samples", "hop_samples")
    return audio.model_copy(update={name: int(getattr(audio, name) * factor) for name in sizes})


def _vocos_task(recipe: VocosRecipe) -> nn.Module:
    if not recipe.adversarial:
        return MelCopyTask(Vocos(recipe.model), recipe.audio, recipe.spectra)
    discriminators = VocosDiscriminators(recipe.discriminator, recipe.multi_resolution_discriminator)
    return VocoderTask(Vocos(recipe.model), discriminators, recipe.audio, recipe.spectra)


def _hifigan_task(recipe: HifiganRecipe) -> nn.Module:
    if not recipe.adversarial:
        return MelCopyTask(Hifigan(recipe.model), recipe.audio, recipe.spectra)
    return VocoderTask(Hifigan(recipe.model), Discriminators(recipe.discriminator), recipe.audio, recipe.spectra)


def _from_corpus(recipe: VocosRecipe | HifiganRecipe, corpus: Corpus) -> TrainingSetup:
    require_same_audio(recipe.audio, corpus)
    if recipe.model.samples_per_frame != recipe.audio.hop_samples:
        made, wanted = recipe.model.samples_per_frame, recipe.audio.hop_samples
        raise ConfigError(f"the model makes {made} samples a frame, audio.hop_samples is {wanted}: they must agree")
    cuts = select_splits(recipe, corpus)
    require_same_rate(recipe.model.excitation, recipe.audio, "model.excitation")
    skipped = remove_unaligned(corpus, cuts) if recipe.mels_from else {}
    predicted = predicted_mels(recipe.mels_from, cuts, corpus) if recipe.mels_from else {}
    collators: dict[str, Collator] = {
        split: SegmentCollator(recipe.audio, recipe.data.segment_frames, predicted, share)
        for split, share in (("train", recipe.predicted_share), ("dev", 1.0))
    }
    facts = model_facts(recipe, recipe.model.model_dump(), corpus)
    return TrainingSetup(
        recipe=recipe,
        corpus=corpus,
        task=build_task(recipe),
        cuts=cuts,
        collators=collators,
        by_seconds=False,
        facts=facts,
        skipped=skipped,
    )


HIFIGAN = SystemSpec(recipe=HifiganRecipe, build_task=_hifigan_task, from_corpus=_from_corpus)
VOCOS = SystemSpec(recipe=VocosRecipe, build_task=_vocos_task, from_corpus=_from_corpus)
