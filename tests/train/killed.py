"""Kill a small run with SIGKILL at random moments, resume it, and compare its end with an unbroken one's.

    python killed.py CORPUS FOLDER KILLS SEED

One process imports everything and forks each attempt. It prints how many were killed; it fails if a checkpoint
folder was ever unreadable, or if the two runs do not end in the same bytes.
"""

import logging
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # an optimizer's constructor would import it in every attempt
import torch.utils.tensorboard

from malsori.corpus.folder import load_corpus
from malsori.train.checkpoint import Checkpoints, _read
from malsori.train.loop import RunOptions, train
from malsori.train.recipe import read_recipe
from malsori.train.systems import parse_recipe, set_up

TINY = (
    "model.hidden_size=16", "model.ffn_size=16", "model.predictor_hidden_size=8", "model.num_encoder_layers=1",
    "model.num_decoder_layers=1", "model.num_heads=1", "data.batch_seconds=3.0", "data.workers=0", "train.log_every=3",
    "train.contributions_every=7", "train.validate_every=4", "train.save_every=1", "train.keep=2",
)  # fmt: skip


def attempt(corpus: Path, out: Path, steps: int) -> int:
    """Fork a process that trains to the end, or as far as it lives, and return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        torch.set_num_threads(1)
        recipe = parse_recipe(read_recipe("fastspeech2-small", [*TINY, f"train.steps={steps}"]), "killed")
        train(set_up(recipe, load_corpus(corpus)), RunOptions(out=out, resume=True, device="cpu"))
        status = 0
    finally:
        os._exit(status)


def finished(child: int) -> bool:
    """Return True if a process has ended; it must have ended well."""
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended and os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"an attempt failed with status {os.waitstatus_to_exitcode(status)}")
    return bool(ended)


def kill_at_random(child: int, out: Path, dice: random.Random, step_seconds: float) -> bool:
    """Kill a process early in its start, or within two steps of its first checkpoint; False if it was faster."""
    before = set((out / "checkpoints").glob("*"))
    if dice.random() < 0.2:
        time.sleep(dice.uniform(0, 3 * step_seconds))
    else:
        while set((out / "checkpoints").glob("*")) == before:
            if finished(child):
                return False
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 2 * step_seconds))
    if finished(child):
        return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main() -> None:
    """Run one unbroken and one that is killed again and again."""
    logging.disable(logging.INFO)
    corpus, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    steps, dice = 2 * kills + 4, random.Random(seed)
    began = time.monotonic()
    whole = attempt(corpus, folder / "whole", steps)
    while not finished(whole):
        time.sleep(0.01)
    step_seconds, done = (time.monotonic() - began) / steps, 0
    while True:
        child = attempt(corpus, folder / "killed", steps)
        if done == kills:
            while not finished(child):
                time.sleep(0.01)
            break
        if not kill_at_random(child, folder / "killed", dice, step_seconds):
            break
        done += 1
        for step in Checkpoints(folder / "killed", 2).steps():
            _read(folder / "killed" / "checkpoints" / f"step_{step:08d}")
    last = f"checkpoints/step_{steps:08d}"
    names = [f"{last}/{part}.safetensors" for part in ("task", "ema", "optimizers")]
    names += [f"{last}/state.json", "model/model.safetensors", "model/config.json"]
    for name in names:
        if (folder / "whole" / name).read_bytes() != (folder / "killed" / name).read_bytes():
            raise SystemExit(f"{name} differs after {done} kills")
    print(done)


if __name__ == "__main__":
    main()
