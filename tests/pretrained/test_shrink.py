"""A cut vocabulary: every text is still written, kept pieces are reached, and the network says what it said."""

import gzip
import json
import random
from pathlib import Path

import pytest
import torch

from malsori import cli
from malsori.config import WHISPER_AUDIO
from malsori.errors import ModelError
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.convert import external_facts
from malsori.pretrained.folder import SavedModel, save_model
from malsori.pretrained.hub import load_saved
from malsori.pretrained.shrink import ShrinkOptions, shrink
from malsori.text.tokenizer import Tokenizer, jamo_files

from ..models.harness import saved
from ..models.subjects import VOCOS
from ..text.test_tokenizer import LANGUAGES, NEW, OLD, TEXTS, TIMES, files, write_tokenizer

#: Written in the language that stays; TEXTS hold English too.
KOREAN = ("오늘은 날씨가 참 좋네요!", "자연어 처리는 재미있다", "3시 30분에 만나요.")
FEW = ShrinkOptions(min_count=1, ascii_ids=0)


def whisper(folder: Path, names: tuple[str, ...] = NEW, suppress: tuple[int, ...] = ()) -> SavedModel:
    """Return a tiny Whisper with random weights that are not timid, and a tokenizer of 420 pieces."""
    held = files(folder, *names)
    tokenizer = Tokenizer(held)
    settings = {
        "suppress_tokens": [1, 2, *suppress, tokenizer.special("<|startoflm|>")],
        "begin_suppress_tokens": [tokenizer.encode(" ")[0], tokenizer.end],
        "eos_token_id": tokenizer.end,
        "no_timestamps_token_id": tokenizer.no_timestamps,
        "lang_to_id": {f"<|{code}|>": tokenizer.special(f"<|{code}|>") for code in LANGUAGES},
        "alignment_heads": [[1, 0]],
        "max_initial_timestamp_index": 50,
    }
    config = WhisperConfig(
        vocab=tokenizer.first_timestamp + len(TIMES), mel_channels=80, hidden_size=16, num_encoder_layers=1,
        num_encoder_heads=2, encoder_ffn_size=16, encoder_positions=100, num_decoder_layers=2, num_decoder_heads=2,
        decoder_ffn_size=16, decoder_positions=40, whole_window=False,
    )  # fmt: skip
    torch.manual_seed(5)
    network = Whisper(config).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(4)
    held["generation_config.json"] = json.dumps(settings).encode()
    return SavedModel(external_facts("whisper", config, WHISPER_AUDIO), {}, network, card="# W\n", files=held)


def kept_ids(before: SavedModel, after: SavedModel) -> list[int]:
    """Return the old ids of the tokens that are left, in the new order, found by their vectors."""
    old, new = (model.network.decoder.embedding.weight.detach() for model in (before, after))
    return [int((old == row).all(1).nonzero()[0, 0]) for row in new]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tokenizer learnt from a few lines."""
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize("names", [NEW, OLD], ids=["tokenizer.json", "vocab.json"])
def test_what_stays_keeps_its_order_and_texts_of_it_are_cut_up_as_before(folder: Path, names: tuple[str, ...]) -> None:
    before = whisper(folder, names)
    after = shrink(before, KOREAN, FEW)
    kept, old, new = kept_ids(before, after), Tokenizer(before.files), Tokenizer(after.files)
    assert kept == sorted(kept) and 256 < len(kept) < old.first_timestamp
    for text in KOREAN:
        assert [kept[index] for index in new.encode(f" {text}")] == old.encode(f" {text}")
    names_kept = {token: new.special(token) for token in ("<|startoftranscript|>", "<|ko|>", "<|notimestamps|>")}
    assert {token: kept[index] for token, index in names_kept.items()} == {t: old.special(t) for t in names_kept}


def test_every_text_is_still_written(folder: Path) -> None:
    new = Tokenizer(shrink(whisper(folder), KOREAN, FEW).files)
    chance = random.Random(0)
    letters = [*range(0x20, 0x7F), *range(0xAC00, 0xD7A4), *range(0x4E00, 0x4F00), 0x1F600, 0x00E9, 0x0416]
    for _ in range(200):
        text = "".join(chr(chance.choice(letters)) for _ in range(20))
        assert new.decode(new.encode(text)) == text
    for text in TEXTS:
        assert new.decode(new.encode(text)) == text


def test_every_piece_that_stays_is_reached_by_merges_of_pieces_that_stay(folder: Path) -> None:
    content = json.loads(shrink(whisper(folder), KOREAN, FEW).files["tokenizer.json"])
    vocab, merges = content["model"]["vocab"], content["model"]["merges"]
    assert sorted(vocab.values()) == list(range(len(vocab)))
    reached = {piece for piece in vocab if len(piece) == 1}
    for left, right in merges:
        assert left in reached and right in reached
        reached.add(left + right)
    assert reached == set(vocab) and len(reached) > 256


def test_pieces_of_the_script_stay_unused_and_pieces_of_others_go(folder: Path) -> None:
    before = whisper(folder)
    english = [piece for piece in ("He", "ell") if piece in Tokenizer(before.files)._pieces.get_vocab()]
    after = shrink(before, ["하"], FEW)
    vocab = json.loads(after.files["tokenizer.json"])["model"]["vocab"]
    unused = Tokenizer(before.files).encode("가")  # a syllable that stands in TEXTS alone
    assert len(Tokenizer(after.files).encode("가")) == len(unused)
    assert not set(english) & set(vocab)


def test_languages_and_times_stay_as_asked(folder: Path) -> None:
    before = whisper(folder)
    every = Tokenizer(shrink(before, KOREAN, FEW).files)
    assert every.languages == LANGUAGES and every.multilingual
    after = shrink(before, KOREAN, ShrinkOptions(languages=("ko", "en"), timestamps=True, min_count=1))
    some = Tokenizer(after.files)
    assert some.languages == ("en", "ko")
    assert after.network.config.vocab == some.first_timestamp + len(TIMES) == some.special("<|30.00|>") + 1
    assert list(some.settings["lang_to_id"]) == ["<|en|>", "<|ko|>"]
    with pytest.raises(ModelError, match="language 'tlh' is none of the model's: en, zh"):
        shrink(before, KOREAN, ShrinkOptions(languages=("tlh",)))


def test_what_must_not_be_written_has_its_new_ids(folder: Path) -> None:
    before = whisper(folder)
    after = shrink(before, KOREAN, FEW)
    kept, old, new = kept_ids(before, after), Tokenizer(before.files), Tokenizer(after.files)
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        assert [kept[index] for index in new.settings[name]] == [i for i in old.settings[name] if i in kept]
    assert new.settings["eos_token_id"] == new.end and new.settings["no_timestamps_token_id"] == new.no_timestamps
    assert new.settings["alignment_heads"] == [[1, 0]] and new.settings["max_initial_timestamp_index"] == 50


def test_the_network_says_of_what_stays_what_it_said(folder: Path) -> None:
    before = whisper(folder)
    after = shrink(before, KOREAN, FEW)
    kept = torch.tensor(kept_ids(before, after))
    mel, ids = torch.randn(2, 200, 80), torch.randint(0, len(kept), (2, 9))
    with torch.no_grad():
        wanted, found = before.network(mel, kept[ids]).logits[..., kept], after.network(mel, ids).logits
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    assert after.parameters < before.parameters and after.facts.model["vocab"] == len(kept)
    assert before.network.config.vocab == len(before.network.decoder.embedding.weight)  # the given one is untouched


def test_greedy_text_is_the_same_where_no_lost_piece_would_be_written(folder: Path, tmp_path: Path) -> None:
    plain = whisper(folder)
    kept = set(kept_ids(plain, shrink(plain, KOREAN, FEW)))
    lost = tuple(index for index in range(Tokenizer(plain.files).end) if index not in kept)
    before = whisper(folder, suppress=lost)
    save_model(shrink(before, KOREAN, FEW), tmp_path / "cut")
    mel = torch.randn(1, 150, 80)
    texts = []
    for model in (before, load_saved(str(tmp_path / "cut"))):
        tokenizer = Tokenizer(model.files)
        never = torch.tensor(
            [*tokenizer.suppressed_ids("suppress_tokens"), *range(tokenizer.end, model.network.config.vocab)]
        )
        ids = torch.tensor([tokenizer.prefix()])
        for _ in range(20):
            with torch.no_grad():
                logits = model.network(mel, ids).logits[0, -1]
            logits[never] = -torch.inf
            ids = torch.cat([ids, logits.argmax()[None, None]], 1)
        texts.append(tokenizer.decode(ids[0].tolist()))
    assert texts[0] == texts[1] and len(texts[0]) > 5


def test_the_command_writes_a_folder_that_opens(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(whisper(folder), tmp_path / "model")
    (tmp_path / "a.txt").write_text("\n".join(KOREAN), encoding="utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wt", encoding="utf-8") as file:
        file.write(TEXTS[0])
    command = ["models", "shrink", str(tmp_path / "model"), str(tmp_path / "cut"), "--text", str(tmp_path / "a.txt")]
    assert (
        cli.run([*command, "--text", str(tmp_path / "b.txt.gz"), "--languages", "ko, en", "--weights", "float16"]) == 0
    )
    cut = load_saved(str(tmp_path / "cut"))
    assert f"{cut.network.config.vocab} of " in capsys.readouterr().out
    assert Tokenizer(cut.files).languages == ("en", "ko") and "Its vocabulary was cut from" in cut.card
    (tmp_path / "c.gz").write_text("no gzip")
    assert cli.run([*command, "--text", str(tmp_path / "c.gz")]) == 2
    assert "c.gz: not UTF-8 text, or not packed as its name says" in capsys.readouterr().err


def test_what_has_no_byte_pairs_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="a vocos has no vocabulary to shrink"):
        shrink(saved(VOCOS, VOCOS.build()), KOREAN)
    model = whisper(folder)
    model.files.clear()
    model.files.update(jamo_files())
    with pytest.raises(ModelError, match="its tokenizer is a BPE without merges"):
        shrink(model, KOREAN)
