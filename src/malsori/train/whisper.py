"""Whisper: cross-entropy over the tokens of what is said, from a public checkpoint's weights or from nothing.

A checkpoint in `start_from` brings its sizes and its tokenizer along; a network that begins from nothing writes jamo
(`malsori.text.tokenizer`). Either way the files of the tokenizer are saved with the model.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from malsori.asr.whisper_network import NetworkState
from malsori.audio.mel import whisper_log_mel
from malsori.config import WHISPER_AUDIO, AudioConfig
from malsori.corpus.augment import AugmentConfig, augment
from malsori.corpus.batches import Collator, DataConfig, Example, masked_mel, perturb_speed
from malsori.corpus.folder import Corpus
from malsori.decode.seq2seq import constraints_from_tokenizer, greedy_search
from malsori.errors import ConfigError, CorpusError, TextError
from malsori.losses.sequence import cross_entropy_loss
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.hub import load_saved
from malsori.shapes import length_mask, pad_stack
from malsori.text.frontend import Frontend
from malsori.text.hangul import only_hangul, to_nfc
from malsori.text.tokenizer import Tokenizer, jamo_files, vocab_size
from malsori.train.examples import example_waves
from malsori.train.recipe import Recipe
from malsori.train.setup import SystemSpec, TrainingSetup, model_facts, select_splits, training_lexicon
from malsori.train.tasks import NetworkTask, Turn
from malsori.train.validation import recognition_error_rates


class WhisperRecipe(Recipe):
    """A recipe with a Whisper.

    model: its sizes; with start_from those of the checkpoint, of which only dropout, whole_window and trailing_silence
        may be changed.
    language, task: what is asked for; stands in every text's prefix.
    target_text: the text as it is written, as it is spoken (numbers in words), or its Hangul and spaces alone.
    augment: rooms, noise and silence behind each utterance, while it trains.
    label_smoothing: share of the probability spread over the whole vocabulary.
    token_replacement: share of the given tokens that are replaced by others while it learns, so that from little
        speech it learns to listen rather than to recite. Not the paper's.
    """

    audio: AudioConfig = WHISPER_AUDIO
    model: WhisperConfig = WhisperConfig()
    language: str = "ko"
    task: Literal["transcribe", "translate"] = "transcribe"
    target_text: Literal["written", "spoken", "hangul"] = "written"
    augment: AugmentConfig = AugmentConfig()
    label_smoothing: float = 0.0
    token_replacement: float = 0.0


@dataclass(frozen=True)
class WhisperBatch:
    """One batch.

    Attributes:
        mel: (batch, frames, mel_channels), its real frames in mel_lengths.
        given_ids: each text from its prefix on (batch, tokens); target_ids the token behind each.
        token_lengths: real tokens (batch,).
        texts: what should be written.
    """

    mel: Tensor
    mel_lengths: Tensor
    given_ids: Tensor
    target_ids: Tensor
    token_lengths: Tensor
    texts: list[str]


@dataclass(frozen=True)
class WhisperCollator:
    """Whole utterances with speed perturbation and SpecAugment, padded with silence where the model wants a window.

    Attributes:
        window: the network's sizes; they say how long a sound may be, and what is filled up behind it.
        targets: id → what should be written, and its tokens from the prefix to the end.
        augmentation: what is done to the sounds.
    """

    corpus_rate: int
    audio: AudioConfig
    config: DataConfig
    window: WhisperConfig
    targets: dict[str, tuple[str, list[int]]]
    augmentation: AugmentConfig

    def __call__(self, examples: list[Example], random: np.random.Generator) -> WhisperBatch:
        """Return the padded batch."""
        mel, mel_lengths = pad_stack([self._mel(example.wave, random) for example in examples])
        texts, targets = zip(*(self.targets[example.id] for example in examples), strict=True)
        tokens, lengths = pad_stack([torch.tensor(target) for target in targets])
        return WhisperBatch(mel, mel_lengths, tokens[:, :-1], tokens[:, 1:], lengths - 1, list(texts))

    def _mel(self, wave: np.ndarray, random: np.random.Generator) -> Tensor:
        wave = perturb_speed(wave, self.corpus_rate, self.audio.sample_rate, self.config.speed_perturbation, random)
        spoken, max_samples = len(wave), self.window.window_frames * self.audio.hop_samples
        wave = augment(wave, self.audio.sample_rate, self.augmentation, random)[:max_samples]
        filled = self.window.window_frames if self.window.whole_window else 0
        mel = whisper_log_mel(torch.from_numpy(wave)[None], self.audio, filled)[0]
        masked_mel(mel[: spoken // self.audio.hop_samples], self.config, random)
        return mel


class WhisperTask(NetworkTask):
    """Cross-entropy of every token behind <|startoftranscript|>, the language's and the end's too (paper, 2.4)."""

    turn = "recognizer"
    network: Whisper

    def __init__(self, network: Whisper, tokenizer: Tokenizer, recipe: WhisperRecipe) -> None:
        super().__init__(network)
        self.tokenizer, self.audio = tokenizer, recipe.audio
        self.label_smoothing, self.token_replacement = recipe.label_smoothing, recipe.token_replacement
        sizes = network.config.vocab, network.config.decoder_positions
        self.constraints = constraints_from_tokenizer(tokenizer, *sizes, recipe.language, recipe.task)

    def losses(self, batch: WhisperBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        given_ids = self._replaced(batch.given_ids) if self.training else batch.given_ids
        logits = self.network(batch.mel, given_ids, self._lengths(batch)).logits.float()
        real = length_mask(batch.token_lengths, logits.shape[1])
        yield Turn(
            self.turn, {"cross_entropy": cross_entropy_loss(logits, batch.target_ids, real, self.label_smoothing)}
        )

    def example(self) -> WhisperBatch:
        """Return a tiny batch of noise."""
        wave, lengths = example_waves(self.audio)
        mel = whisper_log_mel(wave, self.audio)
        sentences = [self.tokenizer.encode(text) for text in ("말소리", "소리")]
        whole = [torch.tensor([*self.constraints.prefix, *ids, self.constraints.end]) for ids in sentences]
        tokens, token_lengths = pad_stack(whole)
        frames = lengths // self.audio.hop_samples
        return WhisperBatch(mel, frames, tokens[:, :-1], tokens[:, 1:], token_lengths - 1, ["말소리", "소리"])

    @torch.inference_mode()
    def validate(self, batches: Iterable[WhisperBatch]) -> dict[str, float]:
        """Return the character error rate without spaces, and with them, of greedy decoding."""
        references, hypotheses = [], []
        for batch in batches:
            state = NetworkState(self.network.start(batch.mel, self._lengths(batch)))
            for result in greedy_search(state, self.constraints, len(batch.mel)):
                hypotheses.append(self.tokenizer.decode(result.ids).strip())
            references.extend(batch.texts)
        return recognition_error_rates(references, hypotheses)

    def _replaced(self, given_ids: Tensor) -> Tensor:
        """Return the tokens, some of those behind the prefix replaced by any of the batch's."""
        others = given_ids.flatten()[torch.randint(given_ids.numel(), given_ids.shape, device=given_ids.device)]
        chosen = torch.rand(given_ids.shape, device=given_ids.device) < self.token_replacement
        chosen[:, : len(self.constraints.prefix)] = False
        return torch.where(chosen, others, given_ids)

    def _lengths(self, batch: WhisperBatch) -> Tensor | None:
        return None if self.network.config.whole_window else batch.mel_lengths


def _build_task(recipe: WhisperRecipe) -> WhisperTask:
    """Return a task that begins from nothing and writes jamo; of a checkpoint's sizes where the recipe has one."""
    tokenizer = Tokenizer(jamo_files((recipe.language,)))
    own = {} if recipe.start_from else {"vocab": vocab_size(tokenizer.files)}
    return WhisperTask(Whisper(recipe.model.model_copy(update=own)), tokenizer, recipe)


#: What of the model a recipe may change in a checkpoint's sizes: no weight has another shape for it.
_FREE_SETTINGS = frozenset({"dropout", "whole_window", "trailing_silence"})


def _task_from_checkpoint(recipe: WhisperRecipe) -> WhisperTask:
    """Return the task of a checkpoint: its network and its tokenizer.

    Raises: ConfigError if it is none of a Whisper, or the recipe wants other sizes.
    """
    start = load_saved(recipe.start_from)
    if start.facts.system != "whisper":
        raise ConfigError(f"start_from = '{recipe.start_from}' is a {start.facts.system}, not a Whisper")
    given = {name: getattr(recipe.model, name) for name in _FREE_SETTINGS & recipe.model.model_fields_set}
    sizes = start.network.config.model_copy(update=given)
    for name in recipe.model.model_fields_set - _FREE_SETTINGS:
        wanted, found = getattr(recipe.model, name), getattr(sizes, name)
        if wanted != found:
            raise ConfigError(f"model.{name} = {wanted}, yet '{recipe.start_from}' has {found}: leave it out")
    network = Whisper(sizes)
    network.load_state_dict(start.network.state_dict())
    return WhisperTask(network, Tokenizer(start.files, recipe.start_from), recipe)


def _from_corpus(recipe: WhisperRecipe, corpus: Corpus) -> TrainingSetup:
    task = _task_from_checkpoint(recipe) if recipe.start_from else _build_task(recipe)
    config = task.network.config
    audio = recipe.audio.model_copy(update={"mel_channels": config.mel_channels})
    recipe = recipe.model_copy(update={"model": config, "audio": audio})
    cuts, texts = (
        select_splits(recipe, corpus),
        _Texts(recipe.target_text, task, Frontend(training_lexicon(recipe, corpus))),
    )
    skipped: dict[str, list[str]] = {}
    collators: dict[str, Collator] = {}
    for split, found in cuts.items():
        data = recipe.data if split == "train" else DataConfig()
        targets = texts.targets(found, min(data.speed_perturbation), skipped)
        cuts[split] = {name: found[name] for name in targets}
        augmentation = _with_silence(recipe.augment if split == "train" else AugmentConfig(), config)
        collators[split] = WhisperCollator(corpus.audio.sample_rate, audio, data, config, targets, augmentation)
    facts = model_facts(recipe, config.model_dump(), corpus)
    return TrainingSetup(
        recipe=recipe,
        corpus=corpus,
        task=task,
        cuts=cuts,
        collators=collators,
        by_seconds=True,
        facts=facts,
        skipped=skipped,
        files=task.tokenizer.files,
    )


def _with_silence(augmentation: AugmentConfig, config: WhisperConfig) -> AugmentConfig:
    """Return an augmentation that puts behind a sound the silence that the network wants, unless it names its own."""
    if config.whole_window or augmentation.trailing_silence != (0.0, 0.0):
        return augmentation
    return augmentation.model_copy(update={"trailing_silence": (config.trailing_silence,) * 2})


@dataclass(frozen=True)
class _Texts:
    """What should be written for an utterance, or the reason why nothing can be."""

    target_text: str
    task: WhisperTask
    frontend: Frontend

    def targets(
        self, cuts: dict[str, Any], slowest: float, skipped: dict[str, list[str]]
    ) -> dict[str, tuple[str, list[int]]]:
        """Return text and tokens of each cut that can be learnt from; the ids of the others go to their reason."""
        found = {}
        for name, cut in cuts.items():
            reason, target = self._target(cut, slowest)
            if target is None:
                skipped.setdefault(reason, []).append(name)
            else:
                found[name] = target
        if not found:
            raise CorpusError(f"no utterance of the split can be learnt from: {', '.join(skipped)}")
        return found

    def _target(self, cut: Any, slowest: float) -> tuple[str, tuple[str, list[int]] | None]:
        """Return the text and its tokens from the prefix to the end, or why there is none."""
        config, constraints = self.task.network.config, self.task.constraints
        longest = config.window_frames * self.task.audio.frame_seconds
        if cut.duration / slowest > longest:
            return f"longer than {longest:.0f} s, which is the model's window", None
        try:
            text = self._text(cut.supervisions[0])
            ids = [*constraints.prefix, *self.task.tokenizer.encode(text), constraints.end]
        except TextError:
            return "text cannot be read or written", None
        if not text:
            return "nothing to write", None
        if len(ids) - 1 > config.decoder_positions:
            return f"more than {config.decoder_positions} tokens", None
        return "", (text, ids)

    def _text(self, said: Any) -> str:
        if self.target_text == "written":
            return to_nfc(said.custom["written"].strip())
        normalized = self.frontend.read(said.text).normalized
        return only_hangul(normalized) if self.target_text == "hangul" else normalized


WHISPER = SystemSpec(
    recipe=WhisperRecipe, build_task=_build_task, from_corpus=_from_corpus, accepts_initial_weights=True
)
