"""Whether a long recording is heard as its parts are: nothing lost or repeated, words in their places, little memory.

    python bench/long.py CORPUS [--splits dev,test] [--minutes 20] [--hours H] [--format wav] [--model M] [--beam N]

Recordings of a corpus are joined with pauses of 0.3 to 4 s, again and again if --hours asks for more than there are,
and written to a file. The file is transcribed; then each recording by itself (not with --hours). Told are

- the CER without spaces of both, and how many words each has;
- how far the words that both have in a recording lie from one another, once its place in the file is added;
- the peak of memory while the file is transcribed, beyond what it was after a first short sound;
- CPU seconds for a second of sound.
"""

import argparse
import difflib
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import Recognizer, load_recognizer
from malsori.audio.formats import encode, encode_stream, require_format
from malsori.audio.io import load_audio
from malsori.corpus.layouts import read_layout
from malsori.decode.transcript import Transcript, TranscriptWord
from malsori.metrics.error_rate import TextNormalizer, cer
from malsori.text.normalize import normalize

RATE = 16000
PAUSES = (0.3, 4.0)


@dataclass(frozen=True)
class Clip:
    """A recording, what is said in it, and where it was put."""

    path: Path
    text: str
    start: float
    end: float


class Joined:
    """Recordings one after the other, with pauses; the clips are known once all parts have been taken."""

    def __init__(self, corpus: Path, splits: set[str], seconds: float, repeat: bool) -> None:
        self._items = [item for item in read_layout(corpus, "auto").utterances if item.split in splits]
        self._seconds, self._repeat = seconds, repeat
        self.clips: list[Clip] = []

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the sound."""
        random, at = np.random.default_rng(0), 0
        while True:
            for item in self._items:
                if at / RATE >= self._seconds:
                    return
                wave = load_audio(item.audio_path, RATE)
                pause = random.normal(0, 1e-4, round(random.uniform(*PAUSES) * RATE)).astype(np.float32)
                self.clips.append(Clip(item.audio_path, item.spoken, at / RATE, (at + len(wave)) / RATE))
                at += len(wave) + len(pause)
                yield wave
                yield pause
            if not self._repeat:
                return


def words(transcript: Transcript) -> list[TranscriptWord]:
    return [word for segment in transcript.segments for word in segment.words]


def read(text: str) -> str:
    """Return a text as it is read aloud, letters only: digits and spelling should not count."""
    spoken = normalize(text, keep_unreadable=True).text
    return "".join(character if character.isalnum() else " " for character in spoken)


def rate(reference: list[str], heard: list[str]) -> float:
    return cer([read(" ".join(reference))], [read(" ".join(heard))], spaces=False, normalizer=TextNormalizer()).rate


def distances(clip: Clip, alone: list[TranscriptWord], joined: list[TranscriptWord]) -> list[float]:
    """Return how far the words that both have lie from one another, in seconds: the greater of start and end."""
    near = [word for word in joined if clip.start - 0.2 <= (word.start + word.end) / 2 <= clip.end + 0.2]
    match = difflib.SequenceMatcher(a=[word.text for word in alone], b=[word.text for word in near], autojunk=False)
    pairs = [(alone[b.a + k], near[b.b + k]) for b in match.get_matching_blocks() for k in range(b.size)]
    return [max(abs(a.start + clip.start - b.start), abs(a.end + clip.start - b.end)) for a, b in pairs]


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(recognizer: Recognizer, joined: Transcript, clips: list[Clip], options: DecodingOptions) -> None:
    alone = [words(recognizer.transcribe(clip.path, options)) for clip in clips]
    texts, found = [clip.text for clip in clips], words(joined)
    pairs = zip(clips, alone, strict=True)
    off = np.array([distance for clip, own in pairs for distance in distances(clip, own, found)])
    one_by_one = [" ".join(word.text for word in own) for own in alone]
    print(f"CER without spaces: joined {rate(texts, [joined.text]):.4f}, one by one {rate(texts, one_by_one):.4f}")
    print(f"words: joined {len(found)}, one by one {sum(map(len, alone))}, in both {len(off)}")
    median, most = np.quantile(off, (0.5, 0.95))
    print(f"of these within 0.1 s: {np.mean(off <= 0.1):.1%}; median {median:.3f} s, 95 % {most:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--splits", default="dev,test")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--hours", type=float)
    parser.add_argument("--format", default="wav")
    parser.add_argument("--model")
    parser.add_argument("--beam", type=int)
    asked = parser.parse_args()
    options, recognizer = DecodingOptions(beam=asked.beam), load_recognizer(asked.model)
    seconds = asked.hours * 3600 if asked.hours else asked.minutes * 60
    sound = Joined(asked.corpus, set(asked.splits.split(",")), seconds, bool(asked.hours))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"long.{asked.format}"
        with path.open("wb") as file:
            if require_format(path).streams:
                file.writelines(encode_stream(sound.parts(), RATE, path))
            else:
                file.write(encode(np.concatenate(list(sound.parts())), RATE, path))
        recognizer.transcribe(sound.clips[0].path, options)
        before, began = megabytes(), time.process_time()
        joined = recognizer.transcribe(path, options)
        spent = time.process_time() - began
    print(f"{len(sound.clips)} recordings, {joined.duration:.0f} s as {asked.format}")
    print(f"CPU: {spent / joined.duration:.3f} s a second")
    print(f"peak of memory: {before:.0f} MB after one recording, {megabytes() - before:+.0f} MB for the file")
    if asked.hours:
        print(f"CER without spaces: {rate([clip.text for clip in sound.clips], [joined.text]):.4f}")
    else:
        compare(recognizer, joined, sound.clips, options)


if __name__ == "__main__":
    main()
