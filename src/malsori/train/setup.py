"""A recipe bound to a corpus, and what every system's binding has in common."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from malsori.config import AudioConfig
from malsori.corpus.batches import Collator, select
from malsori.corpus.folder import OLD_TRACKER, Corpus
from malsori.errors import ConfigError
from malsori.pretrained.folder import ModelFacts
from malsori.text.frontend import FRONTEND_VERSION
from malsori.text.symbols import SymbolTable
from malsori.train.recipe import Recipe

log = logging.getLogger("malsori")


@dataclass(frozen=True)
class Setup:
    """A task bound to a corpus, ready for the loop.

    Attributes:
        recipe: checked settings.
        corpus: the prepared corpus.
        task: the module that yields losses.
        cuts: split → id → lhotse cut.
        collators: split → what makes its batches.
        by_seconds: batches hold so much speech, lengths alike; otherwise a fixed count.
        facts, symbols: what the saved model will say of itself.
        left_out: reason → ids that are not trained on.
        files: what else the saved model cannot do without.
    """

    recipe: Recipe
    corpus: Corpus
    task: Any
    cuts: dict[str, dict[str, Any]]
    collators: dict[str, Collator]
    by_seconds: bool
    facts: ModelFacts
    symbols: dict[str, SymbolTable] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """How a system is trained: its recipe's class, what builds its task, and what binds the task to a corpus.

    starts: binding takes up the recipe's `start_from` by itself, sizes and alphabet too.
    """

    recipe: type[Recipe]
    build: Callable[[Any], Any]
    bind: Callable[[Any, Corpus], Setup]
    starts: bool = False


def both_splits(recipe: Recipe, corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Return the cuts that the recipe wants: split → id → cut. Raises: CorpusError as `select`."""
    return {split: select(corpus, split, recipe.data) for split in ("train", "dev")}


def same_audio(audio: AudioConfig, corpus: Corpus, whose: str = "recipe") -> None:
    """Raise: ConfigError naming the first setting in which the recipe (or another) and the corpus disagree."""
    for name, wanted in audio.model_dump().items():
        found = getattr(corpus.audio, name)
        if found != wanted:
            raise ConfigError(f"audio.{name} is {wanted} in the {whose} and {found} in {corpus.path}: prepare it anew")


def model_facts(recipe: Any, model: dict[str, Any], corpus: Corpus, **more: Any) -> ModelFacts:
    """Return what the saved model will say of itself; `model` holds its sizes."""
    return ModelFacts(
        system=recipe.system,
        model=model,
        audio=recipe.audio,
        audio_fingerprint=recipe.audio.fingerprint(),
        frontend={"version": FRONTEND_VERSION},
        licence=recipe.licence,
        trained={"corpus": corpus.name, "recipe": recipe.fingerprint(), "pitch_tracker": corpus.pitch_tracker},
        **more,
    )


def warn_of_other_pitch(before: ModelFacts, corpus: Corpus, place: str) -> None:
    """Log it where a model that goes on learning a corpus's pitch has learnt it from another tracker's until now."""
    tracker = before.trained.get("pitch_tracker", OLD_TRACKER)
    if before.statistics and tracker != corpus.pitch_tracker:
        log.warning(
            "%s has learnt pitch found by '%s', %s holds that of '%s': they differ a little in voicing. "
            "Prepare the corpus with --pitch %s to have the same.",
            *(place, tracker, corpus.path, corpus.pitch_tracker, tracker),
        )


def kept(reasons: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the reasons that left somebody out."""
    return {reason: ids for reason, ids in reasons.items() if ids}


def talkative_first(cuts: dict[str, Any]) -> tuple[str, ...]:
    """Return the speakers of some cuts, the one with most of them first: who speaks when nobody is named."""
    spoken = Counter(cut.supervisions[0].speaker for cut in cuts.values())
    return tuple(speaker for speaker, _ in spoken.most_common())
