"""FastSpeech 2: lengths follow durations, controls do what they say, inference is the forward pass on predictions."""

import math

import pytest
import torch

from malsori.models.fastspeech2 import FastSpeech2, FastSpeech2Config, FastSpeech2Output

TINY = FastSpeech2Config(
    vocab=13, speakers=3, mel_channels=10, hidden_size=16, num_encoder_layers=1, num_decoder_layers=1, ffn_size=24,
    ffn_kernel_size=3, predictor_hidden_size=12,
)  # fmt: skip
TOKENS, LENGTHS, SPEAKERS = torch.tensor([[1, 5, 6, 7, 2], [1, 9, 2, 0, 0]]), torch.tensor([5, 3]), torch.tensor([0, 2])


@pytest.fixture
def network() -> FastSpeech2:
    """Every token lasts about ten frames."""
    torch.manual_seed(0)
    network = FastSpeech2(TINY).eval()
    network.adaptor.duration_predictor.project.bias.data.fill_(math.log(1 + 10))
    return network


def infer(network: FastSpeech2, **controls: float) -> FastSpeech2Output:
    return network.infer(TOKENS, LENGTHS, SPEAKERS, **controls)


def plant_durations(network: FastSpeech2, frames: float) -> None:
    predictor = network.adaptor.duration_predictor
    predictor.project.weight.data.zero_()
    predictor.project.bias.data.fill_(math.log1p(frames))


@pytest.mark.parametrize(("speed", "frames"), [(1.0, 10), (2.0, 5), (0.5, 20), (5.0, 2)])
def test_twice_the_speed_is_half_the_length(network: FastSpeech2, speed: float, frames: int) -> None:
    plant_durations(network, 10)
    output = infer(network, speed=speed)
    assert output.durations.tolist() == [[frames] * 5, [frames] * 3 + [0, 0]]
    assert output.frame_lengths.tolist() == [5 * frames, 3 * frames] and output.mel.shape == (2, 5 * frames, 10)


def test_inference_is_the_forward_pass_on_its_own_predictions(network: FastSpeech2) -> None:
    inferred = infer(network)
    mask = TOKENS > 0
    forward = network(TOKENS, LENGTHS, SPEAKERS, inferred.durations, inferred.pitch, inferred.energy * mask)
    for name in ("mel", "log_durations", "pitch", "energy"):
        torch.testing.assert_close(getattr(forward, name), getattr(inferred, name), atol=1e-5, rtol=1e-5)
    frames = torch.expm1(inferred.log_durations)
    assert ((frames - inferred.durations).abs() <= 0.5)[mask].all()


def test_a_sentence_in_a_batch_sounds_as_it_does_alone(network: FastSpeech2) -> None:
    together, alone = infer(network), network.infer(TOKENS[1:, :3], LENGTHS[1:], SPEAKERS[1:])
    assert torch.equal(alone.durations[0], together.durations[1, :3])
    frames = int(alone.frame_lengths[0])
    torch.testing.assert_close(together.mel[1, :frames], alone.mel[0], atol=1e-5, rtol=1e-5)
    assert (together.mel[1, frames:] == 0).all()


def test_pitch_and_energy_are_shifted_by_as_much_as_is_asked(network: FastSpeech2) -> None:
    plain, higher, louder = infer(network), infer(network, pitch_shift=1.5), infer(network, energy_shift=-0.5)
    frames = torch.arange(plain.mel.shape[1])[None] < plain.frame_lengths[:, None]
    torch.testing.assert_close(higher.pitch, plain.pitch + 1.5 * frames)
    torch.testing.assert_close(higher.energy, plain.energy)
    torch.testing.assert_close(louder.energy, plain.energy - 0.5 * (TOKENS > 0))
    assert torch.equal(higher.durations, plain.durations)
    assert not torch.allclose(higher.mel, plain.mel) and not torch.allclose(louder.mel, plain.mel)


def test_speakers_sound_different(network: FastSpeech2) -> None:
    one, other = (network.infer(TOKENS[:1], LENGTHS[:1], torch.tensor([speaker])) for speaker in (0, 1))
    assert one.mel.shape != other.mel.shape or not torch.allclose(one.mel, other.mel)


def test_a_network_that_knows_no_durations_still_speaks_a_frame(network: FastSpeech2) -> None:
    plant_durations(network, 0)
    assert infer(network).frame_lengths.tolist() == [1, 1]


def test_a_wild_duration_is_bounded(network: FastSpeech2) -> None:
    plant_durations(network, 1e9)
    assert infer(network).durations.max() == 2000


def test_a_token_of_no_frames_is_skipped_in_the_mel_but_not_in_the_text(network: FastSpeech2) -> None:
    durations, pitch, energy = torch.tensor([[2, 0, 3, 0, 1]]), torch.zeros(1, 6), torch.zeros(1, 5)
    tokens = TOKENS[:1]
    output = network(tokens, LENGTHS[:1], SPEAKERS[:1], durations, pitch, energy)
    assert output.mel.shape == (1, 6, 10) and output.frame_lengths.tolist() == [6]
    other = tokens.clone()
    other[0, 1] = 11  # heard through its neighbours only
    changed = network(other, LENGTHS[:1], SPEAKERS[:1], durations, pitch, energy)
    assert changed.mel.shape == output.mel.shape and not torch.allclose(changed.mel, output.mel)


def test_what_was_recorded_decides_not_what_was_predicted(network: FastSpeech2) -> None:
    durations = torch.tensor([[2, 1, 3, 2, 1]])
    arguments = TOKENS[:1], LENGTHS[:1], SPEAKERS[:1], durations
    flat, raised, strong = (
        network(*arguments, torch.full((1, 9), pitch), torch.full((1, 5), energy))
        for pitch, energy in ((0.0, 0.0), (2.0, 0.0), (0.0, 2.0))
    )
    assert torch.equal(flat.pitch, raised.pitch)  # the predictor never sees the answer
    assert torch.equal(flat.energy, strong.energy) and torch.equal(flat.log_durations, strong.log_durations)
    assert not torch.allclose(flat.mel, raised.mel) and not torch.allclose(flat.mel, strong.mel)


def test_pitch_is_heard_in_its_own_frame(network: FastSpeech2) -> None:
    durations, energy = torch.tensor([[20, 20, 20, 20, 20]]), torch.zeros(1, 5)
    pitch = torch.zeros(1, 100, requires_grad=True)
    mel = network(TOKENS[:1], LENGTHS[:1], SPEAKERS[:1], durations, pitch, energy).mel
    mel[0, 50].square().sum().backward()
    assert pitch.grad is not None and pitch.grad[0].abs().argmax() in (49, 50, 51)
