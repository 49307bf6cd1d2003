"""Strict settings: the message names the key, where it stands and the nearest one that is right."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from malsori.config import RECOGNITION_AUDIO, AudioConfig, Config, nearest
from malsori.errors import ConfigError
from malsori.files import read_json, read_toml


class Engine(Config):
    learning_rate: float
    layers: int = 2


class Machine(Config):
    name: str
    engine: Engine
    sizes: tuple[int, ...] = ()


GOOD = {"name": "작은", "engine": {"learning_rate": 1e-3}}


def test_good_settings_are_taken_with_their_defaults():
    machine = Machine.parse({**GOOD, "sizes": [1, 2]}, "a.toml")
    assert machine.engine.learning_rate == 1e-3 and machine.engine.layers == 2 and machine.sizes == (1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "x"}, r"^a\.toml: unknown key 'nmae'\. Did you mean 'name'\?$"),
        (
            {"engine": {"learning_rat": 1, "learning_rate": 1}},
            r"unknown key 'engine\.learning_rat'\. Did .*'learning_rate'",
        ),
        ({"engine": {"zzz": 1, "learning_rate": 1}}, r"unknown key 'engine\.zzz'\. Valid: layers, learning_rate\.$"),
        ({"engine": {}}, r"^a\.toml: missing key 'engine\.learning_rate'\.$"),
        ({"engine": {"learning_rate": "fast"}}, r"'engine\.learning_rate' = 'fast': .*number"),
        ({"engine": {"learning_rate": 1, "layers": 2.5}}, r"'engine\.layers' = 2\.5: .*integer"),
        ({"sizes": [1, "two"]}, r"'sizes\.1' = 'two'"),
        ({"name": None}, r"'name' = None"),
        ({"engine": 3}, r"'engine' = 3"),
    ],
)
def test_a_bad_key_is_named_with_its_place(changes, message):
    with pytest.raises(ConfigError, match=message):
        Machine.parse({**GOOD, **changes}, "a.toml")


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        AudioConfig().hop_samples = 128


def test_a_fingerprint_differs_whenever_a_setting_does_and_stays_otherwise():
    changed = {
        "sample_rate": 24000, "fft_samples": 2048, "window_samples": 800, "hop_samples": 200, "mel_channels": 100,
        "min_hz": 20.0, "max_hz": 7600.0, "log_floor": 1e-4, "convention": "speecht5",
    }  # fmt: skip
    assert set(changed) == set(AudioConfig.model_fields)
    prints = {AudioConfig(**{name: value}).fingerprint() for name, value in changed.items()}
    assert len(prints) == len(changed) and AudioConfig().fingerprint() not in prints
    assert (
        AudioConfig(**dict(reversed(AudioConfig().model_dump().items()))).fingerprint() == AudioConfig().fingerprint()
    )
    # written into every saved model: if this changes, old models are refused
    assert AudioConfig().fingerprint() == "5b7cc1450665"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_samples": 2048}, "window_samples 2048 is longer than fft_samples 1024"),
        ({"max_hz": 12000.0}, "max_hz 12000.0 lies above half of sample_rate 22050"),
        ({"hop_samples": 255}, "must be even"),
    ],
)
def test_settings_of_sound_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AudioConfig.parse(changes, "a.toml")


def test_a_frame_lasts_a_hop():
    assert AudioConfig().frame_seconds == pytest.approx(256 / 22050)
    assert RECOGNITION_AUDIO.frame_seconds == 0.01 and RECOGNITION_AUDIO.window_samples == 0.025 * 16000


@pytest.mark.parametrize(("read", "name"), [(read_toml, "a.toml"), (read_json, "a.json")])
def test_an_unreadable_file_is_named(tmp_path: Path, read, name):
    with pytest.raises(ConfigError, match=f"{name}: no such file"):
        read(tmp_path / name)
    for content in (b"{ = nonsense", b"\xff\xfe\x00"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=f"{name}: not valid"):
            read(tmp_path / name)


def test_files_give_their_nested_values(tmp_path: Path):
    (tmp_path / "a.toml").write_text('"이름" = "말"\n[engine]\nlayers = 3\n', encoding="utf-8")
    assert read_toml(tmp_path / "a.toml") == {"이름": "말", "engine": {"layers": 3}}
    (tmp_path / "a.json").write_text('{"이름": ["말"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"이름": ["말"]}
    (tmp_path / "b.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"b\.json: expected a JSON object, found list"):
        read_json(tmp_path / "b.json")


def test_the_nearest_name_is_offered_or_all_of_them():
    assert nearest("lmi", ["lmy", "kih"]) == " Did you mean 'lmy'?"
    assert nearest("zzz", ["lmy", "kih"]) == " Valid: kih, lmy."
