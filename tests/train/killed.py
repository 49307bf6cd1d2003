"""Kill a small run with SIGKILL at random moments, resume it, and compare its end with an unbroken one's.

    python killed.py CORPUS FOLDER KILLS SEED           killed
    python killed.py CORPUS FOLDER MOMENTS SEED full    on a disk that is full at random bytes, as often

One process imports everything and forks each attempt. It prints how many were killed; it fails if a checkpoint
folder was ever unreadable, or if the two runs do not end in the same bytes.
"""

import logging
import os
import random
import resource
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


def attempt(corpus: Path, out: Path, steps: int, limit: int = 0) -> int:
    """Fork a process that trains to the end, or as far as it lives, and return its id.

    With a limit it can write no file that is longer, as on a disk that is full from that byte on.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
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


def fill_up(corpus: Path, folder: Path, moments: int, steps: int, dice: random.Random) -> None:
    """Train against a disk that is full at random bytes, then with room, and compare the end with an unbroken run's."""
    wanted = contents(folder / "whole", steps)
    longest = max(map(len, wanted.values()))
    for moment in range(moments):
        out = folder / f"full-{moment}"
        _, status = os.waitpid(attempt(corpus, out, steps, dice.randrange(1, longest)), 0)
        if os.waitstatus_to_exitcode(status) == 0:
            raise SystemExit("a run said that it was saved on a full disk")
        for step in Checkpoints(out, 2).steps():
            _read(out / "checkpoints" / f"step_{step:08d}")
        _, status = os.waitpid(attempt(corpus, out, steps), 0)
        if os.waitstatus_to_exitcode(status) or contents(out, steps) != wanted:
            raise SystemExit(f"a run that met a full disk ends otherwise than one that did not, moment {moment}")
    print(moments)


def contents(run: Path, steps: int) -> dict[str, bytes]:
    """Return what a finished run has learnt, by the names of its files."""
    last = f"checkpoints/step_{steps:08d}"
    names = [f"{last}/{part}.safetensors" for part in ("task", "ema", "optimizers")]
    names += [f"{last}/state.json", "model/model.safetensors", "model/config.json"]
    return {name: (run / name).read_bytes() for name in names}


def main() -> None:
    """Run one unbroken and one that is killed again and again."""
    logging.disable(logging.INFO)
    corpus, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    full = sys.argv[5:] == ["full"]
    steps, dice = 6 if full else 2 * kills + 4, random.Random(seed)
    began = time.monotonic()
    unbroken = attempt(corpus, folder / "whole", steps)
    while not finished(unbroken):
        time.sleep(0.01)
    if full:
        fill_up(corpus, folder, kills, steps, dice)
        return
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
    whole, killed = (contents(folder / name, steps) for name in ("whole", "killed"))
    differing = [name for name, content in whole.items() if killed[name] != content]
    if differing:
        raise SystemExit(f"{differing[0]} differs after {done} kills")
    print(done)


if __name__ == "__main__":
    main()
