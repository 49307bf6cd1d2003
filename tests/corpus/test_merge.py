"""Two sources in one corpus folder: refused, or merged on request; and two processes at once."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from malsori.corpus import ground_truth
from malsori.corpus.batches import DataConfig
from malsori.corpus.claim import held_corpus
from malsori.corpus.folder import load_corpus
from malsori.corpus.ground_truth import PrepareOptions, audio_at, prepare
from malsori.errors import ConfigError, CorpusError

from .conftest import SENTENCES, write_emotiontts

ALONE = PrepareOptions(workers=1, audio=audio_at(16000))
MERGE = ALONE.model_copy(update={"merge": True})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure crudely: what is measured is not what is tested here."""

    def measure(wave, audio, tracker):
        frames = len(wave) // audio.hop_samples
        ones = np.ones(frames, np.float32)
        return {"mel": np.zeros((frames, audio.mel_channels), np.float32), "pitch_hz": ones, "energy": ones}

    monkeypatch.setattr(ground_truth, "measure", measure)


def ids(out: Path) -> list[str]:
    return [json.loads(line)["id"] for line in gzip.decompress((out / "cuts.jsonl.gz").read_bytes()).splitlines()]


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    """Two sources, whose first utterance is the same recording and whose second has the same id and another text."""
    first = write_emotiontts(tmp_path / "first", SENTENCES[:4])
    texts = (SENTENCES[0], SENTENCES[8], *SENTENCES[2:4], "따로 온 말이에요.", "하나 더 있어요.")
    second = write_emotiontts(tmp_path / "second", texts)
    return first, second


def test_a_second_source_is_merged_on_request_and_loses_nothing(sources, tmp_path: Path, contents, caplog) -> None:
    first, second = sources
    out = tmp_path / "out"
    prepare(first, out, ALONE)
    before = contents(out)
    with pytest.raises(CorpusError, match="holds a corpus of 'first', not 'second'; add --merge"):
        prepare(second, out, ALONE)
    assert contents(out) == before
    with caplog.at_level("INFO"):
        summary = prepare(second, out, MERGE)
    new = ["kim00004", "lee00005", "second-lee00001"]
    assert ids(out) == ["kim00000", "kim00002", "lee00001", "lee00003", *new]
    assert summary.skipped == {"in the corpus already": ["kim00000", "kim00002", "lee00003"]}
    assert "1 ids are of other utterances there and take 'second-' in front: lee00001" in caplog.text
    assert "taken for the same speaker in both: kim, lee" in caplog.text
    assert sum(summary.utterances.values()) == 7
    after = contents(out)
    assert all(after[name] == held for name, held in before.items() if name.startswith(("wave", "ground_truth")))
    facts = json.loads(after["corpus.json"])
    assert (facts["source"], facts["merged"]) == ("first", [str(second)])
    # each goes on alone: nothing is made anew, nothing of the other goes
    assert prepare(first, out, ALONE).reused == prepare(second, out, MERGE).reused == 7
    assert contents(out) == after
    (first / "Main" / "kim" / "wav" / "kim00000.flac").unlink()
    prepare(first, out, ALONE)
    assert ids(out) == ["kim00002", "lee00001", "lee00003", *new]
    moved = first.rename(tmp_path / "moved")
    with pytest.raises(CorpusError, match="not 'moved'"):
        prepare(moved, out, ALONE)


def test_an_interrupted_merge_keeps_the_first_and_goes_on(sources, tmp_path: Path, contents, monkeypatch) -> None:
    first, second = sources
    for name in ("whole", "broken"):
        prepare(first, tmp_path / name, ALONE)
    prepare(second, tmp_path / "whole", MERGE)
    save, calls = ground_truth.save_audio, []

    def failing(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        save(*given)

    out = tmp_path / "broken"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ground_truth, "save_audio", failing)
        prepare(second, out, MERGE)
    assert sum(map(len, load_corpus(out).cuts.values())) == 4
    third = write_emotiontts(tmp_path / "third", SENTENCES[:5])
    with pytest.raises(CorpusError, match="second --merge was interrupted; finish that"):
        prepare(third, out, MERGE)
    prepare(second, out, MERGE)
    assert contents(out) == contents(tmp_path / "whole")


def test_what_cannot_be_merged_says_why(sources, tmp_path: Path) -> None:
    first, second = sources
    out = tmp_path / "out"
    with pytest.raises(CorpusError, match="holds no corpus to merge into"):
        prepare(second, out, MERGE)
    assert not out.exists()
    prepare(first, out, ALONE)
    with pytest.raises(CorpusError, match=r"holds the corpus of .*first itself; leave --merge out"):
        prepare(first, out, MERGE)
    with pytest.raises(CorpusError, match="was made at 16000 Hz, not 22050"):
        prepare(second, out, PrepareOptions(workers=1, merge=True))
    (out / "corpus.json").rename(out / ".preparing.json")
    with pytest.raises(CorpusError, match="first was interrupted; finish that before"):
        prepare(second, out, MERGE)


def test_a_folder_that_another_process_prepares_is_refused_in_one_line(sources, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with held_corpus(sources[0], out):
        told = subprocess.run(
            [sys.executable, "-m", "malsori", "corpus", "prepare", sources[1], out, "--align-with", "none"],
            capture_output=True,
            text=True,
        )
    assert told.returncode == 2
    assert f"{out}: another process is preparing it; wait for it" in told.stderr.splitlines()[-1]
    prepare(sources[0], out, ALONE)


@pytest.mark.parametrize("parse", [DataConfig.parse, PrepareOptions.parse])
def test_more_workers_than_any_machine_has_are_refused(parse) -> None:
    with pytest.raises(ConfigError, match=r"workers.*256"):
        parse({"workers": 100_000}, "here")
