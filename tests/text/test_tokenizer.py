"""Whisper's alphabet: from a checkpoint's files, old and new, as transformers reads them; and our own of jamo."""

import json
import unicodedata
from pathlib import Path

import pytest

from malsori.errors import ModelError, TextError
from malsori.text.tokenizer import Tokenizer, jamo_files, vocab_size

TEXTS = (
    "안녕하세요. 오늘은 날씨가 참 좋네요!", "3시 30분에 만나요.", "값이 얼마예요?", " Hello, it's 50% off.",
    "닭과 닮은 뷁", "자연어 처리는 재미있다", "가나다라 마바사", "커피 한 잔 주세요, 고맙습니다.",
)  # fmt: skip
LANGUAGES = ("en", "zh", "de", "es", "ru", "ko", "haw")  # transformers counts in the authors' order
SPECIALS = [
    "<|endoftext|>", "<|startoftranscript|>", *(f"<|{language}|>" for language in LANGUAGES), "<|translate|>",
    "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip
TIMES = [f"<|{index * 0.02:.2f}|>" for index in range(1501)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint's files."""
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def write_tokenizer(path: Path) -> Path:
    """Write a checkpoint's files with a small byte-level BPE that was learnt from a few lines; return their folder."""
    import tokenizers

    pieces = tokenizers.Tokenizer(tokenizers.models.BPE())
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = tokenizers.decoders.ByteLevel()
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=420, initial_alphabet=letters, show_progress=False)
    pieces.train_from_iterator(TEXTS, trainer)
    pieces.model.save(str(path))
    pieces.add_special_tokens(SPECIALS)
    pieces.add_tokens([tokenizers.AddedToken(time, normalized=False, special=False) for time in TIMES])
    pieces.save(str(path / "tokenizer.json"))
    added = {name: pieces.token_to_id(name) for name in (*SPECIALS, *TIMES)}
    (path / "added_tokens.json").write_text(json.dumps(added))
    return path


def files(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


NEW, OLD = ("tokenizer.json",), ("vocab.json", "merges.txt", "added_tokens.json")


@pytest.mark.parametrize("names", [NEW, OLD], ids=["tokenizer.json", "vocab.json"])
def test_text_becomes_the_ids_that_transformers_gives_it_and_comes_back(folder: Path, names: tuple[str, ...]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.WhisperTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ours = Tokenizer(files(folder, *names))
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs(text, add_special_tokens=False).input_ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True) == text
    assert vocab_size(ours.files) == len(theirs)


@pytest.mark.parametrize("names", [NEW, OLD], ids=["tokenizer.json", "vocab.json"])
def test_the_prefix_is_the_one_that_transformers_sets(folder: Path, names: tuple[str, ...]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.WhisperTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ours = Tokenizer(files(folder, *names))
    for task in ("transcribe", "translate"):
        for plain in (True, False):
            theirs.set_prefix_tokens(language="ko", task=task, predict_timestamps=not plain)
            assert list(ours.prefix("ko", task, timestamps=not plain)) == theirs.prefix_tokens
    wanted = [theirs.convert_tokens_to_ids(SPECIALS[place]) for place in (0, 1, -2)]
    assert [ours.end, ours.start, ours.no_speech] == wanted
    assert ours.languages == LANGUAGES
    assert ours.first_timestamp == ours.special("<|0.00|>")


def test_special_tokens_and_times_are_no_text(folder: Path) -> None:
    ours = Tokenizer(files(folder, *NEW))
    ids = [*ours.prefix(), *ours.encode("안녕하세요."), ours.first_timestamp + 7, ours.end]
    assert ours.decode(ids) == "안녕하세요."
    with pytest.raises(TextError, match=r"'<' \(U\+003C\) at position 2 cannot be written"):
        ours.encode("끝 <|endoftext|>")


def test_text_is_nfc_on_both_sides(folder: Path) -> None:
    for ours in (Tokenizer(files(folder, *NEW)), Tokenizer(jamo_files())):
        ids = ours.encode("닭과 값이")
        assert ours.encode(unicodedata.normalize("NFD", "닭과 값이")) == ids
        assert unicodedata.is_normalized("NFC", ours.decode(ids)) and ours.decode(ids) == "닭과 값이"


def test_words_know_their_tokens_even_where_one_syllable_is_cut_into_bytes(folder: Path) -> None:
    for ours in (Tokenizer(files(folder, *NEW)), Tokenizer(jamo_files())):
        text = "뷁 안녕하세요 값이 닭"
        ids = ours.encode(text)
        words = ours.words(ids)
        assert [word for word, _ in words] == text.split()
        places = [place for _, members in words for place in members]
        assert places == sorted(set(places)) and all(members for _, members in words)
        for word, members in words:
            assert ours.decode([ids[place] for place in members]).strip() == word


def test_an_english_checkpoint_is_asked_for_no_language(folder: Path) -> None:
    english = files(folder, *NEW) | {"generation_config.json": b'{"is_multilingual": false}'}
    ours = Tokenizer(english)
    assert ours.languages == ("en",) and ours.prefix("en") == (ours.start, ours.no_timestamps)
    with pytest.raises(TextError, match="language 'ko' is none that the model writes; accepted: en"):
        ours.prefix("ko")


def test_every_syllable_is_written_in_jamo_and_read_back() -> None:
    ours = Tokenizer(jamo_files())
    text = "".join(map(chr, range(0xAC00, 0xD7A4)))
    ids = ours.encode(text)
    assert ours.decode(ids) == text and len(set(ids)) == 19 + 21 + 27
    assert max(ids) < ours.end < vocab_size(ours.files) == 75


def test_what_jamo_cannot_write_is_named() -> None:
    with pytest.raises(TextError, match=r"'a' \(U\+0061\) at position 3 cannot be written"):
        Tokenizer(jamo_files()).encode("안녕 a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer.json": b"{"}, "tokenizer: not JSON"),
        ({"generation_config.json": b"[]"}, "a JSON object was expected, not list"),
    ],
)
def test_damaged_files_are_told(folder: Path, change: dict[str, bytes], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Tokenizer(files(folder, *NEW) | change)


def test_missing_files_and_other_alphabets_are_told(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"here: no tokenizer.json beside the weights, nor vocab.json with merges.txt"):
        Tokenizer({}, "here")
    with pytest.raises(ModelError, match=r"no token <\|startoftranscript\|>: not a tokenizer of Whisper"):
        Tokenizer(files(folder, "vocab.json", "merges.txt"))
    moved = {name: index + 1 for name, index in json.loads((folder / "added_tokens.json").read_text()).items()}
    with pytest.raises(ModelError, match=r"added_tokens.json gives <\|endoftext\|> the id"):
        Tokenizer(files(folder, *OLD) | {"added_tokens.json": json.dumps(moved).encode()})


def test_what_a_checkpoint_forbids_is_kept_to_its_own_alphabet(folder: Path) -> None:
    settings = b'{"begin_suppress_tokens": [3, 50257], "suppress_tokens": null}'
    ours = Tokenizer(files(folder, *NEW) | {"generation_config.json": settings})
    assert ours.suppressed_ids("begin_suppress_tokens") == (3,) and ours.suppressed_ids("suppress_tokens") == ()
