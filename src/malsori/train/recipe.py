"""A recipe says everything about a run but where the corpus lies: one TOML file, checked to the last key."""

import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from malsori.config import Config, nearest
from malsori.corpus.batches import DataConfig
from malsori.errors import ConfigError, TrainingError
from malsori.files import read_toml
from malsori.pretrained.legacy import current_key, current_recipe
from malsori.train.optim import OptimizerConfig

_HARMLESS = {
    "train.compile",
    "train.keep",
    "train.log_every",
    "train.samples",
    "data.workers",
}  # keys that change no step


class LoopConfig(Config):
    """How long a run lasts and what is written down on the way.

    accumulate: batches whose gradients one step adds up, where the memory cannot hold them as one; each counts alike,
        as the mean over its own frames or tokens does (with batches of a length, nearly one batch's mean).
    sync_batch_norm: of several processes, batch norm takes the batches computed at once as one; false: each by itself,
        however many processes there are.
    compile: torch.compile the networks of a FastSpeech 2 or Vocos: minutes at the start; the same losses.
    precision: bfloat16 is for GPUs; on a CPU float32 is computed whatever stands here.
    contributions_every: steps between two measurements of each loss's gradient, a backward pass a loss; 0: never.
    samples: held-out utterances that a voice or a vocoder says at each validation, to hear and see (RUN/samples).
    broken_steps: steps with a loss or a gradient that is not finite; each is skipped, more within 1000 stop the run.
    """

    steps: int = Field(ge=1)
    accumulate: int = Field(1, ge=1)
    sync_batch_norm: bool = False
    log_every: int = Field(50, ge=1)
    contributions_every: int = Field(500, ge=0)
    validate_every: int = Field(1000, ge=1)
    save_every: int = Field(1000, ge=1)
    samples: int = Field(2, ge=0)
    keep: int = Field(2, ge=1)
    broken_steps: int = Field(10, ge=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False


class FrontendConfig(Config):
    """How the corpus's texts are read.

    lexicon: a user's table of words, or several (docs/speaking.md); what a corpus was prepared with goes before.
    """

    lexicon: str | tuple[str, ...] = ()


class Recipe(Config):
    """What every system's recipe has; a system adds its model's section.

    half: ship float16 weights.
    start_from: a model whose weights the network begins with, to fine-tune it; none when empty.
    license: of the recordings, and so of the model; stands in its card.
    weights: turn → loss → weight; the names must be exactly those the task yields.
    optimizers: one for each turn.
    """

    system: str
    seed: int = 1
    half: bool = False
    start_from: str = ""
    license: str = "unknown"
    frontend: FrontendConfig = FrontendConfig()
    data: DataConfig
    train: LoopConfig
    optimizers: dict[str, OptimizerConfig]
    weights: dict[str, dict[str, float]]


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with malsori."""
    folder = resources.files("malsori") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_recipe(name_or_path: str, overrides: list[str] | None = None) -> dict[str, Any]:
    """Return a recipe's plain values: a built-in one by name, or any TOML file.

    Args:
        overrides: "train.steps=100" and the like; the value is read as TOML, or as text where it is not.
    Raises: ConfigError if there is no such recipe, or an override has no '='.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        values = read_toml(path)
    elif name_or_path in recipe_names():
        values = read_toml(Path(str(resources.files("malsori") / "recipes" / f"{name_or_path}.toml")))
    else:
        raise ConfigError(f"no recipe '{name_or_path}'.{nearest(name_or_path, recipe_names())}")
    values = current_recipe(values, name_or_path)
    for override in overrides or []:
        _override(values, override)
    return values


def _override(values: dict[str, Any], override: str) -> None:
    import tomllib

    dotted, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: expected key=value, such as train.steps=1000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, last = current_key(values, dotted.strip()).split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: '{part}' is a value, not a section")
    values[last] = value


def check_names(section: str, given: set[str], wanted: set[str]) -> None:
    """Raise ConfigError unless a recipe's section names exactly what the task has."""
    for name in sorted(given - wanted):
        raise ConfigError(f"recipe: '{section}.{name}' is not of this task.{nearest(name, sorted(wanted))}")
    for name in sorted(wanted - given):
        raise ConfigError(f"recipe: '{section}.{name}' is missing; the task has: {', '.join(sorted(wanted))}")


def refuse_changes(before: Recipe, now: Recipe, place: Path) -> None:
    """Raise TrainingError naming the keys in which two recipes differ, but for those that change no step."""
    old, new = (_leaves(recipe.model_dump(mode="json")) for recipe in (before, now))
    names = sorted({name for name, _ in old.items() ^ new.items()} - _HARMLESS)
    if names:
        changes = ", ".join(f"{name} ({old.get(name, 'unset')} → {new.get(name, 'unset')})" for name in names)
        raise TrainingError(
            f"{place}: --resume with another recipe: {changes}. Go on with --accept-changes, or start in another --out."
        )


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested recipe as dotted names and printed values."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        flat |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: json.dumps(value)}
    return flat
