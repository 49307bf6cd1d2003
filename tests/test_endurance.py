"""What goes on for long: hundreds of calls in one process keep its memory flat, and threads give the same answers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from malsori.asr.recognizer import load_recognizer
from malsori.tts.voice import load_voice

TEXTS = ("오늘은 날씨가 참 좋네요.", "내일 세 시에 만나요.", "처음 만난 사람들도 금방 친구가 되었어요.", "네.")
CALLS, SETTLED = 500, 100
ALLOWED_BYTES = 60e6  # beyond what was there once caches were full; a leak of a wave a call would be 100 MB and more


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


def grown(call) -> float:
    """Return by how many bytes memory grew between the call that settles and the last."""
    before = 0
    for number in range(CALLS):
        if number == SETTLED:
            before = resident_bytes()
        call(number)
    after = resident_bytes()
    print(f"{CALLS} calls: {before / 1e6:.0f} MB after {SETTLED}, {after / 1e6:.0f} MB at the end")
    return after - before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' count of memory")
def test_hundreds_of_calls_keep_memory_flat():
    voice, recognizer = load_voice(), load_recognizer()
    waves = [voice.say(text).wave for text in TEXTS]
    texts = [recognizer.transcribe(wave, sample_rate=voice.audio.sample_rate).text for wave in waves]

    def say(number: int) -> None:
        assert np.array_equal(voice.say(TEXTS[number % 4]).wave, waves[number % 4])

    def transcribe(number: int) -> None:
        found = recognizer.transcribe(waves[number % 4], sample_rate=voice.audio.sample_rate)
        assert found.text == texts[number % 4]

    assert grown(say) < ALLOWED_BYTES
    assert grown(transcribe) < ALLOWED_BYTES


@pytest.mark.slow
def test_eight_threads_give_the_answers_of_one():
    voice, recognizer = load_voice(), load_recognizer()
    alone = [voice.say(text).wave for text in TEXTS]
    texts = [recognizer.transcribe(wave, sample_rate=voice.audio.sample_rate).text for wave in alone]

    def both(number: int) -> tuple[np.ndarray, str]:
        wave = voice.say(TEXTS[number % 4]).wave
        return wave, recognizer.transcribe(alone[number % 4], sample_rate=voice.audio.sample_rate).text

    with ThreadPoolExecutor(8) as pool:
        for number, (wave, text) in enumerate(pool.map(both, range(32))):
            assert np.array_equal(wave, alone[number % 4])
            assert text == texts[number % 4]
