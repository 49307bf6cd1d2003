"""How good a model is on a corpus it did not learn from: a voice, a vocoder or a recogniser, each by its own measures.

recogniser   transcribes the split; CER with and without spaces, WER
voice        says the split's texts; MCD against the recordings, and the round trip: CER of what a recogniser hears
             in the synthetic speech, beside what it hears in the recordings
vocoder      makes waves of the recordings' mels (copy synthesis); MCD and distance of mels
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malsori.audio.io import load_audio, written_whole
from malsori.audio.mel import log_mel
from malsori.corpus.folder import Corpus
from malsori.errors import CorpusError, ModelError
from malsori.metrics.cepstral import mcd
from malsori.metrics.error_rate import ErrorRate, cer, wer
from malsori.models.catalogue import load_saved
from malsori.models.saved import SavedModel
from malsori.recognizer import Recognizer, load_recognizer
from malsori.report.page import Page, marked, player, table
from malsori.text.hangul import only_hangul
from malsori.voice import SayOptions, Voice, load_voice

_SHOWN = 12  # utterances on the page: the worst
Watch = Callable[[list[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Row:
    """One utterance: what it says, what was heard, and its measures by name; waves for the page's players."""

    id: str
    text: str
    heard: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    wave: Any = None
    sample_rate: int = 0


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one model on one split.

    Attributes:
        system: of the model.
        split: of the corpus.
        measures: name → value over the whole split; error rates from summed counts.
        counts: name → counts behind each error rate.
        rows: utterance by utterance.
    """

    system: str
    split: str
    measures: dict[str, float]
    counts: dict[str, ErrorRate]
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything but the waves."""
        rows = [{"id": row.id, "text": row.text, "heard": row.heard, **row.measures} for row in self.rows]
        counts = {name: asdict(rate) for name, rate in self.counts.items()}
        return {
            "system": self.system,
            "split": self.split,
            "utterances": len(self.rows),
            "measures": self.measures,
            "counts": counts,
            "rows": rows,
        }


def evaluate(
    name: str, corpus: Corpus, split: str = "test", recognizer: str | None = None, watch: Watch = iter
) -> Evaluation:
    """Return a model's measures on a split of a corpus.

    Args:
        name: as for `load_model`.
        recognizer: who listens to a voice; the built-in one when not given.
        watch: wraps the list of cuts, to show progress.
    Raises: CorpusError if the split is empty or holds none of a voice's speakers; ModelError as `load_model`.
    """
    if split not in corpus.cuts:
        raise CorpusError(f"no split '{split}'; there are: {', '.join(corpus.cuts)}")
    cuts = list(corpus.cuts[split])
    if not cuts:
        raise CorpusError(f"{corpus.path}: split '{split}' is empty")
    model = load_saved(name)
    if model.facts.system == "conformer":
        return _recognizer(load_recognizer(name), corpus, split, watch(cuts))
    if model.facts.system in ("vocos", "hifigan"):
        return _vocoder(model, corpus, split, watch(cuts))
    voice = load_voice(name)
    spoken = [cut for cut in cuts if cut.supervisions[0].speaker in voice.speakers]
    if not spoken:
        raise CorpusError(
            f"{corpus.path}: split '{split}' has none of the voice's speakers ({', '.join(voice.speakers)})"
        )
    return _voice(voice, load_recognizer(recognizer), corpus, split, watch(spoken))


def _recognizer(recognizer: Recognizer, corpus: Corpus, split: str, cuts: Iterable[Any]) -> Evaluation:
    rows = []
    for cut in cuts:
        wave, text = _recording(corpus, cut), cut.supervisions[0].text
        heard = recognizer.transcribe(wave, corpus.audio.sample_rate).text
        rows.append(Row(cut.id, _plain(recognizer, text), heard, {}, wave, corpus.audio.sample_rate))
    counts = _rates([row.text for row in rows], [row.heard for row in rows])
    rows = [_with(row, cer=cer(row.text, row.heard, spaces=False).rate) for row in rows]
    return Evaluation("conformer", split, _values(counts), counts, tuple(rows))


def _voice(voice: Voice, recognizer: Recognizer, corpus: Corpus, split: str, cuts: Iterable[Any]) -> Evaluation:
    rows, heard_in_recordings = [], []
    for cut in cuts:
        supervision = cut.supervisions[0]
        recording = _recording(corpus, cut)
        speech = voice.say(supervision.text, SayOptions(speaker=supervision.speaker))
        heard = recognizer.transcribe(speech.wave, speech.sample_rate).text
        heard_in_recordings.append(recognizer.transcribe(recording, corpus.audio.sample_rate).text)
        distance = mcd(recording, speech.wave, corpus.audio.sample_rate)
        text = _plain(recognizer, supervision.text)
        measures = {"mcd_db": distance.mcd_db, "cer": cer(text, heard, spaces=False).rate}
        rows.append(Row(cut.id, text, heard, measures, speech.wave, speech.sample_rate))
    texts = [row.text for row in rows]
    counts = _rates(texts, [row.heard for row in rows])
    counts |= {f"recordings_{name}": rate for name, rate in _rates(texts, heard_in_recordings).items()}
    measures = {"mcd_db": float(np.mean([row.measures["mcd_db"] for row in rows]))} | _values(counts)
    return Evaluation(voice.acoustic.facts.system, split, measures, counts, tuple(rows))


def _vocoder(model: SavedModel, corpus: Corpus, split: str, cuts: Iterable[Any]) -> Evaluation:
    if model.facts.audio_fingerprint != corpus.audio.fingerprint():
        raise ModelError(f"the vocoder's audio settings are not those of {corpus.path}")
    rows = []
    for cut in cuts:
        recording = _recording(corpus, cut)
        mel = torch.from_numpy(corpus.ground_truth(cut)["mel"])[None]
        wave = model.network.infer(mel).wave
        measures = {
            "mcd_db": mcd(recording, wave[0].numpy(), corpus.audio.sample_rate).mcd_db,
            "mel_l1": float((log_mel(wave, corpus.audio) - mel).abs().mean()),
        }
        rows.append(Row(cut.id, cut.supervisions[0].text, "", measures, wave[0].numpy(), corpus.audio.sample_rate))
    means = {name: float(np.mean([row.measures[name] for row in rows])) for name in ("mcd_db", "mel_l1")}
    return Evaluation(model.facts.system, split, means, {}, tuple(rows))


def save_evaluation(found: Evaluation, out: Path, title: str) -> None:
    """Write OUT/evaluation.json and OUT/evaluation.html."""
    out.mkdir(parents=True, exist_ok=True)
    with written_whole(out / "evaluation.json") as temporary:
        temporary.write_text(json.dumps(found.as_json(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    page = Page(f"{title} · {found.split}", f"{found.system}, {len(found.rows)} utterances")
    page.section("측정 · Measures", table(["measure", "value"], [[k, f"{v:.4f}"] for k, v in found.measures.items()]))
    key = "cer" if "cer" in found.rows[0].measures else "mcd_db"
    for row in sorted(found.rows, key=lambda row: -row.measures[key])[:_SHOWN]:
        heard = [["heard", marked(row.text, row.heard)]] if row.heard else []
        cells = [[name, f"{value:.3f}"] for name, value in row.measures.items()]
        page.section(f"{row.id}: {row.text}", player(row.wave, row.sample_rate), table(["", ""], heard + cells))
    page.save(out / "evaluation.html")


def _recording(corpus: Corpus, cut: Any) -> np.ndarray:
    return load_audio(cut.recording.sources[0].source, corpus.audio.sample_rate)


def _plain(recognizer: Recognizer, text: str) -> str:
    """Return a text as a recogniser should write it: spoken Hangul without punctuation."""
    return only_hangul(recognizer.frontend.read(text).normalized)


def _rates(references: list[str], hypotheses: list[str]) -> dict[str, ErrorRate]:
    return {
        "cer": cer(references, hypotheses),
        "cer_no_space": cer(references, hypotheses, spaces=False),
        "wer": wer(references, hypotheses),
    }


def _values(counts: dict[str, ErrorRate]) -> dict[str, float]:
    return {name: rate.rate for name, rate in counts.items()}


def _with(row: Row, **measures: float) -> Row:
    return Row(row.id, row.text, row.heard, row.measures | measures, row.wave, row.sample_rate)
