"""The whole loop in one command: say three sentences, transcribe them, score the transcripts, show it on one page."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from malsori.asr.recognizer import Recognizer, load_recognizer
from malsori.files import make_folder, write_json
from malsori.metrics.error_rate import TextNormalizer, cer, wer
from malsori.report.page import Page, marked, paragraph, picture, player, table
from malsori.report.plots import as_png, speech_figure
from malsori.tts.voice import Speech, Voice, load_voice

#: Neither stands in any text the built-in models were trained on.
SENTENCES = (
    "오늘은 날씨가 참 좋네요.",
    "우리 가족은 주말마다 가까운 산에 올라가요.",
    "처음 만난 사람들도 금방 친구가 되었어요.",
)
_SPOKEN = TextNormalizer(punctuation="removed")


@dataclass(frozen=True)
class DemoSentence:
    """One sentence of the demo: its text, its transcript (`heard` in the report), and how far apart they are."""

    text: str
    hypothesis: str
    cer: float
    wer: float
    seconds: float
    real_time_factor: float

    def as_json(self) -> dict[str, str | float]:
        """Return the fields as report.json has them, where the recognizer's text is "heard"."""
        return {"heard" if name == "hypothesis" else name: value for name, value in asdict(self).items()}


def run_demo(out: Path, device: str = "auto", precision: str = "auto") -> list[DemoSentence]:
    """Write OUT/report.html, OUT/report.json and the sound files; return what was measured.

    Args:
        device, precision: as `resolve_runtime` takes them.
    """
    make_folder(out)
    voice, recognizer = load_voice(device=device, precision=precision), load_recognizer(None, device, precision)
    voice.say(SENTENCES[0])  # loads the analyser and compiles, so that the first sentence is timed like the others
    page = Page("말소리 demo", _introduction(voice, recognizer))
    said, speeches = [], []
    for number, text in enumerate(SENTENCES, start=1):
        speech = voice.say(text)
        speech.save(out / f"{number}.wav")
        said.append(_score(speech, recognizer))
        speeches.append(speech)
    page.section("요약 · Summary", _summary(said))
    for one, speech in zip(said, speeches, strict=True):
        page.section(one.text, *_shown(one, speech))
    page.save(out / "report.html")
    report = {"sentences": [one.as_json() for one in said], "mean_cer": mean_cer(said)}
    write_json(out / "report.json", report)
    return said


def mean_cer(said: list[DemoSentence]) -> float:
    """Return the character error rate over all sentences together, spaces and punctuation not counted."""
    return cer([one.text for one in said], [one.hypothesis for one in said], spaces=False, normalizer=_SPOKEN).rate


def _score(speech: Speech, recognizer: Recognizer) -> DemoSentence:
    text = speech.reading.written
    transcript = recognizer.transcribe(speech.wave, sample_rate=speech.sample_rate).text
    errors = (
        cer(text, transcript, spaces=False, normalizer=_SPOKEN).rate,
        wer(text, transcript, normalizer=_SPOKEN).rate,
    )
    return DemoSentence(text, transcript, *errors, round(speech.seconds, 3), round(speech.real_time_factor, 4))


def _introduction(voice: Voice, recognizer: Recognizer) -> str:
    acoustic, listener = voice.acoustic.facts, recognizer.model.facts
    return (
        f"The built-in voice ({acoustic.system}, speaker {voice.speakers[0]}) says sentences it never saw; the "
        f"built-in recogniser ({listener.system}) writes down what it hears. "
        f"License of both: {acoustic.license}. {time.strftime('%Y-%m-%d')}"
    )


def _summary(said: list[DemoSentence]) -> str:
    rows = [
        [
            one.text,
            marked(_dense(one.text), _dense(one.hypothesis)),
            f"{one.cer:.1%}",
            f"{one.wer:.1%}",
            f"{one.seconds:.2f}",
        ]
        for one in said
    ]
    rows.append(["", "CER", f"{mean_cer(said):.1%}", "", ""])
    legend = "빨강: 틀림, 줄: 빠짐, 노랑: 더함. Spaces and punctuation do not count in CER."
    return table(["말한 것 (said)", "들은 것 (heard)", "CER", "WER", "초"], rows) + paragraph(legend)


def _shown(one: DemoSentence, speech: Speech) -> list[str]:
    figure = speech_figure(speech.wave, speech.mel, speech.audio, speech.alignment)
    described = f"파형, 멜 스펙트로그램과 음소 시간: {one.text}"
    facts = f"들은 것: {one.hypothesis or '(아무것도 듣지 못함)'} · 합성 {one.real_time_factor:.3f} × 실시간"
    return [player(speech.wave, speech.sample_rate), picture(as_png(figure), described), paragraph(facts)]


def _dense(text: str) -> str:
    """Return what counts: no spaces, no punctuation."""
    return "".join(_SPOKEN.apply([text])[0].split())
