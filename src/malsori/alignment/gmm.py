"""What phonemes sound like, frame by frame, learnt from the recordings that are aligned: no hand-made boundary needed.

    wave ─► cepstra every 5 ms ─► Gaussian mixtures, three states a phoneme ─► the best way through the reading's chain
                                        ▲                                                          │
                                        └──────────── re-estimated from where each state is ◄──────┘

A recogniser trained by CTC says which phoneme comes next, but late and not for how long. These models say where one
sound turns into the next. They begin flat, all phonemes alike (the order of the text alone tells them apart, as in HTK
and the Montreal Forced Aligner), or from models learnt before, which a few sentences of a speaker then adapt.

Source: L. Rabiner 1989, section IV.D (continuous densities); J.-L. Gauvain, C.-H. Lee 1994, Maximum a Posteriori
Estimation for Multivariate Gaussian Mixture Observations, eq. 32-34, means only.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from malsori.alignment.hmm import SILENCE, STATES, Chain, occupancy
from malsori.config import AudioConfig
from malsori.errors import AlignmentError, ModelError
from malsori.files import atomic_file
from malsori.text.symbols import PHONEMES

#: What is listened to: 20 ms windows every 5 ms; a boundary is found to a step of these.
AUDIO = AudioConfig(
    sample_rate=16000, fft_samples=512, window_samples=320, hop_samples=80, mel_channels=40, min_hz=60.0
)
_SHARP_AUDIO = AUDIO.model_copy(update={"window_samples": 160})  # 10 ms: what it shows is spread over less time
CEPSTRA = 10
_SIDE_FRAMES = 2
_DELTA_FRAMES = 4  # 20 ms to each side

_SMALLEST_VARIANCE = 0.01  # of features whose variance is 1
_SMALLEST_SHARE = 1e-4  # of a component in its mixture
_FEWEST_FRAMES = 3.0  # a component that so few frames belong to keeps its place
_QUIETEST = 8  # per cent of the frames: where silence begins from
_SPREAD = 0.2  # standard deviations that a component's two halves are moved apart
_CHUNK = 4096  # frames scored at a time


@dataclass(frozen=True)
class PhoneModels:
    """A mixture of Gaussians with diagonal covariance for each state of each symbol of `PHONEMES`; 0 is silence.

    Attributes:
        means, variances: (states, components, features).
        log_weights: (states, components).
        leave: probability of leaving a state after a frame (states,).
    """

    means: Float[np.ndarray, "states components features"]
    variances: Float[np.ndarray, "states components features"]
    log_weights: Float[np.ndarray, "states components"]
    leave: Float[np.ndarray, " states"]

    def component_scores(
        self, features: Float[np.ndarray, "frames features"], states: Integer[np.ndarray, " wanted"]
    ) -> Float[np.ndarray, "components frames wanted"]:
        """Return the log-likelihood of each frame in each weighted component of some states."""
        means, precisions = self.means[states].swapaxes(0, 1), 1 / self.variances[states].swapaxes(0, 1)
        constants = self.log_weights[states].T - 0.5 * (means**2 * precisions - np.log(precisions / 2 / np.pi)).sum(-1)
        factors = np.concatenate([means * precisions, -0.5 * precisions], axis=2).swapaxes(1, 2)
        doubled = np.concatenate([features, features**2], axis=1).astype(np.float32)
        return np.asarray(doubled @ factors.astype(np.float32) + constants[:, None].astype(np.float32))

    def window_scores(
        self, features: Float[np.ndarray, "frames features"], chain: Chain
    ) -> Float[np.ndarray, "frames width"]:
        """Return the log-likelihood of each frame in the states of its window."""
        kinds, places = np.unique(chain.states, return_inverse=True)
        chunks = (
            np.take_along_axis(_log_sum(self.component_scores(part, kinds)), places[window], 1)
            for part, window in _chunks(features, chain)
        )
        return np.concatenate(list(chunks)).astype(np.float64)

    def split(self) -> "PhoneModels":
        """Return models with twice the components, each moved a little apart from its twin."""
        step = _SPREAD * np.sqrt(self.variances)
        means = np.concatenate([self.means + step, self.means - step], axis=1)
        weights = np.concatenate([self.log_weights, self.log_weights], axis=1) - math.log(2)
        return PhoneModels(means, np.concatenate([self.variances, self.variances], axis=1), weights, self.leave)

    def save(self, path: Path) -> None:
        """Write the models, whole or not at all."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in vars(self).items()}
        with atomic_file(path) as temporary:
            save_file(arrays, temporary, {"symbols": f"{PHONEMES.kind} {PHONEMES.version}"})

    @staticmethod
    def load(path: Path) -> "PhoneModels":
        """Return the models saved at a path. Raises: ModelError if they are missing, damaged or of other symbols."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: no phone models, or damaged ({error})") from error
        if set(arrays) != {"means", "variances", "log_weights", "leave"}:
            raise ModelError(f"{path}: holds {', '.join(sorted(arrays))}; phone models were expected")
        if arrays["means"].shape[0] != STATES * len(PHONEMES) or arrays["means"].shape[2] != 3 * CEPSTRA:
            raise ModelError(f"{path}: phone models of shape {arrays['means'].shape} are of another version")
        return PhoneModels(**{name: array.astype(np.float64) for name, array in arrays.items()})


@dataclass
class _Counts:
    """How much of what each component has seen."""

    frames: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    visits: np.ndarray


def built_in() -> PhoneModels:
    """Return the phone models that come with malsori, of many speakers. Raises: ModelError if they are missing."""
    return PhoneModels.load(Path(str(resources.files("malsori") / "assets" / "phones-ko" / "phones.safetensors")))


def listen(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Float[np.ndarray, "frames features"]:
    """Return cepstra of a wave, their slope and its slope, every 5 ms, less the mean over the recording.

    Raises: AlignmentError if the wave is shorter than a window.
    """
    mel = _log_mel(wave, sample_rate, AUDIO)
    band = (np.arange(AUDIO.mel_channels) + 0.5) / AUDIO.mel_channels
    cosines = np.cos(np.pi * band[:, None] * np.arange(CEPSTRA)) * math.sqrt(2 / AUDIO.mel_channels)
    cepstra = mel @ cosines
    cepstra -= cepstra.mean(0)
    slopes = _slope(cepstra)
    return np.concatenate([cepstra, slopes, _slope(slopes)], axis=1)


def spectral_change(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Float[np.ndarray, " frames"]:
    """Return how much the spectrum before each frame of `listen` differs from that after it, in standard deviations.

    Compared are the 10 ms on either side, heard through a shorter window.
    Raises: AlignmentError as `listen`.
    """
    mel = _log_mel(wave, sample_rate, _SHARP_AUDIO)
    padded = np.pad(mel, ((_SIDE_FRAMES, _SIDE_FRAMES), (0, 0)), mode="edge")
    sums = np.cumsum(np.concatenate([np.zeros_like(mel[:1]), padded]), axis=0)
    means = (sums[_SIDE_FRAMES:] - sums[:-_SIDE_FRAMES]) / _SIDE_FRAMES
    differences = means[_SIDE_FRAMES:] - means[:-_SIDE_FRAMES]
    change = np.sqrt(np.square(differences[: len(mel)]).mean(1))
    return np.asarray(change / max(change.std(), 1e-9))


def _log_mel(wave: np.ndarray, sample_rate: int, audio: AudioConfig) -> np.ndarray:
    import torch

    from malsori.audio.io import resample
    from malsori.audio.mel import log_mel

    wave = np.ascontiguousarray(resample(wave, sample_rate, audio.sample_rate), dtype=np.float32)
    if len(wave) < audio.fft_samples:
        raise AlignmentError(f"{len(wave) / audio.sample_rate:.3f} s of sound is too short to align")
    return np.asarray(log_mel(torch.from_numpy(wave)[None], audio)[0].numpy().astype(np.float64))


def flat_start(sounds: Sequence[Float[np.ndarray, "_ features"]]) -> PhoneModels:
    """Return models in which all phonemes sound alike; only silence is what is quietest.

    Args:
        sounds: features of each recording (frames, features).
    """
    everything = np.concatenate(sounds)
    quiet = np.concatenate([sound[sound[:, 0] <= np.percentile(sound[:, 0], _QUIETEST)] for sound in sounds])
    means = np.tile(everything.mean(0), (STATES * len(PHONEMES), 1, 1))
    variances = np.tile(everything.var(0), (STATES * len(PHONEMES), 1, 1))
    silence = slice(STATES * SILENCE, STATES * SILENCE + STATES)
    means[silence], variances[silence] = quiet.mean(0), np.maximum(quiet.var(0), 0.05 * everything.var(0))
    return PhoneModels(means, variances, np.zeros(means.shape[:2]), np.full(len(means), 0.2))


def reestimate(
    models: PhoneModels,
    sounds: Iterable[tuple[Float[np.ndarray, "_ features"], Chain]],
    prior_frames: float = 0.0,
) -> tuple[PhoneModels, float]:
    """Return the models after one pass of expectation and maximisation, and the log-likelihood of a frame before it.

    Args:
        sounds: features and chain of each recording; one that no path fits is passed over.
        prior_frames: what the models so far count for beside the frames of the sounds; 0: they are forgotten, and
            variances, weights and lengths are learnt anew with the means.
    """
    counts = _Counts(*(np.zeros_like(part) for part in (models.log_weights, models.means, models.means, models.leave)))
    total, frames = 0.0, 0
    for features, chain in sounds:
        shares, score = occupancy(chain, models.window_scores(features, chain), models.leave)
        if math.isfinite(score):
            _count(models, features, chain, shares, counts)
            total, frames = total + score, frames + len(features)
    update = _adapted(models, counts, prior_frames) if prior_frames else _maximised(models, counts)
    return update, total / max(frames, 1)


def _count(models: PhoneModels, features: np.ndarray, chain: Chain, shares: np.ndarray, counts: _Counts) -> None:
    """Add a recording to what the components have seen."""
    kinds, places = np.unique(chain.states, return_inverse=True)
    for begin, (part, window) in enumerate(_chunks(features, chain)):
        of_states = np.zeros((len(part), len(kinds)))
        rows = np.arange(len(part))[:, None]
        np.add.at(of_states, (rows, places[window]), shares[begin * _CHUNK :][: len(part)])
        scores = models.component_scores(part, kinds)
        of_parts = np.exp(scores - _log_sum(scores)) * of_states
        counts.frames[kinds] += of_parts.sum(1).T
        counts.sums[kinds] += (of_parts.swapaxes(1, 2) @ part).swapaxes(0, 1)
        counts.squares[kinds] += (of_parts.swapaxes(1, 2) @ part**2).swapaxes(0, 1)
    np.add.at(counts.visits, chain.states, 1.0)


def _chunks(features: np.ndarray, chain: Chain) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield some frames at a time with the places in the chain of their windows' states (frames, width)."""
    for begin in range(0, len(features), _CHUNK):
        window = chain.firsts[begin : begin + _CHUNK, None] + np.arange(chain.width)
        yield features[begin : begin + _CHUNK], np.minimum(window, len(chain.states) - 1)


def _maximised(models: PhoneModels, counts: _Counts) -> PhoneModels:
    known = counts.frames > _FEWEST_FRAMES
    frames = np.where(known, counts.frames, 1.0)[..., None]
    means = np.where(known[..., None], counts.sums / frames, models.means)
    spread = np.maximum(counts.squares / frames - means**2, _SMALLEST_VARIANCE * _scale(counts))
    shares = (counts.frames + 1e-2) / (counts.frames + 1e-2).sum(1, keepdims=True)
    lengths = counts.frames.sum(1) / np.maximum(counts.visits, 1)
    leave = np.where(counts.visits > 0, 1 / np.maximum(lengths, 1.05), models.leave)
    variances = np.where(known[..., None], spread, models.variances)
    return PhoneModels(means, variances, np.log(np.maximum(shares, _SMALLEST_SHARE)), leave)


def _adapted(models: PhoneModels, counts: _Counts, prior_frames: float) -> PhoneModels:
    means = (counts.sums + prior_frames * models.means) / (counts.frames[..., None] + prior_frames)
    return PhoneModels(means, models.variances, models.log_weights, models.leave)


def _scale(counts: _Counts) -> np.ndarray:
    """Return the variance of each feature over everything that was seen."""
    frames = max(counts.frames.sum(), 1.0)
    return counts.squares.sum((0, 1)) / frames - (counts.sums.sum((0, 1)) / frames) ** 2


def _slope(values: np.ndarray) -> np.ndarray:
    """Return the regression slope over a few frames to each side."""
    steps = np.arange(1, _DELTA_FRAMES + 1)
    padded, frames = np.pad(values, ((_DELTA_FRAMES, _DELTA_FRAMES), (0, 0)), mode="edge"), len(values)
    middle = _DELTA_FRAMES
    rises = sum(k * (padded[middle + k :][:frames] - padded[middle - k :][:frames]) for k in steps)
    return np.asarray(rises / (2 * (steps**2).sum()))


def _log_sum(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of the summed exponentials over the first axis, the components."""
    if len(scores) == 1:
        return np.asarray(scores[0])
    top = scores.max(0)
    return np.asarray(top + np.log(np.exp(scores - top).sum(0)))
