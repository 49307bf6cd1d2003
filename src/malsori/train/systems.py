"""Which systems can be trained, and how a recipe becomes a task, alone or with the batches of a corpus."""

from typing import Any

import torch

from malsori.config import nearest
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError
from malsori.pretrained.hub import load_initial_weights
from malsori.pretrained.legacy import current_recipe
from malsori.systems import SYSTEMS
from malsori.train.recipe import Recipe
from malsori.train.setup import SystemSpec, TrainingSetup, warn_of_other_pitch
from malsori.train.tasks import Task


def training_spec(system: str) -> SystemSpec:
    """Return how a system of the table is trained."""
    spec: SystemSpec = SYSTEMS[system].resolve("training")
    return spec


def parse_recipe(values: dict[str, Any], place: str) -> Recipe:
    """Return the recipe as its system's own class. Raises: ConfigError for an unknown system or key."""
    values = current_recipe(values, place)
    system = values.get("system")
    if system not in SYSTEMS:
        known = sorted(SYSTEMS)
        raise ConfigError(f"{place}: system = {system!r} is not known.{nearest(str(system), known)}")
    return training_spec(system).recipe.parse(values, place)


def set_up(recipe: Recipe, corpus: Corpus) -> TrainingSetup:
    """Return the training set-up of a recipe on a corpus; networks are initialized from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    spec = training_spec(recipe.system)
    setup = spec.from_corpus(recipe, corpus)
    if recipe.start_from and not spec.accepts_initial_weights:
        before = load_initial_weights(setup.task.exported_model(), recipe.start_from)
        warn_of_other_pitch(before, corpus, recipe.start_from)
    return setup


def build_task(recipe: Recipe) -> Task:
    """Return the task of a recipe with new networks, without a corpus."""
    return training_spec(recipe.system).build_task(recipe)
