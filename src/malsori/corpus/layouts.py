"""Folders of recordings as people keep them: how each is read, which one a folder is, and what belongs to which split.

    folders      wav/ beside transcript/ (emotiontts) or txt/ (VCTK), a text file for each recording
    flat         a text file beside each recording
    librispeech  *.trans.txt with a line `ID text` each, the sound files of any kind beside it
    kaldi        wav.scp, text, utt2spk
    ksponspeech  *.trn with a line `FILE :: text` each
    json         a JSON file for each recording (AI Hub)
    lhotse       recordings and supervisions, or cuts, as JSON lines
    parquet      data sets of the Hugging Face hub, sound as bytes in the rows
    table        CSV, TSV, `FILE|text`, filelists: a line names a sound file and its text (LJSpeech, KSS, Piper ...)

The readers are in `malsori.readers`. Nothing is dropped silently: what cannot be an utterance comes back as a `Refusal`
with its reason, and how the folder was read as notes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from malsori.audio.io import SOUND_SUFFIXES
from malsori.errors import CorpusError
from malsori.readers.columns import parse_columns
from malsori.readers.files import Tree, head_of, lines_of, read_text, walk
from malsori.readers.kaldi import kaldi_folders, read_kaldi
from malsori.readers.ksponspeech import read_ksponspeech, trn_files
from malsori.readers.labels import label_files, read_labels
from malsori.readers.lhotse import lhotse_files, read_lhotse
from malsori.readers.librispeech import read_librispeech, trans_files
from malsori.readers.parquet import parquet_files, read_parquet
from malsori.readers.records import Found, Note, Refusal, Utterance, text_key, to_nfc
from malsori.readers.siblings import flat_texts, paired_folders, read_flat, read_paired_folders
from malsori.readers.tables import read_tables, table_files

#: The three parts of a corpus, by the names that split files, recipes and reports use.
SPLITS = ("train", "dev", "test")

#: Share of the distinct texts that go to test, and to dev, where the corpus has no splits of its own.
HELD_OUT_SHARE = 0.05


@dataclass(frozen=True)
class Layout:
    """A kind of folder: what says that a folder is one, and what reads it."""

    evidence: Callable[[Tree], Iterable[object]]
    read: Callable[[Tree], Found]


#: Every kind of folder, by name.
LAYOUTS: dict[str, Layout] = {
    "folders": Layout(paired_folders, read_paired_folders),
    "librispeech": Layout(trans_files, read_librispeech),
    "kaldi": Layout(kaldi_folders, read_kaldi),
    "ksponspeech": Layout(trn_files, read_ksponspeech),
    "table": Layout(table_files, read_tables),
    "json": Layout(label_files, read_labels),
    "lhotse": Layout(lhotse_files, read_lhotse),
    "parquet": Layout(parquet_files, read_parquet),
    "flat": Layout(flat_texts, read_flat),
}

#: What two of them were called before.
OLD_NAMES = {"emotiontts": "folders", "ljspeech": "table"}


@dataclass(frozen=True)
class Listing:
    """What a source folder holds, in the order of ids, and in words how it was read."""

    layout: str
    utterances: tuple[Utterance, ...]
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()


def read_layout(source: Path, layout: str = "auto", columns: str | None = None) -> Listing:
    """Return the utterances of a source folder, each in a split, and what was refused.

    Args:
        source: folder of recordings and texts.
        layout: "auto", or a name of `LAYOUTS`.
        columns: what each column of its tables is, such as "path,speaker,_,text"; None looks.
    Raises: CorpusError if the folder is missing, of no known layout, or holds no utterance at all.
    """
    layout = OLD_NAMES.get(layout, layout)
    if layout not in ("auto", *LAYOUTS):
        raise CorpusError(f"layout '{layout}' is not known; give auto, {', '.join((*LAYOUTS, *OLD_NAMES))}")
    if columns is not None and layout not in ("auto", "table"):
        raise CorpusError(f"columns '{columns}': the layout '{layout}' has none; leave the layout out, or give 'table'")
    tree = _tree(source)
    if columns is not None or layout == "table":
        layout, found = "table", list(read_tables(tree, parse_columns(columns) if columns else None, any_name=True))
    elif layout == "auto":
        layout, found = _detected(tree)
    else:
        found = list(LAYOUTS[layout].read(tree))
    return _listing(tree, layout, found)


def detect_layout(source: Path) -> str:
    """Return the name of the layout that a folder has.

    Raises: CorpusError if it is missing, has none, or more than one.
    """
    return _detected(_tree(source))[0]


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


def _tree(source: Path) -> Tree:
    tree = walk(source)
    if (source / "corpus.json").is_file():
        raise CorpusError(f"{source}: is a corpus already prepared; give the folder it was prepared from")
    return tree


def _detected(tree: Tree) -> tuple[str, list[Utterance | Refusal | Note]]:
    """Return the layout of a folder and what it was read as. Raises: CorpusError as `detect_layout`."""
    fitting = [name for name, layout in LAYOUTS.items() if next(iter(layout.evidence(tree)), None) is not None]
    if not fitting:
        raise CorpusError(f"{tree.root}: no known layout; {_EXPECTED}; {_what_is_there(tree)}")
    attempts, faults = {}, []
    for name in fitting:
        try:
            attempts[name] = list(LAYOUTS[name].read(tree))
        except CorpusError as error:
            faults.append(error)
    fruitful = {name: found for name, found in attempts.items() if any(isinstance(item, Utterance) for item in found)}
    if len({_told(found) for found in fruitful.values()}) > 1:
        raise CorpusError(f"{tree.root}: could be {' or '.join(fruitful)}; say which with --layout")
    if not fruitful and faults:
        raise faults[0]
    return next(iter((fruitful or attempts).items()))


def _told(found: list[Utterance | Refusal | Note]) -> frozenset[tuple[Path, str]]:
    """Return which recording says what: two layouts that agree in it are one."""
    return frozenset((item.audio_path, text_key(item.spoken)) for item in found if isinstance(item, Utterance))


def _listing(tree: Tree, layout: str, found: list[Utterance | Refusal | Note]) -> Listing:
    refused = [item for item in found if isinstance(item, Refusal)]
    known = {item.id for item in refused}
    refused += [item for item in tree.refused if item.id not in known]
    utterances, twice = _with_unique_ids(tree.root, [item for item in found if isinstance(item, Utterance)])
    empty = [Refusal(item.id, "empty transcript", str(item.audio_path)) for item in utterances if not item.spoken]
    utterances, unlisted = _with_splits(tree.root, [item for item in utterances if item.spoken])
    refused += twice + empty + unlisted
    if not utterances and not refused:
        raise CorpusError(f"{tree.root}: no utterance found for layout '{layout}'; {_EXPECTED}; {_what_is_there(tree)}")
    notes = (*(item.text for item in found if isinstance(item, Note)), *_unmentioned(tree, found, refused))
    ordered = sorted(refused, key=lambda item: (item.id, item.reason))
    return Listing(layout, tuple(sorted(utterances, key=lambda item: item.id)), tuple(ordered), notes)


def _unmentioned(tree: Tree, found: list[Utterance | Refusal | Note], refused: list[Refusal]) -> list[str]:
    """Return in words how many sound files no utterance and no refusal is about: a table may list a part of them."""
    used, ids = {item.audio_path for item in found if isinstance(item, Utterance)}, {item.id for item in refused}
    rest = [path for path in tree.sounds.paths() if path not in used and to_nfc(path.stem) not in ids]
    one = f"{len(rest)} sound file{'s' if len(rest) > 1 else ''} without a text, not used"
    return [f"{one}: {rest[0].name}{', ...' if len(rest) > 1 else ''}"] if rest and used else []


_EXPECTED = (
    "expected wav/ beside transcript/ or txt/ (folders), a.wav beside a.txt (flat), *.trans.txt (librispeech), "
    "wav.scp and text (kaldi), *.trn (ksponspeech), a JSON file for each recording (json), "
    "lhotse's cuts or supervisions (lhotse), *.parquet with the sounds inside (parquet), "
    "or a table such as metadata.csv whose lines name a sound file and its text (table)"
)


def _what_is_there(tree: Tree) -> str:
    """Return in words what a folder holds that no layout fits, and which option would read it."""
    count = len(tree.sounds)
    said = [f"it has {count} sound files" + (f", such as {next(tree.sounds.paths()).name}" if count else "")]
    texts = (
        (path, head_of(path, 2048)) for path in tree.files if path.suffix.lower() not in (*SOUND_SUFFIXES, ".py", ".md")
    )
    path, head = next(((path, head) for path, head in texts if head.strip()), (None, ""))
    if path:
        rows = " / ".join(line.strip()[:60] for line in lines_of(head) if line.strip())[:200]
        said.append(f"{path.relative_to(tree.root)} begins '{rows}': if it is a table, --columns path,text reads it")
    elif count:
        said.append("and no texts: write a.txt beside a.wav, or a table metadata.csv with a line 'a.wav|text' each")
    return ", ".join(said)


def _with_unique_ids(source: Path, utterances: list[Utterance]) -> tuple[list[Utterance], list[Refusal]]:
    """Return utterances whose ids differ: a name found twice takes its folders in front; a second one there goes."""
    seen = Counter(item.id for item in utterances)
    unique: dict[str, Utterance] = {}
    refused = []
    for item in utterances:
        if seen[item.id] > 1:
            inside = item.audio_path.is_relative_to(source)
            place = item.audio_path.relative_to(source if inside else item.audio_path.anchor)
            folders = [to_nfc(part) for part in place.parts[:-1] if part != "wav"]
            item = replace(item, id="-".join([*folders, item.id]))
        if item.id in unique:
            refused.append(Refusal(item.id, "same id twice", f"{item.audio_path}: as {unique[item.id].audio_path}"))
        else:
            unique[item.id] = item
    return list(unique.values()), refused


def _with_splits(source: Path, utterances: list[Utterance]) -> tuple[list[Utterance], list[Refusal]]:
    """Return utterances with their split: from splits/*.txt where there, else the source's, else by the text's hash."""
    listed = _listed_splits(source)
    if not listed and len({item.split for item in utterances} - {""}) > 1:
        return _with_dev([replace(item, split=item.split or "train") for item in utterances]), []
    if not listed:
        by_text = split_by_text({text_key(item.spoken) for item in utterances})
        return [replace(item, split=by_text[text_key(item.spoken)]) for item in utterances], []
    # Without a train.txt, whatever is not held out is there to learn from.
    rest = None if (source / "splits" / "train.txt").is_file() else "train"
    placed = [replace(item, split=listed.get(item.id, rest) or "") for item in utterances]
    missing = "splits/ lists it nowhere; add it to a file there"
    refused = [Refusal(item.id, "in no split", f"{item.audio_path}: {missing}") for item in placed if not item.split]
    return _with_dev([item for item in placed if item.split]), refused


def _with_dev(utterances: list[Utterance]) -> list[Utterance]:
    """Return utterances with a dev split: some of train's texts where there is none, as training chooses by it."""
    texts = {text_key(item.spoken) for item in utterances if item.split == "train"}
    if len(texts) < 2 or any(item.split == "dev" for item in utterances):
        return utterances
    held = {text for text, split in split_by_text(texts).items() if split == "dev"} or {min(texts)}
    return [
        replace(item, split="dev") if item.split == "train" and text_key(item.spoken) in held else item
        for item in utterances
    ]


def _listed_splits(source: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    for split in SPLITS:
        path = source / "splits" / f"{split}.txt"
        for name in read_text(path).split() if path.is_file() else []:
            name = to_nfc(name)
            if listed.setdefault(name, split) != split:
                raise CorpusError(f"{path}: '{name}' stands in splits/{listed[name]}.txt too; keep it in one of them")
    return listed
