"""A corpus in shards: the same batches as of its folder, wherever it lies, and a clear word where it is not whole."""

import dataclasses
import gzip
import json
import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from malsori import object_store
from malsori.audio.io import load_audio
from malsori.cli import run
from malsori.corpus import sharding, shards
from malsori.corpus.batches import SpeechDataset, places, plan_epoch
from malsori.corpus.folder import load_corpus
from malsori.corpus.sharding import shard_corpus
from malsori.errors import CorpusError, FileError, MalsoriError, OptionError
from malsori.train.recipe import read_recipe
from malsori.train.systems import parse_recipe, set_up

from .conftest import SHORT, TINY


@pytest.fixture(scope="module")
def sharded(planted_corpus, tmp_path_factory) -> Path:
    """The planted corpus in three shards: four and two utterances of train, two of dev."""
    out = tmp_path_factory.mktemp("sharded") / "out"
    found = shard_corpus(planted_corpus, out, utterances=4)
    assert (found.utterances, found.shards, found.reused) == (8, 3, 0) and found.written_bytes > 5e5
    return out


def copied(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place))


def batches(corpus: Path | str, name: str, count: int = 8) -> list[dict[str, object]]:
    """Return the first batches that a recipe trains on."""
    recipe = parse_recipe(read_recipe(name, [*TINY[name], *SHORT]), name)
    setup = set_up(recipe, load_corpus(corpus))
    dataset = SpeechDataset(setup.corpus, setup.cuts["train"], setup.collators["train"], recipe.seed)
    epoch = lambda number: plan_epoch(setup.cuts["train"], recipe.data, setup.by_seconds, recipe.seed, number)  # noqa: E731
    found = [dataset[place] for place in places(epoch, 0, count)]
    return [{field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)} for batch in found]


@pytest.mark.parametrize("name", ["vocos-small", "fastspeech2-small"])
def test_batches_are_bit_for_bit_those_of_the_folder(planted_corpus, sharded, name):
    ours, theirs = batches(sharded, name), batches(planted_corpus, name)
    assert len(ours) == len(theirs) == 8
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in other)


def test_lhotse_reads_the_shards_one_after_the_other(planted_corpus, sharded):
    corpus = load_corpus(planted_corpus)
    of_folder = {cut.id: cut for split in corpus.cuts.values() for cut in split}
    found = list(CutSet.from_shar(in_dir=sharded / "shards"))
    assert [cut.id for cut in found] == list(of_folder)
    for cut in found:
        truth = corpus.ground_truth(of_folder[cut.id])
        assert all(np.array_equal(cut.load_custom(name), truth[name]) for name in shards.ARRAYS)
        wave = load_audio(of_folder[cut.id].recording.sources[0].source)
        assert np.array_equal(cut.load_audio()[0], wave)


def test_an_interrupted_run_goes_on_to_the_same_bytes(planted_corpus, sharded, tmp_path, monkeypatch, capsys):
    out, write = tmp_path / "out", sharding._write_shard

    def killed(corpus, place, arrays, shard):
        if shard.number == 1:
            raise KeyboardInterrupt
        return write(corpus, place, arrays, shard)

    monkeypatch.setattr(sharding, "_write_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        shard_corpus(planted_corpus, out, utterances=4)
    with pytest.raises(CorpusError, match="not all shards are there yet; run the same 'malsori corpus shard' again"):
        load_corpus(out)
    monkeypatch.setattr(sharding, "_write_shard", write)
    (out / ".shard.x.partial" / "shards").mkdir(parents=True)  # as a kill leaves it
    given = ["corpus", "shard", str(planted_corpus), str(out), "--utterances", "4", "--json"]
    assert run(given) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["shards"], found["reused"], found["utterances"]) == (3, 1, 8)
    files = {path.relative_to(sharded) for path in sharded.rglob("*") if path.is_file()}
    assert {path.relative_to(out) for path in out.rglob("*") if path.is_file()} == files
    assert all((out / path).read_bytes() == (sharded / path).read_bytes() for path in files)
    assert run(given) == 0 and json.loads(capsys.readouterr().out)["written_bytes"] == 0


class Elsewhere:
    """Does jobs as another machine would: of copies that came through pickle."""

    def map(self, make, jobs):
        return (pickle.loads(pickle.dumps(make))(pickle.loads(pickle.dumps(job))) for job in jobs)


def test_shards_that_are_written_elsewhere_are_the_same(planted_corpus, sharded, tmp_path):
    shard_corpus(planted_corpus, tmp_path / "out", utterances=4, executor=Elsewhere())
    names = {path.relative_to(sharded) for path in (sharded / "shards").iterdir()}
    assert names and all((tmp_path / "out" / name).read_bytes() == (sharded / name).read_bytes() for name in names)


def test_what_is_not_aligned_is_known_without_reading(planted_corpus, tmp_path):
    from safetensors.numpy import load_file, save_file

    corpus = load_corpus(copied(planted_corpus, tmp_path / "corpus"))
    first, second = list(corpus.cuts["train"])[:2]
    path = corpus.ground_truth_path(first)
    arrays = load_file(path)
    save_file({name: arrays[name] for name in ("mel", "pitch_hz", "energy")}, path)
    shard_corpus(tmp_path / "corpus", tmp_path / "out")
    found = load_corpus(tmp_path / "out")
    cuts = {cut.id: cut for cut in found.cuts["train"]}
    assert not found.has_durations(cuts[first.id]) and found.has_durations(cuts[second.id])
    assert sorted(found.ground_truth(cuts[first.id])) == ["energy", "mel", "pitch_hz"]
    assert len(list(CutSet.from_shar(in_dir=tmp_path / "out" / "shards"))) == 8


@pytest.mark.slow
def test_the_check_of_shards_is_that_of_the_folder(planted_corpus, sharded, capsys):
    found = []
    for place in (planted_corpus, sharded):
        status = run(["corpus", "check", str(place), "--workers", "1", "--json"])
        found.append((status, json.loads(capsys.readouterr().out) | {"source": ""}))
    assert found[0] == found[1] and found[0][1]["utterances"] == 8


@pytest.mark.parametrize(
    ("file", "spoil", "told"),
    [
        ("mel.000000.tar", lambda content: content[:900] + bytes([content[900] ^ 1]) + content[901:], "damaged at u0"),
        ("recording.000000.tar", lambda content: content[:-20000], "damaged at u3"),
        ("pitch_hz.000001.tar", lambda _: None, "no such file; remove .*/shards/cuts.000001.jsonl.gz,"),
        ("cuts.000001.jsonl.gz", lambda content: content[:40], "damaged: .*; remove .*/cuts.000001.jsonl.gz,"),
        ("cuts.000002.jsonl.gz", lambda _: gzip.compress(b""), "its shards hold 6 utterances, corpus.json says 8"),
    ],
)
def test_a_damaged_shard_is_named_and_made_again(planted_corpus, sharded, tmp_path, file, spoil, told):
    out = copied(sharded, tmp_path / "out")
    before = (out / "shards" / file).read_bytes()
    after = spoil(before)
    (out / "shards" / file).unlink() if after is None else (out / "shards" / file).write_bytes(after)
    with pytest.raises(MalsoriError, match=rf"^[^\n]*{told}[^\n]*$"):
        batches(out, "vocos-small")
    (out / "shards" / f"cuts.{file.split('.')[1]}.jsonl.gz").unlink(missing_ok=True)
    shard_corpus(planted_corpus, out, utterances=4)
    assert (out / "shards" / file).read_bytes() == before


@pytest.mark.slow
def test_damage_that_a_worker_meets_is_one_line_too(sharded, tmp_path, capsys):
    out = copied(sharded, tmp_path / "out")
    (out / "shards" / "recording.000000.tar").write_bytes(b"short")
    given = ["train", "vocos-small", "--corpus", str(out), "--out", str(tmp_path / "run"), "--device", "cpu"]
    for value in (*TINY["vocos-small"], *SHORT, "data.workers=1"):
        given += ["--set", value]
    assert run(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "recording.000000.tar: damaged at " in line and "Traceback" not in line
    assert not multiprocessing.active_children(), "a worker that ignores signals would be waited for at exit"


def test_a_place_that_holds_anything_else_is_refused(planted_corpus, sharded, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("안녕", encoding="utf-8")
    with pytest.raises(CorpusError, match="holds something else already"):
        shard_corpus(planted_corpus, tmp_path / "other")
    with pytest.raises(CorpusError, match="holds a corpus that is not in shards"):
        shard_corpus(planted_corpus, planted_corpus)
    with pytest.raises(CorpusError, match="holds shards of 4 of another corpus, or of this one before it changed"):
        shard_corpus(planted_corpus, sharded, utterances=5)
    with pytest.raises(CorpusError, match="malsori-shards-1"):
        shard_corpus(sharded, tmp_path / "again")
    with pytest.raises(OptionError, match=r"gs://bucket/x: neither a folder nor s3://BUCKET/PREFIX"):
        load_corpus("gs://bucket/x")
    assert run(["corpus", "prepare", str(tmp_path / "other"), str(sharded), "--align-with", "none"]) == 2


# Object storage


@pytest.fixture(scope="module")
def bucket():
    """A bucket of a real server of the S3 protocol on this machine."""
    server_of = pytest.importorskip("moto.server")
    import boto3

    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        object_store._client.cache_clear()
        boto3.client("s3").create_bucket(Bucket="corpora")
        yield "corpora"
    server.stop()
    object_store._client.cache_clear()


@pytest.mark.slow
def test_training_from_object_storage_resumes_to_the_same_weights(planted_corpus, bucket, small_run, tmp_path, capsys):
    from safetensors.torch import load_file

    place = f"s3://{bucket}/voices/planted"
    assert run(["corpus", "shard", str(planted_corpus), place, "--utterances", "4", "--workers", "2"]) == 0
    assert f"{place}: 8 utterances" in capsys.readouterr().out
    given = ["train", "vocos-small", "--corpus", place, "--out", str(tmp_path / "of_bucket"), "--device", "cpu"]
    for value in (*TINY["vocos-small"], *SHORT, "data.workers=1"):
        given += ["--set", value]
    assert run([*given, "--set", "train.steps=4"]) == 0
    assert run([*given, "--resume", "--accept-changes"]) == 0
    whole = small_run("of_folder", name="vocos-small")
    ours, theirs = (load_file(each / "model" / "model.safetensors") for each in (tmp_path / "of_bucket", whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert run(["corpus", "check", place, "--workers", "1"]) in (0, 2)
    assert "8 utterances can be used" in capsys.readouterr().out


@pytest.mark.slow
def test_shards_in_object_storage_go_on_and_their_damage_is_named(planted_corpus, bucket):
    import boto3

    place, client = f"s3://{bucket}/again", boto3.client("s3")
    shard_corpus(planted_corpus, place, utterances=4)
    client.delete_object(Bucket=bucket, Key="again/shards/cuts.000001.jsonl.gz")
    client.delete_object(Bucket=bucket, Key="again/shards/mel.000001.tar")
    with pytest.raises(FileError, match=r"^s3://corpora/again/shards/cuts.000001.jsonl.gz: no such file$"):
        load_corpus(place)
    assert shard_corpus(planted_corpus, place, utterances=4).reused == 2
    client.put_object(Bucket=bucket, Key="again/shards/mel.000001.tar", Body=b"short")
    cut = load_corpus(place).cuts["train"][5]
    with pytest.raises(CorpusError, match=r"again/shards/mel.000001.tar: is shorter than .*: damaged; remove"):
        load_corpus(place).ground_truth(cut)


@pytest.mark.slow
def test_storage_that_refuses_is_told_in_one_line(planted_corpus, bucket, monkeypatch, capsys):
    def told(place: str) -> str:
        object_store._client.cache_clear()
        assert run(["train", "vocos-small", "--corpus", place, "--out", "run"]) == 2
        assert run(["corpus", "shard", str(planted_corpus), place]) == 2
        trained, made = capsys.readouterr().err.splitlines()
        assert trained == made
        return made

    assert "there is no bucket 'nowhere' at http://127.0.0.1:" in told("s3://nowhere/planted")
    assert "no shards of a corpus; make them with 'malsori corpus shard CORPUS" in (
        run(["evaluate", "vocos-ko", "--corpus", f"s3://{bucket}/none"]), capsys.readouterr().err
    )[1]  # fmt: skip
    monkeypatch.setattr(object_store, "_TIMEOUTS", {"connect_timeout": 1, "retries": {"total_max_attempts": 1}})
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
        assert "no credentials; set AWS_ACCESS_KEY_ID" in told(f"s3://{bucket}/planted")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert "nobody answers at http://127.0.0.1:9" in told(f"s3://{bucket}/planted")
    object_store._client.cache_clear()
