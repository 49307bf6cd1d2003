"""Which systems can be trained, and how a recipe becomes a task, alone or bound to a corpus."""

from typing import Any

import torch
from torch import nn

from malsori.config import nearest
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError
from malsori.pretrained.folder import ModelFacts, load_exactly
from malsori.pretrained.hub import load_saved
from malsori.train import conformer, fastspeech, hifigan, tacotron, vits, wav2vec2, wav2vec2_pretraining, whisper
from malsori.train.recipe import Recipe
from malsori.train.setup import Setup, System, warn_of_other_pitch
from malsori.train.tasks import Task

#: Every system that can be trained, by the name its recipes give it.
SYSTEMS: dict[str, System] = {
    **conformer.SYSTEMS,
    **fastspeech.SYSTEMS,
    **hifigan.SYSTEMS,
    **tacotron.SYSTEMS,
    **vits.SYSTEMS,
    **wav2vec2.SYSTEMS,
    **wav2vec2_pretraining.SYSTEMS,
    **whisper.SYSTEMS,
}


def parse_recipe(values: dict[str, Any], place: str) -> Recipe:
    """Return the recipe as its system's own class. Raises: ConfigError for an unknown system or key."""
    system = values.get("system")
    if system not in SYSTEMS:
        known = sorted(SYSTEMS)
        raise ConfigError(f"{place}: system = {system!r} is not known.{nearest(str(system), known)}")
    return SYSTEMS[system].recipe.parse(values, place)


def set_up(recipe: Recipe, corpus: Corpus) -> Setup:
    """Return the task of a recipe, bound to a corpus; networks start from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    setup = SYSTEMS[recipe.system].bind(recipe, corpus)
    if recipe.start_from and not SYSTEMS[recipe.system].starts:
        before = start_from(setup.task.product(), recipe.start_from)
        warn_of_other_pitch(before, corpus, recipe.start_from)
    return setup


def start_from(network: nn.Module, name: str) -> ModelFacts:
    """Give a network the weights of a saved or public model, and return what that model says of itself.

    Speakers are not matched by name, all else must fit.

    Raises: ModelError if there is no such model or a weight does not fit.
    """
    saved = load_saved(name)
    weights = saved.network.state_dict()
    own = network.state_dict()
    kept = {key: tensor for key, tensor in weights.items() if not key.startswith("speaker_embedding.")}
    speakers = {key: tensor for key, tensor in own.items() if key.startswith("speaker_embedding.")}
    load_exactly(network, kept | speakers, name)
    return saved.facts


def build_task(recipe: Recipe) -> Task:
    """Return the task of a recipe with new networks, bound to no corpus."""
    return SYSTEMS[recipe.system].build(recipe)
