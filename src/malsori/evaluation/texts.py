"""How a voice says texts of which there is no recording: hard ones, in groups.

Each text is said, transcribed by a recognizer and aligned with its sound. `alignment.mismatch` finds where the two do
not belong together: another text always, a dropped word about every other time, a single word said twice hardly ever.
"""

import time
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from malsori.asr.recognizer import align, load_recognizer
from malsori.corpus.pool import Executor
from malsori.errors import AlignmentError, TextError
from malsori.evaluation.results import (
    Evaluation,
    Judge,
    Measure,
    Progress,
    Row,
    error_measures,
    means,
    rates,
    time_measures,
)
from malsori.metrics.score_card import score
from malsori.text.userwords import LexiconSource, UserLexicon, user_lexicon
from malsori.tts.voice import Voice, load_voice

_MISMATCHED = "mismatched_texts"


@dataclass(frozen=True)
class GroupedText:
    """One text to say, and what kind of text it is; "" where none is named."""

    text: str
    group: str = ""


def read_grouped_texts(path: Path) -> list[GroupedText]:
    """Return the texts of a file: a text a line, or a group, a tab and a text; empty lines are left out.

    Raises: TextError if the file holds none, or a line has more than one tab.
    """
    texts = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        *groups, text = line.split("\t")
        if len(groups) > 1 or not text.strip():
            raise TextError(f"{path}, line {number}: expected a text, or a group, a tab and a text")
        texts.append(GroupedText(text.strip(), groups[0].strip() if groups else ""))
    if not texts:
        raise TextError(f"{path}: holds no text")
    return texts


@dataclass(frozen=True)
class Said:
    """Who says the texts and who judges: what another machine needs to know. As `evaluate_texts` has it."""

    name: str
    recognizer: str | None
    device: str
    precision: str
    lexicon: UserLexicon
    mos: bool
    vocoder: str | None

    def __call__(self, numbered: tuple[int, GroupedText]) -> Row:
        """Return the measures of a text, on a machine of a cluster."""
        return self.measure(*_kept(self), numbered)

    def load(self) -> tuple[Judge, Voice]:
        """Return who judges and who speaks, who has spoken once before anything is timed."""
        judge = Judge(load_recognizer(self.recognizer, self.device, self.precision, self.lexicon), self.mos)
        where = {"device": self.device, "precision": self.precision}
        voice = load_voice(self.name, self.vocoder, lexicon=self.lexicon, **where)
        voice.say("안녕하세요.")
        return judge, voice

    def measure(self, judge: Judge, voice: Voice, numbered: tuple[int, GroupedText]) -> Row:
        """Return the measures of a text."""
        number, item = numbered
        text = judge.spoken_form(item.text)
        began = time.perf_counter()
        speech = voice.say(item.text)
        timed = time_measures(began, speech.seconds)
        hypothesis = judge.transcript(speech.wave, speech.sample_rate, text)
        try:
            wrong = float(bool(align(speech.wave, item.text, speech.sample_rate).mismatches))
        except AlignmentError:
            wrong = 1.0
        opinion = judge.opinion(speech.wave, speech.sample_rate)
        measures = error_measures(text, hypothesis) | {_MISMATCHED: wrong} | timed | opinion
        return Row(f"{number:03} {item.group}".strip(), text, hypothesis, measures, speech.wave)


@lru_cache(maxsize=1)
def _kept(said: Said) -> tuple[Judge, Voice]:
    return said.load()


def evaluate_texts(
    name: str,
    texts: list[GroupedText],
    recognizer: str | None = None,
    progress: Progress = iter,
    device: str = "auto",
    precision: str = "auto",
    lexicon: LexiconSource = None,
    mos: bool = False,
    vocoder: str | None = None,
    executor: Executor | None = None,
) -> Evaluation:
    """Return the measures of a voice on texts; those of a group are named "cer_no_space, GROUP".

    Args: as `evaluate`.
    Raises: ModelError as `load_voice`; TextError for a text with nothing to say.
    """
    said = Said(name, recognizer, device, precision, user_lexicon(lexicon), mos, vocoder)
    (judge, voice), numbered = said.load(), list(enumerate(texts, start=1))
    measured = executor.map(said, numbered) if executor else map(partial(said.measure, judge, voice), numbered)
    rows = [row for _, row in zip(progress(numbered), measured, strict=True)]
    card = score([row.text for row in rows], [row.hypothesis for row in rows])
    summary = rates(card) | means(rows, (name for name in rows[0].measures if name != "cer_no_space"))
    summary |= _by_group([item.group for item in texts], rows)
    return Evaluation(voice.acoustic.facts.system, "texts", voice.audio, summary, {"hypotheses": card}, tuple(rows))


def _by_group(groups: list[str], rows: list[Row]) -> dict[str, Measure]:
    """Return the error rate of each group, in the order in which they come."""
    found = {}
    for group in dict.fromkeys(filter(None, groups)):
        of_it = [row for row, own in zip(rows, groups, strict=True) if own == group]
        card = score([row.text for row in of_it], [row.hypothesis for row in of_it])
        found[f"cer_no_space, {group}"] = rates(card)["cer_no_space"]
    return found
