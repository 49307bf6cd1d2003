"""How true --pitch is: the pitch that malsori's tracker finds in a voice's shifted speech, against what was asked for.

    python bench/shift.py [--voice NAME]

For each shift the cents by which it was missed, the largest over three sentences: of the frames (the median over those
voiced in both), and of the whole (the ratio of the two median pitches). Both are 0 where the shift is exact. The shifts
beyond what `SayOptions` accepts are made by `audio.psola` itself.
"""

import argparse

import numpy as np

import malsori
from malsori.audio.pitch import pitch_hz
from malsori.audio.psola import shift_pitch

SENTENCES = ("오늘은 날씨가 참 좋네요. 내일도 맑을까요?", "코엑스에서 만나요.", "국물이 뜨거우니 조심해서 드세요.")
SHIFTS = (-12, -9, -6, -3, 3, 6, 9, 12)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", default=None)
    voice = malsori.load_voice(parser.parse_args().voice, device="cpu")
    waves = [voice.say(sentence).wave for sentence in SENTENCES]
    pitches = [pitch_hz(wave, voice.audio) for wave in waves]
    print(f"{'semitones':>9}{'frames':>9}{'whole':>9}   cents off at most")
    for shift in SHIFTS:
        of_frames, of_whole = [], []
        for wave, before in zip(waves, pitches, strict=True):
            after = pitch_hz(shift_pitch(wave, voice.audio, shift), voice.audio)
            both = (before > 0) & (after > 0)
            of_frames.append(abs(float(np.median(1200 * np.log2(after[both] / before[both]))) - 100 * shift))
            whole = np.median(after[after > 0]) / np.median(before[before > 0])
            of_whole.append(abs(float(1200 * np.log2(whole)) - 100 * shift))
        print(f"{shift:9}{max(of_frames):9.1f}{max(of_whole):9.1f}", flush=True)


if __name__ == "__main__":
    main()
