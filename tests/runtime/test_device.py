"""Where networks compute: a wish is served, or refused with what there is."""

import os
import threading

import pytest
import torch

from malsori import cli
from malsori.cli.options import prepare_runtime
from malsori.errors import DeviceError
from malsori.runtime.device import (
    DEVICES,
    PRECISIONS,
    Runtime,
    available_devices,
    resolve_device,
    resolve_runtime,
    use_threads,
)
from malsori.runtime.memory import return_free_memory


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes the machine one with so many CUDA GPUs, and with or without MPS."""

    def with_gpus(cuda: int = 0, mps: bool = False, bfloat16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return with_gpus


def test_a_placed_network_keeps_few_kernels_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    Runtime().place(torch.nn.Linear(1, 1))
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    Runtime().place(torch.nn.Linear(1, 1))
    assert 0 < int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 1024
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    return_free_memory()  # nothing to see but that it goes


@pytest.mark.parametrize(
    ("gpus", "found"), [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 1}, "cuda"), ({"cuda": 2, "mps": True}, "cuda")]
)
def test_auto_takes_cuda_then_mps_then_the_cpu(machine, gpus, found):
    machine(**gpus)
    assert resolve_device("auto").type == resolve_runtime().device.type == found


def test_auto_takes_only_what_serves_the_purpose(machine):
    machine(mps=True)
    assert resolve_device("auto", accelerators=("cuda",)).type == "cpu"


def test_a_device_that_is_not_there_is_refused_with_those_that_are(machine):
    machine()
    assert available_devices() == ["cpu"]
    for name in ("cuda", "mps", "cuda:0"):
        with pytest.raises(DeviceError, match=rf"device '{name}': this machine, with this PyTorch, has cpu$"):
            resolve_device(name)
    machine(cuda=2)
    assert str(resolve_device("cuda:1")) == "cuda:1"
    with pytest.raises(DeviceError, match=r"has cpu, cuda:0, cuda:1$"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "CUDA"])
def test_a_name_that_is_no_device_is_refused_with_the_names(machine, name):
    machine(cuda=1)
    with pytest.raises(DeviceError, match=rf"no device '{name}'; one of {', '.join(DEVICES)}"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("gpus", "precision", "served"),
    [
        ({}, "float16", "cpu does not compute in float16 here; it does in float32, bfloat16"),
        ({"mps": True}, "bfloat16", "mps does not compute in bfloat16 here; it does in float32, float16"),
        ({"cuda": 1, "bfloat16": False}, "bfloat16", "cuda does not compute in bfloat16 here; it does in float32, "),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused(machine, gpus, precision, served):
    machine(**gpus)
    with pytest.raises(DeviceError, match=served):
        resolve_runtime("auto", precision)


def test_an_unknown_precision_is_refused_with_the_nearest():
    with pytest.raises(DeviceError, match=r"no precision 'float15'\. Did you mean 'float16'\?"):
        resolve_runtime("cpu", "float15")


def test_inference_computes_in_the_precision_and_without_a_graph():
    layer, given = torch.nn.Linear(3, 2), torch.ones(1, 3)
    for precision in ("float32", "bfloat16"):
        runtime = resolve_runtime("cpu", precision)
        with runtime.inference():
            output = runtime.place(layer)(given)
        assert output.dtype == PRECISIONS[precision] and not output.requires_grad
    assert layer(given).dtype == torch.float32 and layer.weight.dtype == torch.float32


def test_one_threads_precision_is_not_anothers():
    layer, given, seen = torch.nn.Linear(3, 2), torch.ones(1, 3), []
    with Runtime(dtype=torch.bfloat16).inference():
        other = threading.Thread(target=lambda: seen.append(layer(given).dtype))
        other.start()
        other.join()
    assert seen == [torch.float32]


def test_threads_are_set_within_the_machines_bounds():
    before, processors = torch.get_num_threads(), os.cpu_count() or 1
    try:
        use_threads(1)
        assert torch.get_num_threads() == 1
        use_threads(None)
        assert torch.get_num_threads() == 1
        for count in (0, -1, processors + 1):
            with pytest.raises(DeviceError, match=rf"{count} threads: at least 1, and at most .* {processors} "):
                use_threads(count)
    finally:
        torch.set_num_threads(before)


def test_the_command_line_serves_every_name_or_says_so(machine):
    machine()
    assert prepare_runtime("auto", "float32", None) == {"device": "auto", "precision": "float32"}
    with pytest.raises(DeviceError):
        prepare_runtime("cpu", "float32", 10_000)
    with pytest.raises(DeviceError):
        prepare_runtime("mps", "float32", None)


@pytest.mark.parametrize("command", [["say", "안녕", "-o", "a.wav"], ["demo", "--out", "demo"]])
def test_a_command_refuses_a_device_before_any_work(command, capsys, tmp_path, monkeypatch, machine):
    machine()
    monkeypatch.chdir(tmp_path)
    for option in (["--device", "cuda"], ["--precision", "float16"], ["--threads", "100000"]):
        assert cli.run([*command, *option]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and ("this machine" in told or "does not compute" in told)
    assert not list(tmp_path.iterdir())


def test_the_help_names_what_is_accepted():
    from malsori.cli import options

    metavars = [option.__metadata__[0].metavar for option in (options.DeviceOption, options.PrecisionOption)]
    assert metavars == ["|".join(DEVICES), "|".join(["auto", *PRECISIONS])]
