"""Pictures of a corpus's utterances: drawn on their durations, and refused where those are of other phonemes."""

from pathlib import Path

import numpy as np
import pytest

from malsori.cli import run
from malsori.config import RECOGNITION_AUDIO
from malsori.corpus.folder import add_ground_truth, load_corpus
from malsori.corpus.ground_truth import PrepareOptions, prepare
from malsori.report.plots import utterance_figure
from malsori.text.frontend import Frontend
from malsori.text.symbols import PHONEMES


@pytest.fixture
def corpus(emotiontts: Path, tmp_path: Path) -> Path:
    """A prepared corpus, kim00000 with durations: every phoneme as long."""
    out = tmp_path / "out"
    prepare(emotiontts, out, PrepareOptions(audio=RECOGNITION_AUDIO, workers=1))
    prepared = load_corpus(out)
    cut = next(cut for split in prepared.cuts.values() for cut in split if cut.id == "kim00000")
    ids = np.array(PHONEMES.encode(Frontend().read(cut.supervisions[0].text).phonemes), dtype=np.int32)
    frames = len(prepared.ground_truth(cut)["mel"])
    durations = np.diff(np.linspace(0, frames, len(ids) + 1).astype(np.int32))
    add_ground_truth(prepared.ground_truth_path(cut), {"token_ids": ids, "durations": durations})
    return out


def test_an_utterance_is_drawn_with_its_words_in_their_time(corpus: Path) -> None:
    prepared = load_corpus(corpus)
    cuts = {cut.id: cut for split in prepared.cuts.values() for cut in split}
    figure = utterance_figure(prepared, cuts["kim00000"])
    tiers = [text for axes in figure.axes for text in axes.texts]
    frames = prepared.ground_truth(cuts["kim00000"])["durations"]
    assert "안녕하세요." in [text.get_text() for text in tiers]
    spoken = frames[1:-1].sum() / 2 + frames[0]  # the only word's middle
    middle = next(text.get_position()[0] for text in tiers if text.get_text() == "안녕하세요.")
    assert middle == pytest.approx(spoken * prepared.audio.frame_seconds)
    assert len(utterance_figure(prepared, cuts["kim00002"]).axes) == 2  # it has no durations


def test_the_command_draws_what_is_named_and_refuses_what_is_not_there(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pictures"
    assert run(["corpus", "show", str(corpus), "kim00000", "lee00001", "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["kim00000.png", "lee00001.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.iterdir())
    assert run(["corpus", "show", str(corpus), "nobody", "-o", str(out)]) == 2
    assert "'nobody' is no utterance of" in capsys.readouterr().err


def test_durations_of_other_phonemes_are_not_drawn(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared = load_corpus(corpus)
    cut = next(cut for split in prepared.cuts.values() for cut in split if cut.id == "kim00000")
    wrong = prepared.ground_truth(cut)["token_ids"][::-1].copy()
    add_ground_truth(prepared.ground_truth_path(cut), {"token_ids": wrong})
    assert run(["corpus", "show", str(corpus), "kim00000"]) == 2
    assert "durations are of other phonemes" in capsys.readouterr().err
