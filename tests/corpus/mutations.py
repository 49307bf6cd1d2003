"""Folders of recordings as a careless hand or a bad disk may leave them: one mutation each, from a seed."""

import json
import os
import random
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from .conftest import RATE, SENTENCES, spoken, write_emotiontts, write_text

NAMES = tuple(f"말-{number}" for number in range(8))


def sounds(folder: Path, suffix: str = ".wav") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(NAMES):
        soundfile.write(folder / f"{name}{suffix}", spoken(number, 0.8, 0.2, 0.2), RATE)


def pairs() -> list[tuple[str, str]]:
    return list(zip(NAMES, SENTENCES, strict=False))


def bars(root: Path) -> None:
    sounds(root / "wavs")
    write_text(root / "metadata.csv", "".join(f"{name}|{text}\n" for name, text in pairs()))


def comma_separated(root: Path) -> None:
    sounds(root / "clips", ".flac")
    rows = [f'clips/{name}.flac,"{text}",{"ab"[len(text) % 2]}' for name, text in pairs()]
    write_text(root / "train.csv", "\n".join(["path,sentence,speaker", *rows]) + "\n")


def json_lines(root: Path) -> None:
    sounds(root / "audio")
    rows = [{"audio_filepath": f"audio/{name}.wav", "text": text, "duration": 1.2} for name, text in pairs()]
    write_text(root / "manifest.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def kaldi(root: Path) -> None:
    sounds(root / "wav")
    for name, line in {"wav.scp": "{0} wav/{0}.wav", "text": "{0} {1}", "utt2spk": "{0} kim"}.items():
        write_text(root / name, "".join(line.format(*pair) + "\n" for pair in pairs()), "utf-8")


def beside(root: Path) -> None:
    sounds(root)
    for name, text in pairs():
        write_text(root / f"{name}.txt", text)


def json_each(root: Path) -> None:
    sounds(root)
    for name, text in pairs():
        write_text(root / f"{name}.json", json.dumps({"발화정보": {"stt": text, "fileNm": f"{name}.wav"}}), "utf-8")


LAYOUTS: tuple[Callable[[Path], object], ...] = (
    bars,
    comma_separated,
    json_lines,
    kaldi,
    beside,
    json_each,
    lambda root: write_emotiontts(root, SENTENCES[:8]),
)


def change_bytes(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(dice.randrange(1, 20)):
        content[dice.randrange(min(len(content), 400))] = dice.randrange(256)
    path.write_bytes(content)


def cut(path: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))])


def replace(path: Path, dice: random.Random) -> None:
    others = (
        b"",
        b"\0" * 999,
        b"{}",
        b"[" * 50_000,
        b"|||\n" * 99,
        b"\xff\xfe",
        "가\n".encode() * 9,
        b"RIFF\xff\xff\xff\xffWAVE",
    )
    path.write_bytes(dice.choice(others))


def replace_by_another_thing(path: Path, dice: random.Random) -> None:
    path.unlink()
    makers = (
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to(path.parent),
        lambda: path.symlink_to("none"),
    )
    dice.choice((*makers, lambda: None, lambda: path.symlink_to("/dev/zero")))()


def rename(path: Path, dice: random.Random) -> None:
    names = (
        unicodedata.normalize("NFD", path.name),
        path.stem + path.suffix.upper(),
        "긴" * 80 + path.suffix,
        f"2026-11-29T10:30 {path.name}",
        f"a\nb{path.suffix}",
        path.stem,
        f".{path.name}",
        f"b'\udcff{path.suffix}",
    )  # fmt: skip
    path.rename(path.parent / dice.choice(names))


def change_lines(path: Path, dice: random.Random) -> None:
    lines = path.read_bytes().decode("utf-8", "replace").splitlines() or [""]
    place = dice.randrange(len(lines))
    line = lines[place]
    others = (
        line + line, "", line[: len(line) // 2], line.replace("|", "\t").replace(",", ";"), line + "|x|y|z",
        line.replace("말-", "C:\\녹음\\말-"), "\u2028".join(line), line + "가" * 30_000, line + "\0", '"' + line,
        line.replace(" ", "\u3000\u200b"), "../../../etc/passwd|" + line, line.replace("0", "\U0010ffff"),
    )  # fmt: skip
    lines[place] = dice.choice(others)
    order = dice.choice((lines, lines * 3, lines[::-1], lines[1:], lines[:1], ["# " + lines[0], *lines]))
    text = dice.choice(("\n", "\r\n", "\r", "\x85")).join(order)
    path.write_bytes(text.encode(dice.choice(("utf-8", "utf-8-sig", "cp949", "utf-16", "euc-kr")), "replace"))


def another_sound(path: Path, dice: random.Random) -> None:
    wave = spoken(3, 0.8)
    waves = (
        wave[:0], wave[:7], 0 * wave, np.full_like(wave, np.nan), 1e9 * wave, np.stack([wave] * 8, axis=1),
        np.tile(wave, 40), np.stack([wave, -wave], axis=1), wave + 1,
    )  # fmt: skip
    soundfile.write(path, dice.choice(waves), dice.choice((RATE, 1, 384_000, 8000)), format="WAV", subtype="FLOAT")


def copy_all(path: Path, dice: random.Random) -> None:
    root = path.parent
    shutil.copytree(root, root.with_name(f"{root.name}-copy"), symlinks=True)
    shutil.move(root.with_name(f"{root.name}-copy"), root / dice.choice(("copy", "train", "__MACOSX", ".git")))


OF_TEXTS = (change_bytes, cut, replace, replace_by_another_thing, rename, change_lines, change_lines, copy_all)
OF_SOUNDS = (change_bytes, cut, replace, replace_by_another_thing, rename, another_sound, another_sound)


def mutate(root: Path, seed: int) -> str:
    """Lay recordings out below a folder that is not there yet, change one file, and say what was done."""
    dice, layout = random.Random(seed), LAYOUTS[seed % len(LAYOUTS)]
    layout(root)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    are_sounds = dice.random() < 0.5
    path = dice.choice([file for file in files if (file.suffix in (".wav", ".flac")) == are_sounds])
    change = dice.choice(OF_SOUNDS if are_sounds else OF_TEXTS)
    change(path, dice)
    return f"{layout.__name__}: {change.__name__} of {path.relative_to(root)}"
