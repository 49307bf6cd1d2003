"""Model folders as a stranger, a bad disk or a careless editor may leave them: one mutation each, from a seed."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

NUMBERS = (
    0,
    -1,
    1,
    2,
    7,
    10**6,
    10**9,
    10**18,
    -(10**9),
    0.5,
    float("nan"),
    float("inf"),
    "x",
    None,
    [],
    {},
    True,
    [1] * 9,
)
TEXTS = ("", "없음", "x" * 5000, "\0", 3, None, [], "../../etc/passwd")


def leaves(values: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all plain values in nested ones."""
    if isinstance(values, dict):
        return [path, *(leaf for key, value in values.items() for leaf in leaves(value, (*path, key)))]
    if isinstance(values, list):
        return [path, *(leaf for place, value in enumerate(values) for leaf in leaves(value, (*path, place)))]
    return [path]


def change_json(path: Path, dice: random.Random) -> str:
    """Change one value of a JSON file, take one out or put one in, and say which."""
    values = json.loads(path.read_text(encoding="utf-8"))
    *above, last = place = dice.choice([leaf for leaf in leaves(values) if leaf])
    inside = values
    for key in above:
        inside = inside[key]
    kind = dice.random()
    if kind < 0.7:
        inside[last] = dice.choice(NUMBERS if isinstance(inside[last], int | float) else (*NUMBERS, *TEXTS))
    elif kind < 0.85:
        del inside[last]
    elif isinstance(inside, list):
        dice.choice((inside.reverse, lambda: inside.extend(inside * 3), inside.clear))()
    else:
        inside["surprise"] = dice.choice(NUMBERS)
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    return f"{path.name} {'.'.join(map(str, place))}"


def change_bytes(path: Path, dice: random.Random) -> str:
    """Cut a file, turn bytes of it over, or put something else in its place."""
    content = bytearray(path.read_bytes())
    kind = dice.randrange(4)
    if kind == 0:
        content = content[: dice.randrange(len(content))]
    elif kind == 1:
        for _ in range(dice.randrange(1, 30)):
            content[dice.randrange(min(len(content), 4000))] = dice.randrange(256)
    elif kind == 2:
        content = bytearray(dice.choice((b"", b"{}", b"[]", b"\x80\x02pickle", b"[" * 100_000, b"\xff" * 99)))
    else:
        content[:8] = struct.pack("<Q", dice.choice((0, 7, 10**6, 2**40, 2**63)))
    path.write_bytes(bytes(content))
    return f"{path.name} bytes, kind {kind}"


def change_weights(path: Path, dice: random.Random) -> str:
    """Make one weight of a file something that it cannot be."""
    weights = load_file(path)
    name = dice.choice(sorted(weights))
    tensor = weights[name]
    changes: dict[str, Callable[[], torch.Tensor]] = {
        "nan": lambda: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor,
        "inf": lambda: tensor * float("inf") if tensor.is_floating_point() else tensor,
        "integers": lambda: tensor.to(torch.int32),
        "numbers": lambda: tensor.to(torch.float64),
        "bools": lambda: tensor.to(torch.bool),
        "flat": lambda: tensor.flatten()[:-1].clone(),
        "deep": lambda: tensor[None].clone(),
        "empty": lambda: tensor.new_zeros(0),
        "great": lambda: (tensor.float() * 1e30).to(torch.float32),
    }
    kind = dice.choice([*changes, "gone", "more"])
    if kind == "gone":
        del weights[name]
    elif kind == "more":
        weights["surprise.weight"] = torch.zeros(3)
    else:
        weights[name] = changes[kind]()
    save_file(weights, path)
    return f"{path.name} {name}: {kind}"


def mutate(folder: Path, seed: int) -> str:
    """Change one thing in a model's folder, and say what."""
    dice = random.Random(seed)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    path = dice.choice([*files, folder / "config.json", folder / "config.json"])
    if dice.random() < 0.15:
        return change_bytes(path, dice)
    if path.suffix == ".json":
        return change_json(path, dice)
    return change_weights(path, dice)
