"""OpenAI's own Whisper files: the same logits and words as transformers', with a tokenizer that fits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from malsori import cli
from malsori.errors import ModelError
from malsori.pretrained.external import import_external
from malsori.pretrained.hub import load_saved

from ..models.test_whisper import TINY, assert_same_logits, assert_same_words, theirs
from ..text.test_tokenizer import write_tokenizer
from .test_convert import TINY as HIFIGAN
from .test_convert import authors_file

#: transformers' name of a module → OpenAI's, in this order.
NAMES = {
    "model.": "", "layers.": "blocks.", "embed_positions.weight": "positional_embedding",
    "embed_tokens": "token_embedding",
    "self_attn_layer_norm": "attn_ln", "encoder_attn_layer_norm": "cross_attn_ln", "final_layer_norm": "mlp_ln",
    "self_attn": "attn", "encoder_attn": "cross_attn", "q_proj": "query", "k_proj": "key", "v_proj": "value",
    "out_proj": "out", "fc1": "mlp.0", "fc2": "mlp.2", "encoder.layer_norm": "encoder.ln_post",
    "decoder.layer_norm": "decoder.ln",
}  # fmt: skip


def openai_weights(model: Any) -> dict[str, Tensor]:
    """Return transformers' tensors under OpenAI's names, which have no second copy of the embedding."""
    state = {name: value for name, value in model.state_dict().items() if name != "proj_out.weight"}
    for there, here in NAMES.items():
        state = {name.replace(there, here): value for name, value in state.items()}
    return state


def openai_file(path: Path, vocab: int = 100, half: bool = False, **changes: Any) -> Any:
    """Write a .pt as OpenAI's program reads it; return transformers' model of its numbers."""
    sizes = {"encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": vocab}  # four times the width, always
    model = theirs(path.parent / "transformers", **TINY | sizes)
    if half:
        model = model.half().float()
    dims = {
        "n_mels": 20, "n_vocab": vocab, "n_audio_ctx": 60, "n_audio_state": 32, "n_audio_head": 4, "n_audio_layer": 2,
        "n_text_ctx": 220, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 3,
    }  # fmt: skip
    state = {name: value.half() if half else value for name, value in openai_weights(model).items()}
    torch.save({"dims": dims | changes, "model_state_dict": state}, path)
    return model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A folder with a Whisper's tokenizer, and nothing else that makes a model."""
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def vocab(tokenizer: Path) -> int:
    """How many tokens it knows."""
    from malsori.pretrained.folder import kept_files
    from malsori.text.tokenizer import vocab_size

    return vocab_size(kept_files(tokenizer))


@pytest.mark.parametrize("half", [False, True])
def test_openais_file_gives_transformers_logits_and_words(
    tmp_path: Path, tokenizer: Path, vocab: int, half: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model = openai_file(tmp_path / "tiny.pt", vocab, half)
    command = ["import", str(tmp_path / "tiny.pt"), "-o", str(tmp_path / "ours"), "--tokenizer", str(tokenizer)]
    assert cli.run([*command, "--license", "MIT"]) == 0
    ours = load_saved(str(tmp_path / "ours"))
    assert ours.facts.license == "MIT" and ours.files["tokenizer.json"] == (tokenizer / "tokenizer.json").read_bytes()
    assert_same_logits(model, ours.network)
    assert_same_words(model, ours.network, 60)


def test_a_tokenizer_is_asked_for_and_must_be_the_networks(tmp_path: Path, tokenizer: Path, vocab: int) -> None:
    openai_file(tmp_path / "tiny.pt")
    with pytest.raises(
        ModelError, match=r"tiny\.pt: holds no tokenizer; name a folder .* of its 100 tokens with --tok"
    ):
        import_external(tmp_path / "tiny.pt", [])
    with pytest.raises(ModelError, match=rf"a tokenizer of {vocab} tokens; the network in .*tiny\.pt knows 100"):
        import_external(tmp_path / "tiny.pt", [], tokenizer=str(tokenizer))
    (tmp_path / "hifigan").mkdir()
    path, _ = authors_file(tmp_path / "hifigan", HIFIGAN)
    with pytest.raises(ModelError, match=r"a hifigan has no tokenizer; --tokenizer x/y has nothing to say"):
        import_external(path, [], tokenizer="x/y")


def test_a_tokenizer_comes_from_the_hub_without_weights(
    tmp_path: Path, tokenizer: Path, vocab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(name: str, allow_patterns: list[str], **_options: object) -> str:
        asked.extend([name, *allow_patterns])
        return str(tokenizer)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    openai_file(tmp_path / "tiny.pt", vocab)
    assert "tokenizer.json" in import_external(tmp_path / "tiny.pt", [], tokenizer="openai/whisper-base").files
    assert asked[0] == "openai/whisper-base" and not [name for name in asked if "safetensors" in name or "bin" in name]


def test_sizes_that_do_not_fit_are_named_as_the_file_calls_them(tmp_path: Path, tokenizer: Path) -> None:
    openai_file(tmp_path / "tiny.pt", n_text_layer=4)
    with pytest.raises(ModelError, match=r"weight 'decoder\.blocks\.3\.attn_ln\.weight' is missing"):
        import_external(tmp_path / "tiny.pt", [], tokenizer=str(tokenizer))
    openai_file(tmp_path / "tiny.pt", n_audio_head="many")
    with pytest.raises(ModelError, match=r"its settings are not those of a whisper: .*encoder_heads = 'many'"):
        import_external(tmp_path / "tiny.pt", [], tokenizer=str(tokenizer))
