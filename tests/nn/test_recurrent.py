"""Recurrent pieces: layers over real steps against PyTorch on each item alone, and attention on planted weights."""

import pytest
import torch
from torch import Tensor, nn

from malsori.nn.recurrent import (
    AdditiveAttention,
    AttentionDecoder,
    BidirectionalRecurrent,
    DecoderGru,
    DecoderLstm,
    DecodingLimits,
    Highway,
    NormedConvolution,
    Prenet,
)
from malsori.shapes import length_mask

LENGTHS = torch.tensor([7, 4, 1])
MASK = length_mask(LENGTHS)


@pytest.fixture
def hidden() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 7, 5)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_batch_norm_is_that_of_all_real_steps_and_the_convolution_sees_no_padding(hidden, kernel):
    layer = NormedConvolution(5, 6, kernel)
    spoiled = torch.where(MASK[..., None], hidden, 50.0)
    found = layer(spoiled, MASK)
    each = [layer.convolution(row[None, :length].mT)[0, :, :length].mT for row, length in zip(hidden, LENGTHS)]  # noqa: B905
    wanted = nn.BatchNorm1d(6)(torch.cat(each))
    torch.testing.assert_close(found[MASK], wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(layer.norm.running_mean, 0.1 * torch.cat(each).mean(0))
    (theirs,) = torch.autograd.grad(wanted.pow(3).sum(), layer.convolution.weight)
    found[MASK].pow(3).sum().backward()
    torch.testing.assert_close(layer.convolution.weight.grad, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_both_directions_are_those_of_each_item_alone(hidden, kind):
    layer = BidirectionalRecurrent(kind, 5, 4)
    whole = kind(5, 4, batch_first=True, bidirectional=True)
    weights = {name: tensor for name, tensor in layer.forwards.state_dict().items()}
    weights |= {f"{name}_reverse": tensor for name, tensor in layer.backwards.state_dict().items()}
    whole.load_state_dict(weights)
    found = layer(hidden, MASK)
    for row, length, given in zip(found, LENGTHS.tolist(), hidden, strict=True):
        torch.testing.assert_close(row[:length], whole(given[None, :length])[0][0], atol=1e-6, rtol=1e-5)
        assert (row[length:] == 0).all()


def test_a_highway_passes_on_what_its_gate_does_not_take(hidden):
    layer = Highway(5)
    layer.gate.bias.data.fill_(-50.0)
    torch.testing.assert_close(layer(hidden), hidden)
    layer.gate.bias.data.fill_(50.0)
    torch.testing.assert_close(layer(hidden), layer.change(hidden).relu())


def test_a_prenet_drops_out_when_speaking_too_the_same_for_all_and_again():
    prenet = Prenet(5, (40, 30)).eval()
    frames = torch.ones(2, 3, 5)
    said = prenet(frames)
    assert torch.equal(said, prenet(frames))
    torch.testing.assert_close(said[0], said[1])  # one mask for all; their sums may be added in another order
    assert 0.3 < (said == 0).float().mean() < 0.95 and not torch.equal(said[0, 0], said[0, 1])
    other = prenet(frames, torch.Generator().manual_seed(7))
    assert not torch.equal(said, other)
    prenet.dropout = 0.0
    torch.testing.assert_close(prenet(frames), prenet.layers[1](prenet.layers[0](frames).relu()).relu())
    whole = Prenet(5, (4000,)).eval()
    plain = whole.layers[0](frames).relu().mean()
    assert abs(whole(frames).mean() / plain - 1) < 0.1  # what is left is raised to the same mean


def test_additive_attention_is_its_formula():
    torch.manual_seed(0)
    attention = AdditiveAttention(6, 5, 8, location_filters=3, location_kernel_size=5)
    query, tokens, past = torch.randn(3, 6), torch.randn(3, 7, 5), torch.rand(3, 2, 7)
    found = attention(query, attention.project_memory(tokens, MASK), past, MASK)
    place = attention.location_project(attention.location(past).mT)
    energies = attention.score(torch.tanh(attention.query(query)[:, None] + attention.memory(tokens) + place))[..., 0]
    torch.testing.assert_close(found, energies.masked_fill(~MASK, -torch.inf).softmax(-1))


def stepping(location: bool = True) -> AdditiveAttention:
    """An attention that looks at the place alone, where it has a sense of it: one token further than last."""
    attention = AdditiveAttention(4, 3, 1, location_filters=1 if location else 0, location_kernel_size=3)
    for parameter in attention.parameters():
        parameter.data.zero_()
    attention.score.weight.data.fill_(60.0)
    if location:
        attention.location_project.weight.data.fill_(1.0)
        attention.location.weight.data[0, 0, 0] = 3.0  # the weight of the token before
        attention.location.weight.data[0, 1, 1] = -1.0  # what was attended to is not attended to again
    return attention


def decoder(attention: AdditiveAttention, reduction: int = 2, stop: float = -9.0) -> AttentionDecoder:
    torch.manual_seed(1)
    recurrent = DecoderLstm(4, 3, 5, dropout=0.0)
    made = AttentionDecoder(Prenet(6, (16,)), nn.LSTMCell(16 + 3, 4), attention, recurrent, 6, reduction).eval()
    made.stop.weight.data.zero_()
    made.stop.bias.data.fill_(stop)
    return made


@torch.no_grad()
def test_an_attention_by_place_can_walk_and_one_by_content_cannot():
    memory = torch.zeros(1, 6, 3)
    mask, lengths = length_mask(torch.tensor([6])), torch.tensor([12])
    walk = decoder(stepping())(memory, mask, torch.randn(1, 12, 6), lengths).attention[0]
    assert walk[0].argmax() == 0 or walk[0].allclose(torch.full((6,), 1 / 6))  # nothing was attended to before
    at = decoder(stepping())
    begin = at._start(memory)
    begin.past[0, 0, 0] = begin.past[0, 1, 0] = 1.0
    prepared, came = at.attention.project_memory(memory, mask), [0]
    for _ in range(5):
        _, begin = at._attend(torch.zeros(1, 16), prepared, begin, mask)
        came.append(int(begin.past[0, 0].argmax()))
    assert came == [0, 1, 2, 3, 4, 5]
    still = decoder(stepping(location=False))(memory, mask, torch.randn(1, 12, 6), lengths).attention
    torch.testing.assert_close(still, torch.full_like(still, 1 / 6))


@torch.no_grad()
def test_cumulative_weights_are_the_sum_of_all_steps():
    made = decoder(AdditiveAttention(4, 3, 5, 2, 3))
    memory = torch.randn(2, 6, 3)
    mask = length_mask(torch.tensor([6, 4]))
    at, prepared, total = made._start(memory), made.attention.project_memory(memory, mask), torch.zeros(2, 6)
    for _ in range(4):
        _, at = made._attend(torch.randn(2, 16), prepared, at, mask)
        total = total + at.past[:, 0]
    torch.testing.assert_close(at.past[:, 1], total)


@torch.no_grad()
def test_a_step_writes_as_many_frames_as_it_should_and_hears_only_the_last_frame_before_it():
    made = decoder(AdditiveAttention(4, 3, 5, 2, 3), reduction=3)
    made.prenet.dropout = 0.0
    memory, mask, lengths = torch.randn(1, 4, 3), length_mask(torch.tensor([4])), torch.tensor([11])
    mel = torch.randn(1, 11, 6)
    said = made(memory, mask, mel, lengths)
    assert said.frames.shape == (1, 12, 6) and said.stop.shape == (1, 4) and said.steps.tolist() == [4]
    for place in range(11):
        other = mel.clone()
        other[0, place] += 1.0
        changed = (made(memory, mask, other, lengths).frames != said.frames).any(-1)[0]
        assert changed.tolist() == [place in (2, 5, 8) and frame > place for frame in range(12)]


@torch.no_grad()
def test_speaking_is_the_forward_pass_over_what_was_said():
    made = decoder(AdditiveAttention(4, 3, 5, 2, 3), reduction=2)
    memory, mask = torch.randn(1, 4, 3), length_mask(torch.tensor([4]))
    limits = DecodingLimits(window=0, patience_frames=1000, max_frames_per_token=12)
    said = made.infer(memory, mask, limits)
    made.prenet.dropout = 0.0
    said = made.infer(memory, mask, limits)
    again = made(memory, mask, said.frames, said.steps * 2)
    torch.testing.assert_close(again.frames, said.frames, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(again.attention, said.attention, atol=1e-6, rtol=1e-5)


def speak(tokens: list[int], attention: AdditiveAttention, stop: float, **limits: float) -> list[int]:
    mask = length_mask(torch.tensor(tokens))
    memory = torch.zeros(*mask.shape, 3)
    return decoder(attention, stop=stop).infer(memory, mask, DecodingLimits(**limits)).steps.tolist()


class _Late(AdditiveAttention):
    """Looks at the latest token it may."""

    def __init__(self) -> None:
        super().__init__(4, 3, 1)

    def forward(self, query, memory, past, allowed):
        latest = torch.where(allowed, torch.arange(past.shape[2]), -1).argmax(-1)
        return nn.functional.one_hot(latest, past.shape[2]).float()


def test_a_stop_is_ignored_before_attention_has_come_near_the_end():
    # a token further a step, from 0: near the end, at token 17 of 20, after 17 steps
    assert speak([20], _Late(), stop=9.0, window=1) == [17]
    assert speak([20, 6], _Late(), stop=9.0, window=1) == [17, 3]


def test_a_stop_is_ignored_before_there_is_a_frame_a_token():
    assert speak([20, 2], _Late(), stop=9.0, window=0) == [10, 1]


def test_a_stop_can_be_taken_wherever_attention_is():
    stuck = stepping(location=False)
    assert speak([20], stuck, stop=9.0, stop_anywhere=True) == [1]
    assert speak([20], stuck, stop=-9.0, patience_frames=12, stop_anywhere=True) == [6]


def test_at_the_end_patience_is_bounded_where_no_stop_comes():
    assert speak([20], _Late(), stop=-9.0, window=2, patience_frames=12) == [10 + 6]
    assert speak([20], _Late(), stop=-9.0, window=1, patience_frames=12) == [19 + 6]


def test_an_attention_that_is_stuck_ends_at_the_limit_of_its_text():
    stuck = stepping(location=False)  # spread evenly: the argmax stays at the first token
    assert speak([20], stuck, stop=9.0, window=2, max_frames_per_token=10) == [20 * 10 // 2]
    assert speak([20, 8], stuck, stop=9.0, window=2, max_frames_per_token=10) == [100, 40]


def test_the_window_keeps_attention_from_leaping():
    reached = []
    for window in (0, 1, 3):
        mask = length_mask(torch.tensor([30]))
        said = decoder(_Late()).infer(torch.zeros(1, 30, 3), mask, DecodingLimits(window=window))
        reached.append(said.attention[0].argmax(-1)[:4].tolist())
    assert reached == [[29] * 4, [1, 2, 3, 4], [3, 6, 9, 12]]


@torch.no_grad()
def test_decoder_layers_give_step_by_step_what_they_give_at_once():
    torch.manual_seed(0)
    for layers in (DecoderGru(4, 3, 5), DecoderLstm(4, 3, 5, 0.0)):
        inputs = torch.randn(2, 6, 7)
        whole, _ = layers.eval()(inputs)
        state, steps = None, []
        for step in range(6):
            features, state = layers(inputs[:, step : step + 1], state)
            steps.append(features)
        torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-6, rtol=1e-5)
        assert whole.shape[2] == layers.features
