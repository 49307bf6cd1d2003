"""Which rooms a datum enters: a text in say, a wave in transcribe, a recipe in set-up, a batch in a step of training.

    python bench/walk.py [--doors] [FLOW...]
    PYTHONPATH=OTHER/src python bench/walk.py      the same of another tree, such as an older one

A room is a folder of the package, or a file beside them. A flow runs once, for all that is loaded once, and again under
a tracer, which records each call from one room into another: an entry, through the door that is the function called.
Code from elsewhere (torch, pydantic) belongs to the room that called it. A stay is a stretch of the way in one room, a
return one in a room that has been left before. The ground (settings, masks, errors, files) is counted apart.
"""

import argparse
import importlib.util
import inspect
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import malsori

PACKAGE = Path(malsori.__file__).parent
#: What every room stands on.
GROUND = frozenset({"config", "errors", "extras", "files", "shapes"})
TEXT = "사과가 나무에 있어요."
#: A recipe that goes on from the built-in voice.
RECIPE = (
    "fastspeech2-small",
    ["start_from=fastspeech2-ko", "data.workers=0", "data.batch_seconds=3.0", "train.balance_every=0"],
)


class Walk:
    """What was called between rooms while this was entered as a context.
    Attributes:
        doors: (room, function) → how often it was called from another room, in the order of the first times.
        stays: the rooms on the way; the ground and comprehensions are none.
    """

    def __init__(self) -> None:
        self.doors: Counter[tuple[str, str]] = Counter()
        self.stays: list[str] = []
        self._rooms: dict[str, str] = {}
        self._begun: dict[int, FrameType] = {}  # generators; held, so that no other frame is given their number

    def __enter__(self) -> "Walk":
        self._before = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    @cached_property
    def rooms(self) -> dict[str, dict[str, int]]:
        """Room → its doors with their entries, in the order in which the rooms are first entered."""
        found: dict[str, dict[str, int]] = {}
        for (room, door), entries in self.doors.items():
            found.setdefault(room, {})[door] = entries
        return found

    def _event(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        room = self._room(frame)
        if event != "call" or not room or code.co_name == "<module>" or self._goes_on(frame):
            return
        caller = frame.f_back
        if caller is None:  # what numba compiled tells of itself, without saying who called
            return
        while caller and not self._room(caller):
            caller = caller.f_back
        if (self._room(caller) if caller else "") != room:
            self.doors[room, code.co_qualname] += 1
        if room not in GROUND and code.co_name[0] != "<" and self.stays[-1:] != [room]:
            self.stays.append(room)

    def _goes_on(self, frame: FrameType) -> bool:
        """Return whether this is a generator that was begun before: to be resumed is no new call."""
        if not frame.f_code.co_flags & inspect.CO_GENERATOR:
            return False
        begun = id(frame) in self._begun
        self._begun[id(frame)] = frame
        return begun

    def _room(self, frame: FrameType) -> str:
        """Return the room in which a function stands; "" outside the package."""
        name = frame.f_code.co_filename
        if name not in self._rooms:
            inside = Path(name).is_relative_to(PACKAGE)
            self._rooms[name] = Path(name).relative_to(PACKAGE).with_suffix("").parts[0] if inside else ""
        return self._rooms[name]


def say() -> Callable[[], object]:
    """Return what speaks a text of one sentence, by networks of PyTorch, which graphs would hide."""
    voice = malsori.load_voice(device="cpu", precision="float32")
    return lambda: voice.say(TEXT)


def transcribe() -> Callable[[], object]:
    """Return what writes down a wave."""
    recognizer, speech = malsori.load_recognizer("conformer-ko"), say()()
    return lambda: recognizer.transcribe(speech.wave, sample_rate=speech.audio.sample_rate)


def set_up() -> Callable[[], Any]:
    """Return what binds a recipe to a corpus of eight buzzing sentences, its network begun from a saved model's."""
    from malsori.corpus.folder import load_corpus
    from malsori.train import systems
    from malsori.train.recipe import read_recipe

    corpus = load_corpus(_planted(Path(tempfile.mkdtemp())))
    recipe = systems.parse_recipe(read_recipe(*RECIPE), RECIPE[0])
    return lambda: systems.set_up(recipe, corpus)


def step() -> Callable[[], object]:
    """Return what takes one step of training: the batch is made, its losses go backward, the optimizer steps."""
    from malsori.train import loop

    options = loop.RunOptions(out=Path(tempfile.mkdtemp()) / "run", device="cpu")
    run = loop._Run(set_up()(), options)  # the step alone, without the validation and the saving of a whole run
    return lambda: run._step(0, next(run._batches(0, 1)))


def _planted(folder: Path) -> Path:
    """Return a corpus as the tests of the tree that is walked make it."""
    path = PACKAGE.parent.parent / "tests" / "train" / "planted.py"
    spec = importlib.util.spec_from_file_location("planted", path)
    assert spec and spec.loader, path
    planted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planted)
    return planted.plant_corpus(folder)


FLOWS: dict[str, Callable[[], Callable[[], Any]]] = {
    "say": say,
    "transcribe": transcribe,
    "set_up": set_up,
    "step": step,
}


def walked(name: str) -> Walk:
    """Return the way through the rooms of a flow whose loading is done."""
    flow = FLOWS[name]()
    flow()
    with Walk() as walk:
        flow()
    return walk


def told(name: str, walk: Walk, with_doors: bool) -> str:
    """Return a walk as text: rooms in the order in which they are first entered, their entries and doors, the stays."""
    rooms = {room: doors for room, doors in walk.rooms.items() if room not in GROUND}
    doors = sum(len(found) for found in rooms.values())
    entries = sum(sum(found.values()) for found in rooms.values())
    returns, ground = len(walk.stays) - len(rooms), walk.doors.total() - entries
    lines = [
        f"{name}: {len(rooms)} rooms, {doors} doors, {entries} entries; {len(walk.stays)} stays, {returns} returns; "
        f"{ground} look-ups of the ground"
    ]
    for room, found in rooms.items():
        lines.append(f"  {room:<12}{len(found):3} doors {sum(found.values()):4} entries")
        lines += [f"  {times:7} {door}" for door, times in found.items() if with_doors]
    return "\n".join([*lines, f"  way: {' > '.join(walk.stays)}"])


def main() -> None:
    """Read the command line, walk, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flows", nargs="*", metavar="FLOW", help=f"of {', '.join(FLOWS)}; all if none is named")
    parser.add_argument("--doors", action="store_true", help="name the functions too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.flows or FLOWS:
        print(told(name, walked(name), options.doors), flush=True)


if __name__ == "__main__":
    main()
