"""A user's words on their whole way: prepared with, trained with, saved with the model, spoken and measured with."""

from pathlib import Path

import pytest

from malsori.corpus.folder import load_corpus
from malsori.corpus.ground_truth import PrepareOptions, prepare
from malsori.errors import ConfigError, TextError
from malsori.pretrained.folder import SavedModel, open_model, save_model, saved_lexicon
from malsori.text.frontend import Frontend
from malsori.text.userwords import user_lexicon
from malsori.train.conformer import listening_target
from malsori.train.recipe import FrontendConfig, read_recipe
from malsori.train.setup import training_lexicon
from malsori.train.systems import parse_recipe, set_up

from ..corpus.conftest import write_emotiontts

SENTENCES = ("COEX에서 만나요.", "오늘은 날씨가 참 좋네요.", "무게는 5kg입니다.", "커피 한 잔 주세요.")
WORDS = "COEX\t코엑스\nkg\t킬로그램\n날씨\t[날찌]\n"


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "mine.tsv"
    path.write_text(WORDS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, lexicon: Path) -> Path:
    """A corpus whose texts were read by the user's words."""
    folder = tmp_path_factory.mktemp("corpus")
    write_emotiontts(folder / "recordings", SENTENCES)
    prepare(folder / "recordings", folder / "out", PrepareOptions(workers=1, lexicon=(str(lexicon),)))
    return folder / "out"


@pytest.fixture(autouse=True)
def without_morphology(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malsori.train.conformer.Frontend", lambda words: Frontend(words, morphology=False))


SIZES = ["model.hidden_size=16", "model.num_layers=2", "model.phoneme_ctc_layer=1", "model.num_heads=2"]


def test_a_corpus_keeps_the_words_it_was_prepared_with(prepared: Path, lexicon: Path, tmp_path: Path) -> None:
    assert load_corpus(prepared).lexicon == user_lexicon(lexicon)
    # gone on with, it keeps them
    prepare(prepared.parent / "recordings", prepared, PrepareOptions(workers=1))
    assert load_corpus(prepared).lexicon == user_lexicon(lexicon)


def test_the_front_end_of_training_is_the_one_that_is_saved_and_spoken_with(prepared: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.tsv"
    own.write_text("커피\t가배\n", encoding="utf-8")
    recipe = parse_recipe(read_recipe("conformer-small", [*SIZES, f"frontend.lexicon={own}"]), "conformer-small")
    corpus = load_corpus(prepared)
    setup = set_up(recipe.model_copy(update={"audio": corpus.audio}), corpus)
    words = saved_lexicon(setup.facts)
    assert [word.written for word in words.words] == ["COEX", "kg", "날씨", "커피"]
    trained = {name: target for one in setup.collators.values() for name, target in one.targets.items()}
    cuts = {name: cut for found in setup.cuts.values() for name, cut in found.items()}
    spoken = Frontend(words, morphology=False)
    assert trained and all(
        trained[name] == listening_target(spoken, cuts[name].supervisions[0].text) for name in trained
    )
    save_model(SavedModel(setup.facts, setup.symbols, setup.task.exported_model()), tmp_path / "model")
    assert saved_lexicon(open_model(tmp_path / "model").facts) == words
    plain = {listening_target(Frontend(morphology=False), cut.supervisions[0].text).text for cut in cuts.values()}
    assert "코엑스에서 만나요" in {target.text for target in trained.values()} - plain


def test_a_voice_is_not_trained_by_words_that_its_corpus_was_prepared_without(prepared: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.tsv"
    own.write_text("커피\t가배\n", encoding="utf-8")
    recipe = parse_recipe(read_recipe("fastspeech2-small", [f"frontend.lexicon={own}"]), "fastspeech2-small")
    with pytest.raises(ConfigError, match=r"reads '커피' as '가배', .* was prepared without"):
        training_lexicon(recipe, load_corpus(prepared))
    known = recipe.model_copy(update={"frontend": FrontendConfig()})
    assert training_lexicon(known, load_corpus(prepared)) == load_corpus(prepared).lexicon


def test_a_wrong_row_ends_the_set_up_with_file_and_line(prepared: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.tsv"
    own.write_text("# 낱말\n커피\tcoffee\n", encoding="utf-8")
    recipe = parse_recipe(read_recipe("conformer-small", [f'frontend.lexicon=["{own}"]']), "conformer-small")
    with pytest.raises(TextError, match=r"own\.tsv:2: '커피' is to be read 'coffee'"):
        set_up(recipe, load_corpus(prepared))
