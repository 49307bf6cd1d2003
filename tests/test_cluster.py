"""The jobs of a corpus elsewhere: the same results, whatever machine did them and whichever was lost.

By default "elsewhere" is this process through pickle, which a cluster's machines see everything through. Slow: a
real Ray cluster of two nodes, one of which is taken away.
"""

import json
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from malsori import cluster
from malsori.audio.io import load_audio, save_audio
from malsori.cli import run
from malsori.errors import ClusterError, CorpusError, SoundWarning
from malsori.tts.voice import load_voice

from .corpus.conftest import SENTENCES, write_emotiontts


class Pickled:
    """Does jobs here, of copies that came through pickle; as many as were done are counted."""

    done = 0

    def __init__(self, *given: Any):
        self.given = given

    def map(self, make: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]:
        copy = pickle.loads(pickle.dumps(make))
        for job in jobs:
            Pickled.done += 1
            yield pickle.loads(pickle.dumps(copy(pickle.loads(pickle.dumps(job)))))


@pytest.fixture
def elsewhere(monkeypatch):
    monkeypatch.setattr(cluster, "RayExecutor", Pickled)
    monkeypatch.setattr(Pickled, "done", 0)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> Path:
    """Two sentences of the built-in voice, with their texts beside them."""
    folder, voice = tmp_path_factory.mktemp("spoken"), load_voice()
    for number, text in enumerate(SENTENCES[:2]):
        voice.say(text).save(folder / f"{number}.wav")
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def both(given: list[str], out: Path, capsys) -> list[tuple[int, str]]:
    """Run a command here and elsewhere into the same place, which is moved away between; return what each printed."""
    found = []
    for more in ([], ["--cluster", "auto"]):
        status = run([*given, *more])
        found.append((status, capsys.readouterr().out))
        if out.exists():
            out.rename(out.with_name("elsewhere" if more else "here"))
    return found


@pytest.mark.slow
def test_a_corpus_is_prepared_and_aligned_elsewhere_to_the_same_bytes(elsewhere, spoken, tmp_path, capsys):
    given = ["corpus", "prepare", str(spoken), str(tmp_path / "out"), "--workers", "1"]
    here, there = both(given, tmp_path / "out", capsys)
    assert here == there and here[0] == 0 and Pickled.done == 2 + 1  # utterances, and one speaker
    assert contents(tmp_path / "here") == contents(tmp_path / "elsewhere")


@pytest.mark.slow
def test_a_corpus_is_checked_elsewhere_with_the_same_findings(elsewhere, spoken, tmp_path, capsys):
    given = ["corpus", "check", str(spoken), "--workers", "1", "--listen", "--json"]
    here, there = both(given, tmp_path / "none", capsys)
    assert json.loads(here[1]) == json.loads(there[1]) and Pickled.done == 4  # measured, then listened to


@pytest.mark.slow
def test_sounds_are_transcribed_and_aligned_elsewhere_with_the_same_files(
    elsewhere, spoken, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(spoken.parent)
    (spoken / "broken.wav").write_bytes(b"RIFF")
    try:
        greedy = ["-f", "txt,json", "--model", "conformer-ko", "--beam", "1"]
        for command, more in (("transcribe", greedy), ("align", ["-f", "json"])):
            out = tmp_path / command / "out"
            here, there = both([command, spoken.name, "-o", str(out), *more], out, capsys)
            assert here == there and here[0] == 2  # of the broken one
            made = contents(out.with_name("here"))
            assert len(made) == (4 if command == "transcribe" else 2) and made == contents(out.with_name("elsewhere"))
            assert f"{spoken.name}/0.wav" in made["0.json"].decode() or command == "align"
    finally:
        (spoken / "broken.wav").unlink()


def test_lines_are_said_elsewhere_and_those_that_are_there_are_kept(elsewhere, tmp_path, capsys):
    (tmp_path / "book.txt").write_text("가요.\n\n※※\n와요.\n", encoding="utf-8")
    given = ["say", str(tmp_path / "book.txt"), "--lines", "-o", str(tmp_path / "out"), "--timing", ".json"]
    here, there = both(given, tmp_path / "out", capsys)
    assert here == there and here[0] == 2 and Pickled.done == 3
    assert contents(tmp_path / "here") == contents(tmp_path / "elsewhere")
    assert run([*given[:4], str(tmp_path / "elsewhere"), *given[5:], "--cluster", "auto"]) == 2
    assert "2 were there already" in capsys.readouterr().out and Pickled.done == 4


@pytest.mark.parametrize(
    "given",
    [
        ["transcribe", "-", "--cluster", "auto"],
        ["transcribe", "--stream", "-", "--cluster", "auto"],
        ["say", "가요.", "-o", "a.wav", "--cluster", "auto"],
        ["align", "a.wav", "가요.", "--cluster", "auto"],
        ["corpus", "check", "nowhere", "--cluster", "auto"],
    ],
)
def test_what_a_cluster_cannot_do_is_refused(elsewhere, given, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(given) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and ("--cluster" in told or "nowhere" in told)


@pytest.mark.parametrize("option", [["--device", "cuda"], ["--threads", "2"]])
def test_a_device_or_threads_are_no_matter_of_a_cluster(option, spoken, tmp_path, capsys):
    assert run(["align", str(spoken), "-o", str(tmp_path / "out"), "--cluster", "auto", *option]) == 2
    assert f"{' '.join(option)}: a worker of --cluster" in capsys.readouterr().err


# With Ray itself.


def slowly(job: tuple[int, str]) -> int:
    """Return a job's number after a while; kill the worker, refuse or warn where the job says so."""
    import os
    import warnings

    number, what = job
    time.sleep(0.05)
    if what == "kill" or (what.startswith("once ") and not Path(what[5:]).exists()):
        if what != "kill":
            Path(what[5:]).touch()
        os._exit(1)
    if what == "refuse":
        raise CorpusError("job 7: no")
    if what == "warn":
        warnings.warn(f"{number}: is cut short", SoundWarning, stacklevel=1)
    return number


@pytest.fixture(scope="module")
def nodes():
    """A cluster of two nodes on this machine, one processor each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield found
    import ray

    ray.shutdown()
    found.shutdown()


@pytest.fixture
def second(nodes):
    """The second node; what is left of it is taken away afterwards."""
    node = nodes.add_node(num_cpus=1)
    yield node
    if node in nodes.list_all_nodes():
        nodes.remove_node(node)


@pytest.mark.slow
def test_results_come_in_order_and_a_lost_worker_costs_nothing(nodes, second, tmp_path):
    executor = cluster.RayExecutor(nodes.address)
    jobs = [(number, f"once {tmp_path / 'gone'}" if number == 9 else "") for number in range(40)]
    assert list(executor.map(slowly, jobs)) == list(range(40)) and (tmp_path / "gone").exists()
    with pytest.warns(SoundWarning, match="3: is cut short"):
        assert list(executor.map(slowly, [(3, "warn")])) == [3]
    with pytest.raises(CorpusError, match="job 7: no"):
        list(executor.map(slowly, [(1, ""), (7, "refuse")]))
    with pytest.raises(ClusterError, match=r"3 workers were lost at .*kill"):
        list(executor.map(slowly, [(1, ""), (2, "kill"), (3, "")]))
    with pytest.raises(ClusterError, match="there is no /nowhere"):
        list(cluster.RayExecutor(nodes.address, places=[Path("/nowhere")]).map(slowly, [(1, "")]))


@pytest.mark.slow
def test_a_corpus_survives_the_loss_of_a_node_half_way(nodes, second, tmp_path, capsys):
    source, out = write_emotiontts(tmp_path / "recordings", SENTENCES * 8), tmp_path / "out"
    given = ["corpus", "prepare", str(source), str(out)]
    assert run([*given, "--workers", "1"]) == 0
    out.rename(tmp_path / "here")

    def lose() -> None:
        while len(list((out / "ground_truth").glob("*"))) < 30:
            time.sleep(0.05)
        nodes.remove_node(second)

    losing = threading.Thread(target=lose)
    losing.start()
    assert run([*given, "--cluster", nodes.address]) == 0
    losing.join()
    assert second not in nodes.list_all_nodes()
    assert contents(out) == contents(tmp_path / "here")


@pytest.mark.slow
def test_a_thousand_files_are_transcribed_as_here(nodes, second, spoken, tmp_path, capsys):
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    waves = [load_audio(spoken / f"{number}.wav", 16000) for number in range(2)]
    for number in range(1000):
        save_audio(sounds / f"{number:04}.flac", (waves[number % 2] * (0.3 + number / 2000)).astype(np.float32), 16000)
    given = ["transcribe", str(sounds), "--model", "conformer-ko", "--beam", "1", "-f", "txt,json", "-o"]
    assert run([*given, str(tmp_path / "here")]) == 0
    assert run([*given, str(tmp_path / "there"), "--cluster", nodes.address]) == 0
    made = contents(tmp_path / "here")
    assert len(made) == 2000 and made == contents(tmp_path / "there")
    shutil.rmtree(sounds)


def test_no_cluster_is_told_in_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "import_extra", lambda *_: SimpleNamespace(is_initialized=lambda: False))
    assert run(["corpus", "check", str(tmp_path), "--cluster", "127.0.0.1:1"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "no Ray cluster answers" in told and "ray start --head" in told
