"""VITS: recording, text and discriminators at once; a corpus needs texts and waves, no durations."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from malsori.audio.mel import spectrogram
from malsori.audio.pitch import continuous_log_pitch
from malsori.config import AudioConfig
from malsori.corpus.batches import Collator, Example
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError, CorpusError, TextError
from malsori.losses.adversarial import (
    discriminator_accuracy,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from malsori.losses.distribution import sampled_kl_loss, stochastic_duration_loss
from malsori.losses.regression import mel_loss
from malsori.models.hifigan import DiscriminatorConfig, Discriminators
from malsori.models.vits import Vits, VitsConfig, VitsOutput
from malsori.shapes import length_mask, pad_stack
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES
from malsori.train.examples import example_waves
from malsori.train.hifigan import pitch_losses, require_same_rate, spectral_losses
from malsori.train.recipe import Recipe
from malsori.train.setup import (
    SystemSpec,
    TrainingSetup,
    model_facts,
    require_same_audio,
    select_splits,
    speakers_by_count,
    training_lexicon,
)
from malsori.train.tasks import Turn, frozen
from malsori.tts.spelling import with_blanks


class VitsRecipe(Recipe):
    """A recipe with a VITS and its discriminators; data.segment_frames is how much of an utterance is decoded.

    spectra: what is decoded is held to spectra too, as `VocoderRecipe.spectra` says.
    """

    audio: AudioConfig = AudioConfig()
    model: VitsConfig = VitsConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig(scales=1)
    spectra: bool = False


@dataclass(frozen=True)
class VitsBatch:
    """Attributes: tokens with their blanks (batch, tokens); linear spectrogram (batch, frames, bins); wave; of each
    frame ln(F0), drawn straight across what is unvoiced, and whether it is voiced (batch, frames)."""

    token_ids: Tensor
    token_lengths: Tensor
    speaker_ids: Tensor
    spectrogram: Tensor
    frame_lengths: Tensor
    wave: Tensor
    log_pitch: Tensor
    voiced: Tensor


@dataclass(frozen=True)
class VitsCollator:
    """Whole utterances with their text's tokens."""

    audio: AudioConfig
    speakers: tuple[str, ...]
    tokens: dict[str, list[int]]

    def __call__(self, examples: list[Example], random: np.random.Generator) -> VitsBatch:
        """Return the padded batch; each spectrogram is measured on its own wave."""
        hop = self.audio.hop_samples
        waves = [torch.from_numpy(e.wave[: len(e.truth["mel"]) * hop]) for e in examples]
        spectra, frame_lengths = pad_stack([spectrogram(wave[None], self.audio)[0] for wave in waves])
        tokens, token_lengths = pad_stack([torch.tensor(self.tokens[e.id]) for e in examples])
        speaker_ids = torch.tensor([self.speakers.index(e.speaker) for e in examples])
        pitches = [e.truth["pitch_hz"] for e in examples]
        log_pitch, _ = pad_stack([torch.from_numpy(continuous_log_pitch(pitch)).float() for pitch in pitches])
        voiced, _ = pad_stack([torch.from_numpy(pitch > 0) for pitch in pitches])
        of_text = tokens, token_lengths, speaker_ids
        return VitsBatch(*of_text, spectra, frame_lengths, pad_stack(waves)[0], log_pitch, voiced)


class VitsTask(nn.Module):
    """Reconstruction, KL, duration, adversarial and feature losses.

    Source: VITS (Kim et al. 2021, arXiv:2106.06103), 2.4; the weights in its public configuration.
    """

    def __init__(
        self,
        network: Vits,
        discriminators: nn.Module,
        audio: AudioConfig,
        piece_frames: int,
        spectra: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.discriminators, self.spectra = network, discriminators, spectra
        self.audio, self.piece_frames = audio, piece_frames

    def optimized_modules(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"discriminator": self.discriminators, "generator": self.network}

    def exported_model(self) -> nn.Module:
        """Return the network without its discriminators."""
        return self.network

    def losses(self, batch: VitsBatch) -> Iterator[Turn]:
        """Yield the discriminators' turn, then the generator's, on one and the same piece of each utterance."""
        share = torch.rand(len(batch.wave), device=batch.wave.device)
        pieces = self._pieces(batch, share)
        excitation, pitch = self.network.decoder.excitation, _pitch(batch, pieces)
        given = None if excitation is None else excitation.given(*pitch)
        output = self._network(batch, pieces, excitation=given)
        wave = self._wave(batch, pieces)
        real_scores = self.discriminators(wave).scores
        fake_scores = self.discriminators(output.wave.detach()).scores
        diagnostics = {"discriminator_accuracy": discriminator_accuracy(real_scores, fake_scores)}
        yield Turn("discriminator", {"adversarial": discriminator_loss(real_scores, fake_scores)}, diagnostics)
        with frozen(self.discriminators):
            with torch.no_grad():
                real = self.discriminators(wave)
            generated = self.discriminators(output.wave)
            yield Turn(
                "generator",
                self._from_network(batch, output, wave)
                | pitch_losses(excitation, output.decoded, *pitch)
                | spectral_losses(self.spectra, output.wave, wave)
                | {
                    "adversarial": generator_loss(generated.scores),
                    "feature_matching": feature_matching_loss(real.feature_maps, generated.feature_maps),
                },
            )

    @torch.inference_mode()
    def validate(self, batches: Iterable[VitsBatch]) -> dict[str, float]:
        """Return means over held-out speech: log-mels rebuilt, log-mels from the text alone, KL, durations.

        The log-mels are those of the middle of each utterance; from the text alone, with the durations that the search
        found. The noise is the same each time.
        """
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            count += 1
            for name, value in self._held_out(batch).items():
                sums[name] = sums.get(name, 0.0) + value.item()
        return {name: total / count for name, total in sums.items()}

    def example(self) -> VitsBatch:
        """Return a tiny batch of noise."""
        hop, config = self.audio.hop_samples, self.network.config
        wave, sample_lengths = example_waves(self.audio, (self.piece_frames + 16) * self.audio.frame_seconds)
        frames = sample_lengths // hop
        wave = wave[:, : int(frames.max()) * hop]
        random = torch.Generator().manual_seed(0)
        token_ids = torch.randint(0, config.vocab, (2, 9), generator=random)
        spectra = spectrogram(wave, self.audio) * length_mask(frames)[..., None]
        of_text = token_ids, torch.tensor([9, 5]), torch.arange(2) % config.speakers
        log_pitch = torch.full(spectra.shape[:2], 5.0)
        return VitsBatch(*of_text, spectra, frames, wave, log_pitch, length_mask(frames // 2, spectra.shape[1]))

    def _network(self, batch: VitsBatch, pieces: Tensor, **given: Tensor | None) -> VitsOutput:
        return self.network(
            batch.token_ids,
            batch.token_lengths,
            batch.speaker_ids,
            batch.spectrogram,
            batch.frame_lengths,
            pieces=pieces,
            **given,
        )

    def _from_network(self, batch: VitsBatch, output: VitsOutput, wave: Tensor) -> dict[str, Tensor]:
        """Return the losses that need no discriminator."""
        tokens = length_mask(batch.token_lengths, batch.token_ids.shape[1])
        frames = length_mask(batch.frame_lengths, batch.spectrogram.shape[1])
        return {
            "mel": self._distance(output.wave, wave),
            "kl": sampled_kl_loss(output.latent, output.log_std, output.prior_mean, output.prior_log_std, frames),
            "duration": stochastic_duration_loss(
                output.duration_latent,
                output.duration_log_determinant,
                output.duration_noise,
                output.duration_noise_log_determinant,
                tokens,
            ),
        }

    def _held_out(self, batch: VitsBatch) -> dict[str, Tensor]:
        pieces = self._pieces(batch, torch.full((len(batch.wave),), 0.5, device=batch.wave.device))
        frames, latent = batch.spectrogram.shape[:2], self.network.config.latent_channels
        random = torch.Generator().manual_seed(0)
        noise = torch.randn(*frames, latent, generator=random).to(batch.wave.device)
        duration_noise = torch.randn(*batch.token_ids.shape, 2, generator=random).to(batch.wave.device)
        output = self._network(batch, pieces, noise=noise, duration_noise=duration_noise)
        wave, speaker = self._wave(batch, pieces), self.network.speaker_vectors(batch.speaker_ids)
        mask = length_mask(batch.frame_lengths, frames[1])
        prior = self.network.flow(output.prior_mean, mask, speaker, reverse=True)
        spoken = self.network.decoder(_at(prior, pieces), speaker=speaker).wave
        losses = self._from_network(batch, output, wave)
        return {"mel": losses.pop("mel"), "mel_from_text": self._distance(spoken, wave)} | losses

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        with torch.autocast(ours.device.type, enabled=False):  # the filters' sums, whose logarithm is taken
            return mel_loss(ours.float(), theirs, self.audio)

    def _pieces(self, batch: VitsBatch, share: Tensor) -> Tensor:
        """Return the frames of a piece that begins at some share of each utterance (batch, piece_frames)."""
        starts = (share * (batch.frame_lengths - self.piece_frames + 1)).long()
        return starts[:, None] + torch.arange(self.piece_frames, device=starts.device)

    def _wave(self, batch: VitsBatch, pieces: Tensor) -> Tensor:
        by_frame = batch.wave.view(len(batch.wave), -1, self.audio.hop_samples)
        return _at(by_frame, pieces).flatten(1)


def _at(values: Tensor, pieces: Tensor) -> Tensor:
    """Return some frames of each utterance (batch, piece_frames, channels)."""
    return values.gather(1, pieces[..., None].expand(-1, -1, values.shape[2]))


def _pitch(batch: VitsBatch, pieces: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln(F0) and voicing of some frames of each utterance (batch, piece_frames)."""
    return batch.log_pitch.gather(1, pieces), batch.voiced.gather(1, pieces)


def _build_task(recipe: VitsRecipe) -> VitsTask:
    made, wanted = recipe.model.decoder.samples_per_frame, recipe.audio.hop_samples
    if made != wanted:
        raise ConfigError(f"the decoder makes {made} samples a frame, audio.hop_samples is {wanted}: they must agree")
    if recipe.model.spectrogram_bins != recipe.audio.fft_samples // 2 + 1:
        bins, size = recipe.model.spectrogram_bins, recipe.audio.fft_samples
        raise ConfigError(f"model.spectrogram_bins is {bins}; fft_samples {size} gives half and 1")
    require_same_rate(recipe.model.decoder.excitation, recipe.audio, "model.decoder.excitation")
    discriminators = Discriminators(recipe.discriminator)
    return VitsTask(Vits(recipe.model), discriminators, recipe.audio, recipe.data.segment_frames, recipe.spectra)


def _from_corpus(recipe: VitsRecipe, corpus: Corpus) -> TrainingSetup:
    require_same_audio(recipe.audio, corpus)
    cuts, frontend = select_splits(recipe, corpus), Frontend(training_lexicon(recipe, corpus))
    speakers = speakers_by_count(cuts["train"])
    cuts["dev"] = {name: cut for name, cut in cuts["dev"].items() if cut.supervisions[0].speaker in speakers}
    tokens: dict[str, list[int]] = {}
    skipped: dict[str, list[str]] = {}
    for split, found in cuts.items():
        for name, cut in list(found.items()):
            reason, ids = _tokens(frontend, corpus, cut, recipe)
            if reason:
                skipped.setdefault(reason, []).append(name)
                del found[name]
            tokens[name] = ids
        if not found:
            raise CorpusError(f"{corpus.path}: split '{split}' has nothing to learn from: {', '.join(skipped)}")
    sizes = VitsConfig.parse(recipe.model.model_dump() | {"speakers": len(speakers)}, f"{corpus.path}: model")
    facts = model_facts(recipe, sizes.model_dump(), corpus, speakers=speakers)
    task = _build_task(recipe.model_copy(update={"model": sizes}))
    collator: Collator = VitsCollator(recipe.audio, speakers, tokens)
    collators = dict.fromkeys(("train", "dev"), collator)
    return TrainingSetup(
        recipe=recipe,
        corpus=corpus,
        task=task,
        cuts=cuts,
        collators=collators,
        by_seconds=True,
        facts=facts,
        symbols={"phonemes": PHONEMES},
        skipped=skipped,
    )


def _tokens(frontend: Frontend, corpus: Corpus, cut: Any, recipe: VitsRecipe) -> tuple[str, list[int]]:
    """Return why a cut is skipped, or "", and its tokens: as aligned, or as the text is read."""
    truth = corpus.ground_truth(cut)
    frames = len(truth["mel"])
    if "token_ids" in truth:
        ids = truth["token_ids"].tolist()
    else:
        try:
            ids = frontend.ids(frontend.read(cut.supervisions[0].text))
        except TextError:
            return "text cannot be read", []
    ids = with_blanks(ids) if recipe.model.blanks else ids
    if frames < recipe.data.segment_frames:
        return "shorter than data.segment_frames", ids
    return ("too short for its tokens" if frames < len(ids) else ""), ids


VITS = SystemSpec(recipe=VitsRecipe, build_task=_build_task, from_corpus=_from_corpus)
