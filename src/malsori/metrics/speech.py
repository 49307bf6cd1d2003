"""Everything that is measured between two recordings of the same words, for files and for folders of them."""

import contextlib
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malsori.annotations import Float
from malsori.audio.io import SOUND_SUFFIXES, audio_info, load_audio, sound_files
from malsori.errors import AudioError, MetricError
from malsori.metrics.cepstral import CepstralDistortion, Preset, mcd
from malsori.metrics.prosody import ProsodyDifference, compare_prosody

#: STOI and PESQ compare sample by sample: only where both sounds last equally long, to 1 %, do they mean anything.
SAME_LENGTH = 0.01


@dataclass(frozen=True)
class SpeechDifference:
    """What was measured between two recordings, and how the distortion is defined."""

    mcd_db: float
    definition: str
    path_frames: int
    prosody: ProsodyDifference
    mel_l1: float
    intelligibility: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return one flat object; stoi and pesq stand in it where they could be measured."""
        head = {"mcd_db": self.mcd_db, "definition": self.definition, "path_frames": self.path_frames}
        return head | asdict(self.prosody) | {"mel_l1": self.mel_l1} | self.intelligibility


@dataclass(frozen=True)
class PairResult:
    """What came of one pair of a folder: the difference, or else the reason why it could not be measured."""

    name: str
    difference: SpeechDifference | None
    failure: str = ""


def compare_speech(
    reference_wave: Float[np.ndarray, " reference_samples"],
    hypothesis_wave: Float[np.ndarray, " hypothesis_samples"],
    sample_rate: int,
    preset: Preset = "malsori",
    order: int | None = None,
    include_c0: bool = False,
) -> SpeechDifference:
    """Return the distortion, prosody and mel L1 along one path; arguments as in `malsori.mcd`."""
    distortion = mcd(reference_wave, hypothesis_wave, sample_rate, preset, order, include_c0)
    return SpeechDifference(
        distortion.mcd_db,
        distortion.definition,
        distortion.path_frames,
        compare_prosody(reference_wave, hypothesis_wave, sample_rate, distortion),
        _mel_l1(reference_wave, hypothesis_wave, sample_rate, distortion),
        _intelligibility(reference_wave, hypothesis_wave, sample_rate),
    )


def compare_files(
    reference: Path,
    hypothesis: Path,
    rate: int | None = None,
    preset: Preset = "malsori",
    order: int | None = None,
    include_c0: bool = False,
) -> SpeechDifference:
    """Return what lies between two sound files.

    Args:
        reference, hypothesis: sound files of the same words.
        rate: Hz that both are resampled to; None demands that their rates agree.
        preset, order, include_c0: as in `malsori.mcd`.
    Raises: MetricError if the rates differ and none is given, or a sound cannot be measured, naming the file.
    """
    if rate is None:
        rate, other = (audio_info(path).sample_rate for path in (reference, hypothesis))
        if rate != other:
            raise MetricError(
                f"{reference} is {rate} Hz, {hypothesis} is {other} Hz: spectra of different bands cannot be compared; "
                f"choose one with --rate {min(rate, other)}"
            )
    waves = [load_audio(path, rate) for path in (reference, hypothesis)]
    try:
        return compare_speech(waves[0], waves[1], rate, preset, order, include_c0)
    except MetricError as error:
        raise MetricError(f"{reference}, {hypothesis}: {error}") from error


def pair_folders(reference: Path, hypothesis: Path) -> dict[str, tuple[Path, Path]]:
    """Return the pairs of sound files of equal names (endings aside), by name.

    Raises: MetricError naming the first files that have no partner, a name that two files of a folder share, or a
        folder without sound files: none is skipped silently.
    """
    ours, theirs = _sounds_by_name(reference), _sounds_by_name(hypothesis)
    alone = sorted(ours.keys() ^ theirs.keys())
    if alone:
        names = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
        raise MetricError(
            f"sounds that stand in only one of {reference} and {hypothesis}: {len(alone)} ({names}); "
            "give both the same names"
        )
    return {name: (ours[name], theirs[name]) for name in sorted(ours)}


def compare_folders(
    pairs: dict[str, tuple[Path, Path]],
    rate: int | None = None,
    preset: Preset = "malsori",
    order: int | None = None,
    include_c0: bool = False,
    workers: int = 1,
) -> Iterator[PairResult]:
    """Yield the result of each pair, in order; one that cannot be measured carries the reason and stops nothing.

    Args:
        pairs: from `pair_folders`.
        rate, preset, order, include_c0: as in `compare_files`.
        workers: processes that measure at a time.
    """
    jobs = [(name, paths, (rate, preset, order, include_c0)) for name, paths in pairs.items()]
    if workers == 1:
        yield from map(_measure, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_measure, jobs, chunksize=4)


def mean_difference(differences: list[SpeechDifference]) -> dict[str, Any]:
    """Return the mean of each measure over the pairs that have it, under the same names, and their number."""
    rows = [each.as_json() for each in differences]
    means: dict[str, Any] = {"pairs": len(rows), "definition": differences[0].definition}
    for name in rows[0]:
        values = [value for row in rows if isinstance(value := row.get(name), (int, float)) and math.isfinite(value)]
        if name != "definition":
            means[name] = float(np.mean(values)) if values else None
    return means


def _measure(
    job: tuple[str, tuple[Path, Path], tuple[int | None, Preset, int | None, bool]],
) -> PairResult:
    name, (reference, hypothesis), settings = job
    try:
        return PairResult(name, compare_files(reference, hypothesis, *settings))
    except (MetricError, AudioError) as error:
        return PairResult(name, None, str(error))


def _sounds_by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sound_files(folder):
        if path.stem in found:
            raise MetricError(f"{path}: {found[path.stem].name} has the same name; keep one of them")
        found[path.stem] = path
    if not found:
        raise MetricError(f"{folder}: holds no sound files ({', '.join(sorted(SOUND_SUFFIXES))})")
    return found


def _mel_l1(reference: np.ndarray, hypothesis: np.ndarray, sample_rate: int, path: CepstralDistortion) -> float:
    """Return the mean absolute difference of natural-log mel bands along the path, by the voices' own AudioConfig."""
    import torch

    from malsori.audio.mel import log_mel
    from malsori.audio.resampling import resample
    from malsori.config import AudioConfig

    audio = AudioConfig()
    mels = []
    sides = ((reference, path.reference_frames), (hypothesis, path.hypothesis_frames))
    for wave, frames in sides:
        wave = resample(np.asarray(wave, np.float32), sample_rate, audio.sample_rate)
        wave = np.pad(wave, (0, max(0, audio.fft_samples - len(wave))))
        mel = log_mel(torch.from_numpy(wave)[None], audio)[0].numpy()
        places = (frames * path.frame_seconds / audio.frame_seconds).astype(int)
        mels.append(mel[np.clip(places, 0, len(mel) - 1)])
    return float(np.abs(mels[0] - mels[1]).mean())


def _intelligibility(reference: np.ndarray, hypothesis: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Return STOI and wide-band PESQ where their packages are installed and the sounds are equally long."""
    if abs(len(hypothesis) / len(reference) - 1.0) > SAME_LENGTH:
        return {}
    from malsori.audio.resampling import resample

    length = min(len(reference), len(hypothesis))
    ours, theirs = (
        resample(np.asarray(side[:length], np.float32), sample_rate, 16000) for side in (reference, hypothesis)
    )
    found: dict[str, float] = {}
    with contextlib.suppress(ImportError):  # optional packages: what they would measure is not in the answer
        from pystoi import stoi

        found["stoi"] = float(stoi(ours, theirs, 16000))
    with contextlib.suppress(ImportError):
        import pesq

        with contextlib.suppress(pesq.PesqError):  # nothing in it that PESQ takes for speech
            found["pesq"] = float(pesq.pesq(16000, ours, theirs, "wb"))
    return found
