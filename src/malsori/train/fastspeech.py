"""FastSpeech and FastSpeech 2: their losses and training data; FastSpeech may be distilled from a teacher."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from malsori.config import AudioConfig
from malsori.corpus.batches import (
    Collator,
    Example,
    remove_unaligned,
)
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError
from malsori.losses.regression import l1_loss, log_duration_loss
from malsori.models.fastspeech import FastSpeech, FastSpeechConfig
from malsori.models.fastspeech2 import FastSpeech2Config
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import load_saved
from malsori.shapes import length_mask, pad_stack
from malsori.systems import systems_of
from malsori.text.frontend import Frontend
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
from malsori.train.tasks import NetworkTask, Turn, mean_losses
from malsori.tts.options import SayOptions
from malsori.tts.roles import SynthesisInput
from malsori.tts.voice import open_synthesizer

log = logging.getLogger("malsori")


class FastSpeechRecipe(Recipe):
    """A recipe with a FastSpeech.

    teacher: a voice whose mels and durations it learns instead of the recordings' (sequence-level distillation).
    """

    teacher: str = ""
    audio: AudioConfig = AudioConfig()
    model: FastSpeechConfig = FastSpeechConfig()


@dataclass(frozen=True)
class TeacherTargets:
    """What a teacher synthesizes of one utterance, or in its place the recording's own.

    Attributes: log-mel (frames, mel_channels), durations in frames (tokens,).
    """

    mel: np.ndarray
    durations: np.ndarray


@dataclass(frozen=True)
class TimedBatch:
    """Attributes: tokens (batch, tokens), durations in frames, and the mel (batch, frames, mel_channels) to predict."""

    token_ids: Tensor
    token_lengths: Tensor
    speaker_ids: Tensor
    durations: Tensor
    mel: Tensor
    frame_lengths: Tensor


@dataclass(frozen=True)
class TimedCollator:
    """Whole utterances with mels and durations, the recording's or the teacher's."""

    speakers: tuple[str, ...]
    targets: dict[str, TeacherTargets]

    def __call__(self, examples: list[Example], random: np.random.Generator) -> TimedBatch:
        """Return the padded batch."""
        tokens, lengths = pad_stack([torch.from_numpy(e.truth["token_ids"]).long() for e in examples])
        targets = [self.targets.get(e.id) or TeacherTargets(e.truth["mel"], e.truth["durations"]) for e in examples]
        durations, _ = pad_stack([torch.from_numpy(target.durations).long() for target in targets])
        mel, frame_lengths = pad_stack([torch.from_numpy(target.mel) for target in targets])
        speaker_ids = torch.tensor([self.speakers.index(e.speaker) for e in examples])
        return TimedBatch(tokens, lengths, speaker_ids, durations, mel, frame_lengths)


class FastSpeechTask(NetworkTask):
    """Mel and durations, each against the recording's or the teacher's (FastSpeech, 3.3)."""

    turn = "acoustic"
    network: FastSpeech

    def losses(self, batch: TimedBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        output = self.network(batch.token_ids, batch.token_lengths, batch.speaker_ids, batch.durations)
        tokens = length_mask(batch.token_lengths, batch.token_ids.shape[1])
        frames = length_mask(batch.frame_lengths, batch.mel.shape[1])
        yield Turn(
            self.turn,
            {
                "mel": l1_loss(output.mel, batch.mel, frames),
                "duration": log_duration_loss(output.log_durations, batch.durations, tokens),
            },
        )

    def example(self) -> TimedBatch:
        """Return a tiny batch of noise."""
        config = self.network.config
        sizes = FastSpeech2Config(vocab=config.vocab, speakers=config.speakers, mel_channels=config.mel_channels)
        noise = example_speech(sizes)
        return TimedBatch(
            noise.token_ids, noise.token_lengths, noise.speaker_ids, noise.durations, noise.mel, noise.frame_lengths
        )

    def validate(self, batches: Iterable[TimedBatch]) -> dict[str, float]:
        """Return the mean of each loss over held-out speech, with the recording's or the teacher's durations."""
        return mean_losses(self, batches)


def _fastspeech_task(recipe: FastSpeechRecipe) -> nn.Module:
    return FastSpeechTask(FastSpeech(recipe.model))


def _fastspeech_from_corpus(recipe: FastSpeechRecipe, corpus: Corpus) -> TrainingSetup:
    require_same_audio(recipe.audio, corpus)
    cuts = select_splits(recipe, corpus)
    skipped = {} if recipe.teacher else remove_unaligned(corpus, cuts)
    speakers = speakers_by_count(cuts["train"])
    cuts["dev"] = {name: cut for name, cut in cuts["dev"].items() if cut.supervisions[0].speaker in speakers}
    targets = distillation_targets(load_saved(recipe.teacher), cuts, corpus) if recipe.teacher else {}
    sizes = recipe.model.model_copy(update={"speakers": len(speakers)})
    facts = model_facts(recipe, sizes.model_dump(), corpus, speakers=speakers)
    task, collator = _fastspeech_task(recipe.model_copy(update={"model": sizes})), TimedCollator(speakers, targets)
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
        skipped=skipped,
    )


def distillation_targets(
    teacher: SavedModel, cuts: dict[str, dict[str, Any]], corpus: Corpus
) -> dict[str, TeacherTargets]:
    """Return what a teacher synthesizes of each utterance of all splits, by id.

    Raises: ConfigError if the teacher makes another mel than the corpus has, or no mel, or lacks one of the speakers.
    Source: FastSpeech (Ren et al. 2019, arXiv:1905.09263), 3.3, after sequence-level knowledge distillation.
    """
    if teacher.facts.system not in systems_of("acoustic model"):
        known = ", ".join(systems_of("acoustic model"))
        raise ConfigError(f"a {teacher.facts.system} makes no mels: it cannot be the teacher; one of {known} can")
    acoustic = open_synthesizer(teacher)
    require_same_audio(teacher.facts.audio, corpus, "teacher")
    wanted = {name: cut for found in cuts.values() for name, cut in found.items()}
    voices = teacher.facts.speakers
    missing = {cut.supervisions[0].speaker for cut in wanted.values()} - set(voices)
    if missing:
        raise ConfigError(f"the teacher has no speaker '{min(missing)}'; it has: {', '.join(voices) or 'none'}")
    log.info("the teacher, a %s, speaks %d utterances", teacher.facts.system, len(wanted))
    frontend, targets = Frontend(corpus.lexicon), {}
    for name, cut in wanted.items():
        supervision = cut.supervisions[0]
        phonemes = PHONEMES.decode(corpus.ground_truth(cut)["token_ids"].tolist())
        sentence = SynthesisInput(tuple(phonemes), frontend.read(supervision.text).normalized)
        output = acoustic.synthesize(sentence, SayOptions(speaker=supervision.speaker))
        assert output.mel is not None, "an acoustic model gives a mel"
        targets[name] = TeacherTargets(output.mel, output.durations)
    return targets


FASTSPEECH = SystemSpec(recipe=FastSpeechRecipe, build_task=_fastspeech_task, from_corpus=_fastspeech_from_corpus)
