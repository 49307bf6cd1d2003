"""FastSpeech 2: its losses and training data; it may also play against a discriminator, and be listened to."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from malsori.config import AudioConfig
from malsori.corpus.batches import Collator, SpeakBatch, SpeakCollator, remove_unaligned, speaker_statistics
from malsori.corpus.folder import Corpus
from malsori.losses.adversarial import (
    discriminator_accuracy,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
)
from malsori.losses.regression import l1_loss, l2_loss, log_duration_loss
from malsori.models.fastspeech2 import FastSpeech2, FastSpeech2Config, FastSpeech2Output, VarianceTargets
from malsori.models.mel_discriminator import MelDiscriminator, MelDiscriminatorConfig
from malsori.nn.lengths import expand_by_durations
from malsori.shapes import length_mask
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES
from malsori.train.examples import example_speech
from malsori.train.listener import (
    Listener,
    SpeakAndTextBatch,
    SpeakAndTextCollator,
    TextBatch,
    example_texts,
    text_lines,
    unrecorded_texts,
)
from malsori.train.listeners import open_listener
from malsori.train.recipe import Recipe
from malsori.train.setup import (
    SystemSpec,
    TrainingSetup,
    model_facts,
    require_same_audio,
    select_splits,
    speakers_by_count,
)
from malsori.train.tasks import NetworkTask, Turn, frozen, mean_losses


class FastSpeech2Recipe(Recipe):
    """A recipe with a FastSpeech 2. What follows wants a model that speaks already (`start_from`).

    adversarial: train against a discriminator of mels too.
    listener: a Conformer or a Whisper, by name or folder, that stays as it is and must hear what the network makes of
        other texts.
    texts: the file of these, a text a line; the recordings' own, by all speakers, when empty.
    texts_batch_size: of them, how many a step.
    """

    adversarial: bool = False
    listener: str = ""
    texts: str = ""
    texts_batch_size: int = Field(6, ge=1)
    audio: AudioConfig = AudioConfig()
    model: FastSpeech2Config = FastSpeech2Config()
    discriminator: MelDiscriminatorConfig = MelDiscriminatorConfig()

    @model_validator(mode="after")
    def _texts_for_a_listener(self) -> "FastSpeech2Recipe":
        if self.texts and not self.listener:
            raise ValueError(f"texts = {self.texts!r} without listener: name the recognizer that shall hear them")
        return self


class FastSpeech2Task(NetworkTask):
    """Mel, duration, pitch and energy, each against the recording's (FastSpeech 2, 2.3).

    With a discriminator, its verdict on the mels too (GANSpeech, 2.2): pieces as long as a batch's shortest utterance
    are judged, from a place of their own in each, so that it meets no padding; it sees the frames' phonemes as the
    recording's durations have them. With a listener, what that hears of texts that nobody has recorded.
    """

    turn = "acoustic"
    network: FastSpeech2

    def __init__(
        self, network: FastSpeech2, discriminator: MelDiscriminator | None = None, listener: Listener | None = None
    ) -> None:
        super().__init__(network)
        self.discriminator, self.listener = discriminator, listener

    def optimized_modules(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        against = {"discriminator": self.discriminator} if self.discriminator is not None else {}
        return {**against, self.turn: self.network}

    def losses(self, batch: SpeakBatch) -> Iterator[Turn]:
        """Yield the discriminator's turn if there is one, then the network's, on one and the same prediction."""
        output: FastSpeech2Output = self.network(
            batch.token_ids, batch.token_lengths, batch.speaker_ids, batch.durations, batch.pitch, batch.energy
        )
        losses = _distances(output, batch)
        if isinstance(batch, SpeakAndTextBatch):
            losses |= self._heard(batch.texts)
        if self.discriminator is None:
            yield Turn(self.turn, losses)
        else:
            yield from self._against(self.discriminator, output.mel, batch, losses)

    def _heard(self, texts: TextBatch) -> dict[str, Tensor]:
        """Return what the listener makes of texts; durations, pitch and energy are predicted, and not taught by it."""
        assert self.listener is not None, "texts are drawn for a listener"
        with torch.no_grad():
            given = self.network.speak(texts.token_ids, texts.token_lengths, texts.speaker_ids, VarianceTargets())
        output = self.network(
            texts.token_ids, texts.token_lengths, texts.speaker_ids, given.durations, given.pitch, given.energy
        )
        heard: dict[str, Tensor] = self.listener(output.mel, output.frame_lengths, texts)
        return heard

    def _against(
        self, discriminator: MelDiscriminator, mel: Tensor, batch: SpeakBatch, losses: dict[str, Tensor]
    ) -> Iterator[Turn]:
        frames = _drawn_frames(batch.frame_lengths)
        said = expand_by_durations(batch.token_ids[..., None].float(), batch.durations)[..., 0].long()
        phonemes = said.gather(1, frames)
        recorded, predicted = (
            each.gather(1, frames[..., None].expand(-1, -1, mel.shape[2])) for each in (batch.mel, mel)
        )
        real = discriminator(recorded, phonemes, batch.speaker_ids)
        fake = discriminator(predicted.detach(), phonemes, batch.speaker_ids).scores
        diagnostics = {"discriminator_accuracy": discriminator_accuracy(real.scores, fake)}
        yield Turn("discriminator", {"adversarial": discriminator_loss(real.scores, fake)}, diagnostics)
        with frozen(discriminator):
            with torch.no_grad():
                real = discriminator(recorded, phonemes, batch.speaker_ids)
            judged = discriminator(predicted, phonemes, batch.speaker_ids)
            against = {
                "adversarial": generator_loss(judged.scores),
                "feature_matching": feature_matching_loss(real.feature_maps, judged.feature_maps),
            }
            yield Turn(self.turn, losses | against)

    def example(self) -> SpeakBatch:
        """Return a tiny batch of noise."""
        speech = example_speech(self.network.config)
        if self.listener is None:
            return speech
        return SpeakAndTextBatch(**vars(speech), texts=example_texts(speech.speaker_ids.clone(), self.listener.hearing))

    @torch.inference_mode()
    def validate(self, batches: Iterable[SpeakBatch]) -> dict[str, float]:
        """Return the mean of each distance over held-out speech, with the recording's durations, pitch and energy."""
        return mean_losses(FastSpeech2Task(self.network).eval(), batches)


def _distances(output: FastSpeech2Output, batch: SpeakBatch) -> dict[str, Tensor]:
    tokens = length_mask(batch.token_lengths, batch.token_ids.shape[1])
    frames = length_mask(batch.frame_lengths, batch.mel.shape[1])
    return {
        "mel": l1_loss(output.mel, batch.mel, frames),
        "duration": log_duration_loss(output.log_durations, batch.durations, tokens),
        "pitch": l2_loss(output.pitch, batch.pitch, frames),
        "energy": l2_loss(output.energy, batch.energy, tokens),
    }


def _drawn_frames(lengths: Tensor) -> Tensor:
    """Return which frames of each utterance are judged (batch, frames of the shortest)."""
    shortest = int(lengths.min())
    starts = (torch.rand(len(lengths), device=lengths.device) * (lengths - shortest + 1)).long()
    return starts[:, None] + torch.arange(shortest, device=lengths.device)


def _fastspeech2_task(recipe: FastSpeech2Recipe) -> FastSpeech2Task:
    network, sizes = FastSpeech2(recipe.model), recipe.model
    discriminator = None
    if recipe.adversarial:
        discriminator = MelDiscriminator(recipe.discriminator, sizes.vocab, sizes.speakers, sizes.mel_channels)
    listener = open_listener(recipe.listener, recipe.audio) if recipe.listener else None
    return FastSpeech2Task(network, discriminator, listener)


def _fastspeech2_from_corpus(recipe: FastSpeech2Recipe, corpus: Corpus) -> TrainingSetup:
    require_same_audio(recipe.audio, corpus)
    cuts = select_splits(recipe, corpus)
    skipped = remove_unaligned(corpus, cuts)
    statistics = speaker_statistics(corpus, cuts["train"])
    speakers = speakers_by_count(cuts["train"])
    cuts["dev"] = {name: cut for name, cut in cuts["dev"].items() if cut.supervisions[0].speaker in statistics}
    speech = SpeakCollator(speakers, statistics)
    sizes = recipe.model.model_copy(update={"speakers": len(speakers)})
    facts = model_facts(recipe, sizes.model_dump(), corpus, speakers=speakers, statistics=statistics)
    task = _fastspeech2_task(recipe.model_copy(update={"model": sizes}))
    collators: dict[str, Collator] = {"train": _with_texts(recipe, speech, corpus, cuts["train"], task), "dev": speech}
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


def _with_texts(
    recipe: FastSpeech2Recipe, speech: SpeakCollator, corpus: Corpus, cuts: dict[str, Any], task: FastSpeech2Task
) -> Collator:
    if task.listener is None:
        return speech
    hearing = task.listener.hearing
    texts = unrecorded_texts(text_lines(recipe.texts, cuts), Frontend(corpus.lexicon), hearing)
    return SpeakAndTextCollator(speech, texts, recipe.texts_batch_size, hearing)


FASTSPEECH2 = SystemSpec(recipe=FastSpeech2Recipe, build_task=_fastspeech2_task, from_corpus=_fastspeech2_from_corpus)
