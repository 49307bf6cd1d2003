"""Networks as they infer: weight norms folded, linear layers in int8, the network that learns left as it is."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from malsori.errors import DeviceError
from malsori.models.hifigan import Hifigan, HifiganConfig
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.nn.transformer import TiedEmbedding
from malsori.pretrained.storage import pack, unpack
from malsori.runtime import quantize
from malsori.runtime.device import Runtime, resolve_runtime
from malsori.runtime.quantize import HalfEmbedding, HalfLinear, Int8Linear, prepared

pytestmark = pytest.mark.skipif(not quantize.serves_int8(), reason="this PyTorch has no int8 products for this CPU")


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("shape", [(1, 64), (5, 64), (2, 7, 64), (1, 1, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_an_int8_layer_gives_what_its_weights_give(shape: tuple[int, ...], biased: bool) -> None:
    torch.manual_seed(0)
    layer, hidden = nn.Linear(64, 48, bias=biased), torch.randn(shape)
    found = Int8Linear(layer.weight.detach(), layer.bias.detach() if biased else None)(hidden)
    assert found.shape == layer(hidden).shape
    assert relative(found, layer(hidden)) < 0.02


@pytest.mark.parametrize("shape", [(1, 64), (5, 1, 64), (2, 7, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_float16_weights_that_were_int8_rows_give_what_float32_gives(shape: tuple[int, ...], biased: bool) -> None:
    torch.manual_seed(0)
    layer, hidden = nn.Linear(64, 90, bias=biased), torch.randn(shape)
    hidden[..., 3] = 4000.0  # a feature far louder than the others, as decoders have
    weight = layer.weight.detach() * torch.logspace(-6, 3, 90)[:, None]  # rows of any size
    layer.weight.data.copy_(unpack(pack({"weight": weight}, "int8"))["weight"])
    found = HalfLinear(layer.weight.detach(), layer.bias.detach() if biased else None)(hidden)
    torch.testing.assert_close(found, layer(hidden), rtol=1e-5, atol=1e-5 * layer(hidden).abs().max().item())


def test_float16_weights_of_other_numbers_are_off_by_their_rounding_alone() -> None:
    torch.manual_seed(0)
    embedding, hidden = TiedEmbedding(90, 64), torch.randn(5, 1, 64)
    with torch.no_grad():
        assert relative(HalfEmbedding(embedding).logits(hidden), embedding.logits(hidden)) < 5e-4
        assert torch.equal(HalfEmbedding(embedding)(torch.tensor([[3, 8]])), embedding(torch.tensor([[3, 8]])))


def test_a_loud_row_takes_no_steps_from_a_quiet_one() -> None:
    torch.manual_seed(0)
    layer, hidden = nn.Linear(64, 48, bias=False), torch.randn(2, 64)
    hidden[1] *= 1e-4
    found = Int8Linear(layer.weight.detach(), None)(hidden)
    assert relative(found[1], layer(hidden)[1]) < 0.02
    assert not Int8Linear(layer.weight.detach(), None)(torch.zeros(3, 64)).any()


def test_rows_that_were_stored_as_int8_are_computed_with_as_they_are() -> None:
    torch.manual_seed(0)
    weight = unpack(pack({"weight": torch.randn(80, 64)}, "int8"))["weight"]
    exact = Int8Linear(weight, None)(torch.eye(64))  # each row holds 0 and 1, which int8 holds exactly
    torch.testing.assert_close(exact, weight.T, rtol=1e-3, atol=1e-5)


def small_whisper() -> Whisper:
    torch.manual_seed(0)
    return Whisper(
        WhisperConfig(
            vocab=60, mel_channels=20, hidden_size=32, num_encoder_layers=2, num_encoder_heads=2, encoder_ffn_size=64,
            encoder_positions=40, num_decoder_layers=2, num_decoder_heads=2, decoder_ffn_size=64, decoder_positions=20,
        )
    ).eval()  # fmt: skip


def test_a_whisper_in_int8_says_nearly_the_same_and_the_given_one_stays_exact() -> None:
    network = small_whisper()
    before = copy.deepcopy(network.state_dict())
    int8 = prepared(network, "int8")
    assert sum(type(layer) is nn.Linear for layer in int8.modules()) == 0
    assert isinstance(int8.decoder.embedding, HalfEmbedding)
    assert sum(isinstance(layer, Int8Linear) for layer in int8.modules()) == 2 * 6 + 2 * 10
    mel, ids = torch.randn(3, 70, 20), torch.randint(0, 60, (3, 9))
    with torch.inference_mode():
        exact, found = network(mel, ids).logits, int8(mel, ids).logits
    assert relative(found, exact) < 0.05
    assert int8.decoder.positions is network.decoder.positions  # shared, not copied
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert prepared(network) is network


def test_a_whisper_with_float16_weights_says_the_same() -> None:
    network = small_whisper()
    half = prepared(network, "float16")
    assert sum(type(layer) is nn.Linear for layer in half.modules()) == 0
    mel, ids = torch.randn(3, 70, 20), torch.randint(0, 60, (3, 9))
    with torch.inference_mode():
        assert relative(half(mel, ids).logits, network(mel, ids).logits) < 1e-3


def test_weight_norms_are_folded_and_the_network_that_learns_keeps_them() -> None:
    torch.manual_seed(0)
    config = HifiganConfig(mel_channels=8, channels=16, upsample_rates=(4, 2), upsample_kernel_sizes=(8, 4))
    network, mel = Hifigan(config).eval(), torch.randn(1, 6, 8)
    names = list(network.state_dict())
    folded = Runtime().place(network)
    assert not any("parametrizations" in name for name in folded.state_dict())
    torch.testing.assert_close(folded.infer(mel).wave, network.infer(mel).wave)
    assert list(network.state_dict()) == names and any("parametrizations" in name for name in names)
    norm = weight_norm(nn.Linear(4, 4))
    assert type(prepared(nn.Sequential(norm))[0]) is nn.Linear


def test_a_recognizer_on_a_cpu_keeps_float16_weights_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_runtime("cpu", quantize=True).linear == "float16"
    assert resolve_runtime("cpu", "int8", quantize=True).linear == "int8"
    assert resolve_runtime("cpu", "float32", quantize=True).linear is None
    assert resolve_runtime("cpu").linear is None
    monkeypatch.setattr("malsori.runtime.device.serves_float16", lambda: False)
    assert resolve_runtime("cpu", quantize=True).linear is None


def test_int8_is_refused_where_it_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="int8 is for recognizers; a voice computes in float32, bfloat16"):
        resolve_runtime("cpu", "int8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert resolve_runtime("cuda", quantize=True).linear is None
    with pytest.raises(DeviceError, match="cuda does not compute in int8 here; it does in float32, bfloat16, float16"):
        resolve_runtime("cuda", "int8", quantize=True)
    monkeypatch.setattr(quantize, "serves_int8", lambda: False)
    with pytest.raises(DeviceError, match="this PyTorch has no int8 products for this CPU"):
        prepared(small_whisper(), "int8")
