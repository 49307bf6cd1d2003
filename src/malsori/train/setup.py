"""What the loop is given: a task with the batches of a corpus; and what every system's set-up has in common."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from malsori.config import AudioConfig
from malsori.corpus.batches import Collator, select, too_long
from malsori.corpus.folder import OLD_TRACKER, Corpus
from malsori.errors import ConfigError
from malsori.pretrained.folder import ModelFacts
from malsori.systems import systems_of
from malsori.text.frontend import FRONTEND_VERSION, RULES_VERSION
from malsori.text.symbols import SymbolTable
from malsori.text.userwords import UserLexicon, user_lexicon
from malsori.train.recipe import Recipe

log = logging.getLogger("malsori")


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """A task with the batches of a corpus, ready for the loop.

    Attributes:
        recipe: checked settings.
        corpus: the prepared corpus.
        task: the module that yields losses.
        cuts: split → id → lhotse cut.
        collators: split → what makes its batches.
        by_seconds: batches hold data.batch_seconds of speech, of similar lengths; otherwise data.batch_size utterances.
        facts: written into the saved model's config.json.
        symbols: kind → table, written into the saved model's symbols.json.
        skipped: reason → ids that are not trained on.
        files: name → content of what the saved model needs besides (a tokenizer's files).
    """

    recipe: Recipe
    corpus: Corpus
    task: Any
    cuts: dict[str, dict[str, Any]]
    collators: dict[str, Collator]
    by_seconds: bool
    facts: ModelFacts
    symbols: dict[str, SymbolTable] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SystemSpec:
    """How a system is trained.

    Attributes:
        recipe: the class of its recipes.
        build_task: recipe → task with new networks, without a corpus.
        from_corpus: recipe and corpus → training set-up.
        accepts_initial_weights: `from_corpus` reads the recipe's `start_from` itself, sizes and alphabet too; of other
            systems only the weights are loaded, after it.
    """

    recipe: type[Recipe]
    build_task: Callable[[Any], Any]
    from_corpus: Callable[[Any, Corpus], TrainingSetup]
    accepts_initial_weights: bool = False


def select_splits(recipe: Recipe, corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Return the cuts that the recipe selects: split → id → cut. Raises: CorpusError as `select`."""
    return {split: select(corpus, split, recipe.data) for split in ("train", "dev")}


def training_lexicon(recipe: Recipe, corpus: Corpus) -> UserLexicon:
    """Return the user's words that texts are read by in training, and by the model ever after.

    Raises: TextError naming a row that cannot be used; ConfigError for a voice whose words the corpus was not prepared
        with: its phonemes and their durations were found without them.
    """
    own = user_lexicon(recipe.frontend.lexicon)
    new = next((word for word in own.words if word not in corpus.lexicon.words), None)
    if new and recipe.system in systems_of("acoustic model", "end-to-end voice"):
        raise ConfigError(
            f"frontend.lexicon reads {new.written!r} as {new.spoken!r}, {corpus.path} was prepared without: a voice "
            "learns the phonemes of its corpus; run 'malsori corpus prepare' again with that --lexicon"
        )
    return corpus.lexicon + own


def require_same_audio(audio: AudioConfig, corpus: Corpus, source: str = "recipe") -> None:
    """Check that audio settings are the corpus's.

    Args:
        source: whose settings they are, for the message.
    Raises: ConfigError naming the first setting that differs, and both values.
    """
    for name, wanted in audio.model_dump().items():
        found = getattr(corpus.audio, name)
        if found != wanted:
            raise ConfigError(f"audio.{name} is {wanted} in the {source} and {found} in {corpus.path}: prepare it anew")


def model_facts(recipe: Any, model: dict[str, Any], corpus: Corpus, **more: Any) -> ModelFacts:
    """Return the facts written into the saved model's config.json; `model` holds its sizes."""
    words = training_lexicon(recipe, corpus).as_rows()
    return ModelFacts(
        system=recipe.system,
        model=model,
        audio=recipe.audio,
        audio_fingerprint=recipe.audio.fingerprint(),
        frontend={"version": FRONTEND_VERSION, "rules": RULES_VERSION} | ({"lexicon": words} if words else {}),
        license=recipe.license,
        trained={"corpus": corpus.name, "recipe": recipe.fingerprint(), "pitch_tracker": corpus.pitch_tracker},
        **more,
    )


def warn_of_other_pitch(before: ModelFacts, corpus: Corpus, place: str) -> None:
    """Log it where a model that goes on learning a corpus's pitch has learnt it from another tracker's until now."""
    tracker = before.trained.get("pitch_tracker", OLD_TRACKER)
    if before.statistics and tracker != corpus.pitch_tracker:
        log.warning(
            "%s has learnt pitch found by '%s', %s holds that of '%s': they differ in the voicing of a "
            "frame in a hundred (RESULTS.md). To have the same, prepare the corpus with --pitch %s.",
            *(place, tracker, corpus.path, corpus.pitch_tracker, tracker),
        )


def speakers_by_count(cuts: dict[str, Any]) -> tuple[str, ...]:
    """Return the speakers of some cuts, the one with the most cuts first: a voice's default speaker."""
    counts = Counter(cut.supervisions[0].speaker for cut in cuts.values())
    return tuple(speaker for speaker, _ in counts.most_common())


def log_training_data(setup: TrainingSetup) -> None:
    """Log how much speech each split has, and what is skipped, by reason."""
    for split, cuts in setup.cuts.items():
        hours = sum(cut.duration for cut in cuts.values()) / 3600
        log.info("%s, %s, %s: %d utterances, %.3f h", setup.recipe.system, setup.corpus.name, split, len(cuts), hours)
    long = [name for split in setup.cuts for name in too_long(setup.corpus, split, setup.recipe.data)]
    left_out = {f"longer than data.max_seconds={setup.recipe.data.max_seconds:g}": long} if long else {}
    for reason, ids in (setup.skipped | left_out).items():
        log.info("skipped, %s: %d (%s%s)", reason, len(ids), ", ".join(ids[:5]), ", ..." if len(ids) > 5 else "")
