"""Durations for a prepared corpus, by malsori's own means: no outside aligner, no dictionary.

each speaker:  recogniser ─► where each phoneme is, roughly ─► phone models adapted to the speaker ─► boundaries to 5 ms
from scratch:  phone models learnt from the corpus itself, without a recogniser ─► the same
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from malsori.alignment.boundaries import (
    MIN_SECONDS,
    AlignmentInput,
    alignment_input,
    force_align,
    map_adapt,
    select_model,
    select_recordings,
    train_flat_start,
)
from malsori.alignment.gmm import GmmHmm, built_in
from malsori.alignment.phonemes import frames_of, time_phonemes
from malsori.corpus.folder import Corpus, add_ground_truth, read_keys
from malsori.corpus.pool import Executor, run_in_order
from malsori.errors import AlignmentError, TextError
from malsori.text.frontend import FRONTEND_VERSION, Frontend
from malsori.text.symbols import PHONEMES

if TYPE_CHECKING:
    from malsori.pretrained.folder import SavedModel

#: Part of the key of every utterance's durations: raised whenever the same models would place them elsewhere.
ALIGNER_VERSION = 4


def add_durations(
    corpus: Corpus,
    model: "SavedModel | None",
    progress: Callable[[list[Any]], Iterable[Any]] = iter,
    executor: Executor | None = None,
) -> dict[str, list[str]]:
    """Write token_ids and durations into every utterance's ground truth; return what was skipped, by reason.

    An utterance that has been aligned before by the same recogniser, in the same corpus, is kept as it is, so that
    an interrupted run resumes and ends in the same bytes as an uninterrupted one.

    Args:
        model: a recogniser with a phoneme output; None learns from the corpus alone.
        progress: wraps the list of cuts, to show progress.
        executor: does the work on other machines, a speaker a job.
    """
    aligner = _Aligner(corpus, model)
    problems: Iterator[tuple[str, str]]
    speakers = sorted(aligner.cuts)
    if executor is None:
        cuts = [cut for speaker in speakers for cut in aligner.cuts[speaker]]
        problems = ((cut.id, aligner.add(cut)) for cut in progress(cuts))
    else:
        aligner.learn()
        problems = itertools.chain.from_iterable(
            run_in_order(aligner.add_all, speakers, 1, "aligning", executor=executor)
        )
    skipped: dict[str, list[str]] = {}
    for name, problem in problems:
        if problem:
            skipped.setdefault(problem, []).append(name)
    return skipped


@dataclass
class _Aligner:
    """What aligns a corpus: it trains or adapts its phone model when it is first needed."""

    corpus: Corpus
    recognizer: "SavedModel | None"
    cuts: dict[str, list[Any]] = field(init=False)
    _adapted: dict[str, GmmHmm] = field(default_factory=dict)  # of the last speaker only
    #: Trained on, and not yet aligned: MAX_SECONDS of the corpus and as much of a speaker, however much there is.
    _prepared: dict[str, AlignmentInput] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cuts = {}
        for cut in (cut for split in self.corpus.cuts.values() for cut in split):
            self.cuts.setdefault(_speaker(cut), []).append(cut)
        self.cuts = {speaker: sorted(cuts, key=lambda cut: cut.id) for speaker, cuts in self.cuts.items()}

    @cached_property
    def key(self) -> str:
        """What the durations depend on, in short: the models, and the recordings that they are trained on."""
        keys = (read_keys(self.corpus.ground_truth_path(cut))[0] for cuts in self.cuts.values() for cut in cuts)
        digest = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:12]
        name = self.recognizer.facts.fingerprint() if self.recognizer else "scratch"
        words = hashlib.sha256(repr(self.corpus.lexicon.as_rows()).encode()).hexdigest()[:12]
        version = f"{FRONTEND_VERSION}+{words}" if self.corpus.lexicon.words else FRONTEND_VERSION
        return f"{name}/{version}/{ALIGNER_VERSION}/{digest}"

    @cached_property
    def frontend(self) -> Frontend:
        """What reads the texts."""
        return Frontend(self.corpus.lexicon)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out, for another process, what it would make anew: the front-end's analyzer, what was not yet used."""
        kept = {name: value for name, value in vars(self).items() if name != "frontend"}
        return kept | {"_adapted": {}, "_prepared": {}}

    def learn(self) -> None:
        """Train the phone model of the whole corpus now, if any utterance is yet to be aligned."""
        if any(not self._is_aligned(cut) for cuts in self.cuts.values() for cut in cuts):
            self._model  # noqa: B018 -- cached

    def add_all(self, speaker: str) -> list[tuple[str, str]]:
        """Align a speaker's utterances; return each one's id and problem, as `add`."""
        return [(cut.id, self.add(cut)) for cut in self.cuts[speaker]]

    def add(self, cut: Any) -> str:
        """Write an utterance's durations, unless they are there; return the problem with it, "" for none."""
        if self._is_aligned(cut):
            return ""
        try:
            arrays = self.align(cut)
        except AlignmentError:
            return "too short for its text"
        except TextError:
            return "text cannot be read"
        add_ground_truth(self.corpus.ground_truth_path(cut), arrays, self.key)
        return ""

    def _is_aligned(self, cut: Any) -> bool:
        return read_keys(self.corpus.ground_truth_path(cut))[1] == self.key

    def align(self, cut: Any) -> dict[str, np.ndarray]:
        """Return durations and token_ids of an utterance. Raises: AlignmentError, TextError."""
        model = self._model_of(_speaker(cut))
        sound = self._sound(cut)
        self._prepared.pop(cut.id, None)
        audio, ends = self.corpus.audio, force_align(model, sound)
        durations = frames_of(ends, sound.reading, audio, round(cut.duration / audio.frame_seconds))
        token_ids = PHONEMES.encode(sound.reading.phonemes)
        return {"durations": durations, "token_ids": np.array(token_ids, dtype=np.int32)}

    @cached_property
    def _model(self) -> GmmHmm:
        """A phone model of the whole corpus, where there is enough of it; else one that comes with malsori."""
        sounds = self._sounds([cut for cuts in self.cuts.values() for cut in cuts])
        little = sum(sound.seconds for sound in sounds) < MIN_SECONDS
        return select_model(built_in(), sounds) if little and self.recognizer else train_flat_start(sounds)

    def _model_of(self, speaker: str) -> GmmHmm:
        if speaker not in self._adapted:
            for cut in (cut for done in self._adapted for cut in self.cuts[done]):
                self._prepared.pop(cut.id, None)  # adapted to, and aligned by an earlier run
            self._adapted = {speaker: map_adapt(self._model, self._sounds(self.cuts[speaker]))}
        return self._adapted[speaker]

    def _sounds(self, cuts: list[Any]) -> list[AlignmentInput]:
        """Return as many recordings as models are trained on, without those that cannot be aligned."""
        sounds = []
        for number in select_recordings([cut.duration for cut in cuts]):
            try:
                sound = self._sound(cuts[number])
                sound.state_graph()
            except (AlignmentError, TextError):  # reported when it is aligned itself
                continue
            self._prepared[cuts[number].id] = sound
            sounds.append(sound)
        return sounds

    def _sound(self, cut: Any) -> AlignmentInput:
        from malsori.asr.encode import encode
        from malsori.audio.io import load_audio

        if cut.id in self._prepared:
            return self._prepared[cut.id]
        reading = self.frontend.read(cut.supervisions[0].text)
        rate = self.corpus.audio.sample_rate
        wave = load_audio(Path(cut.recording.sources[0].source), rate)
        if self.recognizer is None:
            return alignment_input(reading, wave, rate)
        found = encode(self.recognizer, wave, rate)
        times = time_phonemes(reading, found.phonemes, found.loudness, found.frame_seconds, found.seconds)
        return alignment_input(reading, wave, rate, times.ends)


def _speaker(cut: Any) -> str:
    return str(cut.supervisions[0].speaker)
