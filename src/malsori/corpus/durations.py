"""Durations for a prepared corpus: a recogniser lays each text over its recording; no outside aligner."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malsori.align.phonemes import frames_of, time_phonemes
from malsori.corpus.folder import Corpus, add_ground_truth
from malsori.errors import AlignmentError, TextError
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES

if TYPE_CHECKING:
    from malsori.models.saved import SavedModel


def add_durations(
    corpus: Corpus, model: "SavedModel", watch: Callable[[list[Any]], Any] = iter
) -> dict[str, list[str]]:
    """Write token_ids and durations into every utterance's ground truth; return what was left out, by reason.

    Args:
        model: a recogniser with a phoneme output.
        watch: wraps the list of cuts, to show progress.
    """
    frontend = Frontend()
    left_out: dict[str, list[str]] = {}
    cuts = [cut for split in corpus.cuts.values() for cut in split]
    for cut in watch(cuts):
        try:
            _add(corpus, cut, model, frontend)
        except AlignmentError:
            left_out.setdefault("too short for its text", []).append(cut.id)
        except TextError:
            left_out.setdefault("text cannot be read", []).append(cut.id)
    return left_out


def _add(corpus: Corpus, cut: Any, model: "SavedModel", frontend: Frontend) -> None:
    from malsori.audio.io import load_audio
    from malsori.models.listening import hear

    wave = load_audio(Path(cut.recording.sources[0].source), corpus.audio.sample_rate)
    heard = hear(model, wave, corpus.audio.sample_rate)
    reading = frontend.read(cut.supervisions[0].text)
    times = time_phonemes(reading, heard.phonemes, heard.loudness, heard.frame_seconds, heard.seconds)
    frames = len(wave) // corpus.audio.hop_samples
    durations = frames_of(times, reading, corpus.audio, frames)
    token_ids = np.array(PHONEMES.encode(reading.phonemes), dtype=np.int32)
    add_ground_truth(corpus.ground_truth_path(cut), {"durations": durations, "token_ids": token_ids})
