"""How good a model is on a corpus it was not trained on: a voice, a vocoder or a recognizer, each by its own measures.

recognizer   transcribes the split; CER with and without spaces, WER
voice        says the split's texts; MCD against the recordings, and the round trip: CER of a recognizer's transcript
             of the synthetic speech, beside that of the recordings
vocoder      makes waves of the recordings' mels (copy synthesis), measured as a voice is

A voice can be given parts of the recording (`given`), so that one sees what each part of it costs; both can be judged
by DNSMOS (`mos`), with the recordings beside them.

All say how fast they are too: seconds of computing to a second of sound (the real-time factor), after a first
utterance that is not timed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from malsori.asr.recognizer import load_recognizer
from malsori.audio.io import load_audio
from malsori.corpus.folder import Corpus, load_corpus
from malsori.corpus.pool import Executor
from malsori.errors import CorpusError, ModelError, OptionError
from malsori.evaluation.results import (
    OF_RECORDINGS,
    OPINIONS,
    RECORDINGS,
    SPEED,
    Evaluation,
    Judge,
    Measure,
    Progress,
    Row,
    differences,
    error_measures,
    means,
    rates,
    time_measures,
)
from malsori.extras import require
from malsori.metrics.score_card import ScoreCard, score
from malsori.metrics.speech import compare_speech
from malsori.pretrained.hub import load_saved
from malsori.runtime.device import resolve_runtime
from malsori.systems import systems_of
from malsori.text.userwords import LexiconSource, UserLexicon, user_lexicon
from malsori.train.predicted_mels import mel_predictor
from malsori.tts.options import SayOptions
from malsori.tts.roles import Vocoder
from malsori.tts.vocoders import NetworkVocoder
from malsori.tts.voice import Voice, load_voice

_DISTANCES = ("mcd_db", "mel_l1", "log_f0_rmse_cents", "voicing_error", "duration_ratio")


@dataclass(frozen=True)
class Asked:
    """What is measured, by whom: what another machine needs to know to measure an utterance. As `evaluate` has it."""

    name: str
    corpus: Path | str
    recognizer: str | None
    device: str
    precision: str
    lexicon: UserLexicon
    given: tuple[str, ...]
    mos: bool
    vocoder: str | None

    def __call__(self, cut: Any) -> Row:
        """Return an utterance's measures; the models are loaded once, and used once before anything is timed."""
        measurer, first = _loaded(self), self not in _WARM
        if first:
            _WARM.add(self)
            measurer.warm(cut)
        return measurer.measure(cut)


_WARM: set[Asked] = set()


@dataclass(frozen=True)
class _Measurer:
    """Models that are loaded, for an evaluation.

    Attributes:
        system: of the model.
        warm: does once what is timed, with an utterance.
        measure: an utterance → its measures.
        speakers: whose utterances can be measured; empty for everybody's.
    """

    system: str
    warm: Callable[[Any], Any]
    measure: Callable[[Any], Row]
    speakers: tuple[str, ...] = ()


def evaluate(
    name: str,
    corpus: Corpus,
    split: str = "test",
    recognizer: str | None = None,
    progress: Progress = iter,
    device: str = "auto",
    precision: str = "auto",
    lexicon: LexiconSource = None,
    given: Sequence[str] = (),
    mos: bool = False,
    vocoder: str | None = None,
    executor: Executor | None = None,
) -> Evaluation:
    """Return a model's measures on a split of a corpus.

    Args:
        name: as for `load_model`.
        recognizer: that transcribes a voice's or a vocoder's speech; the built-in one when not given.
        progress: wraps the list of cuts, to show progress.
        device, precision: as `resolve_runtime` takes them.
        lexicon: a user's words that texts are read by, beside those of the corpus and of the voice.
        given: what a FastSpeech 2 takes from the recording, as `mel_predictor` has it.
        mos: measure DNSMOS too, of the recordings beside what is made.
        vocoder: of a voice that makes mels, as `load_voice` takes it.
        executor: measures on other machines, which see corpus and models under the same paths.
    Raises: CorpusError if the split is empty or holds none of a voice's speakers; ModelError as `load_model`;
        OptionError for what a model cannot be asked, such as a recognizer beside a recognizer; MissingExtraError for
        `mos` without the extra of that name.
    """
    if mos:
        require("speechmos", "DNSMOS")
    if split not in corpus.cuts:
        raise CorpusError(f"no split '{split}'; there are: {', '.join(corpus.cuts)}")
    cuts = list(corpus.cuts[split])
    if not cuts:
        raise CorpusError(f"{corpus.path}: split '{split}' is empty")
    words = corpus.lexicon + user_lexicon(lexicon)
    asked = Asked(name, corpus.path, recognizer, device, precision, words, tuple(given), mos, vocoder)
    measurer = _load(asked, corpus)
    if measurer.speakers:
        cuts = [cut for cut in cuts if cut.supervisions[0].speaker in measurer.speakers]
    if not cuts:
        raise CorpusError(
            f"{corpus.path}: split '{split}' has none of the voice's speakers ({', '.join(measurer.speakers)})"
        )
    if executor is None:
        measurer.warm(cuts[0])
        rows = [measurer.measure(cut) for cut in progress(cuts)]
    else:
        rows = [row for _, row in zip(progress(cuts), executor.map(asked, cuts), strict=True)]
    cards, measures = _summary(rows)
    return Evaluation(measurer.system, split, corpus.audio, measures, cards, tuple(rows))


@lru_cache(maxsize=1)
def _loaded(asked: Asked) -> _Measurer:
    return _load(asked, load_corpus(asked.corpus))


def _load(asked: Asked, corpus: Corpus) -> _Measurer:
    """Return what measures utterances of a corpus. Raises: as `evaluate`."""
    name, where, words = asked.name, (asked.device, asked.precision), asked.lexicon
    model = load_saved(name)
    system = model.facts.system
    _refuse_unsupported(asked, system)
    if system in systems_of("recognizer"):
        return _of_recognizer(Judge(load_recognizer(name, *where, words), mos=False), system, corpus)
    judge = Judge(load_recognizer(asked.recognizer, *where, words), asked.mos)
    if system in systems_of("vocoder"):
        copy = _copy_synthesis(NetworkVocoder(model, resolve_runtime(*where)), corpus)
        return _Measurer(system, copy, partial(_measure_speech, copy, judge, corpus))
    runtime = "torch" if asked.given else "auto"  # graphs take nothing of a recording
    voice = load_voice(
        name, asked.vocoder, device=asked.device, precision=asked.precision, lexicon=words, runtime=runtime
    )
    say = _said_given(voice, corpus, asked.given) if asked.given else _said(voice)
    return _Measurer(system, say, partial(_measure_speech, say, judge, corpus), tuple(voice.speakers))


def _refuse_unsupported(asked: Asked, system: str) -> None:
    """Raise OptionError for what a model of a system cannot be asked."""
    name = asked.name
    if system in systems_of("recognizer"):
        if asked.recognizer:
            raise OptionError(f"recognizer '{asked.recognizer}': {name} is a recognizer itself and needs no other")
        if wanted := [key for key in ("given", "mos", "vocoder") if getattr(asked, key)]:
            raise OptionError(f"{wanted[0]}: {name} is a recognizer; it makes no speech to judge")
    if system in systems_of("vocoder"):
        if asked.given:
            raise OptionError(f"given: {name} is a vocoder; it takes the recording's mel already")
        if asked.vocoder:
            raise OptionError(f"vocoder '{asked.vocoder}': {name} is a vocoder itself and needs no other")


def _said(voice: Voice) -> Callable[[Any], np.ndarray]:
    """Return what says a cut's text."""
    return lambda cut: voice.say(cut.supervisions[0].text, SayOptions(speaker=cut.supervisions[0].speaker)).wave


def _said_given(voice: Voice, corpus: Corpus, given: Sequence[str]) -> Callable[[Any], np.ndarray]:
    """Return what says a cut's phonemes with parts of its recording. Raises: OptionError as `mel_predictor`."""
    predict, vocoder = mel_predictor(voice.acoustic, corpus, given), voice.vocoder
    assert vocoder is not None, "an acoustic model has a vocoder"
    return lambda cut: vocoder.vocode(predict(cut))


def _copy_synthesis(vocoder: Vocoder, corpus: Corpus) -> Callable[[Any], np.ndarray]:
    """Return what makes a wave of a cut's mel. Raises: ModelError if the vocoder's audio settings are others."""
    if vocoder.audio != corpus.audio:
        raise ModelError(f"the vocoder's audio settings are not those of {corpus.path}")
    return lambda cut: vocoder.vocode(corpus.ground_truth(cut)["mel"])


def _of_recognizer(judge: Judge, system: str, corpus: Corpus) -> _Measurer:
    rate = corpus.audio.sample_rate

    def measure(cut: Any) -> Row:
        wave, text = _recording(corpus, cut), judge.spoken_form(cut.supervisions[0].text)
        began = time.perf_counter()
        hypothesis = judge.transcript(wave, rate, text)
        measures = time_measures(began, cut.duration) | error_measures(text, hypothesis)
        return Row(cut.id, text, hypothesis, measures, wave)

    return _Measurer(
        system, lambda cut: judge.recognizer.transcribe(_recording(corpus, cut), sample_rate=rate), measure
    )


def _measure_speech(make: Callable[[Any], np.ndarray], judge: Judge, corpus: Corpus, cut: Any) -> Row:
    """Return the measures of the wave that is made for a cut, against its recording."""
    rate, recording = corpus.audio.sample_rate, _recording(corpus, cut)
    text = judge.spoken_form(cut.supervisions[0].text)
    began = time.perf_counter()
    wave = make(cut)
    speed = time_measures(began, len(wave) / rate)
    hypothesis, in_recording = (judge.transcript(sound, rate, text) for sound in (wave, recording))
    own = _distances(recording, wave, rate) | error_measures(text, hypothesis) | judge.opinion(wave, rate)
    beside = error_measures(text, in_recording) | judge.opinion(recording, rate)
    of_recording = {OF_RECORDINGS + name: value for name, value in beside.items()}
    return Row(cut.id, text, hypothesis, own | speed | of_recording, wave, recording, in_recording)


def _summary(rows: list[Row]) -> tuple[dict[str, ScoreCard], dict[str, Measure]]:
    """Return the score cards and the measures of a split."""
    texts = [row.text for row in rows]
    cards = {"hypotheses": score(texts, [row.hypothesis for row in rows])}
    if rows[0].recording is None:  # a recognizer's
        return cards, rates(cards["hypotheses"]) | means(rows, (SPEED,))
    cards[RECORDINGS] = score(texts, [row.in_recording for row in rows])
    of_recordings = {OF_RECORDINGS + name: measure for name, measure in rates(cards[RECORDINGS]).items()}
    opinions = (*OPINIONS, *(OF_RECORDINGS + name for name in OPINIONS))
    summary = means(rows, (*_DISTANCES, SPEED, *opinions)) | rates(cards["hypotheses"]) | of_recordings
    return cards, summary | differences(rows, cards)


def _distances(recording: np.ndarray, wave: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Return what was measured between a recording and a synthetic wave; what has no voice has no F0."""
    found = compare_speech(recording, wave, sample_rate).as_json()
    return {name: found[name] for name in _DISTANCES if found[name] is not None}


def _recording(corpus: Corpus, cut: Any) -> np.ndarray:
    return load_audio(cut.recording.sources[0].source, corpus.audio.sample_rate)
