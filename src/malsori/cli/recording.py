"""Record a voice of one's own: texts one by one, with levels, retakes, and a folder to train from."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malsori.cli.terminal import text_of
from malsori.errors import OptionError, TextError

if TYPE_CHECKING:
    from malsori.corpus.recording import Take, TakeFolder

app = typer.Typer()

_KEYS = "Enter records · s skip · b the last one again · q stop here"
_BARS = " ▁▂▃▄▅▆▇█"
_FLOOR_DB = -60.0  # the lowest level that is shown
_MAX_SECONDS = 60.0


@app.command("record")
def record(
    texts: Annotated[Path, typer.Argument(help="UTF-8 text, a sentence a line; malsori text prompts chooses some.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to make, or to go on with.")],
    rate: Annotated[int, typer.Option(min=16000, max=192000, help="Hz of the recordings.")] = 48000,
    device: Annotated[str | None, typer.Option(help="Microphone: its number or name; list shows them.")] = None,
) -> None:
    """Record texts one by one into a folder that 'malsori corpus prepare' reads; run again, it goes on.

    Each take is shown with its levels, and what is wrong with it is told: clipped, too soft, a loud background, cut
    off. Wants a terminal, and a microphone (pip install 'malsori[record]').

    Example: malsori text prompts -o prompts.txt && malsori record prompts.txt -o my-voice
    """
    from malsori.audio.microphone import microphones
    from malsori.corpus.recording import TakeFolder

    if device == "list":
        print("\n".join(microphones()) or "no microphone")
        return
    if not sys.stdin.isatty():
        raise OptionError("record: standard input is no terminal; it is asked after each text whether to keep it")
    folder = TakeFolder(out)
    left = list(folder.unread(text_of(str(texts)).splitlines()))
    if not left and not len(folder):
        raise TextError(f"{texts}: holds nothing to read; give sentences, one a line")
    had, chosen = len(folder), int(device) if device and device.isdigit() else device
    try:
        _session(folder, left, rate, chosen)
    except (EOFError, KeyboardInterrupt):
        print()
    print(f"{out}: {len(folder)} takes, {len(folder) - had} of them new; {len(list(folder.unread(left)))} texts left")
    if len(folder):
        print(f"Next: malsori corpus check {out} · malsori corpus prepare {out} CORPUS")


def _session(folder: "TakeFolder", texts: list[str], rate: int, device: int | str | None) -> None:
    """Ask for each text until all are read or the reader stops."""
    place = 0
    print(_KEYS)
    while place < len(texts):
        print(f"\n[{place + 1}/{len(texts)}] {texts[place]}")
        answer = input("  > ").strip().lower()
        if answer == "q":
            return
        if answer == "b":
            if not len(folder):
                print("  there is no last one")
                continue
            texts.insert(place, folder.drop_last())
            continue
        if answer != "s" and (take := _take(texts[place], rate, device)):
            folder.keep(take, texts[place])
        place += 1


def _take(text: str, rate: int, device: int | str | None) -> "Take | None":
    """Return the take of a text that its reader keeps; None if he goes on without one."""
    from malsori.corpus.recording import judge_take

    while True:
        take = judge_take(_recorded(rate, device), rate, text)
        print(f"  {take.told()}")
        for fault in take.faults:
            print(f"  ! {fault}")
        usual, other = ("again", "k keep") if take.faults else ("keep", "r again")
        while True:
            answer = input(f"  Enter {usual} · {other} · p play · s skip > ").strip().lower()
            if answer != "p":
                break
            _play(take)
        if answer == "s":
            return None
        if answer == "k" or (not answer and not take.faults):
            return take


def _recorded(rate: int, device: int | str | None) -> Any:
    """Return what is heard until Enter; its level is shown meanwhile."""
    import numpy as np

    from malsori.audio.microphone import microphone

    blocks: list[Any] = []
    over = threading.Event()
    sound = microphone(rate, device)
    threading.Thread(target=_set_by_enter, args=[over], daemon=True).start()
    for line, block in _shown(sound, rate):
        blocks.append(block)
        print(f"\r\x1b[K  ● {line}  Enter ends it", end="", flush=True)
        if over.is_set() or sum(map(len, blocks)) > _MAX_SECONDS * rate:
            break
    print("\r\x1b[K", end="", flush=True)
    return np.concatenate(blocks)


def _set_by_enter(over: threading.Event) -> None:
    sys.stdin.readline()
    over.set()


def _shown(sound: Iterator[Any], rate: int) -> Iterator[tuple[str, Any]]:
    """Yield blocks of sound, each with a line that shows how long it lasts by now and how loud it is."""
    import numpy as np

    samples = 0
    for block in sound:
        samples += len(block)
        level = 20 * np.log10(max(1e-9, float(np.abs(block).max())))
        height = round((len(_BARS) - 1) * float(np.clip(1 - level / _FLOOR_DB, 0, 1)))
        yield f"{samples / rate:4.1f} s  {_BARS[height]} {max(level, _FLOOR_DB):4.0f} dB", block


def _play(take: "Take") -> None:
    """Play a take; where there is no loudspeaker, say so."""
    import sounddevice

    try:
        sounddevice.play(take.wave, take.sample_rate, blocking=True)
    except sounddevice.PortAudioError as error:
        print(f"  no sound can be played here: {error}")
