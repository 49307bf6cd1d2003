"""wav2vec 2.0's fine-tuning: letters by CTC, with masking; from a saved model's weights or from scratch.

As in the paper, the output layer can learn alone first (the recipe's modules.encoder.from_step), and the rate's three
stages are warmup_steps, hold_steps and a line. Pre-training keeps the latent's energy low on any data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.corpus.batches import Collator, DataConfig, Example, perturb_speed
from malsori.corpus.folder import Corpus
from malsori.decode.ctc import greedy
from malsori.errors import ConfigError, TextError
from malsori.losses.sequence import blank_share, ctc_loss, frames_needed
from malsori.models.wav2vec2 import EncoderConfig, Wav2Vec2, Wav2Vec2Config, Wav2Vec2Output, standardize_wave
from malsori.pretrained.folder import SavedModel, load_exactly
from malsori.pretrained.hub import load_saved
from malsori.shapes import pad_stack
from malsori.text.frontend import Frontend
from malsori.text.hangul import only_hangul
from malsori.text.letters import decode_letters, encode_letters, syllable_table
from malsori.text.symbols import JAMO, SymbolTable
from malsori.train.encoder_teacher import EncoderTeacher, open_teacher
from malsori.train.examples import example_waves
from malsori.train.recipe import Recipe
from malsori.train.setup import SystemSpec, TrainingSetup, model_facts, select_splits, training_lexicon
from malsori.train.tasks import NetworkTask, Turn
from malsori.train.validation import recognition_error_rates

#: Masked in every sound, as in the public code; in pre-training a distractor needs another masked frame.
MIN_SPANS = 2


@dataclass(frozen=True)
class WaveBatch:
    """Attributes: wave (batch, samples), its sample_lengths (batch,), and the utterances' names."""

    wave: Tensor
    sample_lengths: Tensor
    names: list[str]


@dataclass(frozen=True)
class SpelledBatch(WaveBatch):
    """Attributes: beside the waves the letters of what is said (batch, tokens), and the texts."""

    letter_ids: Tensor
    letter_lengths: Tensor
    texts: list[str]


@dataclass(frozen=True)
class WaveCollator:
    """Whole utterances with speed perturbation, and their letters where there are any.

    targets: name → text and letters; none in pre-training.
    """

    corpus_rate: int
    rate: int
    speeds: tuple[float, ...]
    standardized: bool
    targets: dict[str, tuple[str, list[int]]] = field(default_factory=dict)

    def __call__(self, examples: list[Example], random: np.random.Generator) -> WaveBatch:
        """Return the padded batch."""
        rates = self.corpus_rate, self.rate
        waves = [perturb_speed(example.wave, *rates, self.speeds, random) for example in examples]
        wave, lengths = pad_stack([torch.from_numpy(each) for each in waves])
        wave = standardize_wave(wave, lengths) if self.standardized else wave
        names = [example.id for example in examples]
        if not self.targets:
            return WaveBatch(wave, lengths, names)
        texts, letters = zip(*(self.targets[name] for name in names), strict=True)
        tokens, letter_lengths = pad_stack([torch.tensor(ids) for ids in letters])
        return SpelledBatch(wave, lengths, names, tokens, letter_lengths, list(texts))


class Wav2Vec2Recipe(Recipe):
    """A recipe for letters by CTC.

    start_from: a pre-trained or fine-tuned model, whose sizes stand where [model] names none.
    units: what is written: jamo, the corpus's syllables, or the letters of the model in start_from.
    freeze_convolutions: these keep what they have learnt before (paper, 4.2); without start_from they learn.
    teacher: a Whisper whose encoder's states are guessed too (`malsori.train.encoder_teacher`); none when empty.
    """

    audio: AudioConfig = RECOGNITION_AUDIO
    model: Wav2Vec2Config = Wav2Vec2Config()
    units: Literal["jamo", "syllables", "checkpoint"] = "jamo"
    freeze_convolutions: bool = True
    teacher: str = ""


class Wav2Vec2Task(NetworkTask):
    """CTC over letters; the encoder's input is masked in training (paper, 3.3). A teacher's states are guessed too."""

    turn = "recognizer"
    network: Wav2Vec2

    def __init__(
        self,
        network: Wav2Vec2,
        table: SymbolTable,
        audio: AudioConfig = RECOGNITION_AUDIO,
        teacher: EncoderTeacher | None = None,
    ) -> None:
        super().__init__(network)
        self.table, self.audio, self.teacher = table, audio, teacher

    def optimized_modules(self) -> dict[str, nn.Module]:
        """Return the network, and the teacher's projection where there is one."""
        if self.teacher is None:
            return super().optimized_modules()
        return {self.turn: nn.ModuleDict({**dict(self.network.named_children()), "teacher": self.teacher.projection})}

    def losses(self, batch: SpelledBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        config = self.network.config
        output = self._encode(batch, *draw_masks(config, self.network.encoder.frame_lengths(batch.sample_lengths)))
        log_probs, lengths = output.logits.float().log_softmax(-1), output.frame_lengths
        loss = ctc_loss(log_probs, lengths, batch.letter_ids, batch.letter_lengths, config.blank, names=batch.names)
        losses = {"ctc": loss}
        if self.teacher is not None:
            losses["states"] = self.teacher(batch.wave, batch.names, output.hidden, lengths)
        yield Turn(self.turn, losses, {"blank_share": blank_share(log_probs, lengths, config.blank)})

    def example(self) -> SpelledBatch:
        """Return a tiny batch of noise."""
        wave, lengths = example_waves(self.audio)
        tokens, letter_lengths = pad_stack([torch.arange(1, 1 + count) % len(self.table) for count in (5, 3)])
        return SpelledBatch(wave, lengths, ["a", "b"], tokens, letter_lengths, ["", ""])

    @torch.inference_mode()
    def validate(self, batches: Iterable[SpelledBatch]) -> dict[str, float]:
        """Return the character error rate without spaces, and with them, of greedy decoding."""
        references, hypotheses = [], []
        for batch in batches:
            output = self._encode(batch)
            for logits, length in zip(output.logits, output.frame_lengths.tolist(), strict=True):
                ids = greedy(logits[:length].float().cpu().numpy(), self.network.config.blank)
                hypotheses.append(decode_letters(self.table, ids))
            references.extend(batch.texts)
        return recognition_error_rates(references, hypotheses)

    def _encode(self, batch: WaveBatch, *masks: Tensor | None) -> Wav2Vec2Output:
        lengths = self.network.encoder.frame_lengths(batch.sample_lengths)
        sample_lengths = batch.sample_lengths if self.network.config.padding_mask else None
        return replace(self.network(batch.wave, sample_lengths, *masks), frame_lengths=lengths)


def draw_masks(config: EncoderConfig, frame_lengths: Int[Tensor, " batch"]) -> tuple[Tensor | None, Tensor | None]:
    """Return which frames and which channels of each sound are masked; None where the config masks none."""
    frames = channels = None
    if config.mask_prob > 0:
        frames = draw_spans(frame_lengths, config.mask_prob, config.mask_length, MIN_SPANS)
    if config.mask_channel_prob > 0:
        whole = torch.full_like(frame_lengths, config.hidden_size)
        channels = draw_spans(whole, config.mask_channel_prob, config.mask_channel_length)
    return frames, channels


def draw_spans(
    lengths: Int[Tensor, " batch"], mask_prob: float, mask_length: int, min_spans: int = 0
) -> Bool[Tensor, "batch steps"]:
    """Return True in spans that begin anywhere and may overlap, none beyond a sequence's end.

    Args:
        lengths: of each sequence (batch,).
        mask_prob: share of the steps at which a span begins; a broken number of them is rounded by lot.
        mask_length: steps of a span.
        min_spans: spans at the least in each sequence.
    Source: wav2vec 2.0 (arXiv:2006.11477), 3.1: p and M.
    """
    mask = torch.zeros(len(lengths), int(lengths.max()), dtype=torch.bool)
    for row, length in zip(mask, lengths.tolist(), strict=True):
        places = length - min(mask_length, length) + 1
        count = min(places, max(min_spans, int(mask_prob * length + torch.rand(()).item())))
        begins = torch.randperm(places)[:count]
        row[(begins[:, None] + torch.arange(min(mask_length, length))).flatten()] = True
    return mask.to(lengths.device)


def sizes_from(start: SavedModel, wanted: EncoderConfig) -> EncoderConfig:
    """Return the sizes of a saved model, as a config of the wanted kind, with what a recipe's [model] names instead."""
    shared = {name: value for name, value in start.facts.model.items() if name in type(wanted).model_fields}
    return type(wanted).parse(shared | wanted.model_dump(include=wanted.model_fields_set), "start_from")


def min_frames(config: EncoderConfig, cut: Any, data: DataConfig) -> int:
    """Return the number of frames of an utterance at the fastest of its speeds."""
    return config.frames(int(cut.duration / max(data.speed_perturbation) * RECOGNITION_AUDIO.sample_rate))


def _build_task(recipe: Wav2Vec2Recipe, table: SymbolTable = JAMO) -> Wav2Vec2Task:
    blank = recipe.model.blank if recipe.units == "checkpoint" else 0
    sizes = recipe.model.model_copy(update={"vocab": len(table), "blank": blank})
    teacher = open_teacher(recipe.teacher, sizes) if recipe.teacher else None
    return Wav2Vec2Task(Wav2Vec2(sizes), table, recipe.audio, teacher)


def _from_corpus(recipe: Wav2Vec2Recipe, corpus: Corpus) -> TrainingSetup:
    start = load_saved(recipe.start_from) if recipe.start_from else None
    if start is not None:
        recipe = recipe.model_copy(update={"model": sizes_from(start, recipe.model)})
    cuts, frontend = select_splits(recipe, corpus), Frontend(training_lexicon(recipe, corpus))
    skipped: dict[str, list[str]] = {}
    texts = {split: _texts(frontend, found, skipped) for split, found in cuts.items()}
    table = _table(recipe, start, texts["train"].values())
    collators: dict[str, Collator] = {}
    for split, found in cuts.items():
        data = recipe.data if split == "train" else DataConfig()
        targets = _targets(recipe.model, table, texts[split], found, data, skipped)
        cuts[split] = {name: found[name] for name in targets}
        rates = corpus.audio.sample_rate, recipe.audio.sample_rate
        collators[split] = WaveCollator(*rates, data.speed_perturbation, recipe.model.standardized, targets)
    task = _build_task(recipe, table)
    if start is not None:
        _load_initial_weights(task.network, start, recipe)
    facts = model_facts(recipe, task.network.config.model_dump(), corpus)
    return TrainingSetup(
        recipe=recipe,
        corpus=corpus,
        task=task,
        cuts=cuts,
        collators=collators,
        by_seconds=True,
        facts=facts,
        symbols={table.kind: table},
        skipped=skipped,
    )


def _texts(frontend: Frontend, cuts: dict[str, Any], skipped: dict[str, list[str]]) -> dict[str, str]:
    """Return the transcript of each cut, Hangul and spaces alone."""
    texts: dict[str, str] = {}
    for name, cut in cuts.items():
        try:
            texts[name] = only_hangul(frontend.read(cut.supervisions[0].text).normalized)
        except TextError:
            skipped.setdefault("text cannot be read", []).append(name)
            continue
        if not texts[name]:
            del texts[name]
            skipped.setdefault("nothing to write", []).append(name)
    return texts


def _targets(
    config: EncoderConfig,
    table: SymbolTable,
    texts: dict[str, str],
    cuts: dict[str, Any],
    data: DataConfig,
    skipped: dict[str, list[str]],
) -> dict[str, tuple[str, list[int]]]:
    """Return text and letters of each cut whose letters fit into its frames."""
    targets = {}
    for name, text in texts.items():
        try:
            ids = encode_letters(table, text)
        except TextError:
            skipped.setdefault("cannot be spelt in the model's letters", []).append(name)
            continue
        needed = int(frames_needed(torch.tensor([ids]), torch.tensor([len(ids)])))
        if needed > min_frames(config, cuts[name], data):
            skipped.setdefault("too short for its text (CTC)", []).append(name)
        else:
            targets[name] = (text, ids)
    return targets


def _table(recipe: Wav2Vec2Recipe, start: SavedModel | None, texts: Iterable[str]) -> SymbolTable:
    if recipe.units == "jamo":
        return JAMO
    if recipe.units == "syllables":
        return syllable_table(texts)
    if start is None or not start.symbols:
        raise ConfigError("units = 'checkpoint' takes the letters of start_from, which names no model that has any")
    return next(iter(start.symbols.values()))


def _load_initial_weights(network: Wav2Vec2, start: SavedModel, recipe: Wav2Vec2Recipe) -> None:
    """Load a saved network's encoder, and its output layer where the letters stay the same."""
    own, learnt = network.state_dict(), start.network.state_dict()
    parts = ("encoder.", "head.") if recipe.units == "checkpoint" else ("encoder.",)
    vector = "encoder.mask_vector"  # which a model that was never masked does not have
    taken = {
        name: value for name, value in learnt.items() if name.startswith(parts) and (name != vector or name in own)
    }
    fresh = {name: value for name, value in own.items() if name == vector or not name.startswith(parts)}
    load_exactly(network, fresh | taken, recipe.start_from)
    network.encoder.convolutions.requires_grad_(not recipe.freeze_convolutions)


WAV2VEC2 = SystemSpec(
    recipe=Wav2Vec2Recipe, build_task=_build_task, from_corpus=_from_corpus, accepts_initial_weights=True
)
