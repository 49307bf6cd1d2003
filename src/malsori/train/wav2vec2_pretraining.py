"""Pre-training of wav2vec 2.0: a masked frame's context picks its own quantized latent among other frames'."""

from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from malsori.config import RECOGNITION_AUDIO, AudioConfig, Config
from malsori.corpus.batches import Collator, DataConfig
from malsori.corpus.folder import Corpus
from malsori.losses.distribution import contrastive_loss, diversity_loss, draw_distractors
from malsori.models.wav2vec2 import Wav2Vec2Pretraining, Wav2Vec2PretrainingConfig, Wav2Vec2PretrainingOutput
from malsori.pretrained.folder import load_exactly
from malsori.pretrained.hub import load_saved
from malsori.shapes import length_mask, masked_mean
from malsori.train.examples import example_waves
from malsori.train.recipe import Recipe
from malsori.train.setup import SystemSpec, TrainingSetup, model_facts, select_splits
from malsori.train.tasks import NetworkTask, Turn
from malsori.train.wav2vec2 import MIN_SPANS, WaveBatch, WaveCollator, draw_spans, min_frames, sizes_from


class TemperatureConfig(Config):
    """Of the quantiser's draw: `start` times `decay` to the power of the step, never under `end` (paper, 4.2)."""

    start: float = 2.0
    end: float = 0.5
    decay: float = 0.999995

    def at(self, step: int) -> float:
        """Return the temperature of a step, counted from 0."""
        return max(self.end, self.start * self.decay**step)


class Wav2Vec2PretrainingRecipe(Recipe):
    """A recipe for pre-training. distractors: K, of other frames, for each masked frame; similarity: κ in eq. 3."""

    audio: AudioConfig = RECOGNITION_AUDIO
    model: Wav2Vec2PretrainingConfig = Wav2Vec2PretrainingConfig()
    temperature: TemperatureConfig = TemperatureConfig()
    distractors: int = 100
    similarity: float = 0.1


class Wav2Vec2PretrainingTask(NetworkTask):
    """Contrast between context and quantised sound, kept diverse, the latent's energy kept low (paper, 3.2 and 4.2)."""

    batches: Tensor

    turn = "encoder"
    network: Wav2Vec2Pretraining

    def __init__(self, network: Wav2Vec2Pretraining, recipe: Wav2Vec2PretrainingRecipe) -> None:
        super().__init__(network)
        self.recipe = recipe
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))  # how many the temperature has fallen over

    def losses(self, batch: WaveBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        temperature = self.recipe.temperature.at(int(self.batches) // self.recipe.train.accumulate)
        if self.training:
            self.batches += 1
        output, mask, drawn = self._forward_masked(batch, temperature)
        diversity = diversity_loss(output.probabilities, mask)
        losses = {
            "contrastive": contrastive_loss(*_masked(output, mask, drawn), temperature=self.recipe.similarity),
            "diversity": diversity,
            "energy": masked_mean(output.energy, length_mask(output.frame_lengths, mask.shape[1])),
        }
        diagnostics = {"codes_used": 1 - diversity.detach(), "mistaken": mistaken(*_masked(output, mask, drawn))}
        yield Turn(self.turn, losses, diagnostics)

    def example(self) -> WaveBatch:
        """Return a tiny batch of noise."""
        return WaveBatch(*example_waves(self.recipe.audio), ["a", "b"])

    @torch.inference_mode()
    def validate(self, batches: Iterable[WaveBatch]) -> dict[str, float]:
        """Return how often a masked frame is mistaken for another, and the losses; masks are the same each time.

        The contrastive loss alone would praise a codebook that has collapsed, where nothing can be mistaken.
        """
        sums: Counter[str] = Counter()
        count = 0
        with torch.random.fork_rng():
            torch.manual_seed(self.recipe.seed)
            for batch in batches:
                count += 1
                turn = next(self.losses(batch))
                sums.update({name: value.item() for name, value in (turn.diagnostics | turn.losses).items()})
        names = ("mistaken", "contrastive", "diversity")
        return {name: sums[name] / count for name in names}

    def _forward_masked(self, batch: WaveBatch, temperature: float) -> tuple[Wav2Vec2PretrainingOutput, Tensor, Tensor]:
        """Return the network's output, which frames were masked, and each one's distractors among them."""
        config = self.network.config
        lengths = self.network.encoder.frame_lengths(batch.sample_lengths)
        mask = draw_spans(lengths, config.mask_prob, config.mask_length, MIN_SPANS)
        sample_lengths = batch.sample_lengths if config.padding_mask else None
        output = self.network(batch.wave, sample_lengths, mask, temperature)
        return output, mask, draw_distractors(mask, self.recipe.distractors)


def _masked(output: Wav2Vec2PretrainingOutput, mask: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return context, target and distractors of the masked frames alone, as one long sound."""
    rows = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)[mask]
    distractors = output.target[rows[:, None], drawn[mask]]
    return output.context[mask][None], output.target[mask][None], distractors[None]


@torch.no_grad()
def mistaken(
    context: Float[Tensor, "batch frames features"],
    target: Float[Tensor, "batch frames features"],
    distractors: Float[Tensor, "batch frames distractors features"],
) -> Float[Tensor, ""]:
    """Return how often a frame's target would not be picked among its distractors; among equals by lot.

    >>> one = torch.ones(1, 1, 2)
    >>> mistaken(one, one, torch.ones(1, 1, 3, 2)).item()  # all four are alike
    0.75
    """
    cosine = torch.nn.functional.cosine_similarity
    own, others = cosine(context, target, dim=-1), cosine(context[:, :, None], distractors, dim=-1)
    same = (distractors == target[:, :, None]).all(-1)  # the very same code, whatever rounding makes of it
    equal = (same | (others == own[..., None])).sum(-1)
    best = ~((others > own[..., None]) & ~same).any(-1)
    return 1 - (best / (1 + equal)).mean()


def _build_task(recipe: Wav2Vec2PretrainingRecipe) -> Wav2Vec2PretrainingTask:
    return Wav2Vec2PretrainingTask(Wav2Vec2Pretraining(recipe.model), recipe)


def _from_corpus(recipe: Wav2Vec2PretrainingRecipe, corpus: Corpus) -> TrainingSetup:
    start = load_saved(recipe.start_from) if recipe.start_from else None
    if start is not None:
        recipe = recipe.model_copy(update={"model": sizes_from(start, recipe.model)})
    cuts = select_splits(recipe, corpus)
    skipped: dict[str, list[str]] = {}
    shortest = 2 * recipe.model.mask_length
    collators: dict[str, Collator] = {}
    for split, found in cuts.items():
        data = recipe.data if split == "train" else DataConfig()
        short = [name for name, cut in found.items() if min_frames(recipe.model, cut, data) < shortest]
        if short:
            skipped.setdefault("too short to be masked", []).extend(short)
        cuts[split] = {name: cut for name, cut in found.items() if name not in short}
        rates = corpus.audio.sample_rate, recipe.audio.sample_rate
        collators[split] = WaveCollator(*rates, data.speed_perturbation, recipe.model.standardized)
    task = _build_task(recipe)
    if start is not None:
        load_exactly(task.network, start.network.state_dict(), recipe.start_from)
    facts = model_facts(recipe, recipe.model.model_dump(), corpus)
    return TrainingSetup(
        recipe=recipe,
        corpus=corpus,
        task=task,
        cuts=cuts,
        collators=collators,
        by_seconds=True,
        facts=facts,
        skipped=skipped,
    )


PRETRAINING = SystemSpec(
    recipe=Wav2Vec2PretrainingRecipe, build_task=_build_task, from_corpus=_from_corpus, accepts_initial_weights=True
)
