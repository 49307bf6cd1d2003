"""Durations for a prepared corpus: a recogniser lays each text over its recording; no outside aligner."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malsori.align.phonemes import frames_of, time_phonemes
from malsori.corpus.folder import Corpus, add_ground_truth, read_keys
from malsori.errors import AlignmentError, TextError
from malsori.text.frontend import FRONTEND_VERSION, Frontend
from malsori.text.symbols import PHONEMES

if TYPE_CHECKING:
    from malsori.models.saved import SavedModel


def add_durations(
    corpus: Corpus, model: "SavedModel", watch: Callable[[list[Any]], Iterable[Any]] = iter
) -> dict[str, list[str]]:
    """Write token_ids and durations into every utterance's ground truth; return what was left out, by reason.

    An utterance that the same model has aligned before is kept as it is, so that a broken-off run goes on.

    Args:
        model: a recogniser with a phoneme output.
        watch: wraps the list of cuts, to show progress.
    """
    frontend = Frontend()
    aligner = f"{model.facts.fingerprint()}/{FRONTEND_VERSION}"
    left_out: dict[str, list[str]] = {}
    cuts = [cut for split in corpus.cuts.values() for cut in split]
    for cut in watch(cuts):
        if read_keys(corpus.ground_truth_path(cut))[1] == aligner:
            continue
        try:
            arrays = _align(corpus, cut, model, frontend)
        except AlignmentError:
            left_out.setdefault("too short for its text", []).append(cut.id)
        except TextError:
            left_out.setdefault("text cannot be read", []).append(cut.id)
        else:
            add_ground_truth(corpus.ground_truth_path(cut), arrays, aligner)
    return left_out


def _align(corpus: Corpus, cut: Any, model: "SavedModel", frontend: Frontend) -> dict[str, np.ndarray]:
    from malsori.audio.io import load_audio
    from malsori.models.listening import hear

    wave = load_audio(Path(cut.recording.sources[0].source), corpus.audio.sample_rate)
    heard = hear(model, wave, corpus.audio.sample_rate)
    reading = frontend.read(cut.supervisions[0].text)
    times = time_phonemes(reading, heard.phonemes, heard.loudness, heard.frame_seconds, heard.seconds)
    frames = len(wave) // corpus.audio.hop_samples
    durations = frames_of(times, reading, corpus.audio, frames)
    return {"durations": durations, "token_ids": np.array(PHONEMES.encode(reading.phonemes), dtype=np.int32)}
