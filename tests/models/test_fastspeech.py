"""FastSpeech: lengths follow durations, given or predicted; the paper's size; no pitch to ask for."""

import pytest
import torch

from malsori.errors import OptionError
from malsori.models.fastspeech import FastSpeech, FastSpeechConfig
from malsori.pretrained.folder import SavedModel
from malsori.text.symbols import PHONEMES
from malsori.tts.acoustic import FastSpeechAdapter
from malsori.tts.options import SayOptions
from malsori.tts.roles import SynthesisInput

from .harness import facts_of
from .subjects import FASTSPEECH

TOKENS, LENGTHS, SPEAKERS = torch.tensor([[1, 5, 6, 7, 2], [1, 9, 2, 0, 0]]), torch.tensor([5, 3]), torch.tensor([0, 2])


@pytest.fixture
def network() -> FastSpeech:
    """Every token lasts ten frames."""
    network = FASTSPEECH.build()
    network.duration_predictor.project.weight.data.zero_()
    network.duration_predictor.project.bias.data.fill_(torch.tensor(11.0).log())
    return network


def test_the_defaults_have_the_size_of_the_paper() -> None:
    with torch.device("meta"):
        network = FastSpeech(FastSpeechConfig())
    # of each block: attention 4 * 384^2, convolutions 2 * 3 * 384 * 1536
    blocks = sum(value.numel() for value in network.encoder.blocks.parameters() if value.dim() > 1)
    assert len(network.encoder.blocks) == len(network.decoder.blocks) == 6
    assert blocks == 6 * (4 * 384**2 + 2 * 3 * 384 * 1536)
    assert isinstance(network.encoder.norm, torch.nn.Identity)


@pytest.mark.parametrize(("speed", "frames"), [(1.0, 10), (2.0, 5), (0.5, 20)])
def test_twice_the_speed_is_half_the_length(network: FastSpeech, speed: float, frames: int) -> None:
    output = network.infer(TOKENS, LENGTHS, SPEAKERS, speed=speed)
    assert output.durations.tolist() == [[frames] * 5, [frames] * 3 + [0, 0]]
    assert output.frame_lengths.tolist() == [5 * frames, 3 * frames] and output.mel.shape == (2, 5 * frames, 10)


def test_inference_is_the_forward_pass_on_its_own_durations(network: FastSpeech) -> None:
    inferred = network.infer(TOKENS, LENGTHS, SPEAKERS)
    given = network(TOKENS, LENGTHS, SPEAKERS, inferred.durations)
    torch.testing.assert_close(given.mel, inferred.mel)
    longer = network(TOKENS, LENGTHS, SPEAKERS, 2 * inferred.durations)
    assert torch.equal(longer.log_durations, given.log_durations) and longer.mel.shape[1] == 2 * given.mel.shape[1]


def test_it_speaks_at_a_speed_but_with_no_other_energy(network: FastSpeech) -> None:
    config = FASTSPEECH.config.model_copy(update={"vocab": len(PHONEMES)})
    facts = facts_of(FASTSPEECH).model_copy(update={"model": config.model_dump(), "speakers": ("a", "b")})
    torch.manual_seed(0)
    model = SavedModel(facts, {"phonemes": PHONEMES}, FastSpeech(config).eval())
    model.network.duration_predictor.project.bias.data.fill_(3.0)
    sentence = SynthesisInput(tuple(PHONEMES.decode([1, 5, 6, 7])), "가나다")
    voice = FastSpeechAdapter(model)
    plain, quick = (voice.synthesize(sentence, SayOptions(speaker="b", speed=speed)) for speed in (1.0, 2.0))
    assert plain.mel is not None and quick.mel is not None and plain.wave is None
    assert len(plain.mel) == plain.durations.sum() > 1.5 * len(quick.mel) and len(quick.mel) == quick.durations.sum()
    with pytest.raises(OptionError, match=r"energy 2: a fastspeech has no such control; a fastspeech2 has"):
        voice.synthesize(sentence, SayOptions(energy=2.0))
