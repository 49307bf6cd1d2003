"""Pictures of what a Tacotron attends to: the recording's own frames given, and left to itself.

    python bench/attention.py RUN_OR_MODEL --corpus work/voice [--split dev] [--count 3] [-o FOLDER]

For each of the split's first utterances it writes ID-given.png and ID-alone.png, and prints how much attention lies
near the diagonal, how long the recording and the speech are, and how far the attention's durations are from the
aligner's, where the corpus has any.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malsori.corpus.batches import DataConfig, load_example, select
from malsori.corpus.folder import Corpus, load_corpus
from malsori.losses.sequence import attention_diagonality
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import load_saved
from malsori.report.plots import as_png, attention_figure
from malsori.text.symbols import PHONEMES
from malsori.train.tacotron import ReadCollator


@torch.inference_mode()
def look(model: SavedModel, corpus: Corpus, cut: Any, out: Path) -> None:
    """Write the two pictures of an utterance and print what they show in numbers."""
    example = load_example(corpus, cut)
    batch = ReadCollator(model.facts.speakers)([example], np.random.default_rng(0))
    told = batch.token_ids, batch.token_lengths, batch.speaker_ids
    network = model.network
    given, alone = network(*told, batch.mel, batch.frame_lengths), network.infer(*told)
    phonemes = PHONEMES.decode(batch.token_ids[0].tolist())
    for kind, output in (("given", given), ("alone", alone)):
        figure = attention_figure(output.mel[0].numpy(), output.attention[0].numpy(), phonemes, corpus.audio)
        (out / f"{cut.id.replace('/', '_')}-{kind}.png").write_bytes(as_png(figure))
    near = attention_diagonality(given.attention, given.step_lengths, batch.token_lengths)
    peak = given.attention.amax(-1).mean()
    said = f"{cut.id}: {near:.0%} near the diagonal, mean peak {peak:.2f}"
    said += f", {int(batch.frame_lengths)} frames recorded, {int(alone.frame_lengths)} spoken"
    if "durations" in example.truth:
        ends = network.durations(given, batch.token_lengths)[0].cumsum(0).numpy()
        apart = np.abs(ends - np.cumsum(example.truth["durations"])).mean() * corpus.audio.frame_seconds
        said += f", a phoneme's end {1000 * apart:.0f} ms from the aligner's"
    print(said)


def main() -> None:
    """Read the command line and look at some utterances."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("attention"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    model, corpus = load_saved(options.model), load_corpus(options.corpus)
    cuts = select(corpus, options.split, DataConfig(speakers=model.facts.speakers))
    for cut in list(cuts.values())[: options.count]:
        look(model, corpus, cut, options.out)


if __name__ == "__main__":
    main()
