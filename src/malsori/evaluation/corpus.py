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
from typing import Any

import numpy as np

from malsori.asr.recognizer import load_recognizer
from malsori.audio.io import load_audio
from malsori.corpus.folder import Corpus
from malsori.errors import CorpusError, ModelError, OptionError
from malsori.evaluation.results import (
    OF_RECORDINGS,
    OPINIONS,
    RECORDINGS,
    SPEED,
    Evaluation,
    Judge,
    Progress,
    Row,
    differences,
    error_measures,
    means,
    rates,
    time_measures,
)
from malsori.extras import require
from malsori.metrics.score_card import score
from malsori.metrics.speech import compare_speech
from malsori.pretrained.hub import load_saved
from malsori.runtime.device import resolve_runtime
from malsori.systems import systems_of
from malsori.text.userwords import LexiconSource, user_lexicon
from malsori.train.predicted_mels import mel_predictor
from malsori.tts.options import SayOptions
from malsori.tts.roles import Vocoder
from malsori.tts.vocoders import NetworkVocoder
from malsori.tts.voice import Voice, load_voice

_DISTANCES = ("mcd_db", "mel_l1", "log_f0_rmse_cents", "voicing_error", "duration_ratio")


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
    Raises: CorpusError if the split is empty or holds none of a voice's speakers; ModelError as `load_model`;
        OptionError for what a model cannot be asked, such as a recognizer beside a recognizer; MissingExtraError for
        `mos` without the extra of that name.
    """
    if mos:
        require("speechmos", "DNSMOS")
    if split not in corpus.cuts:
        raise CorpusError(f"no split '{split}'; there are: {', '.join(corpus.cuts)}")
    words = corpus.lexicon + user_lexicon(lexicon)
    cuts = list(corpus.cuts[split])
    if not cuts:
        raise CorpusError(f"{corpus.path}: split '{split}' is empty")
    model = load_saved(name)
    asked = {"recognizer": recognizer, "given": given, "mos": mos, "vocoder": vocoder}
    _refuse_unsupported(name, model.facts.system, asked)
    if model.facts.system in systems_of("recognizer"):
        listener = Judge(load_recognizer(name, device, precision, words), mos=False)
        return _evaluate_recognizer(listener, corpus, split, cuts, progress)
    judge = Judge(load_recognizer(recognizer, device, precision, words), mos)
    if model.facts.system in systems_of("vocoder"):
        copy = _copy_synthesis(NetworkVocoder(model, resolve_runtime(device, precision)), corpus)
        return _evaluate_speech(copy, model.facts.system, judge, corpus, split, cuts, progress)
    runtime = "torch" if given else "auto"  # graphs take nothing of a recording
    voice = load_voice(name, vocoder, device=device, precision=precision, lexicon=words, runtime=runtime)
    spoken = [cut for cut in cuts if cut.supervisions[0].speaker in voice.speakers]
    if not spoken:
        raise CorpusError(
            f"{corpus.path}: split '{split}' has none of the voice's speakers ({', '.join(voice.speakers)})"
        )
    say = _said_given(voice, corpus, given) if given else _said(voice)
    return _evaluate_speech(say, voice.acoustic.facts.system, judge, corpus, split, spoken, progress)


def _refuse_unsupported(name: str, system: str, asked: dict[str, Any]) -> None:
    """Raise OptionError for what a model of a system cannot be asked."""
    if system in systems_of("recognizer"):
        if asked["recognizer"]:
            raise OptionError(f"recognizer '{asked['recognizer']}': {name} is a recognizer itself and needs no other")
        if wanted := [key for key in ("given", "mos", "vocoder") if asked[key]]:
            raise OptionError(f"{wanted[0]}: {name} is a recognizer; it makes no speech to judge")
    if system in systems_of("vocoder"):
        if asked["given"]:
            raise OptionError(f"given: {name} is a vocoder; it takes the recording's mel already")
        if asked["vocoder"]:
            raise OptionError(f"vocoder '{asked['vocoder']}': {name} is a vocoder itself and needs no other")


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


def _evaluate_recognizer(judge: Judge, corpus: Corpus, split: str, cuts: list[Any], progress: Progress) -> Evaluation:
    rows, rate = [], corpus.audio.sample_rate
    judge.recognizer.transcribe(_recording(corpus, cuts[0]), sample_rate=rate)
    for cut in progress(cuts):
        wave, text = _recording(corpus, cut), judge.spoken_form(cut.supervisions[0].text)
        began = time.perf_counter()
        hypothesis = judge.transcript(wave, rate, text)
        measures = time_measures(began, cut.duration) | error_measures(text, hypothesis)
        rows.append(Row(cut.id, text, hypothesis, measures, wave))
    card = score([row.text for row in rows], [row.hypothesis for row in rows])
    summary = rates(card) | means(rows, (SPEED,))
    system = judge.recognizer.model.facts.system
    return Evaluation(system, split, corpus.audio, summary, {"hypotheses": card}, tuple(rows))


def _evaluate_speech(
    make: Callable[[Any], np.ndarray],
    system: str,
    judge: Judge,
    corpus: Corpus,
    split: str,
    cuts: list[Any],
    progress: Progress,
) -> Evaluation:
    """Return the measures of the waves that are made for the cuts, against their recordings."""
    rows, in_recordings, rate = [], [], corpus.audio.sample_rate
    make(cuts[0])
    for cut in progress(cuts):
        recording, text = _recording(corpus, cut), judge.spoken_form(cut.supervisions[0].text)
        began = time.perf_counter()
        wave = make(cut)
        speed = time_measures(began, len(wave) / rate)
        hypothesis = judge.transcript(wave, rate, text)
        in_recordings.append(judge.transcript(recording, rate, text))
        own = _distances(recording, wave, rate) | error_measures(text, hypothesis) | judge.opinion(wave, rate)
        beside = error_measures(text, in_recordings[-1]) | judge.opinion(recording, rate)
        of_recording = {OF_RECORDINGS + name: value for name, value in beside.items()}
        rows.append(Row(cut.id, text, hypothesis, own | speed | of_recording, wave, recording))
    texts = [row.text for row in rows]
    cards = {"hypotheses": score(texts, [row.hypothesis for row in rows]), RECORDINGS: score(texts, in_recordings)}
    of_recordings = {OF_RECORDINGS + name: measure for name, measure in rates(cards[RECORDINGS]).items()}
    opinions = (*OPINIONS, *(OF_RECORDINGS + name for name in OPINIONS))
    summary = means(rows, (*_DISTANCES, SPEED, *opinions)) | rates(cards["hypotheses"]) | of_recordings
    summary |= differences(rows, cards)
    return Evaluation(system, split, corpus.audio, summary, cards, tuple(rows))


def _distances(recording: np.ndarray, wave: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Return what was measured between a recording and a synthetic wave; what has no voice has no F0."""
    found = compare_speech(recording, wave, sample_rate).as_json()
    return {name: found[name] for name in _DISTANCES if found[name] is not None}


def _recording(corpus: Corpus, cut: Any) -> np.ndarray:
    return load_audio(cut.recording.sources[0].source, corpus.audio.sample_rate)
