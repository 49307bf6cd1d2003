"""From a corpus folder to batches: which utterances stand together, and what a task receives of them.

The plan of an epoch is a pure function of the seed and the epoch, and every random draw inside a batch one of the
seed and the step: a resumed run meets the same batches as an unbroken one without remembering anything but its step.
"""

import dataclasses
import hashlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np
import soxr
import torch
from pydantic import Field
from torch import Tensor

from malsori.audio.io import load_audio
from malsori.audio.mel import log_mel
from malsori.audio.pitch import continuous_log_pitch
from malsori.config import AudioConfig, Config, nearest
from malsori.corpus.folder import Corpus
from malsori.corpus.pool import MAX_WORKERS
from malsori.errors import CorpusError
from malsori.nn.lengths import average_by_durations
from malsori.pretrained.folder import Statistics
from malsori.shapes import pad_stack

Speed = Annotated[float, Field(gt=0)]


class DataConfig(Config):
    """Which utterances are learnt from and how they are batched.

    batch_seconds: speech in a batch, for tasks on whole utterances (lengths alike, by bucket).
    batch_size, segment_frames: for vocoders: pieces in a batch, and their length.
    speed_perturbation: each utterance is played at one of these speeds, drawn anew each time.
    freq_mask_width, time_mask_width: widest masks over mel channels and frames (SpecAugment), twice each.
    speakers: only these; all when empty.
    minutes: of train no more than so many, drawn by the ids' hashes: what 5 hold is among what 10 hold; 0 is all.
    """

    batch_seconds: float = Field(60.0, gt=0)
    batch_size: int = Field(16, ge=1)
    segment_frames: int = Field(32, ge=1)
    max_seconds: float = Field(20.0, gt=0)
    speed_perturbation: tuple[Speed, ...] = Field((1.0,), min_length=1)
    freq_mask_width: int = Field(0, ge=0)
    time_mask_width: int = Field(0, ge=0)
    speakers: tuple[str, ...] = ()
    minutes: float = Field(0.0, ge=0)
    workers: int = Field(1, ge=0, le=MAX_WORKERS)


@dataclass(frozen=True)
class Example:
    """One utterance in memory: what the corpus folder knows of it."""

    id: str
    speaker: str
    wave: np.ndarray
    truth: dict[str, np.ndarray]


@dataclass(frozen=True)
class SegmentBatch:
    """Attributes: mel (batch, frames, mel_channels) and the wave (batch, samples) it was measured on; of each frame
    ln(F0), drawn straight across what is unvoiced, and whether it is voiced (batch, frames)."""

    mel: Tensor
    wave: Tensor
    log_pitch: Tensor
    voiced: Tensor


@dataclass(frozen=True)
class SpeakBatch:
    """Attributes: tokens (batch, tokens), durations in frames, energy a token; pitch a frame; the mel to predict."""

    token_ids: Tensor
    token_lengths: Tensor
    speaker_ids: Tensor
    durations: Tensor
    pitch: Tensor
    energy: Tensor
    mel: Tensor
    frame_lengths: Tensor


@dataclass(frozen=True)
class ListenBatch:
    """Attributes: mel (batch, frames, mel_channels) of 16 kHz sound; targets (batch, tokens), 0 on padding; texts."""

    mel: Tensor
    mel_lengths: Tensor
    jamo_ids: Tensor
    jamo_lengths: Tensor
    phoneme_ids: Tensor
    phoneme_lengths: Tensor
    texts: list[str]


@dataclass(frozen=True)
class Target:
    """A recognizer's targets for an utterance: the text, its jamo, its phonemes."""

    text: str
    jamo_ids: list[int]
    phoneme_ids: list[int]


@runtime_checkable
class Collator(Protocol):
    """Turns examples into a task's batch."""

    def __call__(self, examples: list[Example], random: np.random.Generator) -> Any:
        """Return the batch."""


@dataclass(frozen=True)
class SegmentCollator:
    """One random piece of each utterance, with the mel measured on the piece's own surroundings.

    Attributes: predicted: id → a voice's mel, which takes the place of the recording's in this share of the pieces.
    """

    audio: AudioConfig
    frames: int
    predicted: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    share: float = 1.0

    def __call__(self, examples: list[Example], random: np.random.Generator) -> SegmentBatch:
        """Return pieces of equal length; a shorter utterance is padded with silence."""
        mels, waves, pitches, voicings = [], [], [], []
        hop = self.audio.hop_samples
        floor = self.audio.silence
        for example in examples:
            mel = example.truth["mel"]
            if self.predicted and (self.share == 1.0 or random.random() < self.share):
                mel = self.predicted[example.id]
            start = int(random.integers(0, max(1, len(mel) - self.frames + 1)))
            piece, wave = mel[start : start + self.frames], example.wave[start * hop : (start + self.frames) * hop]
            missing = self.frames - len(piece)
            mels.append(np.pad(piece, ((0, missing), (0, 0)), constant_values=floor))
            waves.append(np.pad(wave, (0, self.frames * hop - len(wave))))
            pitch = example.truth["pitch_hz"]
            pitches.append(np.pad(continuous_log_pitch(pitch)[start : start + self.frames], (0, missing), mode="edge"))
            voicings.append(np.pad(pitch[start : start + self.frames] > 0, (0, missing)))
        return SegmentBatch(*(torch.from_numpy(np.stack(values)) for values in (mels, waves, pitches, voicings)))


@dataclass(frozen=True)
class SpeakCollator:
    """Whole utterances with their aligned tokens."""

    speakers: tuple[str, ...]
    statistics: dict[str, Statistics]

    def __call__(self, examples: list[Example], random: np.random.Generator) -> SpeakBatch:
        """Return the padded batch."""
        tokens, lengths = pad_stack([torch.from_numpy(e.truth["token_ids"]).long() for e in examples])
        durations, _ = pad_stack([torch.from_numpy(e.truth["durations"]).long() for e in examples])
        mel, frame_lengths = pad_stack([torch.from_numpy(e.truth["mel"]) for e in examples])
        pitch, _ = pad_stack([self._pitch(e) for e in examples])
        energy, _ = pad_stack([self._energy(e) for e in examples])
        speaker_ids = torch.tensor([self.speakers.index(e.speaker) for e in examples])
        return SpeakBatch(tokens, lengths, speaker_ids, durations, pitch, energy, mel, frame_lengths)

    def _pitch(self, example: Example) -> Tensor:
        """Return standardised log-F0 a frame (frames,), drawn straight across unvoiced stretches."""
        of = self.statistics[example.speaker]
        contour = continuous_log_pitch(example.truth["pitch_hz"])
        return torch.from_numpy((contour - of.pitch_mean) / of.pitch_std).float()

    def _energy(self, example: Example) -> Tensor:
        """Return standardised energy a token (tokens,): the mean over its frames, 0 where it has none."""
        of = self.statistics[example.speaker]
        standard = torch.from_numpy((example.truth["energy"] - of.energy_mean) / of.energy_std).float()
        durations = torch.from_numpy(example.truth["durations"]).long()
        return average_by_durations(standard[None], durations[None])[0]


@dataclass(frozen=True)
class ListenCollator:
    """Whole utterances with speed perturbation and SpecAugment, and their transcripts."""

    corpus_rate: int
    audio: AudioConfig
    targets: dict[str, Target]
    config: DataConfig

    def __call__(self, examples: list[Example], random: np.random.Generator) -> ListenBatch:
        """Return the padded batch."""
        mels = [masked_mel(self._mel(example.wave, random), self.config, random) for example in examples]
        mel, mel_lengths = pad_stack(mels)
        targets = [self.targets[example.id] for example in examples]
        jamo, jamo_lengths = pad_stack([torch.tensor(target.jamo_ids) for target in targets])
        phonemes, phoneme_lengths = pad_stack([torch.tensor(target.phoneme_ids) for target in targets])
        texts = [target.text for target in targets]
        return ListenBatch(mel, mel_lengths, jamo, jamo_lengths, phonemes, phoneme_lengths, texts)

    def _mel(self, wave: np.ndarray, random: np.random.Generator) -> Tensor:
        wave = perturb_speed(wave, self.corpus_rate, self.audio.sample_rate, self.config.speed_perturbation, random)
        return log_mel(torch.from_numpy(wave)[None], self.audio)[0]


def perturb_speed(
    wave: np.ndarray, corpus_rate: int, sample_rate: int, speeds: tuple[float, ...], random: np.random.Generator
) -> np.ndarray:
    """Return a wave at sample_rate, played at one of the speeds, drawn at random; tempo and pitch change together.

    Source: Ko et al. 2015, Audio Augmentation for Speech Recognition (speed perturbation).
    """
    speed = float(random.choice(speeds))
    if speed == 1.0 and corpus_rate == sample_rate:
        return wave
    return soxr.resample(wave, corpus_rate, sample_rate / speed)


def masked_mel(mel: Tensor, config: DataConfig, random: np.random.Generator) -> Tensor:
    """Return the mel (frames, mel_channels) itself, up to two bands and two spans of frames set to its mean.

    Source: SpecAugment (Park et al. 2019, arXiv:1904.08779).
    """
    fill = mel.mean()
    for axis, max_width in ((1, config.freq_mask_width), (0, min(config.time_mask_width, len(mel) // 5))):
        for _ in range(2 if max_width else 0):
            width = int(random.integers(0, max_width + 1))
            start = int(random.integers(0, mel.shape[axis] - width + 1))
            mel.narrow(axis, start, width).fill_(fill)
    return mel


class SpeechDataset(torch.utils.data.Dataset):
    """Batches by their place in a plan; utterances stay in memory once read, up to a bound."""

    _CACHE_SECONDS = 4 * 3600.0

    def __init__(self, corpus: Corpus, cuts: dict[str, Any], collate: Collator, seed: int) -> None:
        self.corpus, self.cuts, self.collate, self.seed = corpus, cuts, collate, seed
        self._examples: dict[str, Example] = {}
        self._cached_seconds = 0.0

    def __getitem__(self, place: tuple[int, list[str]]) -> Any:
        step, ids = place
        return self.collate([self._example(name) for name in ids], np.random.default_rng([self.seed, step]))

    def _example(self, name: str) -> Example:
        if name not in self._examples:
            cut = self.cuts[name]
            example = load_example(self.corpus, cut)
            if self._cached_seconds > self._CACHE_SECONDS:
                return example
            self._examples[name] = example
            self._cached_seconds += cut.duration
        return self._examples[name]


def load_example(corpus: Corpus, cut: Any) -> Example:
    """Return one utterance of a corpus folder with its wave and ground truth."""
    wave = load_audio(cut.recording.sources[0].source, corpus.audio.sample_rate)
    return Example(cut.id, cut.supervisions[0].speaker, wave, corpus.ground_truth(cut))


def select(corpus: Corpus, split: str, data: DataConfig) -> dict[str, Any]:
    """Return the cuts of a split by id: of the wanted speakers, no longer than wanted, of train so many minutes.

    Raises: CorpusError if none is left, there are not so many minutes, or a wanted speaker is not in the corpus at all.
    """
    for speaker in data.speakers:
        if speaker not in corpus.speakers:
            raise CorpusError(f"{corpus.path}: no speaker '{speaker}'.{nearest(speaker, list(corpus.speakers))}")
    cuts = {
        cut.id: cut
        for cut in corpus.cuts[split]
        if cut.duration <= data.max_seconds and (not data.speakers or cut.supervisions[0].speaker in data.speakers)
    }
    if not cuts:
        wanted = f" of speakers {', '.join(data.speakers)}" if data.speakers else ""
        raise CorpusError(f"{corpus.path}: split '{split}' has no utterance{wanted} up to {data.max_seconds} s long")
    return _so_many_minutes(cuts, data.minutes, corpus.path) if split == "train" and data.minutes else cuts


def _so_many_minutes(cuts: dict[str, Any], minutes: float, place: Path | str) -> dict[str, Any]:
    there = sum(cut.duration for cut in cuts.values()) / 60
    if there < minutes:
        raise CorpusError(f"data.minutes = {minutes:g}: what is selected of {place} has {there:.1f} in train")
    seconds = 0.0
    kept: set[str] = set()
    for name in sorted(cuts, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if seconds + cuts[name].duration > 60 * minutes and kept:
            break
        kept.add(name)
        seconds += cuts[name].duration
    return {name: cut for name, cut in cuts.items() if name in kept}


def too_long(corpus: Corpus, split: str, data: DataConfig) -> list[str]:
    """Return the ids that `select` leaves out for their length alone."""
    return [
        cut.id
        for cut in corpus.cuts[split]
        if cut.duration > data.max_seconds and (not data.speakers or cut.supervisions[0].speaker in data.speakers)
    ]


def unaligned(corpus: Corpus, cuts: dict[str, Any]) -> list[str]:
    """Return the ids of the cuts that have no durations yet. Raises: CorpusError if a ground truth is damaged."""
    return [name for name, cut in cuts.items() if not corpus.has_durations(cut)]


def remove_unaligned(corpus: Corpus, cuts: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Remove the cuts without durations, of all splits, and return their ids by reason.

    Raises: CorpusError if none of a split is left.
    """
    skipped: list[str] = []
    for split, found in cuts.items():
        without = unaligned(corpus, found)
        cuts[split] = {name: cut for name, cut in found.items() if name not in without}
        skipped.extend(without)
        if not cuts[split]:
            raise CorpusError(f"{corpus.path}: no durations yet. Run 'malsori corpus prepare' with --align-with MODEL")
    return {"without durations": skipped} if skipped else {}


def plan_epoch(cuts: dict[str, Any], data: DataConfig, by_seconds: bool, seed: int, epoch: int) -> list[list[str]]:
    """Return the epoch's batches as lists of ids, in order: lengths alike by bucket, or any mix of batch_size."""
    with warnings.catch_warnings():  # a corpus is small beside its sound: its cuts are in memory on purpose
        for message in ("You are using Dynamic", ".*eagerly read CutSet"):
            warnings.filterwarnings("ignore", message=message)
        sampler = _sampler(cuts, data, by_seconds, seed)
        sampler.set_epoch(epoch)
        return [[cut.id for cut in batch] for batch in sampler]


def _sampler(cuts: dict[str, Any], data: DataConfig, by_seconds: bool, seed: int) -> Any:
    from lhotse import CutSet
    from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler

    cut_set = CutSet.from_cuts(cuts.values())
    whole: dict[str, Any] = {"shuffle": True, "seed": seed, "world_size": 1, "rank": 0}  # the loop divides the plan
    if not by_seconds:
        full = len(cuts) >= data.batch_size
        return DynamicCutSampler(cut_set, max_cuts=data.batch_size, drop_last=full, **whole)
    buckets = max(2, min(20, len(cuts) // 20))
    if len(cuts) <= buckets:
        return DynamicCutSampler(cut_set, max_duration=data.batch_seconds, **whole)
    return DynamicBucketingSampler(
        cut_set, max_duration=data.batch_seconds, num_buckets=buckets, drop_last=False, **whole
    )


def places(plan: Callable[[int], list[list[str]]], start: int, stop: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (step, ids) from step start to stop, epoch after epoch."""
    step, epoch = 0, 0
    while step < stop:
        for ids in plan(epoch):
            if start <= step < stop:
                yield step, ids
            step += 1
        epoch += 1


def on_device(batch: Any, device: torch.device) -> Any:
    """Return the batch, and batches in it, with every tensor on the device."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        return on_device(value, device) if dataclasses.is_dataclass(value) else value

    return type(batch)(**{field.name: moved(getattr(batch, field.name)) for field in dataclasses.fields(batch)})


def speaker_statistics(corpus: Corpus, cuts: dict[str, Any]) -> dict[str, Statistics]:
    """Return each speaker's mean and standard deviation of log-F0 (voiced frames) and of energy."""
    pitches: dict[str, list[np.ndarray]] = {}
    energies: dict[str, list[np.ndarray]] = {}
    for cut in cuts.values():
        truth = corpus.ground_truth(cut, ("pitch_hz", "energy"))
        speaker = cut.supervisions[0].speaker
        pitches.setdefault(speaker, []).append(np.log(truth["pitch_hz"][truth["pitch_hz"] > 0]))
        energies.setdefault(speaker, []).append(truth["energy"])
    result = {}
    for speaker in sorted(pitches):
        pitch, energy = np.concatenate(pitches[speaker]), np.concatenate(energies[speaker])
        if not len(pitch):
            raise CorpusError(f"{corpus.path}: speaker '{speaker}' has no voiced frame: is it speech?")
        result[speaker] = Statistics(
            pitch_mean=float(pitch.mean()),
            pitch_std=float(pitch.std()) or 1.0,
            energy_mean=float(energy.mean()),
            energy_std=float(energy.std()) or 1.0,
        )
    return result
