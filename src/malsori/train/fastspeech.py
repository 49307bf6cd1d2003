"""FastSpeech 2: what it is taught by, and from which corpora."""

from collections.abc import Iterable, Iterator

from torch import nn

from malsori.config import AudioConfig
from malsori.corpus.batches import Collator, SpeakBatch, SpeakCollator, speaker_statistics
from malsori.corpus.folder import Corpus
from malsori.errors import CorpusError
from malsori.losses.regression import l1_loss, l2_loss, log_duration_loss
from malsori.models.fastspeech2 import FastSpeech2, FastSpeech2Config
from malsori.shapes import length_mask
from malsori.text.symbols import PHONEMES
from malsori.train.examples import example_speech
from malsori.train.recipe import Recipe
from malsori.train.setup import Setup, System, both_splits, kept, model_facts, same_audio, talkative_first
from malsori.train.tasks import Turn, mean_losses


class FastSpeech2Recipe(Recipe):
    """A recipe with a FastSpeech 2."""

    audio: AudioConfig = AudioConfig()
    model: FastSpeech2Config = FastSpeech2Config()


class FastSpeech2Task(nn.Module):
    """Mel, duration, pitch and energy, each against the recording's (FastSpeech 2, 2.3)."""

    def __init__(self, network: FastSpeech2) -> None:
        super().__init__()
        self.network = network

    def parts(self) -> dict[str, nn.Module]:
        """Return the module each turn's optimizer steps."""
        return {"acoustic": self.network}

    def product(self) -> nn.Module:
        """Return the acoustic model."""
        return self.network

    def losses(self, batch: SpeakBatch) -> Iterator[Turn]:
        """Yield the one turn."""
        output = self.network(
            batch.token_ids, batch.token_lengths, batch.speaker_ids, batch.durations, batch.pitch, batch.energy
        )
        tokens = length_mask(batch.token_lengths, batch.token_ids.shape[1])
        frames = length_mask(batch.frame_lengths, batch.mel.shape[1])
        yield Turn(
            "acoustic",
            {
                "mel": l1_loss(output.mel, batch.mel, frames),
                "duration": log_duration_loss(output.log_durations, batch.durations, tokens),
                "pitch": l2_loss(output.pitch, batch.pitch, frames),
                "energy": l2_loss(output.energy, batch.energy, tokens),
            },
        )

    def example(self) -> SpeakBatch:
        """Return a tiny batch of noise."""
        return example_speech(self.network.config)

    def validate(self, batches: Iterable[SpeakBatch]) -> dict[str, float]:
        """Return the mean of each loss over held-out speech, with the recording's own durations, pitch and energy."""
        return mean_losses(self, batches)


def _fastspeech2_task(recipe: FastSpeech2Recipe) -> nn.Module:
    return FastSpeech2Task(FastSpeech2(recipe.model))


def _fastspeech2(recipe: FastSpeech2Recipe, corpus: Corpus) -> Setup:
    same_audio(recipe.audio, corpus)
    cuts = both_splits(recipe, corpus)
    left_out: dict[str, list[str]] = {}
    for split in cuts:
        unaligned = [name for name, cut in cuts[split].items() if "durations" not in corpus.ground_truth(cut)]
        cuts[split] = {name: cut for name, cut in cuts[split].items() if name not in unaligned}
        left_out.setdefault("without durations", []).extend(unaligned)
        if not cuts[split]:
            raise CorpusError(f"{corpus.path}: no durations yet. Run 'malsori corpus prepare' with --align-with MODEL")
    statistics = speaker_statistics(corpus, cuts["train"])
    speakers = talkative_first(cuts["train"])
    cuts["dev"] = {name: cut for name, cut in cuts["dev"].items() if cut.supervisions[0].speaker in statistics}
    collator = SpeakCollator(speakers, statistics)
    sizes = recipe.model.model_copy(update={"speakers": len(speakers)})
    facts = model_facts(recipe, sizes.model_dump(), corpus, speakers=speakers, statistics=statistics)
    task = _fastspeech2_task(recipe.model_copy(update={"model": sizes}))
    collators: dict[str, Collator] = {"train": collator, "dev": collator}
    return Setup(recipe, corpus, task, cuts, collators, True, facts, {"phonemes": PHONEMES}, kept(left_out))


SYSTEMS = {"fastspeech2": System(FastSpeech2Recipe, _fastspeech2_task, _fastspeech2)}
