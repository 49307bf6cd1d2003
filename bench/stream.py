"""How late live recognition shows its words, and how right they are, for each model and size of chunk.

    python bench/stream.py CORPUS [--split dev] [--limit N] [--model M]... [--chunks 0.5,1,2] [--pause 0.6] [--beam N]
                           [--threads 1] [--cpu] [-o FILE]

Each recording of a prepared corpus is a stream of its own, as `malsori transcribe --stream` hears a microphone: pieces
of 0.1 s, with faint noise behind the recording until the pause has ended the utterance. Nobody waits for them: the time
is that of the sound pushed, and pushes queue. What a push brings is there when its sound has come, the pushes before it
are done, and it has computed as long as it did here. With --cpu seconds are of CPU, so that what else the machine does
does not count; on one thread alone. A row each, `whole` for the same sound, noise too, transcribed at once when the
recording has ended:

- CER without spaces of the final texts as they are read aloud, with its 95 % interval;
- how long after its end a word of the final text is there for good: it and all its letters stand in the stable text of
  this result and of all later ones. The final result says when a word ends; spaces and marks are not compared;
- how long after the beginning of an utterance's first word any text is there;
- how many words partial results showed as stable, how many of these a later partial result took back (none should be),
  and how many the final one, which is decoded by another search;
- seconds of computing for a second of the recordings.

Results stand in -o FILE as JSON too, with the texts.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import Recognizer, load_recognizer
from malsori.asr.streaming import LiveSession, StreamEvent, StreamOptions
from malsori.audio.io import load_audio
from malsori.corpus.folder import load_corpus
from malsori.evaluation.results import Judge, rates
from malsori.files import write_json
from malsori.metrics.score_card import score
from malsori.runtime.device import use_threads

MODELS = ("whisper-base-ko", "conformer-ko")
PIECE_SECONDS = 0.1
BEYOND_PAUSE = 0.4  # seconds of noise that follow the pause
COLUMNS = {
    "model": "--",
    "chunk (s)": "--:",
    "CER without spaces (%)": "---",
    "word for good after (s): median": "--:",
    "90 %": "--:",
    "first text after (s): median": "--:",
    "stable words": "--:",
    "taken back by a partial": "--:",
    "by the final": "--:",
    "real-time factor": "--:",
}
Clock = Callable[[], float]


@dataclass(frozen=True)
class Recording:
    """A wave with noise behind it, its rate, how long it lasts without, and what is said in it."""

    wave: np.ndarray
    rate: int
    seconds: float
    text: str


def recorded(wave: np.ndarray, rate: int, text: str, pause: float) -> Recording:
    """Return a recording with noise behind it for longer than a pause."""
    noise = np.random.default_rng(0).normal(0, 1e-4, round((pause + BEYOND_PAUSE) * rate)).astype(np.float32)
    return Recording(np.concatenate([wave, noise]), rate, len(wave) / rate, text)


@dataclass(frozen=True)
class Shown:
    """A result, and when it is there."""

    at: float
    event: StreamEvent


@dataclass
class Heard:
    """What became of a recording: its texts, and in seconds computing, words' delays and first texts' ones."""

    texts: list[str] = field(default_factory=list)
    computing: float = 0.0
    words: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    stable: int = 0
    back_by_partial: int = 0
    back_by_final: int = 0


def play(session: LiveSession, wave: np.ndarray, rate: int, clock: Clock) -> tuple[list[Shown], float]:
    """Return the results of a stream, and the seconds of computing."""
    size = round(PIECE_SECONDS * rate)
    pieces = [wave[at : at + size] for at in range(0, len(wave), size)]
    pushes = [(len(piece), partial(session.push, piece)) for piece in pieces]
    shown: list[Shown] = []
    samples, free, computing = 0, 0.0, 0.0
    for length, push in [*pushes, (0, session.finish)]:
        began = clock()
        events = push()
        took = clock() - began
        samples += length
        free = max(samples / rate, free) + took
        computing += took
        shown += [Shown(free, event) for event in events]
    return shown, computing


def utterances(shown: Iterable[Shown]) -> Iterator[list[Shown]]:
    """Yield the results of each utterance, the final one last. Raises: SystemExit if one has no final result."""
    found: list[Shown] = []
    for each in shown:
        found.append(each)
        if each.event.kind == "final":
            yield found
            found = []
    if found:
        raise SystemExit(f"{found[-1].event.text!r} is partial, and no final result came")


def spelled(words: Iterable[str]) -> list[str]:
    """Return words without marks; one of marks alone is none."""
    bare = ("".join(filter(str.isalnum, word)) for word in words)
    return [word for word in bare if word]


def places(shown: str, final: str) -> np.ndarray:
    """Return where each letter stands in that beginning of the final text that is nearest to what is shown; or -1."""
    ends = range(len(final) + 1)
    end = min(ends, key=lambda end: (Levenshtein.distance(shown, final[:end]), abs(end - len(shown))))
    found = np.full(len(shown), -1)
    for block in Levenshtein.editops(shown, final[:end]).as_matching_blocks():
        found[block.a : block.a + block.size] = np.arange(block.b, block.b + block.size)
    return found


def found_whole(words: Sequence[str], found: np.ndarray) -> np.ndarray:
    """Return which words have all their letters, side by side."""
    ends = np.cumsum([0, *map(len, words)])
    parts = [found[start:end] for start, end in pairwise(ends)]
    return np.array([part[0] >= 0 and bool((np.diff(part) == 1).all()) for part in parts], dtype=bool)


def compare(stable: Sequence[str], final: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return which stable words the final ones have, and which final words the stable ones have."""
    forth = places("".join(stable), "".join(final))
    back = np.full(sum(map(len, final)), -1)
    back[forth[forth >= 0]] = np.flatnonzero(forth >= 0)
    return found_whole(stable, forth), found_whole(final, back)


def follow(results: Sequence[Shown], heard: Heard) -> None:
    """Add the results of one utterance to what became of its recording."""
    *partials, last = results
    words = [word for word in last.event.words if spelled([word.text])]
    final, stable = spelled(word.text for word in words), [spelled(each.event.stable.split()) for each in partials]
    for before, after in pairwise(stable):
        heard.back_by_partial += len(before) - sum(a == b for a, b in zip(before, after, strict=False))
    if stable:
        heard.stable += len(stable[-1])
        heard.back_by_final += int((~compare(stable[-1], final)[0]).sum())
    stand = np.array([*(compare(shown, final)[1] for shown in stable), np.ones(len(words), dtype=bool)])
    for_good = np.logical_and.accumulate(stand[::-1])[::-1]
    there = np.array([each.at for each in results])[for_good.argmax(axis=0)]
    heard.words += [float(at) - word.end for at, word in zip(there, words, strict=True)]
    heard.first += [next(each.at for each in results if each.event.text) - word.start for word in words[:1]]
    heard.texts.append(last.event.text)


def live(
    recognizer: Recognizer, recording: Recording, options: DecodingOptions, stream: StreamOptions, clock: Clock
) -> Heard:
    """Return what became of a recording that is a stream."""
    session = recognizer.stream_live(options, sample_rate=recording.rate, stream=stream)
    shown, computing = play(session, recording.wave, recording.rate, clock)
    heard = Heard(computing=computing)
    for results in utterances(shown):
        follow(results, heard)
    return heard


def whole(recognizer: Recognizer, recording: Recording, options: DecodingOptions, clock: Clock) -> Heard:
    """Return what became of a recording that is transcribed at once, when it has ended."""
    began = clock()
    found = recognizer.transcribe(recording.wave, options, sample_rate=recording.rate)
    took = clock() - began
    words, at = [word for segment in found.segments for word in segment.words], recording.seconds + took
    return Heard([found.text], took, [at - word.end for word in words], [at - word.start for word in words[:1]])


def measures(judge: Judge, recordings: Sequence[Recording], heard: Sequence[Heard]) -> dict[str, Any]:
    """Return what is told of a model and a size of chunk."""
    said = [judge.spoken_form(recording.text) for recording in recordings]
    texts = [judge.read(" ".join(each.texts), text) for each, text in zip(heard, said, strict=True)]
    words, first = [at for each in heard for at in each.words], [at for each in heard for at in each.first]
    return {
        "cer_no_space": asdict(rates(score(said, texts))["cer_no_space"]),
        "word_seconds_median": quantile(words, 0.5),
        "word_seconds_90": quantile(words, 0.9),
        "first_text_seconds_median": quantile(first, 0.5),
        "words": len(words),
        "stable_words": sum(each.stable for each in heard),
        "taken_back_by_partial": sum(each.back_by_partial for each in heard),
        "taken_back_by_final": sum(each.back_by_final for each in heard),
        "real_time_factor": sum(each.computing for each in heard) / sum(each.seconds for each in recordings),
        "texts": [{"said": text, "heard": found} for text, found in zip(said, texts, strict=True)],
    }


def quantile(values: Sequence[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None


def line(found: dict[str, Any]) -> str:
    """Return a row of Markdown."""
    rate = found["cer_no_space"]
    low, high = rate["low"], rate["high"]
    interval = "" if low is None else f" ({100 * low:.1f}-{100 * high:.1f})"
    names = ("word_seconds_median", "word_seconds_90", "first_text_seconds_median")
    seconds = ["" if found[name] is None else f"{found[name]:.2f}" for name in names]
    counts = [str(found[name]) for name in ("stable_words", "taken_back_by_partial", "taken_back_by_final")]
    cells = [found["model"], found["chunk"], f"{100 * rate['value']:.1f}{interval}", *seconds]
    cells += [*([""] * 3 if found["chunk"] == "whole" else counts), f"{found['real_time_factor']:.2f}"]
    return f"| {' | '.join(cells)} |"


def rows(asked: argparse.Namespace, recordings: Sequence[Recording]) -> Iterator[dict[str, Any]]:
    """Yield what is told of each model and size of chunk."""
    options, clock = DecodingOptions(beam=asked.beam), time.process_time if asked.cpu else time.perf_counter
    streams = [StreamOptions(chunk_seconds=float(size), pause_seconds=asked.pause) for size in asked.chunks.split(",")]
    for name in asked.model or MODELS:
        recognizer = load_recognizer(name)
        judge, ways = Judge(recognizer, mos=False), {"whole": partial(whole, recognizer, options=options, clock=clock)}
        for stream in streams:
            ways[f"{stream.chunk_seconds:g}"] = partial(live, recognizer, options=options, stream=stream, clock=clock)
        for way in list(ways.values())[:2]:
            way(recordings[0])  # what is made once a network is no recording's
        for chunk, way in ways.items():
            found = measures(judge, recordings, [way(recording) for recording in recordings])
            yield {"model": Path(name).name, "chunk": chunk, **found}


def main() -> None:
    """Print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--limit", type=int, help="recordings, the first ones")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--chunks", default="0.5,1,2", help="seconds")
    parser.add_argument("--pause", type=float, default=0.6, help="seconds of silence that end an utterance")
    parser.add_argument("--beam", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="count seconds of CPU")
    parser.add_argument("-o", "--out", type=Path)
    asked = parser.parse_args()
    use_threads(asked.threads)
    corpus = load_corpus(asked.corpus)
    rate = corpus.audio.sample_rate
    recordings = [
        recorded(load_audio(cut.recording.sources[0].source, rate), rate, cut.supervisions[0].text, asked.pause)
        for cut in list(corpus.cuts[asked.split])[: asked.limit]
    ]
    seconds = sum(recording.seconds for recording in recordings)
    print(f"{len(recordings)} recordings, {seconds:.0f} s; seconds of {'CPU' if asked.cpu else 'the clock'}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'|'.join(COLUMNS.values())}|")
    told = []
    for row in rows(asked, recordings):
        told.append(row)
        print(line(row), flush=True)
        if asked.out:
            write_json(asked.out, {"split": asked.split, "recordings": len(recordings), "rows": told})


if __name__ == "__main__":
    main()
