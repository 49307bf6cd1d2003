"""Pictures of trained systems side by side: what each learnt while it was trained, and how each says one sentence.

    python bench/systems.py RUN_OR_MODEL... --corpus work/voice --utterance ID [-o FOLDER]

It writes mels.png, the recording's log-mel above those of each voice's speech and each vocoder's copy, and curves.png,
the held-out measure that chose each run's model.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from malsori.audio.io import load_audio
from malsori.audio.mel import log_mel
from malsori.corpus.folder import Corpus, load_corpus
from malsori.pretrained.hub import load_saved
from malsori.report.curves import figure_of_axes
from malsori.report.plots import as_png, mels_figure
from malsori.systems import systems_of
from malsori.train.run_log import read_lines
from malsori.tts.options import SayOptions
from malsori.tts.vocoders import NetworkVocoder
from malsori.tts.voice import load_voice

_ACROSS = 4  # curves side by side


def spoken(name: str, corpus: Corpus, wanted: str) -> dict[str, np.ndarray]:
    """Return the system's name and its wave of an utterance of the corpus; nothing for a recogniser."""
    model = load_saved(name)
    system = model.facts.system
    if system in systems_of("recognizer"):
        return {}
    cut = next(cut for split in corpus.cuts.values() for cut in split if cut.id == wanted)
    if system in systems_of("vocoder"):
        return {f"{system} (a copy)": NetworkVocoder(model).vocode(corpus.ground_truth(cut)["mel"])}
    said = cut.supervisions[0]
    return {system: load_voice(name).say(said.text, SayOptions(speaker=said.speaker)).wave}


def mels(names: list[str], corpus: Corpus, wanted: str) -> bytes:
    """Return the picture of the recording and of all that speak."""
    cut = next(cut for split in corpus.cuts.values() for cut in split if cut.id == wanted)
    waves = {f"{wanted}, recording": load_audio(cut.recording.sources[0].source, corpus.audio.sample_rate)}
    for name in names:
        waves |= spoken(name, corpus, wanted)
    shown = {name: log_mel(torch.from_numpy(wave)[None], corpus.audio)[0].numpy() for name, wave in waves.items()}
    png = Image.open(io.BytesIO(as_png(mels_figure(shown, corpus.audio)))).convert("RGB")
    small = io.BytesIO()
    png.quantize(64).save(small, format="png", optimize=True)  # a third of the bytes, and no eye sees it
    return small.getvalue()


def curves(names: list[str]) -> bytes:
    """Return the picture of each run's first held-out measure; a model within a run's folder is that run's."""
    folders = [folder for name in names for folder in (Path(name), Path(name).parent)]
    runs = {run.name: lines for run in folders if (lines := read_lines(run / "metrics.jsonl"))}
    figure, axes = figure_of_axes(-(-len(runs) // _ACROSS), across=_ACROSS)
    for place, (name, lines) in zip(axes, runs.items(), strict=False):
        measure = next(key for line in lines for key in line if key.startswith("validation/"))
        points = [(line["step"], line[measure]) for line in lines if measure in line]
        place.plot(*zip(*points, strict=True), marker=".")
        place.set_title(f"{name}: {measure.removeprefix('validation/')}", fontsize=9, loc="left")
    for place in axes[len(runs) :]:
        place.set_axis_off()
    return as_png(figure)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="RUN_OR_MODEL")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--utterance", required=True)
    parser.add_argument("-o", "--out", type=Path, default=Path("systems"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "mels.png").write_bytes(mels(options.names, load_corpus(options.corpus), options.utterance))
    (options.out / "curves.png").write_bytes(curves(options.names))


if __name__ == "__main__":
    main()
