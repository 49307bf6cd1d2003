"""Folders of recordings as people keep them: who says what in which file, and what belongs to which split.

    emotiontts    any folder with wav/ and transcript/ beside each other (script/ too, where what is written differs)
    librispeech   *.trans.txt with a line `ID text` each, the sound files of any kind beside it
    ljspeech      metadata.csv or transcript*.txt, a line `FILE|written|spoken|...` each, as LJSpeech and KSS have them

Nothing is dropped silently: what cannot be an utterance comes back as a `Refusal` with its reason.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from malsori.audio.io import SOUND_SUFFIXES, sound_files
from malsori.errors import CorpusError

#: The three parts of a corpus, by the names that split files, recipes and reports use.
SPLITS = ("train", "dev", "test")

#: Share of the distinct texts that go to test, and to dev, where the corpus has no splits of its own.
HELD_OUT_SHARE = 0.05


@dataclass(frozen=True)
class Utterance:
    """One recording with its text; texts are NFC, their spaces single."""

    id: str
    audio_path: Path
    written: str
    spoken: str
    speaker: str
    split: str = ""


@dataclass(frozen=True)
class Refusal:
    """Something in the source that cannot be used: its id, the reason (one of few), and the particulars."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Listing:
    """What a source folder holds, in the order of ids."""

    layout: str
    utterances: tuple[Utterance, ...]
    refused: tuple[Refusal, ...]


Found = Iterator[Utterance | Refusal]


def read_layout(source: Path, layout: str = "auto") -> Listing:
    """Return the utterances of a source folder, each in a split, and what was refused.

    Args:
        source: folder of recordings and texts.
        layout: "auto", or a name of `LAYOUTS`.
    Raises: CorpusError if the folder is missing, of no known layout, or holds no utterance at all.
    """
    layout = detect_layout(source) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise CorpusError(f"layout '{layout}' is not known; give auto, {', '.join(LAYOUTS)}")
    found = list(LAYOUTS[layout](_existing(source)))
    refused = [item for item in found if isinstance(item, Refusal)]
    utterances, twice = _with_unique_ids(source, [item for item in found if isinstance(item, Utterance)])
    empty = [Refusal(item.id, "empty transcript", str(item.audio_path)) for item in utterances if not item.spoken]
    utterances, unlisted = _with_splits(source, [item for item in utterances if item.spoken])
    refused += twice + empty + unlisted
    if not utterances and not refused:
        raise CorpusError(f"{source}: no utterance found for layout '{layout}'; {_EXPECTED}")
    return Listing(layout, tuple(sorted(utterances, key=lambda item: item.id)), tuple(sorted(refused, key=_by_id)))


def detect_layout(source: Path) -> str:
    """Return the name of the layout that a folder has.

    Raises: CorpusError if it is missing, has none, or more than one.
    """
    _existing(source)
    if (source / "corpus.json").is_file():
        raise CorpusError(f"{source}: is a corpus already prepared; give the folder it was prepared from")
    evidence: dict[str, Iterable[object]] = {
        "emotiontts": _emotiontts_folders(source),
        "librispeech": _files(source, _is_trans),
        "ljspeech": _files(source, _is_table),
    }
    fitting = [name for name, found in evidence.items() if next(iter(found), None) is not None]
    if not fitting:
        raise CorpusError(f"{source}: no known layout; {_EXPECTED}")
    if len(fitting) > 1:
        raise CorpusError(f"{source}: could be {' or '.join(fitting)}; say which with --layout")
    return fitting[0]


def text_key(text: str) -> str:
    """Return a text reduced to its letters and digits: two that differ only in spaces, marks or case are one text.

    >>> text_key("네, 그래요!") == text_key("네 그래요.")
    True
    """
    return "".join(sign for sign in unicodedata.normalize("NFC", text).casefold() if sign.isalnum())


def split_by_text(texts: Iterable[str]) -> dict[str, str]:
    """Return the split of each text key, by its hash alone: a text stands in one split, whoever reads it.

    About 5 % of the distinct texts are test, 5 % dev, the rest train, and a text keeps its split as the corpus grows;
    only a corpus so small that dev or test would stay empty gives them the nearest text (if it has three or more).
    """
    position = {text: int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12 for text in texts}
    ranked = sorted(position, key=lambda text: position[text])
    least = 1 if len(ranked) >= 3 else 0
    tests = max(least, sum(place < HELD_OUT_SHARE for place in position.values()))
    held_out = max(tests + least, sum(place < 2 * HELD_OUT_SHARE for place in position.values()))
    held_out = min(held_out, len(ranked) - 1)
    return {text: "test" if rank < tests else "dev" if rank < held_out else "train" for rank, text in enumerate(ranked)}


def read_text(path: Path) -> str:
    """Return a text file's content without a byte-order mark. Raises: CorpusError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: byte {error.start} is not UTF-8; convert it, for instance with 'iconv -f cp949 -t utf-8'"
        ) from error


def _emotiontts(source: Path) -> Found:
    for folder in _emotiontts_folders(source):
        speaker = unicodedata.normalize("NFC", folder.name)
        recorded = {path.stem for path in sound_files(folder / "wav")}
        for path in sound_files(folder / "wav"):
            yield _from_siblings(folder, path, speaker)
        for path in sorted((folder / "transcript").glob("*.txt")):
            if path.stem not in recorded:
                yield Refusal(path.stem, "no recording", f"{path}: wav/ has no '{path.stem}'")


def _from_siblings(folder: Path, path: Path, speaker: str) -> Utterance | Refusal:
    """Return the utterance of wav/ID.* with transcript/ID.txt (as spoken) and script/ID.txt (as written)."""
    transcript, script = (folder / kind / f"{path.stem}.txt" for kind in ("transcript", "script"))
    if not transcript.is_file():
        return Refusal(path.stem, "no transcript", f"{path}: {transcript} is missing")
    try:
        spoken = read_text(transcript)
        written = read_text(script) if script.is_file() else spoken
    except CorpusError as error:
        return Refusal(path.stem, "text is not UTF-8", str(error))
    return _utterance(path, written, spoken, speaker)


def _librispeech(source: Path) -> Found:
    for table in _files(source, _is_trans):
        folders = table.parent.relative_to(source).parts
        # SPEAKER/CHAPTER/*.trans.txt, perhaps inside train-clean-100 and the like.
        speaker = folders[-2] if len(folders) > 1 else folders[0] if folders else source.resolve().name
        sounds = {path.stem: path for path in sound_files(table.parent)}
        for line in _lines(table):
            if isinstance(line, Refusal):
                yield line
                continue
            name, _, text = line.strip().partition(" ")
            if name in sounds:
                yield _utterance(sounds[name], text, text, speaker)
            else:
                yield Refusal(name, "no recording", f"{table}: no sound file '{name}' beside it")


def _ljspeech(source: Path) -> Found:
    for table in _files(source, _is_table):
        speaker = unicodedata.normalize("NFC", table.resolve().parent.name)
        places = [table.parent, *sorted(path for path in table.parent.iterdir() if path.is_dir())]
        for number, line in enumerate(_lines(table), start=1):
            if isinstance(line, Refusal):
                yield line
                continue
            columns = [column.strip() for column in line.split("|")]
            if not 2 <= len(columns) <= 6:
                detail = f"{table}:{number}: {len(columns)} columns between '|'; 2 to 6 are accepted"
                yield Refusal(f"{table.name}:{number}", "not a table line", detail)
            elif path := _sound_named(columns[0], places):
                # The third column is the text as read out, where there is one; the second as written.
                yield _utterance(path, columns[1], columns[2] if columns[2:3] > [""] else columns[1], speaker)
            else:
                yield Refusal(Path(columns[0]).stem, "no recording", f"{table}:{number}: no sound file '{columns[0]}'")


#: How each layout is read.
LAYOUTS: dict[str, Callable[[Path], Found]] = {
    "emotiontts": _emotiontts,
    "librispeech": _librispeech,
    "ljspeech": _ljspeech,
}

_EXPECTED = (
    "expected wav/ beside transcript/ (emotiontts), *.trans.txt (librispeech), "
    "or metadata.csv or transcript*.txt with '|' between columns (ljspeech)"
)


def _utterance(path: Path, written: str, spoken: str, speaker: str) -> Utterance:
    written, spoken = (" ".join(unicodedata.normalize("NFC", text).split()) for text in (written, spoken))
    return Utterance(unicodedata.normalize("NFC", path.stem), path, written or spoken, spoken, speaker)


def _lines(table: Path) -> Iterator[str | Refusal]:
    """Yield the lines that hold something, or one refusal where the file is not text."""
    try:
        yield from (line for line in read_text(table).splitlines() if line.strip())
    except CorpusError as error:
        yield Refusal(table.name, "text is not UTF-8", str(error))


def _sound_named(name: str, places: list[Path]) -> Path | None:
    """Return the sound file of a table's first column: a path with or without its ending, in any of the places."""
    endings = [""] if Path(name).suffix.lower() in SOUND_SUFFIXES else list(SOUND_SUFFIXES)
    tried = (place / (name + ending) for place in places for ending in endings)
    return next((path for path in tried if path.is_file()), None)


def _existing(source: Path) -> Path:
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder; give a folder of recordings")
    return source


def _files(source: Path, fits: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the fitting files anywhere below a folder, in order of name."""
    for folder, folders, names in os.walk(source, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "splits")
        yield from (path for name in sorted(names) if fits(path := Path(folder, name)))


def _emotiontts_folders(source: Path) -> Iterator[Path]:
    for folder, folders, _ in os.walk(source, followlinks=True):
        folders.sort()
        if {"wav", "transcript"} <= set(folders):
            yield Path(folder)


def _is_trans(path: Path) -> bool:
    return path.name.endswith(".trans.txt")


def _is_table(path: Path) -> bool:
    if path.name != "metadata.csv" and not (path.name.startswith("transcript") and path.suffix == ".txt"):
        return False
    with path.open("rb") as file:
        return b"|" in file.read(4096)


def _by_id(item: Refusal) -> tuple[str, str]:
    return item.id, item.reason


def _with_unique_ids(source: Path, utterances: list[Utterance]) -> tuple[list[Utterance], list[Refusal]]:
    """Return utterances whose ids differ: a name found twice takes its folders in front; a second one there goes."""
    seen = Counter(item.id for item in utterances)
    unique: dict[str, Utterance] = {}
    refused = []
    for item in utterances:
        if seen[item.id] > 1:
            folders = [part for part in item.audio_path.relative_to(source).parts[:-1] if part != "wav"]
            item = replace(item, id="-".join([*folders, item.id]))
        if item.id in unique:
            refused.append(Refusal(item.id, "same id twice", f"{item.audio_path}: as {unique[item.id].audio_path}"))
        else:
            unique[item.id] = item
    return list(unique.values()), refused


def _with_splits(source: Path, utterances: list[Utterance]) -> tuple[list[Utterance], list[Refusal]]:
    """Return utterances with their split: from splits/*.txt where there, else by the hash of the text."""
    listed = _listed_splits(source)
    if not listed:
        by_text = split_by_text({text_key(item.spoken) for item in utterances})
        return [replace(item, split=by_text[text_key(item.spoken)]) for item in utterances], []
    # Without a train.txt, whatever is not held out is there to learn from.
    rest = None if (source / "splits" / "train.txt").is_file() else "train"
    placed = [replace(item, split=listed.get(item.id, rest) or "") for item in utterances]
    missing = "splits/ lists it nowhere; add it to a file there"
    refused = [Refusal(item.id, "in no split", f"{item.audio_path}: {missing}") for item in placed if not item.split]
    return [item for item in placed if item.split], refused


def _listed_splits(source: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    for split in SPLITS:
        path = source / "splits" / f"{split}.txt"
        for name in read_text(path).split() if path.is_file() else []:
            name = unicodedata.normalize("NFC", name)
            if listed.setdefault(name, split) != split:
                raise CorpusError(f"{path}: '{name}' stands in splits/{listed[name]}.txt too; keep it in one of them")
    return listed
