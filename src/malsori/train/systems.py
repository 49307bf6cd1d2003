"""Which systems can be trained, and how a recipe and a corpus become a task with its batches."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from malsori.config import nearest
from malsori.corpus.batches import (
    Collator,
    DataConfig,
    ListenCollator,
    SegmentCollator,
    SpeakCollator,
    Target,
    select,
    speaker_statistics,
)
from malsori.corpus.folder import Corpus
from malsori.errors import ConfigError, CorpusError, TextError
from malsori.losses.sequence import frames_needed
from malsori.models.catalogue import locate
from malsori.models.conformer import Conformer
from malsori.models.fastspeech2 import FastSpeech2
from malsori.models.hifigan import Discriminators, Hifigan
from malsori.models.saved import ModelFacts, load_exactly, read_weights
from malsori.models.vocos import Vocos, VocosDiscriminators
from malsori.text.frontend import FRONTEND_VERSION, Frontend
from malsori.text.hangul import only_hangul, to_jamo
from malsori.text.symbols import JAMO, PHONEMES, SymbolTable
from malsori.train.recipe import Recipe
from malsori.train.tasks import (
    ConformerRecipe,
    ConformerTask,
    FastSpeech2Recipe,
    FastSpeech2Task,
    HifiganRecipe,
    MelCopyTask,
    Task,
    VocoderTask,
    VocosRecipe,
)


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
    if recipe.start_from:
        start_from(setup.task.product(), recipe.start_from)
    return setup


def start_from(network: nn.Module, name: str) -> None:
    """Give a network the weights of a saved model; speakers it knew by name are not matched, all else must fit.

    Raises: ModelError if there is no such model or a weight does not fit.
    """
    folder = locate(name)
    weights = read_weights(folder / "model.safetensors")
    own = network.state_dict()
    for key in [key for key in weights if key.startswith("speaker_embedding.")]:
        weights[key] = own[key]
    load_exactly(network, weights, str(folder))


def build_task(recipe: Recipe) -> Task:
    """Return the task of a recipe with new networks, bound to no corpus."""
    return SYSTEMS[recipe.system].build(recipe)


def _vocos_task(recipe: VocosRecipe) -> nn.Module:
    if not recipe.adversarial:
        return MelCopyTask(Vocos(recipe.model), recipe.audio)
    judges = VocosDiscriminators(recipe.waves, recipe.resolutions)
    return VocoderTask(Vocos(recipe.model), judges, recipe.audio)


def _hifigan_task(recipe: HifiganRecipe) -> nn.Module:
    if not recipe.adversarial:
        return MelCopyTask(Hifigan(recipe.model), recipe.audio)
    return VocoderTask(Hifigan(recipe.model), Discriminators(recipe.waves), recipe.audio)


def _fastspeech2_task(recipe: FastSpeech2Recipe) -> nn.Module:
    return FastSpeech2Task(FastSpeech2(recipe.model))


def _conformer_task(recipe: ConformerRecipe) -> nn.Module:
    return ConformerTask(Conformer(recipe.model), recipe.audio)


def _vocoder(recipe: VocosRecipe | HifiganRecipe, corpus: Corpus) -> Setup:
    _same_audio(recipe, corpus)
    if recipe.model.samples_a_frame != recipe.audio.hop_samples:
        made, wanted = recipe.model.samples_a_frame, recipe.audio.hop_samples
        raise ConfigError(f"the model makes {made} samples a frame, audio.hop_samples is {wanted}: they must agree")
    collator = SegmentCollator(recipe.audio, recipe.data.segment_frames)
    collators: dict[str, Collator] = {"train": collator, "dev": collator}
    facts = _facts(recipe, recipe.model.model_dump(), corpus)
    return Setup(recipe, corpus, build_task(recipe), _both_splits(recipe, corpus), collators, False, facts)


def _fastspeech2(recipe: FastSpeech2Recipe, corpus: Corpus) -> Setup:
    _same_audio(recipe, corpus)
    cuts = _both_splits(recipe, corpus)
    left_out: dict[str, list[str]] = {}
    for split in cuts:
        unaligned = [name for name, cut in cuts[split].items() if "durations" not in corpus.ground_truth(cut)]
        cuts[split] = {name: cut for name, cut in cuts[split].items() if name not in unaligned}
        left_out.setdefault("without durations", []).extend(unaligned)
        if not cuts[split]:
            raise CorpusError(f"{corpus.path}: no durations yet. Run 'malsori corpus prepare' with --align-with MODEL")
    statistics = speaker_statistics(corpus, cuts["train"])
    spoken = Counter(cut.supervisions[0].speaker for cut in cuts["train"].values())
    speakers = tuple(speaker for speaker, _ in spoken.most_common())  # the first is who speaks when nobody is named
    cuts["dev"] = {name: cut for name, cut in cuts["dev"].items() if cut.supervisions[0].speaker in statistics}
    collator = SpeakCollator(speakers, statistics)
    sizes = recipe.model.model_copy(update={"speakers": len(speakers)})
    facts = _facts(recipe, sizes.model_dump(), corpus, speakers=speakers, statistics=statistics)
    task = build_task(recipe.model_copy(update={"model": sizes}))
    collators: dict[str, Collator] = {"train": collator, "dev": collator}
    return Setup(recipe, corpus, task, cuts, collators, True, facts, {"phonemes": PHONEMES}, _kept(left_out))


def _conformer(recipe: ConformerRecipe, corpus: Corpus) -> Setup:
    cuts, frontend = _both_splits(recipe, corpus), Frontend()
    left_out: dict[str, list[str]] = {}
    collators: dict[str, Collator] = {}
    plain = DataConfig()
    for split, found in cuts.items():
        data = recipe.data if split == "train" else plain
        targets = {}
        for name, cut in list(found.items()):
            reason, target = _target(frontend, cut, max(data.speeds), recipe.audio.frame_seconds)
            if target is None:
                del found[name]
                left_out.setdefault(reason, []).append(name)
            else:
                targets[name] = target
        collators[split] = ListenCollator(corpus.audio.sample_rate, recipe.audio, targets, data)
    facts = _facts(recipe, recipe.model.model_dump(), corpus)
    task, symbols = build_task(recipe), {"phonemes": PHONEMES, "jamo": JAMO}
    return Setup(recipe, corpus, task, cuts, collators, True, facts, symbols, left_out)


def _target(frontend: Frontend, cut: Any, speed: float, frame_seconds: float) -> tuple[str, Target | None]:
    """Return what should be written for a cut, or the reason why nothing can be."""
    try:
        target = listening_target(frontend, cut.supervisions[0].text)
    except TextError:
        return "text cannot be read", None
    if not target.phoneme_ids:
        return "nothing to write", None
    frames = int(cut.duration / speed / frame_seconds) // 2  # the Conformer writes a frame every 20 ms
    for ids in (target.jamo_ids, target.phoneme_ids):
        if int(frames_needed(torch.tensor([ids]), torch.tensor([len(ids)]))) > frames:
            return "too short for its text (CTC)", None
    return "", target


def listening_target(frontend: Frontend, text: str) -> Target:
    """Return what a recogniser should write for a spoken text: Hangul and spaces, no punctuation."""
    reading = frontend.read(text)
    plain = only_hangul(reading.normalized)
    sounded = [phoneme for phoneme, word in zip(reading.phonemes, reading.phoneme_words, strict=True) if word >= 0]
    return Target(plain, JAMO.encode(to_jamo(plain)), PHONEMES.encode(sounded))


def _both_splits(recipe: Recipe, corpus: Corpus) -> dict[str, dict[str, Any]]:
    return {split: select(corpus, split, recipe.data) for split in ("train", "dev")}


def _same_audio(recipe: VocosRecipe | HifiganRecipe | FastSpeech2Recipe, corpus: Corpus) -> None:
    """Raise: ConfigError naming the first setting in which the recipe and the corpus disagree."""
    for name, wanted in recipe.audio.model_dump().items():
        found = getattr(corpus.audio, name)
        if found != wanted:
            raise ConfigError(f"audio.{name} is {wanted} in the recipe and {found} in {corpus.path}: prepare it anew")


def _facts(recipe: Any, model: dict[str, Any], corpus: Corpus, **more: Any) -> ModelFacts:
    return ModelFacts(
        system=recipe.system,
        model=model,
        audio=recipe.audio,
        audio_fingerprint=recipe.audio.fingerprint(),
        frontend={"version": FRONTEND_VERSION},
        licence=recipe.licence,
        trained={"corpus": corpus.name, "recipe": recipe.fingerprint()},
        **more,
    )


def _kept(reasons: dict[str, list[str]]) -> dict[str, list[str]]:
    return {reason: ids for reason, ids in reasons.items() if ids}


@dataclass(frozen=True)
class System:
    """How a system is trained: its recipe's class, what builds its task, and what binds the task to a corpus."""

    recipe: type[Recipe]
    build: Callable[[Any], Any]
    bind: Callable[[Any, Corpus], Setup]


#: Every system that can be trained, by the name its recipes give it.
SYSTEMS: dict[str, System] = {
    "conformer": System(ConformerRecipe, _conformer_task, _conformer),
    "fastspeech2": System(FastSpeech2Recipe, _fastspeech2_task, _fastspeech2),
    "hifigan": System(HifiganRecipe, _hifigan_task, _vocoder),
    "vocos": System(VocosRecipe, _vocos_task, _vocoder),
}
