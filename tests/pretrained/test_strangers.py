"""Models from strangers: opened, or refused in one line; never a trace, a hang, or much memory."""

import json
import resource
import shutil
import time
from importlib import resources
from pathlib import Path

import pytest
import torch

from malsori import cli
from malsori.errors import MalsoriError, ModelError
from malsori.pretrained.folder import open_model, save_model
from malsori.pretrained.limits import build_within, check_numbers
from malsori.pretrained.pickles import read_pickle
from malsori.text.tokenizer import Tokenizer, jamo_files

from ..models.harness import saved
from ..models.subjects import SUBJECTS
from .strangers import mutate

STATISTICS = {"pitch_mean": 5, "pitch_std": 1, "energy_mean": 0, "energy_std": 1}
ASSETS = Path(str(resources.files("malsori") / "assets"))


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """A copy of the built-in voice, to be spoiled."""
    return Path(shutil.copytree(ASSETS / "fastspeech2-ko", tmp_path / "voice"))


def spoil(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (values[section] if section else values)[key] = value
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_every_network_is_measured_without_memory_before_it_is_made(subject) -> None:
    network = subject.build()
    weights = network.state_dict()
    made = build_within(subject.build, lambda one: one, weights, "here")
    assert [value.shape for value in made.state_dict().values()] == [value.shape for value in weights.values()]
    assert all(value.device.type == "cpu" for value in made.state_dict().values())
    check_numbers(subject.config.model_dump(mode="json"), len(weights), "here")


def test_a_network_of_more_numbers_or_parts_than_there_are_is_not_made() -> None:
    for build in (
        lambda: torch.nn.Linear(10**6, 10**6),
        lambda: torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(99)),
    ):
        with pytest.raises(ModelError, match="here: its settings ask for"):
            build_within(build, lambda one: one, {"a": torch.zeros(1)}, "here")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model__num_encoder_layers": 10**6}, "num_encoder_layers' = 1000000: .*only [0-9]+ weights come with it"),
        ({"model__num_encoder_layers": -1}, "num_encoder_layers' = -1"),
        ({"model__num_heads": 0}, "num_heads' = 0: from 1"),
        ({"model__num_heads": -2}, "num_heads' = -2"),
        ({"model__hidden_size": 10**6}, "settings ask for"),
        ({"model__hidden_size": 10**9}, "hidden_size' = 1000000000"),
        ({"model__vocab": 10**7}, "settings ask for"),
        ({"audio__sample_rate": 10**9}, "audio.sample_rate"),
        ({"audio__hop_samples": 0}, "audio.hop_samples"),
        ({"audio__mel_channels": 10**6}, "audio.mel_channels"),
        ({"audio__max_hz": float("nan")}, "max_hz"),
        ({"audio__log_floor": float("inf")}, "log_floor"),
        ({"speakers": ["a", "a"]}, "each has a name of its own"),
        ({"speakers": ["lmy", "kih", "x"] * 20}, "each has a name|names 60 speakers"),
        ({"statistics": {"lmy": STATISTICS | {"pitch_mean": float("nan")}}}, "pitch_mean"),
        ({"statistics": {"lmy": STATISTICS | {"pitch_std": -1}}}, "pitch_std"),
    ],
    ids=str,
)  # fmt: skip
def test_what_settings_cannot_be_is_refused_before_any_memory_is_taken(voice: Path, changes, told: str) -> None:
    spoil(voice, **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MalsoriError, match=told):
        open_model(voice)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_weight_that_is_no_number_is_named(tmp_path: Path) -> None:
    subject = SUBJECTS["vocos"]
    network = subject.build()
    with torch.no_grad():
        network.head.bias[3] = float("nan")
    save_model(saved(subject, network), tmp_path / "model")
    with pytest.raises(ModelError, match=r"weight 'head\.bias' holds 1 values that are not finite"):
        open_model(tmp_path / "model")


def test_symbols_that_the_front_end_does_not_write_are_refused(voice: Path) -> None:
    path = voice / "symbols.json"
    tables = json.loads(path.read_text(encoding="utf-8"))
    tables["phonemes"]["symbols"].reverse()
    path.write_text(json.dumps(tables), encoding="utf-8")
    with pytest.raises(ModelError, match=r"symbol 0 of phonemes 1 is '-ㅇ', not '_'"):
        open_model(voice)
    tables["phonemes"]["version"] = "2"
    path.write_text(json.dumps(tables), encoding="utf-8")
    with pytest.raises(ModelError, match="phonemes are of version 2, this is 1"):
        open_model(voice)


def test_a_tokenizer_that_could_take_for_ever_is_refused() -> None:
    files = jamo_files()
    values = json.loads(files["tokenizer.json"])
    values["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}],
    }
    with pytest.raises(ModelError, match=r"a regular expression of its own \('\(a\+\)\+\$'\)"):
        Tokenizer(files | {"tokenizer.json": json.dumps(values).encode()})
    for settings in ({"suppress_tokens": "x"}, {"begin_suppress_tokens": [1.5]}, {"alignment_heads": [[1]]}):
        with pytest.raises(ModelError, match=next(iter(settings))):
            Tokenizer(files | {"generation_config.json": json.dumps(settings).encode()})
    with pytest.raises(ModelError, match="are no tokenizer"):
        Tokenizer({"vocab.json": b'{"a": "x"}', "merges.txt": b"a b\n"})


def test_a_pickle_is_read_in_a_process_that_may_not_grow(tmp_path: Path) -> None:
    content = {
        "model": {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)},
        "steps": 3, "names": ["가", None], "rate": torch.tensor(2), "pair": (1, "x"),
    }  # fmt: skip
    torch.save(content, tmp_path / "a.pt")
    found = read_pickle(tmp_path / "a.pt")
    assert torch.equal(found["model"]["a.weight"], content["model"]["a.weight"])
    assert torch.equal(found["model"]["b"], torch.ones(2)) and torch.equal(found["rate"], content["rate"])
    assert {name: found[name] for name in ("steps", "names", "pair")} == {
        "steps": 3,
        "names": ["가", None],
        "pair": (1, "x"),
    }
    torch.save({"weight": torch.zeros(1).expand(2**31)}, tmp_path / "trap.pt")  # a thousand bytes that would be 8 GB
    with pytest.raises(ModelError, match="takes far more memory than its"):
        read_pickle(tmp_path / "trap.pt")


def tiny_models(tmp_path: Path) -> list[Path]:
    for name, subject in SUBJECTS.items():
        save_model(saved(subject, subject.build()), tmp_path / name)
    return [tmp_path / name for name in SUBJECTS]


@pytest.mark.parametrize("count", [33, pytest.param(220, marks=pytest.mark.slow)])
def test_mutated_models_open_or_are_refused(count: int, tmp_path: Path) -> None:
    folders, opened = tiny_models(tmp_path), 0
    for seed in range(count):
        folder = Path(shutil.copytree(folders[seed % len(folders)], tmp_path / f"spoiled-{seed}"))
        what, began = mutate(folder, seed), time.process_time()
        try:
            open_model(folder)
            opened += 1
        except MalsoriError as error:
            assert len(str(error)) < 2000 or "\0" in str(error), what
        except Exception as error:
            raise AssertionError(f"seed {seed}, {folders[seed % len(folders)].name}, {what}") from error
        assert time.process_time() - began < 20, what
    assert 0 < opened < count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000
    print(f"{count} models: {opened} opened, {count - opened} refused")


@pytest.mark.slow
def test_mutations_of_the_built_in_voice_speak_or_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {0: 0, 2: 0}
    for seed in range(80):
        folder = Path(shutil.copytree(ASSETS / "fastspeech2-ko", tmp_path / f"voice-{seed}"))
        what, began = mutate(folder, seed), time.process_time()
        status = cli.run(
            ["say", "말", "-o", str(tmp_path / "a.wav"), "--voice", str(folder), "--vocoder", "griffin-lim"]
        )
        told = capsys.readouterr().err
        assert status in counts and told.count("\n") <= 1 + (status == 0), f"seed {seed}, {what}: {told}"
        counts[status] += 1
        assert time.process_time() - began < 20, what
        shutil.rmtree(folder)
    assert all(counts.values())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000
    with capsys.disabled():
        print(f"80 mutations of the voice: {counts[0]} spoke, {counts[2]} refused")
