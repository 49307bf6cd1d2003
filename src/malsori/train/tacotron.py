"""Tacotron and Tacotron 2: their losses and training data; a corpus needs texts and mels, no durations."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from malsori.config import AudioConfig
from malsori.corpus.batches import Collator, Example, unaligned
from malsori.corpus.folder import Corpus
from malsori.errors import CorpusError
from malsori.losses.regression import l1_loss, l2_loss
from malsori.losses.sequence import aligned_attention_loss, attention_diagonality, guided_attention_loss, stop_loss
from malsori.models.fastspeech2 import FastSpeech2Config
from malsori.models.tacotron import AttentionAcousticModel, Tacotron, TacotronConfig, TacotronOutput
from malsori.models.tacotron2 import Tacotron2, Tacotron2Config
from malsori.shapes import length_mask, pad_stack
from malsori.text.symbols import PHONEMES
from malsori.train.examples import example_speech
from malsori.train.recipe import Recipe
from malsori.train.setup import (
    SystemSpec,
    TrainingSetup,
    model_facts,
    require_same_audio,
    select_splits,
    speakers_by_count,
)
from malsori.train.systems import build_task
from malsori.train.tasks import NetworkTask, Turn


class ReadingRecipe(Recipe):
    """What the recipes of both Tacotrons have.

    guide: what attention is shown: the diagonal, or the path of the corpus' durations, which is quicker learnt.
    stop_weight: of the step on which speech ends, against each of those before.
    """

    audio: AudioConfig = AudioConfig()
    guide: Literal["diagonal", "durations"] = "diagonal"
    stop_weight: float = 5.0


class TacotronRecipe(ReadingRecipe):
    """A recipe with a Tacotron."""

    model: TacotronConfig = TacotronConfig()


class Tacotron2Recipe(ReadingRecipe):
    """A recipe with a Tacotron 2."""

    model: Tacotron2Config = Tacotron2Config()


@dataclass(frozen=True)
class ReadBatch:
    """Attributes: tokens (batch, tokens), one speaker a sentence, and the mel (batch, frames, mel_channels) to say.

    durations: frames a token (batch, tokens); all 0 where nothing is to be learnt from them.
    """

    token_ids: Tensor
    token_lengths: Tensor
    speaker_ids: Tensor
    mel: Tensor
    frame_lengths: Tensor
    durations: Tensor


@dataclass(frozen=True)
class ReadCollator:
    """Whole utterances with their text's tokens, and if they are to guide, the durations of these."""

    speakers: tuple[str, ...]
    guided: bool = False

    def __call__(self, examples: list[Example], random: np.random.Generator) -> ReadBatch:
        """Return the padded batch."""
        tokens, lengths = pad_stack([torch.from_numpy(e.truth["token_ids"]).long() for e in examples])
        mel, frame_lengths = pad_stack([torch.from_numpy(e.truth["mel"]) for e in examples])
        speaker_ids = torch.tensor([self.speakers.index(e.speaker) for e in examples])
        durations = torch.zeros_like(tokens)
        if self.guided:
            durations, _ = pad_stack([torch.from_numpy(e.truth["durations"]).long() for e in examples])
        return ReadBatch(tokens, lengths, speaker_ids, mel, frame_lengths, durations)


class TacotronTask(NetworkTask):
    """The mel before and after the post-net, where speech ends, and an attention that keeps to the diagonal.

    Tacotron compares mels by L1, Tacotron 2 by L2. Guided attention is neither paper's (Tachibana et al. 2017,
    arXiv:1710.08969): its weight may be 0. It fades by itself, with the share of attention that is still off the
    diagonal: strong while there is no path yet, gone where speech has to run before the diagonal or behind it.
    With durations to guide it is their path that is shown.
    """

    turn = "acoustic"
    network: AttentionAcousticModel

    def __init__(self, network: AttentionAcousticModel, guide: str, stop_weight: float) -> None:
        super().__init__(network)
        self.guide, self.stop_weight = guide, stop_weight
        self.distance = l2_loss if isinstance(network, Tacotron2) else l1_loss

    def losses(self, batch: ReadBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        output = self.network(batch.token_ids, batch.token_lengths, batch.speaker_ids, batch.mel, batch.frame_lengths)
        frames = length_mask(batch.frame_lengths, batch.mel.shape[1])
        attended = output.attention, output.step_lengths, batch.token_lengths
        diagonality = attention_diagonality(*attended)
        straight = guided_attention_loss(*attended) * (1 - diagonality)
        yield Turn(
            self.turn,
            {
                "mel": self.distance(output.mel, batch.mel, frames),
                "coarse_mel": self.distance(output.coarse, batch.mel, frames),
                "stop": stop_loss(output.stop, output.step_lengths, self.stop_weight),
                "guided_attention": self._guided(output, batch) if self.guide == "durations" else straight,
            },
            {"attention_diagonality": diagonality},
        )

    def example(self) -> ReadBatch:
        """Return a tiny batch of noise."""
        config = self.network.config
        sizes = FastSpeech2Config(vocab=config.vocab, speakers=config.speakers, mel_channels=config.mel_channels)
        noise = example_speech(sizes)
        tokens = noise.token_ids, noise.token_lengths, noise.speaker_ids
        return ReadBatch(*tokens, noise.mel, noise.frame_lengths, noise.durations)

    def _guided(self, output: TacotronOutput, batch: ReadBatch) -> Tensor:
        """Return the loss against the token that lasts in the middle of each step."""
        reduction = self.network.config.reduction
        middles = reduction * torch.arange(output.stop.shape[1], device=batch.durations.device) + reduction // 2
        ends = batch.durations.cumsum(1)
        middles = torch.minimum(middles[None, :], ends[:, -1:] - 1)
        path = torch.searchsorted(ends, middles.contiguous(), right=True)
        return aligned_attention_loss(output.attention, path, output.step_lengths)

    @torch.inference_mode()
    def validate(self, batches: Iterable[ReadBatch]) -> dict[str, float]:
        """Return means over held-out speech with the recording's own frames: losses, and attention off the diagonal."""
        turns = [next(self.losses(batch)) for batch in batches]
        measured = [turn.losses | {"off_diagonal": 1 - turn.diagnostics["attention_diagonality"]} for turn in turns]
        return {name: sum(values[name].item() for values in measured) / len(measured) for name in measured[0]}


def _tacotron_task(recipe: TacotronRecipe) -> nn.Module:
    return TacotronTask(Tacotron(recipe.model), recipe.guide, recipe.stop_weight)


def _tacotron2_task(recipe: Tacotron2Recipe) -> nn.Module:
    return TacotronTask(Tacotron2(recipe.model), recipe.guide, recipe.stop_weight)


def _from_corpus(recipe: Any, corpus: Corpus) -> TrainingSetup:
    require_same_audio(recipe.audio, corpus)
    cuts = select_splits(recipe, corpus)
    guided = recipe.guide == "durations"
    if guided and any(unaligned(corpus, found) for found in cuts.values()):
        raise CorpusError(f"{corpus.path}: not all has durations to guide attention. Set guide = 'diagonal'")
    speakers = speakers_by_count(cuts["train"])
    cuts["dev"] = {name: cut for name, cut in cuts["dev"].items() if cut.supervisions[0].speaker in speakers}
    sizes = recipe.model.model_copy(update={"speakers": len(speakers)})
    facts = model_facts(recipe, sizes.model_dump(), corpus, speakers=speakers)
    task = build_task(recipe.model_copy(update={"model": sizes}))
    collator = ReadCollator(speakers, guided)
    collators: dict[str, Collator] = {"train": collator, "dev": collator}
    return TrainingSetup(
        recipe=recipe,
        corpus=corpus,
        task=task,
        cuts=cuts,
        collators=collators,
        by_seconds=True,
        facts=facts,
        symbols={"phonemes": PHONEMES},
    )


TACOTRON = SystemSpec(recipe=TacotronRecipe, build_task=_tacotron_task, from_corpus=_from_corpus)
TACOTRON2 = SystemSpec(recipe=Tacotron2Recipe, build_task=_tacotron2_task, from_corpus=_from_corpus)
