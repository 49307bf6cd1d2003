"""The recogniser's network: how many frames it writes, and what it must not hear."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from malsori.models.conformer import Conformer, ConformerConfig, standardize

TINY = ConformerConfig(
    mel_channels=8, hidden_size=12, num_layers=3, num_heads=2, kernel_size=5, ffn_expansion_factor=2,
    subsampling_channels=4,
    phoneme_ctc_layer=1, jamo_vocab=7, phoneme_vocab=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Conformer:
    torch.manual_seed(0)
    return Conformer(TINY).eval()


def mel_of(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of random mels in padding that screams."""
    mel = 3 * torch.randn(len(lengths), max(lengths), 8, generator=torch.Generator().manual_seed(sum(lengths))) - 6
    for row, length in zip(mel, lengths, strict=True):
        row[length:] = 1e4
    return mel, torch.tensor(lengths)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_it_writes_two_frames_for_every_four_it_hears_begun_ones_counted(
    network: Conformer, lengths: list[int]
) -> None:
    output = network.infer(*mel_of(*lengths))
    assert output.frame_lengths.tolist() == [2 * -(-length // 4) for length in lengths]
    assert output.jamo.shape == (len(lengths), int(output.frame_lengths.max()), 7)
    assert output.phonemes.shape == (len(lengths), int(output.frame_lengths.max()), 6)
    # a text is taken into training when half as many frames as the mel has hold it: there must be as many
    assert all(written >= heard // 2 for written, heard in zip(output.frame_lengths.tolist(), lengths, strict=True))


def test_its_outputs_are_log_probabilities(network: Conformer) -> None:
    output = network.infer(*mel_of(33, 17))
    for log_probs in (output.jamo, output.phonemes):
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(log_probs.shape[:2]))


def test_inference_is_the_forward_pass(network: Conformer) -> None:
    batch = mel_of(33, 17)
    inferred, forward = network.infer(*batch), network(*batch)
    assert torch.equal(inferred.jamo, forward.jamo) and forward.jamo.requires_grad and not inferred.jamo.requires_grad


def test_a_louder_sound_in_another_room_is_heard_as_the_same(network: Conformer) -> None:
    mel, lengths = mel_of(40, 23)
    colour = torch.linspace(-2, 2, 8)
    torch.testing.assert_close(
        network.infer(mel + colour + 3, lengths).jamo, network.infer(mel, lengths).jamo, atol=1e-4, rtol=0
    )


def test_standardizing_centers_and_scales_each_channel_over_real_frames_only() -> None:
    mel, lengths = mel_of(40, 23, 1)
    standard = standardize(mel, lengths)
    for row, length in zip(standard[:2], [40, 23], strict=True):
        torch.testing.assert_close(row[:length].mean(0), torch.zeros(8), atol=1e-5, rtol=0)
        torch.testing.assert_close(row[:length].std(0, unbiased=False), torch.ones(8))
        assert (row[length:] == 0).all()
    assert (standard[2] == 0).all()  # a single frame is its own mean


def test_standardizing_a_channel_that_never_moves_gives_silence_not_noise() -> None:
    constant = torch.full((1, 30, 8), -11.5129) + 1e-6 * torch.randn(1, 30, 8)
    assert standardize(constant, torch.tensor([30])).abs().max() < 0.1


def test_the_phonemes_come_from_the_lower_blocks_and_feed_the_upper_ones(network: Conformer) -> None:
    batch = mel_of(40)
    output = network(*batch)
    output.phonemes.sum().backward()
    reached = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    network.zero_grad()
    assert any(name.startswith("blocks.0.") for name in reached)
    assert not any(name.startswith(("blocks.1.", "blocks.2.", "jamo_head", "feedback")) for name in reached)
    torch.autograd.backward(network(*batch).jamo.square().sum())
    assert network.phoneme_head.project.weight.grad.any()
    network.zero_grad()


@pytest.mark.parametrize("block", [0, 3, 7])
def test_the_phonemes_must_come_from_between_two_blocks(block: int) -> None:
    with pytest.raises(ValueError, match=f"phoneme_ctc_layer {block} must lie between 1 and 2"):
        Conformer(TINY.model_copy(update={"phoneme_ctc_layer": block}))
