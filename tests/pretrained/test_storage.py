"""Weights on disk: as small as asked, as near as promised, the same network whichever way."""

from dataclasses import replace

import pytest
import torch

from malsori.pretrained.folder import open_model, save_model
from malsori.pretrained.storage import pack, quantize_rows, unpack

from ..models.harness import saved
from ..models.subjects import SUBJECTS


def weights() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(64, 96, generator=random) * torch.logspace(-4, 4, 64)[:, None],
        "kernel": torch.randn(32, 16, 9, generator=random),
        "small": torch.randn(4, 4, generator=random),
        "bias": torch.randn(6000, generator=random),
        "great": torch.tensor([1e6]),
        "steps": torch.arange(5),
    }


def test_no_element_of_a_row_is_off_by_more_than_half_a_step_of_its_row():
    matrix = weights()["matrix"]
    rows, scale = quantize_rows(matrix)
    assert rows.dtype == torch.int8 and rows.abs().amax(1).tolist() == [127] * 64
    error = (rows * scale[:, None] - matrix).abs()
    assert (error <= scale[:, None] * 0.5001).all()


@pytest.mark.parametrize(("storage", "close"), [("float32", 0.0), ("float16", 1e-3), ("int8", 1 / 127)])
def test_what_was_packed_comes_back_under_its_own_names(storage, close):
    back = unpack(pack(weights(), storage))
    assert set(back) == set(weights())
    for name, tensor in weights().items():
        assert back[name].dtype == (torch.int64 if name == "steps" else torch.float32)
        greatest = tensor.abs().flatten(1).amax(1) if tensor.dim() > 1 else tensor.abs().amax()
        off = (back[name] - tensor).abs().flatten(1).amax(1) if tensor.dim() > 1 else (back[name] - tensor).abs().amax()
        assert (off <= close * greatest).all(), name


def test_int8_is_for_great_matrices_alone():
    kinds = {name: tensor.dtype for name, tensor in pack(weights(), "int8").items()}
    assert kinds == {
        "matrix": torch.int8, "matrix.row_scale": torch.float32,
        "kernel": torch.int8, "kernel.row_scale": torch.float32,
        "small": torch.float16, "bias": torch.float16, "great": torch.float32, "steps": torch.int64,
    }  # fmt: skip


def test_a_row_of_zeros_stays_zeros():
    matrix = torch.zeros(64, 96)
    matrix[3] = 1.0
    assert torch.equal(unpack(pack({"matrix": matrix}, "int8"))["matrix"], matrix)


def test_a_model_saved_in_int8_opens_and_saving_it_again_changes_nothing(tmp_path):
    subject = SUBJECTS["whisper"]
    network = subject.build()
    torch.nn.init.normal_(network.decoder.embedding.weight)
    network.decoder.embedding = torch.nn.Embedding(*network.decoder.embedding.weight.shape)
    save_model(saved(subject, network), tmp_path / "first", "int8")
    first = open_model(tmp_path / "first")
    save_model(replace(first), tmp_path / "second", "int8")
    second = open_model(tmp_path / "second").network.state_dict()
    for name, tensor in first.network.state_dict().items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-6, atol=1e-9)
