"""How long recognizers take for the same recordings: malsori, faster-whisper and transformers, one run, interleaved.

    python bench/listen.py SOUND... [--model MODEL]... [--faster-whisper FOLDER [--peer-python PYTHON]]
                           [--transformers MODEL] [--repeat 3]
    python bench/listen.py --wav2vec2 [--repeat 5]

Each recognizer lives in a process of its own, loaded before anything is timed; recordings go to each in turn, so
that what else the machine does falls on all alike. Seconds are of CPU (one thread), so waiting does not count. Printed
are the least seconds of a recording over the repeats, summed, and each recognizer's ratio to the first one, with the
least and the greatest over the recordings. MODEL may be followed by =RUNTIME or =PRECISION:
whisper-base-ko=torch, whisper-base-ko=float32.

--transformers takes a Whisper's folder as malsori saves it and gives its weights to transformers: float32, beam 5, and
only the first 30 s of a sound.

With --wav2vec2 the networks alone stand beside each other: ours, by default, in int8 and in float32, and transformers',
base sizes, random weights, 10 s of noise.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 10  # of noise for --wav2vec2


def open_malsori(name: str) -> Callable[[str], str]:
    """Return what transcribes a file by a model of ours."""
    from malsori.asr.recognizer import load_recognizer
    from malsori.runtime.onnx import RUNTIMES
    from malsori.runtime.threads import use_threads

    use_threads(1)  # of onnxruntime; PyTorch's are set for all
    model, _, asked = name.partition("=")
    where = {"runtime": asked} if asked in RUNTIMES else {"precision": asked or "auto"}
    recognizer = load_recognizer(model, "cpu", **where)
    return lambda path: recognizer.transcribe(path).text


def open_faster_whisper(folder: str) -> Callable[[str], str]:
    """Return what transcribes a file by faster-whisper: int8, beam 5, its own defaults for the rest."""
    from faster_whisper import WhisperModel

    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)
    return lambda path: " ".join(part.text for part in model.transcribe(path, language="ko", beam_size=5)[0])


def open_transformers(folder: str) -> Callable[[str], str]:
    """Return what transcribes a file by transformers with the weights of a Whisper of ours, beam 5."""
    import torch
    import transformers

    from malsori.audio.io import load_audio
    from malsori.decode.seq2seq import constraints_from_tokenizer
    from malsori.pretrained.convert import map_by_name
    from malsori.pretrained.hub import load_saved
    from malsori.text.tokenizer import Tokenizer

    saved = load_saved(folder)
    sizes, tokenizer = saved.network.config, Tokenizer(saved.files)
    config = transformers.WhisperConfig(
        vocab_size=sizes.vocab, d_model=sizes.hidden_size, encoder_layers=sizes.num_encoder_layers,
        decoder_layers=sizes.num_decoder_layers, encoder_attention_heads=sizes.num_encoder_heads,
        decoder_attention_heads=sizes.num_decoder_heads, encoder_ffn_dim=sizes.encoder_ffn_size,
        decoder_ffn_dim=sizes.decoder_ffn_size, eos_token_id=tokenizer.end, pad_token_id=tokenizer.end,
        bos_token_id=tokenizer.end, decoder_start_token_id=tokenizer.start,
    )  # fmt: skip
    network, names, weights = (
        transformers.WhisperForConditionalGeneration(config).eval(),
        {},
        saved.network.state_dict(),
    )
    for name in network.state_dict():
        rule = map_by_name("transformers-whisper").rule_of(name)
        assert rule
        names[name] = "decoder.embedding.weight" if rule[0].dropped else rule[1][0]
    network.load_state_dict({name: weights[ours] for name, ours in names.items()})
    rules = constraints_from_tokenizer(tokenizer, sizes.vocab, sizes.decoder_positions)
    listen = transformers.WhisperFeatureExtractor(feature_size=sizes.mel_channels)

    def run(path: str) -> str:
        features = listen(load_audio(path, 16000), sampling_rate=16000, return_tensors="pt").input_features
        with torch.inference_mode():
            found = transformers.GenerationMixin.generate(
                network, features, decoder_input_ids=torch.tensor([rules.prefix]), num_beams=5, do_sample=False,
                max_new_tokens=rules.max_new_tokens, suppress_tokens=list(rules.suppress_tokens),
                begin_suppress_tokens=list(rules.begin_suppress_tokens),
            )  # fmt: skip
        ids = found[0].tolist()[len(rules.prefix) :]
        return tokenizer.decode([token for token in ids if token != tokenizer.end])

    return run


def _noise() -> Any:
    import torch

    return torch.randn(1, SECONDS * 16000, generator=torch.Generator().manual_seed(0))


def open_wav2vec2(precision: str) -> Callable[[str], str]:
    """Return what runs our wav2vec 2.0 base over noise."""
    from malsori.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config
    from malsori.runtime.device import resolve_runtime

    network = resolve_runtime("cpu", precision, quantize=True).place(Wav2Vec2(Wav2Vec2Config()).eval())
    return lambda _path: str(tuple(network.infer(_noise()).logits.shape))


def open_transformers_wav2vec2(_name: str) -> Callable[[str], str]:
    """Return what runs transformers' wav2vec 2.0 base over noise."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    network = Wav2Vec2ForCTC(Wav2Vec2Config()).eval()

    def run(_path: str) -> str:
        with torch.inference_mode():
            return str(tuple(network(_noise()).logits.shape))

    return run


KINDS = {
    "malsori": open_malsori,
    "faster-whisper": open_faster_whisper,
    "transformers": open_transformers,
    "wav2vec2": open_wav2vec2,
    "transformers-wav2vec2": open_transformers_wav2vec2,
}


def work(kind: str, name: str) -> None:
    """Answer each line, a path, with a line of its text and the seconds of CPU that it took."""
    try:
        import torch

        torch.set_num_threads(1)
    except ModuleNotFoundError:
        pass  # faster-whisper needs none
    recognize = KINDS[kind](name)
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.process_time()
        text = recognize(line.strip())
        print(json.dumps({"seconds": time.process_time() - began, "text": text}), flush=True)


class Worker:
    """A recognizer in a process of its own."""

    def __init__(self, kind: str, name: str, python: str = sys.executable) -> None:
        self.name = f"{kind} {name}".strip()
        command = [python, __file__, "--work", kind, name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line("ready")

    def ask(self, path: str) -> dict[str, Any]:
        """Return what the recognizer makes of a file, and its seconds."""
        assert self.process.stdin
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def _line(self, wanted: str = "") -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(wanted or "{"):
                return line
        raise SystemExit(f"{self.name}: its process ended; what it said stands above")


def compare(workers: list[Worker], paths: list[str], repeat: int) -> None:
    """Print each recognizer's seconds, and its ratio to the first one's."""
    best = {worker.name: [float("inf")] * len(paths) for worker in workers}
    texts: dict[str, str] = {}
    for worker in workers:
        worker.ask(paths[0])  # what is made once a network is no recording's
    for turn in range(repeat):
        for number, path in enumerate(paths):
            for worker in workers[turn % len(workers) :] + workers[: turn % len(workers)]:
                found = worker.ask(path)
                best[worker.name][number] = min(best[worker.name][number], found["seconds"])
                texts[worker.name] = found["text"]
    first = best[workers[0].name]
    for name, seconds in best.items():
        ratios = [mine / other for mine, other in zip(first, seconds, strict=True)]
        print(
            f"{name}: {sum(seconds):.2f} s of CPU; {workers[0].name} takes {sum(first) / sum(seconds):.2f} of it "
            f"({min(ratios):.2f}-{max(ratios):.2f}); last: {texts[name][:60]!r}"
        )


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="*", type=Path)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--faster-whisper", metavar="FOLDER")
    parser.add_argument("--peer-python", default=sys.executable, help="of an environment that has faster-whisper")
    parser.add_argument("--transformers", metavar="MODEL")
    parser.add_argument("--wav2vec2", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)
    if options.wav2vec2:
        workers = [Worker("wav2vec2", name) for name in ("auto", "int8", "float32")]
        return compare([*workers, Worker("transformers-wav2vec2", "")], ["noise"], options.repeat)
    workers = [Worker("malsori", name) for name in options.model or ["whisper-base-ko"]]
    if options.faster_whisper:
        workers.append(Worker("faster-whisper", options.faster_whisper, options.peer_python))
    if options.transformers:
        workers.append(Worker("transformers", options.transformers))
    compare(workers, [str(path) for path in options.sounds], options.repeat)


if __name__ == "__main__":
    main()
