"""wav2vec 2.0 from pre-training to letters: what is masked, what is taken over, what is left out, what is written."""

import json
import shutil

import numpy as np
import pytest
import torch

from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import load_recognizer
from malsori.corpus.folder import load_corpus
from malsori.errors import ConfigError
from malsori.pretrained.folder import ModelFacts, SavedModel, open_model, read_weights, save_model, save_tensors
from malsori.text.letters import LETTERS
from malsori.text.symbols import JAMO, SymbolTable
from malsori.train.recipe import read_recipe
from malsori.train.systems import build_task, parse_recipe, set_up
from malsori.train.wav2vec2 import draw_spans
from malsori.train.wav2vec2_pretraining import TemperatureConfig, mistaken


def test_stretches_are_whole_inside_and_as_many_as_asked_for() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([2000, 900, 30, 3])
    mask = draw_spans(lengths, 0.065, 10, min_spans=2)
    assert mask.shape == (4, 2000)
    for row, length in zip(mask, lengths.tolist(), strict=True):
        assert not row[length:].any() and row.any()
        runs = "".join("x" if masked else " " for masked in row.tolist()).split()
        assert all(len(run) >= min(10, length) for run in runs)
    assert 0.42 < mask[0].float().mean() < 0.56  # 1 - (1 - 0.065) ** 10 = 0.49
    assert not draw_spans(lengths, 0.0, 10).any()
    counts = [int(draw_spans(torch.tensor([10]), 0.05, 1).sum()) for _ in range(400)]
    assert set(counts) == {0, 1} and 0.4 < np.mean(counts) < 0.6  # half a stretch is one every other time


def test_the_temperature_is_a_function_of_the_step() -> None:
    schedule = TemperatureConfig(start=2.0, end=0.5, decay=0.5)
    assert [schedule.at(step) for step in (0, 1, 2, 50)] == [2.0, 1.0, 0.5, 0.5]
    assert TemperatureConfig().at(277_000) == pytest.approx(0.5, abs=0.001)  # BASE: a quarter after 277,000 steps


def test_gathered_batches_of_one_step_have_one_temperature() -> None:
    values = read_recipe("wav2vec2-pretrain-small", ["train.accumulate=3", "temperature.decay=0.5"])
    task = build_task(parse_recipe(values, "recipe")).train()
    heard = []
    task.network.forward = lambda *arguments: heard.append(arguments[-1]) or 1 / 0
    for _ in range(7):
        with pytest.raises(ZeroDivisionError):
            next(task.losses(task.example()))
    assert heard == [2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.5]


def test_a_target_is_mistaken_for_a_better_distractor_and_by_lot_for_an_equal_one() -> None:
    context = torch.tensor([[[1.0, 0.0]] * 3])
    target = torch.tensor([[[1.0, 0.1], [1.0, 0.1], [0.0, 1.0]]])
    others = torch.tensor([[[[0.0, 1.0], [-1.0, 0.0]], [[1.0, 0.1], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]]])
    assert mistaken(context, target, others).item() == pytest.approx((0 + 1 / 2 + 1) / 3)


def test_fine_tuning_takes_the_pre_trained_encoder_and_leaves_its_convolutions(small_run, small_setup) -> None:
    before = small_run("before", name="wav2vec2-pretrain-small")
    learnt = read_weights(before / "model" / "model.safetensors")
    start = f"start_from={before}"
    network = small_setup(start, "model.dropout=0.3", name="wav2vec2-small").task.exported_model()
    assert (
        network.config.conv_channels == (8,) * 7 and network.config.dropout == 0.3 and network.config.vocab == len(JAMO)
    )
    own = network.state_dict()
    assert all(torch.equal(own[name], learnt[name]) for name in own if name.startswith("encoder."))
    run = small_run("after", start, "half=false", name="wav2vec2-small")
    after = open_model(run / "model").network.state_dict()
    still = {name for name in after if name in learnt and torch.equal(after[name], learnt[name])}
    assert still == {name for name in after if name.startswith("encoder.convolutions.")}
    free = small_setup(start, "freeze_convolutions=false", name="wav2vec2-small").task.exported_model()
    assert all(parameter.requires_grad for parameter in free.parameters())


def test_a_run_whose_turn_was_called_listener_goes_on_as_if_it_had_not(small_run, tmp_path) -> None:
    run = small_run("run", name="wav2vec2-pretrain-small")
    done = read_weights(run / "checkpoints" / "step_00000006" / "task.safetensors")
    before = run / "checkpoints" / "step_00000004"
    shutil.rmtree(run / "checkpoints" / "step_00000006")
    for path in (run / "recipe.json", run / "metrics.jsonl", run / "balance.jsonl"):
        text = path.read_text().replace('"encoder":', '"listener":').replace('"turn": "encoder"', '"turn": "listener"')
        path.write_text(text.replace('"encoder/', '"listener/'))
    steps = read_weights(before / "optimizers.safetensors")
    old = {name.replace("encoder.", "listener.", 1): tensor for name, tensor in steps.items()}
    assert all(name.startswith("listener.") for name in old)
    save_tensors(before / "optimizers.safetensors", old)
    state = json.loads((before / "state.json").read_text())
    (before / "state.json").write_text(json.dumps({key: value for key, value in state.items() if key != "files"}))
    small_run("run", resume=True, name="wav2vec2-pretrain-small")
    after = read_weights(run / "checkpoints" / "step_00000006" / "task.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in done.items())
    assert not any("listener" in path.read_text() for path in (run / "recipe.json", run / "metrics.jsonl"))


def test_a_public_pre_trained_model_is_fine_tuned_at_its_own_sizes(small_setup, tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Wav2Vec2Config(
        conv_dim=(8,) * 7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )  # fmt: skip
    public = transformers.Wav2Vec2ForPreTraining(config)
    public.save_pretrained(tmp_path)
    corpus = small_setup(name="wav2vec2-small").corpus
    setup = set_up(parse_recipe(read_recipe("wav2vec2", [f"start_from={tmp_path}"]), "recipe"), corpus)
    network = setup.task.exported_model()
    assert network.config.norm == "layer" and network.config.norm_first and network.config.padding_mask
    wanted = public.wav2vec2.encoder.layers[0].attention.v_proj.weight
    assert torch.equal(network.encoder.blocks[0].attention.project_in.weight[32:], wanted)
    assert torch.equal(network.encoder.mask_vector, public.wav2vec2.masked_spec_embed)
    assert not any(parameter.requires_grad for parameter in network.encoder.convolutions.parameters())


def test_a_run_is_a_recognizer_that_writes_hangul_with_times(small_run) -> None:
    for units, kind in (("jamo", "jamo"), ("syllables", LETTERS)):
        run = small_run(units, f"units={units}", "train.steps=2", name="wav2vec2-small")
        recognizer = load_recognizer(str(run))
        assert list(recognizer.model.symbols) == [kind]
        with torch.no_grad():  # untrained, it writes little but blanks
            recognizer.model.network.head.bias[3] = 9.0
        transcript = recognizer.transcribe(
            np.random.default_rng(0).normal(size=20000).astype(np.float32),
            DecodingOptions(beam=1, vad=False),
            sample_rate=16000,
        )
        words = [word for segment in transcript.segments for word in segment.words]
        assert words and all(0 <= word.start < word.end <= transcript.duration for word in words)


def test_the_letters_of_a_corpus_are_those_of_its_training_split(small_setup) -> None:
    setup = small_setup("units=syllables", name="wav2vec2-small")
    table = setup.symbols[LETTERS]
    assert table.symbols[:3] == ("_", " ", "<unk>") and {"안", "녕", "요"} <= set(table.symbols)
    assert "다" in table.symbols and "바" not in table.symbols  # 바다에 is said in dev alone
    text, ids = setup.collators["dev"].targets["u6"]
    assert text == "바다에 가고 싶어요" and table.decode(ids)[:3] == ["<unk>", "다", "<unk>"]
    assert setup.task.network.head.out_features == len(table)


def test_a_checkpoint_s_letters_and_output_layer_can_be_kept(small_setup, tmp_path) -> None:
    setup = small_setup(name="wav2vec2-small")
    network = setup.task.exported_model()
    letters = ("ㄱ", " ", "[PAD]", *(f"<{number}>" for number in range(len(JAMO) - 3)))
    facts = ModelFacts.parse(setup.facts.model_dump() | {"model": {**setup.facts.model, "blank": 2}}, "facts")
    table = SymbolTable(LETTERS, "checkpoint", (*letters[:-1], "[UNK]"))
    save_model(SavedModel(facts, {LETTERS: table}, network), tmp_path / "model")
    start = f"start_from={tmp_path}/model"
    kept = small_setup(start, "units=checkpoint", name="wav2vec2-small")
    assert kept.symbols == {LETTERS: table} and kept.task.network.config.blank == 2
    assert torch.equal(kept.task.network.head.weight, network.head.weight)
    assert torch.isfinite(next(kept.task.losses(kept.task.example())).losses["ctc"])
    anew = small_setup(start, name="wav2vec2-small").task.network
    assert anew.config.blank == 0 and not torch.equal(anew.head.weight, network.head.weight)
    with pytest.raises(ConfigError, match="names no model that has any"):
        small_setup("units=checkpoint", name="wav2vec2-small")


def test_utterances_too_short_for_their_letters_are_left_out_by_name(planted_corpus, monkeypatch, small_setup) -> None:
    few = "model.conv_strides=[5,2,2,2,2,2,8]"
    setup = small_setup(few, "model.conv_kernel_sizes=[10,3,3,3,3,2,8]", name="wav2vec2-small")
    corpus = load_corpus(planted_corpus)
    said = {cut.id: cut for split in ("train", "dev") for cut in corpus.cuts[split]}
    reason = "too short for its text (CTC)"
    assert list(setup.skipped) == [reason] and setup.skipped[reason]
    for name, cut in said.items():
        kept = name in setup.cuts["train"] or name in setup.cuts["dev"]
        assert kept != (name in setup.skipped[reason])
        frames = setup.task.network.config.frames(int(cut.duration / (1.1 if name not in ("u6", "u7") else 1) * 16000))
        least = len([jamo for jamo in cut.supervisions[0].text if jamo != "?"])
        assert kept or frames < 3 * least
    with pytest.raises(KeyError):
        _ = setup.collators["train"].targets[setup.skipped[reason][0]]


def test_the_sizes_are_those_of_the_start_where_the_recipe_names_none(small_setup, monkeypatch, tmp_path) -> None:
    setup = small_setup(name="wav2vec2-small")
    save_model(SavedModel(setup.facts, setup.symbols, setup.task.exported_model()), tmp_path / "model")
    monkeypatch.setattr("malsori.train.systems.load_initial_weights", lambda *_: pytest.fail("set up already"))
    values = read_recipe("wav2vec2", [f"start_from={tmp_path}/model", "units=checkpoint"])
    again = set_up(parse_recipe(values, "recipe"), setup.corpus).task.network
    assert again.config.hidden_size == 16 and again.config.mask_channel_prob == 0.004
    assert all(torch.equal(again.state_dict()[name], value) for name, value in setup.task.network.state_dict().items())
