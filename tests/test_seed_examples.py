"""Every number of the document that malsori grew from (딥러닝 기초, 음성 기반 TTS/ASR 관점), computed.

Where the document slips, the right number stands here with the reason beside it.
"""

import itertools
import math

import pytest
import torch
from torch import nn

from malsori.alignment.spans import Span
from malsori.audio.mel import log_mel
from malsori.config import AudioConfig
from malsori.decode.ctc import collapse
from malsori.losses.regression import l1_loss, l2_loss, l2_norm, log_duration_loss
from malsori.losses.sequence import ctc_loss
from malsori.metrics.cepstral import mel_cepstral_distortion
from malsori.metrics.error_rate import cer, wer
from malsori.nn.conv import ConvolutionPredictor
from malsori.nn.lengths import expand_by_durations
from malsori.nn.transformer import SelfAttention
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES
from malsori.train.optim import OptimizerConfig, build_optimizer

TARGET = torch.tensor([2.0, 3.0, 1.0])
PREDICTED = torch.tensor([2.5, 2.0, 0.0])
EMBEDDINGS = torch.tensor([[0.1, -0.2, 0.3, 0.7], [0.5, 0.1, -0.4, 0.2], [-0.3, 0.6, 0.0, -0.1], [0.2, -0.1, 0.5, 0.3]])


# 1. 딥러닝 구조: CNN, RNN, Transformer


def test_a_cnn_sees_80_x_1000_mels_through_a_local_window():
    torch.manual_seed(0)
    network = ConvolutionPredictor(input_size=80, hidden_size=16, kernel_size=3, dropout=0.0)
    mel = torch.randn(80, 1000).T[None]  # the seed's (channels, frames) in our layout (batch, frames, channels)
    mask = torch.ones(1, 1000, dtype=torch.bool)
    changed = mel.clone()
    changed[0, 500] += 1.0
    moved = (network(mel, mask) != network(changed, mask)).nonzero()[:, 1].tolist()
    assert network(mel, mask).shape == (1, 1000)
    assert moved == [498, 499, 500, 501, 502]  # two layers of three frames: two frames to each side


def test_phonemes_become_a_matrix_of_tokens_by_features():
    table = nn.Embedding.from_pretrained(EMBEDDINGS)
    ids = {"s": 0, "a": 1, "k": 2, "i": 3}
    matrix = table(torch.tensor([ids[phoneme] for phoneme in ["s", "a", "k", "i"]]))
    assert matrix.shape == (4, 4)  # (T, D)
    torch.testing.assert_close(matrix, EMBEDDINGS)


def test_사랑해_is_seven_phonemes_and_a_tensor_of_as_many_rows():
    frontend = Frontend()
    reading = frontend.read("사랑해")
    phonemes = [phoneme.removeprefix("-") for phoneme in reading.phonemes[1:-1]]  # without start and end
    assert phonemes == ["ㅅ", "ㅏ", "ㄹ", "ㅏ", "ㅇ", "ㅎ", "ㅐ"]
    matrix = nn.Embedding(len(PHONEMES.symbols), 256)(torch.tensor(frontend.ids(reading)))
    assert matrix.shape == (len(reading.phonemes), 256)


def test_an_rnn_reads_in_order_and_a_transformer_all_at_once():
    torch.manual_seed(0)
    tokens, changed = EMBEDDINGS[None], EMBEDDINGS[None].clone()
    changed[0, 2] += 1.0  # another "k"
    recurrent, attention = nn.GRU(4, 8, batch_first=True), SelfAttention(4, num_heads=2)
    mask = torch.ones(1, 4, dtype=torch.bool)
    heard_by_rnn = (recurrent(tokens)[0] != recurrent(changed)[0]).any(-1)[0].tolist()
    heard_by_transformer = (attention(tokens, mask) != attention(changed, mask)).any(-1)[0].tolist()
    assert recurrent(tokens)[0].shape == (1, 4, 8) and attention(tokens, mask).shape == (1, 4, 4)  # (T, D')
    assert heard_by_rnn == [False, False, True, True]
    assert heard_by_transformer == [True, True, True, True]


# 2. Optimizer, L2 노름


@pytest.mark.parametrize(("name", "shrinks_by_decay_alone"), [("adamw", True), ("adam", False)])
def test_adamw_decays_beside_the_gradient_and_adam_through_it(name, shrinks_by_decay_alone):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    config = OptimizerConfig(name=name, learning_rate=1e-4, weight_decay=1e-2, betas=(0.9, 0.999))
    optimizer = build_optimizer(layer, config)
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    # AdamW: w (1 - lr * decay). Adam's L2 term is divided by its own size: a whole step of lr, whatever the decay.
    expected = 1 - 1e-4 * 1e-2 if shrinks_by_decay_alone else 1 - 1e-4
    assert layer.weight.item() == pytest.approx(expected, abs=2e-7)


def test_the_l2_norm_of_the_difference_is_1_5():
    difference = PREDICTED - TARGET
    assert difference.tolist() == [0.5, -1.0, -1.0]
    assert difference.square().sum().item() == 2.25
    assert l2_norm(PREDICTED, TARGET).item() == 1.5
    assert difference.abs().sum().item() == 2.5  # the L1 norm


def test_the_l2_loss_is_the_mean_of_squares_0_75_and_no_norm():
    assert l2_loss(PREDICTED, TARGET).item() == 0.75 == nn.MSELoss()(PREDICTED, TARGET).item()
    # The document's summary calls the norm "the mean of squares": that is this loss. The norm is the root of the sum.
    assert l2_norm(PREDICTED, TARGET).item() == math.sqrt(3 * l2_loss(PREDICTED, TARGET).item())


def test_the_l1_loss_is_the_mean_absolute_difference():
    assert l1_loss(PREDICTED, TARGET).item() == pytest.approx(2.5 / 3) == nn.L1Loss()(PREDICTED, TARGET).item()


# 3. CTC


def test_the_documents_ctc_path_collapses_to_helo():
    path = ["_", "_", "h", "e", "_", "l", "l", "o", "_", "_"]
    assert collapse(path, "_") == ["h", "e", "l", "o"]  # its target is right, its "hello" is the slip
    assert "".join(collapse(["h", "e", "l", "_", "l", "o"], "_")) == "hello"  # a blank between two l's


def test_the_ctc_loss_of_100_frames_32_utterances_50_symbols_20_labels():
    torch.manual_seed(0)
    pred = torch.randn(100, 32, 50).log_softmax(2)  # (T, N, C)
    target = torch.randint(1, 50, (32, 20))  # (N, S)
    input_lengths = torch.full((32,), 100, dtype=torch.long)
    target_lengths = torch.full((32,), 20, dtype=torch.long)
    expected = nn.CTCLoss(blank=0, zero_infinity=True)(pred, target, input_lengths, target_lengths)
    loss = ctc_loss(pred.transpose(0, 1), input_lengths, target, target_lengths)
    assert loss.shape == () and loss.item() > 0
    torch.testing.assert_close(loss, expected)


# 4. GT


def test_the_durations_of_사랑해_follow_from_its_boundaries():
    spans = [Span("사", 0.00, 0.12), Span("랑", 0.12, 0.38), Span("해", 0.38, 0.60)]
    assert [span.end - span.start for span in spans] == pytest.approx([0.12, 0.26, 0.22])

    audio = AudioConfig()
    edges = [round(seconds / audio.frame_seconds) for seconds in (0.0, 0.12, 0.38, 0.60)]
    durations = torch.tensor([[after - before for before, after in itertools.pairwise(edges)]])
    assert durations.sum().item() == edges[-1]  # rounded edges, not rounded lengths: they sum to the mel's length
    assert expand_by_durations(torch.randn(1, 3, 4), durations).shape == (1, edges[-1], 4)
    real = torch.ones(1, 3, dtype=torch.bool)
    assert log_duration_loss(torch.log1p(durations.float()), durations, real).item() == 0.0


def test_the_ground_truth_mel_has_80_channels_and_a_frame_for_each_hop():
    audio = AudioConfig()
    mel = log_mel(torch.randn(1, 1000 * audio.hop_samples), audio)
    assert mel.shape == (1, 1000, 80)


# 5. CER, WER, MCD


def test_the_cer_of_사량해_for_사랑해_is_one_third():
    errors = cer("사랑해", "사량해")
    assert (errors.substitutions, errors.deletions, errors.insertions, errors.reference_length) == (1, 0, 0, 3)
    assert round(100 * errors.rate, 1) == 33.3


def test_the_wer_of_i_like_you_for_i_love_you_is_one_third():
    errors = wer("I love you", "I like you")
    assert (errors.substitutions, errors.deletions, errors.insertions, errors.reference_length) == (1, 0, 0, 3)
    assert round(100 * errors.rate, 1) == 33.3


def test_the_mcd_of_the_documents_vectors_is_2_61_or_2_30_and_not_3_01():
    reference, predicted = [1.0, 2.0, 3.0, 4.0], [0.8, 2.1, 3.2, 4.3]
    squares = sum((a - b) ** 2 for a, b in zip(reference, predicted, strict=True))
    assert squares == pytest.approx(0.18)
    with_c0 = mel_cepstral_distortion(reference, predicted, include_c0=True)
    assert with_c0 == pytest.approx(10 / math.log(10) * math.sqrt(2 * squares))
    assert round(with_c0, 2) == 2.61
    assert round(mel_cepstral_distortion(reference, predicted), 2) == 2.30  # without c0, the loudness


# 6. 정리: ASR은 CTC 또는 cross-entropy


def test_whispers_loss_is_cross_entropy_over_tokens_not_ctc():
    torch.manual_seed(0)
    logits, tokens = torch.randn(32, 20, 50), torch.randint(0, 50, (32, 20))
    chosen = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    torch.testing.assert_close(nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()), -chosen.mean())
