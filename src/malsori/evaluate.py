"""How good a model is on a corpus it was not trained on: a voice, a vocoder or a recogniser, each by its own measures.

recogniser   transcribes the split; CER with and without spaces, WER
voice        says the split's texts; MCD against the recordings, and the round trip: CER of a recognizer's transcript
             of the synthetic speech, beside that of the recordings
vocoder      makes waves of the recordings' mels (copy synthesis), measured as a voice is

A voice can be given parts of the recording (`given`), so that one sees what each part of it costs; both can be judged
by DNSMOS (`mos`), with the recordings beside them.

All say how fast they are too: seconds of computing to a second of sound (the real-time factor), after a first
utterance that is not timed.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malsori.asr.recognizer import Recognizer, load_recognizer
from malsori.audio.io import load_audio
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.corpus.batches import Example, SpeakCollator, on_device
from malsori.corpus.folder import Corpus
from malsori.errors import CorpusError, ModelError, OptionError
from malsori.extras import require
from malsori.files import write_json
from malsori.metrics.error_rate import cer
from malsori.metrics.naturalness import dnsmos
from malsori.metrics.score_card import ScoreCard, score
from malsori.metrics.significance import bootstrap_intervals
from malsori.metrics.speech import compare_speech
from malsori.metrics.spoken_form import nearest_reading, stretches
from malsori.pretrained.hub import load_saved
from malsori.report.page import Page, marked, picture, player, table
from malsori.report.plots import as_png, mels_figure
from malsori.runtime.device import resolve_runtime
from malsori.systems import systems_of
from malsori.text.hangul import only_hangul
from malsori.text.userwords import LexiconSource, user_lexicon
from malsori.tts.acoustic import FastSpeech2Adapter
from malsori.tts.options import SayOptions
from malsori.tts.roles import Vocoder
from malsori.tts.vocoders import NetworkVocoder
from malsori.tts.voice import Voice, load_voice

_RATES = ("cer", "cer_no_space", "wer", "swer", "jamo_error_rate")
_DISTANCES = ("mcd_db", "mel_l1", "log_f0_rmse_cents", "voicing_error", "duration_ratio")
_OPINIONS = ("dnsmos_overall", "dnsmos_signal", "dnsmos_background")
_OF_RECORDINGS = "recordings_"
_SPEED = "real_time_factor"
#: What a voice can take from the recording in place of its own prediction.
GIVEN = ("durations", "pitch", "energy")
_SHOWN = 12  # utterances on the page: the worst
Progress = Callable[[list[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Measure:
    """A value over a whole split and its 95 % interval, from draws of utterances; None where there are too few."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """One utterance: what it says, the transcript, and its measures by name; the waves are for the page.

    recording: beside the wave of a voice or a vocoder; None where the wave is the recording.
    """

    id: str
    text: str
    hypothesis: str
    measures: dict[str, float]
    wave: Any
    recording: Any = None


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one model on one split.

    Attributes:
        system: of the model.
        split: of the corpus.
        audio: its settings.
        measures: name → value and interval; error rates from summed counts, others the mean of the utterances.
        cards: whose transcripts ("hypotheses", and "recordings" beside a voice's) → their score card.
        rows: utterance by utterance.
    """

    system: str
    split: str
    audio: AudioConfig
    measures: dict[str, Measure]
    cards: dict[str, ScoreCard]
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything but the waves."""
        rows = [{"id": row.id, "text": row.text, "hypothesis": row.hypothesis, **row.measures} for row in self.rows]
        return {
            "system": self.system,
            "split": self.split,
            "utterances": len(self.rows),
            "measures": {name: asdict(measure) for name, measure in self.measures.items()},
            "score_cards": {name: card.as_json() for name, card in self.cards.items()},
            "rows": rows,
        }


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
) -> Evaluation:
    """Return a model's measures on a split of a corpus.

    Args:
        name: as for `load_model`.
        recognizer: that transcribes a voice's or a vocoder's speech; the built-in one when not given.
        progress: wraps the list of cuts, to show progress.
        device, precision: as `resolve_runtime` takes them.
        lexicon: a user's words that texts are read by, beside those of the corpus and of the voice.
        given: of `GIVEN`, what a FastSpeech 2 takes from the recording; pitch, a value a frame, only with durations.
        mos: measure DNSMOS too, of the recordings beside what is made.
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
    if model.facts.system in systems_of("recognizer"):
        if recognizer:
            raise OptionError(f"recognizer '{recognizer}': {name} is a recognizer itself and needs no other")
        if given or mos:
            raise OptionError(f"{'given' if given else 'mos'}: {name} is a recognizer; it makes no speech to judge")
        return _evaluate_recognizer(load_recognizer(name, device, precision, words), corpus, split, cuts, progress)
    judge = Judge(load_recognizer(recognizer, device, precision, words), mos)
    if model.facts.system in systems_of("vocoder"):
        if given:
            raise OptionError(f"given: {name} is a vocoder; it takes the recording's mel already")
        vocoder = NetworkVocoder(model, resolve_runtime(device, precision))
        return _evaluate_speech(
            _copy_synthesis(vocoder, corpus), model.facts.system, judge, corpus, split, cuts, progress
        )
    voice = load_voice(name, device=device, precision=precision, lexicon=words)
    spoken = [cut for cut in cuts if cut.supervisions[0].speaker in voice.speakers]
    if not spoken:
        raise CorpusError(
            f"{corpus.path}: split '{split}' has none of the voice's speakers ({', '.join(voice.speakers)})"
        )

    say = _said_given(voice, corpus, given) if given else _said(voice)
    return _evaluate_speech(say, voice.acoustic.facts.system, judge, corpus, split, spoken, progress)


def _said(voice: Voice) -> Callable[[Any], np.ndarray]:
    """Return what says a cut's text."""
    return lambda cut: voice.say(cut.supervisions[0].text, SayOptions(speaker=cut.supervisions[0].speaker)).wave


def _said_given(voice: Voice, corpus: Corpus, given: Sequence[str]) -> Callable[[Any], np.ndarray]:
    """Return what says a cut's phonemes with parts of its recording. Raises: OptionError as `evaluate`."""
    from malsori.models.fastspeech2 import VarianceTargets

    if wrong := [name for name in given if name not in GIVEN]:
        raise OptionError(f"given: '{wrong[0]}' is none of {', '.join(GIVEN)}")
    if "pitch" in given and "durations" not in given:
        raise OptionError("given: pitch comes a frame; give durations too")
    acoustic, vocoder = voice.acoustic, voice.vocoder
    if not isinstance(acoustic, FastSpeech2Adapter) or vocoder is None:
        raise OptionError(f"given: a {acoustic.facts.system} takes nothing of a recording; a fastspeech2 does")
    collate = SpeakCollator(voice.speakers, acoustic.facts.statistics)

    def say(cut: Any) -> np.ndarray:
        truth = corpus.ground_truth(cut)
        if "durations" not in truth:
            raise CorpusError(f"{corpus.path}: {cut.id} has no durations; prepare the corpus with them")
        example = Example(cut.id, cut.supervisions[0].speaker, np.zeros(0, dtype=np.float32), truth)
        batch = on_device(collate([example], np.random.default_rng(0)), acoustic.runtime.device)
        targets = VarianceTargets(**{name: getattr(batch, name) for name in given})
        return vocoder.vocode(acoustic.synthesize_given(batch.token_ids, batch.speaker_ids, targets))

    return say


def _copy_synthesis(vocoder: Vocoder, corpus: Corpus) -> Callable[[Any], np.ndarray]:
    """Return what makes a wave of a cut's mel. Raises: ModelError if the vocoder's audio settings are others."""
    if vocoder.audio != corpus.audio:
        raise ModelError(f"the vocoder's audio settings are not those of {corpus.path}")
    return lambda cut: vocoder.vocode(corpus.ground_truth(cut)["mel"])


def _evaluate_recognizer(
    recognizer: Recognizer, corpus: Corpus, split: str, cuts: list[Any], progress: Progress
) -> Evaluation:
    rows, rate = [], corpus.audio.sample_rate
    recognizer.transcribe(_recording(corpus, cuts[0]), sample_rate=rate)
    for cut in progress(cuts):
        wave, text = _recording(corpus, cut), spoken_form(recognizer, cut.supervisions[0].text)
        began = time.perf_counter()
        hypothesis = transcript(recognizer, wave, rate, text)
        rows.append(Row(cut.id, text, hypothesis, error_measures(text, hypothesis) | time_measures(began, cut.duration), wave))
    card = score([row.text for row in rows], [row.hypothesis for row in rows])
    summary = rates(card) | means(rows, (_SPEED,))
    return Evaluation(recognizer.model.facts.system, split, corpus.audio, summary, {"hypotheses": card}, tuple(rows))


def _evaluate_speech(
    make: Callable[[Any], np.ndarray],
    system: str,
    judge: "Judge",
    corpus: Corpus,
    split: str,
    cuts: list[Any],
    progress: Progress,
) -> Evaluation:
    """Return the measures of the waves that are made for the cuts, against their recordings."""
    rows, in_recordings, rate = [], [], corpus.audio.sample_rate
    make(cuts[0])
    for cut in progress(cuts):
        recording, text = _recording(corpus, cut), spoken_form(judge.recognizer, cut.supervisions[0].text)
        began = time.perf_counter()
        wave = make(cut)
        speed = time_measures(began, len(wave) / rate)
        hypothesis = transcript(judge.recognizer, wave, rate, text)
        in_recordings.append(transcript(judge.recognizer, recording, rate, text))
        own = _distances(recording, wave, rate) | error_measures(text, hypothesis) | judge.opinion(wave, rate)
        beside = error_measures(text, in_recordings[-1]) | judge.opinion(recording, rate)
        of_recording = {_OF_RECORDINGS + name: value for name, value in beside.items()}
        rows.append(Row(cut.id, text, hypothesis, own | speed | of_recording, wave, recording))
    texts = [row.text for row in rows]
    cards = {"hypotheses": score(texts, [row.hypothesis for row in rows]), "recordings": score(texts, in_recordings)}
    of_recordings = {_OF_RECORDINGS + name: measure for name, measure in rates(cards["recordings"]).items()}
    opinions = (*_OPINIONS, *(_OF_RECORDINGS + name for name in _OPINIONS))
    summary = means(rows, (*_DISTANCES, _SPEED, *opinions)) | rates(cards["hypotheses"]) | of_recordings
    return Evaluation(system, split, corpus.audio, summary, cards, tuple(rows))


@dataclass(frozen=True)
class Judge:
    """Who judges speech: a recognizer, and where it is asked for DNSMOS."""

    recognizer: Recognizer
    mos: bool

    def opinion(self, wave: np.ndarray, sample_rate: int) -> dict[str, float]:
        """Return the opinion scores of a wave, or none."""
        return dnsmos(wave, sample_rate).as_measures() if self.mos else {}


def error_measures(text: str, hypothesis: str) -> dict[str, float]:
    return {"cer_no_space": cer(text, hypothesis, spaces=False).rate}


def time_measures(began: float, seconds: float) -> dict[str, float]:
    """Return the time of computing since `began` to that of a sound."""
    return {_SPEED: (time.perf_counter() - began) / seconds}


def _distances(recording: np.ndarray, wave: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Return what was measured between a recording and a synthetic wave; what has no voice has no F0."""
    found = compare_speech(recording, wave, sample_rate).as_json()
    return {name: found[name] for name in _DISTANCES if found[name] is not None}


def rates(card: ScoreCard) -> dict[str, Measure]:
    return {
        name: Measure(rate.rate, *(card.intervals[name] or (None, None)))
        for name, rate in card.rates.items()
        if name in _RATES
    }


def means(rows: list[Row], names: tuple[str, ...]) -> dict[str, Measure]:
    means = {}
    for name in names:
        values = np.array([[row.measures[name]] for row in rows if name in row.measures])
        if len(values):
            interval = bootstrap_intervals(values, np.ones_like(values))[0] or (None, None)
            means[name] = Measure(float(values.mean()), *interval)
    return means


def save_evaluation(found: Evaluation, out: Path, title: str) -> None:
    """Write OUT/evaluation.json and OUT/evaluation.html."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "evaluation.json", found.as_json())
    page = Page(f"{title} · {found.split}", f"{found.system}, {len(found.rows)} utterances")
    lines = [[name, f"{m.value:.4f}", interval_text(m)] for name, m in found.measures.items()]
    page.section("측정 · Measures", table(["measure", "value", "95 %"], lines))
    for row in sorted(found.rows, key=lambda row: -row.measures["cer_no_space"])[:_SHOWN]:
        compared = [["hypothesis", marked(row.text, row.hypothesis)]]
        cells = [[name, f"{value:.3f}"] for name, value in row.measures.items()]
        page.section(f"{row.id}: {row.text}", *_shown(row, found.audio), table(["", ""], compared + cells))
    page.save(out / "evaluation.html")


def _shown(row: Row, audio: AudioConfig) -> list[str]:
    """Return the players of a row, and the mels of a recording and of what was made beside it."""
    if row.recording is None:
        return [player(row.wave, audio.sample_rate)]
    waves = {"녹음 · recording": row.recording, "합성 · synthetic": row.wave}
    mels = {name: log_mel(torch.from_numpy(wave)[None], audio)[0].numpy() for name, wave in waves.items()}
    figure = mels_figure(mels, audio)
    described = f"녹음과 합성의 멜 스펙트로그램: {row.text}"
    return [*(player(wave, audio.sample_rate) for wave in waves.values()), picture(as_png(figure), described)]


def interval_text(measure: Measure) -> str:
    """Return "0.3120 to 0.4410", or nothing where there is no interval."""
    return "" if measure.low is None else f"{measure.low:.4f} to {measure.high:.4f}"


def _recording(corpus: Corpus, cut: Any) -> np.ndarray:
    return load_audio(cut.recording.sources[0].source, corpus.audio.sample_rate)


def transcript(recognizer: Recognizer, wave: np.ndarray, sample_rate: int, said: str) -> str:
    """Return the transcript of a wave as it is read aloud: digits in the reading that is nearest to what was said."""
    text = recognizer.transcribe(wave, sample_rate=sample_rate).text
    if recognizer.decoder.output_is_normalized:
        return text
    read = stretches(text, recognizer.frontend.normalized(text, keep_unreadable=True))
    return only_hangul(nearest_reading(read, said))


def spoken_form(recognizer: Recognizer, text: str) -> str:
    """Return a text as a recogniser should write it: spoken Hangul without punctuation."""
    return only_hangul(recognizer.frontend.read(text).normalized)
