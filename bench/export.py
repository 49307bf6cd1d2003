"""How long exported models take beside the networks they were made from: one run, interleaved.

    python bench/export.py [--threads 2] [--repeat 5] [--dtype float32]...

The built-in voice (acoustic model and vocoder), `conformer-ko` on 8 s and `whisper-base-ko` (encoder of a 6 s and of a
whole window, 30 steps of a beam of 5), each by PyTorch as malsori loads it and by onnxruntime in each dtype. Printed
are the median milliseconds, and the ratio of onnxruntime's to PyTorch's. Both run on as many threads, in turn; with one
thread the milliseconds are of CPU, so that what else the machine does counts less.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SENTENCE = "오늘은 날씨가 참 좋아서 친구들과 함께 공원에 나가 오래 걸었습니다."
STEPS, BEAM = 30, 5


def exported(name: str, dtype: str, folder: Path) -> str:
    """Return the folder of a model exported in a dtype."""
    from malsori.export.folder import export_model

    place = folder / f"{name}-{dtype}"
    if not place.exists():
        export_model(name, place, dtype)  # type: ignore[arg-type]
    return str(place)


def speaking(name: str, runtime: str) -> dict[str, Callable[[], object]]:
    """Return what makes a sentence's mel, and its wave."""
    from malsori.tts.markup import parse_markup
    from malsori.tts.options import SayOptions
    from malsori.tts.phrases import plan_phrases
    from malsori.tts.voice import load_voice

    voice = load_voice(name, device="cpu", runtime=runtime)
    reading = voice.frontend.read(SENTENCE)
    sentence = plan_phrases(reading, parse_markup(SENTENCE))[0].sentence(reading)
    mel = voice.acoustic.synthesize(sentence, SayOptions()).mel
    return {
        "acoustic model": lambda: voice.acoustic.synthesize(sentence, SayOptions()),
        "vocoder": lambda: voice.vocoder.vocode(mel),
    }


def encoding(name: str, runtime: str) -> dict[str, Callable[[], object]]:
    """Return what encodes 8 s of noise."""
    from malsori.asr.recognizer import load_recognizer

    encoder = load_recognizer(name, "cpu", runtime=runtime).decoder.encoder
    return {"conformer 8 s": lambda: encoder.posteriors(noise(8))}


def listening(name: str, runtime: str) -> dict[str, Callable[[], object]]:
    """Return what encodes 6 s and 29.5 s, and what decodes 30 steps of a beam."""
    from malsori.asr.recognizer import load_recognizer

    engine = load_recognizer(name, "cpu", runtime=runtime).decoder.engine

    def encode(seconds: float) -> Callable[[], object]:
        return lambda: computed(lambda: engine.start(noise(seconds)[None]))

    def computed(work: Callable[[], object]) -> object:
        with engine.computing():
            return work()

    start = encode(6)()

    def decode() -> object:
        state = start
        logits, state = state.step(np.array([[1, 2, 3, 4]]))
        state = state.select(np.zeros(BEAM, dtype=int))
        for step in range(STEPS):
            logits, state = state.step(np.full((BEAM, 1), 10 + step))
        return logits

    return {
        "whisper encoder 6 s": encode(6),
        "whisper encoder 30 s": encode(29.5),
        "whisper 30 steps": lambda: computed(decode),
    }


def noise(seconds: float) -> np.ndarray:
    """Return noise at 16 kHz."""
    return np.random.default_rng(0).normal(0, 0.05, round(16000 * seconds)).astype(np.float32)


def main() -> None:
    """Print a line a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--dtype", action="append", choices=("float32", "float16", "int8"))
    asked = parser.parse_args()
    from malsori.runtime.device import use_threads

    use_threads(asked.threads)
    kinds = ((speaking, "fastspeech2-ko"), (encoding, "conformer-ko"), (listening, "whisper-base-ko"))
    with tempfile.TemporaryDirectory() as folder:
        for open_parts, name in kinds:
            engines = {"torch": open_parts(name, "torch")}
            for dtype in asked.dtype or ("float32", "int8"):
                engines[f"onnx {dtype}"] = open_parts(exported(name, dtype, Path(folder)), "onnx")
            for part in engines["torch"]:
                clock = time.process_time if asked.threads == 1 else time.perf_counter
                times = timed({engine: parts[part] for engine, parts in engines.items()}, asked.repeat, clock)
                told = (f"{engine} {one:.1f} ms ({one / times['torch']:.2f})" for engine, one in times.items())
                print(f"{part}: {', '.join(told)}", flush=True)


def timed(works: dict[str, Callable[[], object]], repeat: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the median milliseconds of each work; all take their turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(repeat + 1):
        for name, work in works.items():
            began = clock()
            work()
            if number:  # the first time something is made that is kept
                times[name].append((clock() - began) * 1000)
    return {name: statistics.median(each) for name, each in times.items()}


if __name__ == "__main__":
    main()
