"""Each datum enters a room once: `bench/walk.py` sees through which doors."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def walked():
    """The tracer of `bench/walk.py`."""
    spec = importlib.util.spec_from_file_location("walk", ROOT / "bench" / "walk.py")
    walk = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(walk)
    return walk.walked


def test_a_text_is_read_once_and_each_part_of_the_voice_is_asked_once(walked):
    rooms = walked("say").rooms
    assert rooms["tts"] == {"Voice.say": 1}
    assert rooms["text"] == {"clean": 1, "Frontend.read": 1, "SymbolTable.encode": 1}  # its phonemes as ids
    assert rooms["models"] == {"FastSpeech2.infer": 1, "Vocos.infer": 1}
    assert rooms["alignment"] == {"alignment_of": 1}


@pytest.mark.slow
def test_a_wave_is_encoded_once_searched_once_and_written_once(walked):
    rooms = walked("transcribe").rooms
    assert rooms["asr"] == {"Recognizer.transcribe": 1}
    assert rooms["audio"] == {"resample": 1, "log_mel": 1}
    # the detector hears whole frames, then the one that the sound ends in
    assert rooms["models"] == {"SileroVad.start": 1, "SileroVad.infer": 2, "Conformer.infer": 1}
    assert rooms["decode"] == {"prefix_beam_search": 1}
    assert rooms["text"] == {"decode_words": 1}  # however many words there are


def test_a_recipe_asks_once_for_the_weights_that_it_starts_from(walked):
    rooms = walked("set_up").rooms
    assert rooms["train"] == {"set_up": 1}
    doors = {door: count for door, count in rooms["pretrained"].items() if "<locals>" not in door}  # no hook is a door
    assert doors == {"load_initial_weights": 1}
    assert rooms["corpus"] == {"select": 2, "remove_unaligned": 1, "speaker_statistics": 1}  # two splits
