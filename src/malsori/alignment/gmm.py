"""A GMM-HMM of phonemes, trained on the recordings that are aligned: no hand-made boundary needed.

    wave ─► MFCCs every 5 ms    ─► Gaussian mixtures, three states a phoneme ─► the best path through the state graph
                                        ▲                                                          │
                                        └──────────── re-estimated from where each state is ◄──────┘

A recognizer trained by CTC says which phoneme comes next, but late and not for how long. This model says where one
sound turns into the next. It begins flat, all phonemes alike (the order of the text alone tells them apart, as in HTK
and the Montreal Forced Aligner), or from one trained before, adapted (MAP) to a few sentences of the speaker.

Source: L. Rabiner 1989, section IV.D (continuous densities); J.-L. Gauvain, C.-H. Lee 1994, Maximum a Posteriori
Estimation for Multivariate Gaussian Mixture Observations, eq. 32-34, means only.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import numpy as np

from malsori.alignment.hmm import SILENCE, STATES, StateGraph, occupancy
from malsori.annotations import Float, Integer
from malsori.config import AudioConfig
from malsori.errors import AlignmentError, ModelError
from malsori.files import atomic_file
from malsori.text.symbols import PHONEMES

#: What MFCCs are taken of: 20 ms windows every 5 ms; a boundary is found to a step of these.
AUDIO = AudioConfig(
    sample_rate=16000, fft_samples=512, window_samples=320, hop_samples=80, mel_channels=40, min_hz=60.0
)
_SHARP_AUDIO = AUDIO.model_copy(update={"window_samples": 160})  # 10 ms: what it shows is spread over less time
NUM_CEPSTRA = 10
_SIDE_FRAMES = 2
_DELTA_FRAMES = 4  # 20 ms to each side

_MIN_VARIANCE = 0.01  # of features whose variance is 1
_MIN_WEIGHT = 1e-4  # of a component's weight in its mixture
_MIN_FRAMES = 3.0  # a component with so few frames keeps its mean and variance
_SILENCE_PERCENTILE = 8  # per cent of the frames: where silence begins from
_SPLIT_STDS = 0.2  # standard deviations that a component's two halves are moved apart
_CHUNK_FRAMES = 4096  # frames scored at a time

#: Folders of the phone models that come with malsori, among its assets.
BUILT_IN = ("phones-ko", "phones-ko-espeak")

#: What arrays were called in files saved before, and what they are called now.
_OLD_NAMES = {"leave": "exit_probability"}


@dataclass(frozen=True)
class GmmHmm:
    """A mixture of Gaussians with diagonal covariance for each state of each symbol of `PHONEMES`; 0 is silence.

    Attributes:
        means, variances: (states, components, features).
        log_weights: (states, components).
        exit_probability: of leaving a state after a frame, 1 less its self-loop (states,).
    """

    means: Float[np.ndarray, "states components features"]
    variances: Float[np.ndarray, "states components features"]
    log_weights: Float[np.ndarray, "states components"]
    exit_probability: Float[np.ndarray, " states"]

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
        self, features: Float[np.ndarray, "frames features"], graph: StateGraph
    ) -> Float[np.ndarray, "frames width"]:
        """Return the log-likelihood of each frame in the states of its window."""
        state_ids, places = np.unique(graph.states, return_inverse=True)
        chunks = (
            np.take_along_axis(_log_sum(self.component_scores(part, state_ids)), places[window], 1)
            for part, window in _chunks(features, graph)
        )
        return np.concatenate(list(chunks)).astype(np.float64)

    def split(self) -> "GmmHmm":
        """Return the model with twice the components, each moved a little apart from its twin."""
        step = _SPLIT_STDS * np.sqrt(self.variances)
        means = np.concatenate([self.means + step, self.means - step], axis=1)
        weights = np.concatenate([self.log_weights, self.log_weights], axis=1) - math.log(2)
        return GmmHmm(means, np.concatenate([self.variances, self.variances], axis=1), weights, self.exit_probability)

    def save(self, path: Path) -> None:
        """Write the model, whole or not at all."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in vars(self).items()}
        with atomic_file(path) as temporary:
            save_file(arrays, temporary, {"symbols": f"{PHONEMES.kind} {PHONEMES.version}"})

    @staticmethod
    def load(path: Path) -> "GmmHmm":
        """Return the model saved at a path. Raises: ModelError if it is missing, damaged or of other symbols."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = {_OLD_NAMES.get(name, name): array for name, array in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: no phone model, or a damaged one ({error})") from error
        if set(arrays) != {field.name for field in fields(GmmHmm)}:
            raise ModelError(f"{path}: holds {', '.join(sorted(arrays))}; a phone model was expected")
        if arrays["means"].shape[0] != STATES * len(PHONEMES) or arrays["means"].shape[2] != 3 * NUM_CEPSTRA:
            raise ModelError(f"{path}: a phone model of shape {arrays['means'].shape} is of another version")
        return GmmHmm(**{name: array.astype(np.float64) for name, array in arrays.items()})


@dataclass
class _SufficientStatistics:
    """What EM sums up: frames, sums and squares of each component, visits of each state."""

    frames: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    visits: np.ndarray


@functools.cache
def built_in() -> tuple[GmmHmm, ...]:
    """Return the phone models that come with malsori: of many people, and of many synthetic voices.

    Raises: ModelError if one is missing.
    """
    assets = Path(str(resources.files("malsori") / "assets"))
    return tuple(GmmHmm.load(assets / name / "phones.safetensors") for name in BUILT_IN)


def extract_mfcc(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Float[np.ndarray, "frames cepstra"]:
    """Return MFCCs of a wave, every 5 ms, less the mean over the recording (CMN).

    Raises: AlignmentError if the wave is shorter than a window.
    """
    mel = _log_mel(wave, sample_rate, AUDIO)
    band = (np.arange(AUDIO.mel_channels) + 0.5) / AUDIO.mel_channels
    cosines = np.cos(np.pi * band[:, None] * np.arange(NUM_CEPSTRA)) * math.sqrt(2 / AUDIO.mel_channels)
    cepstra: np.ndarray = mel @ cosines
    cepstra -= cepstra.mean(0)
    return cepstra


def with_deltas(cepstra: Float[np.ndarray, "frames cepstra"]) -> Float[np.ndarray, "frames features"]:
    """Return MFCCs with their deltas and delta-deltas: what the models score, three times what need be kept."""
    slopes = _deltas(cepstra)
    return np.concatenate([cepstra, slopes, _deltas(slopes)], axis=1)


def spectral_change(wave: Float[np.ndarray, " samples"], sample_rate: int) -> Float[np.ndarray, " frames"]:
    """Return how much the spectrum before each frame of `extract_mfcc` differs from that after it, in units of its std.

    Compared are the 10 ms on either side, by a shorter window.
    Raises: AlignmentError as `extract_mfcc`.
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

    from malsori.audio.mel import log_mel
    from malsori.audio.resampling import resample

    wave = np.ascontiguousarray(resample(wave, sample_rate, audio.sample_rate), dtype=np.float32)
    if len(wave) < audio.fft_samples:
        raise AlignmentError(f"{len(wave) / audio.sample_rate:.3f} s of sound is too short to align")
    return np.asarray(log_mel(torch.from_numpy(wave)[None], audio)[0].numpy().astype(np.float64))


def initialize_flat(sounds: Sequence[Float[np.ndarray, "_ cepstra"]]) -> GmmHmm:
    """Return the model of a flat start: all phonemes alike, silence of the quietest frames.

    Args:
        sounds: MFCCs of each recording (frames, cepstra); never held together, nor with their deltas.
    """
    frames = sum(map(len, sounds))
    mean = _sum_rows(map(with_deltas, sounds)) / frames
    variance = _sum_rows(np.square(with_deltas(sound) - mean) for sound in sounds) / frames
    quiet = np.concatenate([_quietest(with_deltas(sound)) for sound in sounds])
    means = np.tile(mean, (STATES * len(PHONEMES), 1, 1))
    variances = np.tile(variance, (STATES * len(PHONEMES), 1, 1))
    silence = slice(STATES * SILENCE, STATES * SILENCE + STATES)
    means[silence], variances[silence] = quiet.mean(0), np.maximum(quiet.var(0), 0.05 * variance)
    return GmmHmm(means, variances, np.zeros(means.shape[:2]), np.full(len(means), 0.2))


def _quietest(features: np.ndarray) -> np.ndarray:
    return features[features[:, 0] <= np.percentile(features[:, 0], _SILENCE_PERCENTILE)]


def _sum_rows(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of all rows of some arrays, added in the order and to the bits of one array that holds them."""
    total = None
    for part in parts:
        total = (part if total is None else np.concatenate([total[None], part])).sum(0)
    assert total is not None
    return np.asarray(total)


def reestimate(
    model: GmmHmm,
    sounds: Iterable[tuple[Float[np.ndarray, "_ features"], StateGraph]],
    prior_frames: float = 0.0,
) -> tuple[GmmHmm, float]:
    """Return the model after one pass of EM (Baum-Welch), and the mean log-likelihood of a frame before it.

    Args:
        sounds: features and graph of each recording; one that no path fits is skipped.
        prior_frames: frames that the model so far counts for (MAP, means only); 0: maximum likelihood, in which
            variances, weights and exit probabilities are estimated with the means.
    """
    statistics = _SufficientStatistics(
        *(np.zeros_like(part) for part in (model.log_weights, model.means, model.means, model.exit_probability))
    )
    total, frames = 0.0, 0
    for features, graph in sounds:
        occupancies, score = occupancy(graph, model.window_scores(features, graph), model.exit_probability)
        if math.isfinite(score):
            _accumulate(model, features, graph, occupancies, statistics)
            total, frames = total + score, frames + len(features)
    update = _adapt_means(model, statistics, prior_frames) if prior_frames else _maximize(model, statistics)
    return update, total / max(frames, 1)


def _accumulate(
    model: GmmHmm, features: np.ndarray, graph: StateGraph, occupancies: np.ndarray, statistics: _SufficientStatistics
) -> None:
    """Add a recording to the statistics."""
    state_ids, places = np.unique(graph.states, return_inverse=True)
    for begin, (part, window) in enumerate(_chunks(features, graph)):
        of_states = np.zeros((len(part), len(state_ids)))
        rows = np.arange(len(part))[:, None]
        np.add.at(of_states, (rows, places[window]), occupancies[begin * _CHUNK_FRAMES :][: len(part)])
        scores = model.component_scores(part, state_ids)
        of_parts = np.exp(scores - _log_sum(scores)) * of_states
        statistics.frames[state_ids] += of_parts.sum(1).T
        statistics.sums[state_ids] += (of_parts.swapaxes(1, 2) @ part).swapaxes(0, 1)
        statistics.squares[state_ids] += (of_parts.swapaxes(1, 2) @ part**2).swapaxes(0, 1)
    np.add.at(statistics.visits, graph.states, 1.0)


def _chunks(features: np.ndarray, graph: StateGraph) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield some frames at a time with the indices in the graph of their windows' states (frames, width)."""
    for begin in range(0, len(features), _CHUNK_FRAMES):
        window = graph.first_states[begin : begin + _CHUNK_FRAMES, None] + np.arange(graph.width)
        yield features[begin : begin + _CHUNK_FRAMES], np.minimum(window, len(graph.states) - 1)


def _maximize(model: GmmHmm, statistics: _SufficientStatistics) -> GmmHmm:
    known = statistics.frames > _MIN_FRAMES
    frames = np.where(known, statistics.frames, 1.0)[..., None]
    means = np.where(known[..., None], statistics.sums / frames, model.means)
    spread = np.maximum(statistics.squares / frames - means**2, _MIN_VARIANCE * _total_variance(statistics))
    shares = (statistics.frames + 1e-2) / (statistics.frames + 1e-2).sum(1, keepdims=True)
    lengths = statistics.frames.sum(1) / np.maximum(statistics.visits, 1)
    exit_probability = np.where(statistics.visits > 0, 1 / np.maximum(lengths, 1.05), model.exit_probability)
    variances = np.where(known[..., None], spread, model.variances)
    return GmmHmm(means, variances, np.log(np.maximum(shares, _MIN_WEIGHT)), exit_probability)


def _adapt_means(model: GmmHmm, statistics: _SufficientStatistics, prior_frames: float) -> GmmHmm:
    means = (statistics.sums + prior_frames * model.means) / (statistics.frames[..., None] + prior_frames)
    return GmmHmm(means, model.variances, model.log_weights, model.exit_probability)


def _total_variance(statistics: _SufficientStatistics) -> np.ndarray:
    """Return the variance of each feature over all frames."""
    frames = max(statistics.frames.sum(), 1.0)
    return statistics.squares.sum((0, 1)) / frames - (statistics.sums.sum((0, 1)) / frames) ** 2


def _deltas(values: np.ndarray) -> np.ndarray:
    """Return deltas: the regression slope over a few frames to each side."""
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
