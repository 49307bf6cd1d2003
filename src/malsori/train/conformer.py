"""Conformer: CTC over written jamo and over sounded phonemes, and which utterances it is trained on."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.corpus.batches import Collator, DataConfig, ListenBatch, ListenCollator, Target
from malsori.corpus.folder import Corpus
from malsori.decode.ctc import greedy
from malsori.errors import TextError
from malsori.losses.sequence import blank_share, ctc_loss, frames_needed
from malsori.models.conformer import FRAME_STRIDE, Conformer, ConformerConfig
from malsori.text.frontend import Frontend
from malsori.text.hangul import from_jamo, only_hangul, to_jamo
from malsori.text.symbols import JAMO, PHONEMES
from malsori.train.examples import example_listening
from malsori.train.recipe import Recipe
from malsori.train.setup import SystemSpec, TrainingSetup, model_facts, select_splits, training_lexicon
from malsori.train.tasks import NetworkTask, Turn
from malsori.train.validation import recognition_error_rates


class ConformerRecipe(Recipe):
    """A recipe with a Conformer recogniser."""

    audio: AudioConfig = RECOGNITION_AUDIO
    model: ConformerConfig = ConformerConfig()


class ConformerTask(NetworkTask):
    """CTC twice: written jamo at the top, sounded phonemes half-way up."""

    turn = "recognizer"
    network: Conformer

    def __init__(self, network: Conformer, audio: AudioConfig = RECOGNITION_AUDIO) -> None:
        super().__init__(network)
        self.audio = audio

    def losses(self, batch: ListenBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        output = self.network(batch.mel, batch.mel_lengths)
        yield Turn(
            self.turn,
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
        return recognition_error_rates(references, hypotheses)


def _build_task(recipe: ConformerRecipe) -> nn.Module:
    return ConformerTask(Conformer(recipe.model), recipe.audio)


def _from_corpus(recipe: ConformerRecipe, corpus: Corpus) -> TrainingSetup:
    cuts, frontend = select_splits(recipe, corpus), Frontend(training_lexicon(recipe, corpus))
    skipped: dict[str, list[str]] = {}
    collators: dict[str, Collator] = {}
    plain = DataConfig()
    for split, found in cuts.items():
        data = recipe.data if split == "train" else plain
        targets = {}
        for name, cut in list(found.items()):
            reason, target = _target(frontend, cut, max(data.speed_perturbation), recipe.audio.frame_seconds)
            if target is None:
                del found[name]
                skipped.setdefault(reason, []).append(name)
            else:
                targets[name] = target
        collators[split] = ListenCollator(corpus.audio.sample_rate, recipe.audio, targets, data)
    facts = model_facts(recipe, recipe.model.model_dump(), corpus)
    return TrainingSetup(
        recipe=recipe,
        corpus=corpus,
        task=_build_task(recipe),
        cuts=cuts,
        collators=collators,
        by_seconds=True,
        facts=facts,
        symbols={"phonemes": PHONEMES, "jamo": JAMO},
        skipped=skipped,
    )


def _target(frontend: Frontend, cut: Any, speed: float, frame_seconds: float) -> tuple[str, Target | None]:
    """Return the reason why a cut is skipped, or "" and its target."""
    try:
        target = listening_target(frontend, cut.supervisions[0].text)
    except TextError:
        return "text cannot be read", None
    if not target.phoneme_ids:
        return "nothing to write", None
    frames = int(cut.duration / speed / frame_seconds) // FRAME_STRIDE
    for ids in (target.jamo_ids, target.phoneme_ids):
        if int(frames_needed(torch.tensor([ids]), torch.tensor([len(ids)]))) > frames:
            return "too short for its text (CTC)", None
    return "", target


def listening_target(frontend: Frontend, text: str) -> Target:
    """Return the target of a spoken text: Hangul and spaces, no punctuation."""
    reading = frontend.read(text)
    plain = only_hangul(reading.normalized)
    sounded = [phoneme for phoneme, word in zip(reading.phonemes, reading.phoneme_words, strict=True) if word >= 0]
    return Target(plain, JAMO.encode(to_jamo(plain)), PHONEMES.encode(sounded))


CONFORMER = SystemSpec(recipe=ConformerRecipe, build_task=_build_task, from_corpus=_from_corpus)
