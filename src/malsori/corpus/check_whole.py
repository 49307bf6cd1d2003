"""What must hold of a corpus as a whole before it trains: no split is empty, and its texts are those of its sounds."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from malsori.corpus.check_rules import CheckLimits, CorpusCheck, UtteranceStats
from malsori.corpus.layouts import SPLITS
from malsori.readers.records import text_key

Found = Iterator[tuple[str, str]]

_MIN_TEXTS = 3  # one for each split
_NAME_SIGNS, _NAMED = 5, 4  # letters of a name at most; utterances a name, from which on texts are names
_UNLIKE = 2.5  # sounds of one text and speaker that differ in length by this factor say different things
_RATES = (0.25, 20.0)  # syllables a second that nobody reaches; a drawn-out 네 has 0.5


def _empty_split(stats: Sequence[UtteranceStats], limits: CheckLimits) -> Found:
    """Training needs utterances to learn from, and others to choose its best weights by."""
    counts = Counter(item.utterance.split for item in stats)
    for split in ("train", "dev"):
        if stats and not counts[split]:
            shown = ", ".join(f"{counts[each]} in {each}" for each in SPLITS)
            yield split, f"has no utterance ({shown})"


def _no_test(stats: Sequence[UtteranceStats], limits: CheckLimits) -> Found:
    if stats and not any(item.utterance.split == "test" for item in stats):
        yield "test", "has no utterance: 'malsori evaluate' needs --split dev"


def _few_texts(stats: Sequence[UtteranceStats], limits: CheckLimits) -> Found:
    texts = {text_key(item.utterance.spoken) for item in stats}
    if 0 < len(texts) < _MIN_TEXTS:
        yield "all", f"{len(stats)} utterances of {len(texts)} texts; at least {_MIN_TEXTS} are needed, one a split"


def _names_as_texts(stats: Sequence[UtteranceStats], limits: CheckLimits) -> Found:
    """A few short words, each the "text" of many recordings, are a column of names."""
    texts = Counter(item.utterance.spoken for item in stats)
    short = all(len(text_key(text)) <= _NAME_SIGNS and " " not in text for text in texts)
    if texts and short and len(stats) >= _NAMED * len(texts):
        shown = ", ".join(text for text, _ in texts.most_common(3))
        yield "all", f"the texts of {len(stats)} utterances are {len(texts)} words ({shown}): names of speakers?"


def _unlike_sounds(stats: Sequence[UtteranceStats], limits: CheckLimits) -> Found:
    """One text and one speaker, and sounds of unlike length: the text is not what is said in most of them."""
    alike = defaultdict(list)
    for item in stats:
        alike[item.utterance.speaker, text_key(item.utterance.spoken)].append(item)
    for group in alike.values():
        usual = float(np.median([item.quality.sound_seconds for item in group]))
        for item in group if len(group) > 1 else ():
            seconds = item.quality.sound_seconds
            if max(seconds, usual) > _UNLIKE * min(seconds, usual):
                told = f"{seconds:.1f} s of sound, where {usual:.1f} s is usual for '{item.utterance.spoken}'"
                yield item.id, f"{told}, the text of {len(group)} utterances of {item.utterance.speaker}"


def _absurd_rate(stats: Sequence[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        rate = item.syllables / item.quality.sound_seconds
        if not _RATES[0] <= rate <= _RATES[1]:
            yield item.id, f"{item.syllables} syllables in {item.quality.sound_seconds:.1f} s of sound: not its text"


def _left_out(stats: Sequence[UtteranceStats], limits: CheckLimits) -> Found:
    for item in stats:
        if item.quality.seconds > limits.recipe_seconds:
            yield item.id, f"lasts {item.quality.seconds:.1f} s"


WHOLE_CHECKS: dict[str, CorpusCheck] = {
    "empty split": CorpusCheck("fault", _empty_split, "add recordings, or list some of them in splits/dev.txt"),
    "too few texts": CorpusCheck("fault", _few_texts, "record more sentences"),
    "texts that look like names": CorpusCheck("fault", _names_as_texts, "say which column is the text with --columns"),
    "one text for unlike sounds": CorpusCheck("fault", _unlike_sounds, "listen: mend the text, or remove it"),
    "absurd speaking rate": CorpusCheck("fault", _absurd_rate, "listen: mend the text, or remove it"),
    "no test split": CorpusCheck("warning", _no_test, "nothing says how good a model is on what it never saw"),
    "longer than recipes take": CorpusCheck("note", _left_out, "left out of training; --set data.max_seconds=30"),
}
