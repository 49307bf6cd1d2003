"""What is written is there whole or not at all, whatever happens on the way."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from malsori import files
from malsori.errors import ConfigError, FileError, MalsoriError
from malsori.files import (
    atomic_file,
    atomic_folder,
    clear_interrupted,
    lock_file,
    read_json,
    read_toml,
    require_place,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_keeps_its_old_content_when_the_new_one_breaks_off(tmp_path):
    write_text(tmp_path / "a.txt", "전")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("후")
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "전"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_keeps_its_old_content_when_the_new_one_breaks_off(tmp_path):
    with atomic_folder(tmp_path / "model") as partial:
        write_text(partial / "card.md", "first")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as partial:
        write_text(partial / "card.md", "second")
        raise RuntimeError
    assert (tmp_path / "model" / "card.md").read_text() == "first"
    assert names(tmp_path) == ["model"]


def test_a_folder_is_replaced_by_the_new_one_with_nothing_of_the_old_in_it(tmp_path):
    for name in ("one", "two"):
        with atomic_folder(tmp_path / "model") as partial:
            write_text(partial / name, name)
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["two"]


def test_a_full_disk_is_told_in_one_line_with_the_place(tmp_path):
    told = pytest.raises(FileError, match=r"a\.txt: cannot be written: no space left on device")
    with told as caught, atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert isinstance(caught.value, MalsoriError)
    assert names(tmp_path) == []


def test_a_full_disk_that_safetensors_meets_is_told_alike(tmp_path):
    error = pytest.importorskip("safetensors").SafetensorError
    with pytest.raises(FileError, match=r"a\.st: cannot be written: i/o error"), atomic_file(tmp_path / "a.st"):
        raise error("I/O error: No space left on device")
    with pytest.raises(FileError, match=r"model: cannot be written"), atomic_folder(tmp_path / "model"):
        raise error("I/O error: No space left on device")
    assert names(tmp_path) == []


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "there" / "a.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there" / "a.txt").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    reader = os.open(tmp_path / "pipe.txt", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(tmp_path / "pipe.txt", "말")
        assert os.read(reader, 100).decode() == "말"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe.txt").stat().st_mode)
    require_place(tmp_path / "pipe.txt", Path(os.devnull))


def test_a_place_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    require_place(tmp_path / "new" / "a.txt", tmp_path / "file", None)
    require_place(tmp_path / "new", tmp_path / "folder", folder=True)
    assert names(tmp_path) == ["file", "folder"]
    for place in (tmp_path / "file" / "a.txt", tmp_path / "file" / "b" / "a.txt"):
        with pytest.raises(FileError, match=r"a\.txt: cannot be written: .*file is a file, not a folder"):
            require_place(place)
    with pytest.raises(FileError, match="folder: cannot be written: is a directory"):
        require_place(tmp_path / "folder")
    with pytest.raises(FileError, match=r"file: cannot be written: .*file is a file, not a folder"):
        require_place(tmp_path / "file", folder=True)
    with pytest.raises(FileError, match="cannot be written: file name too long"):
        require_place(tmp_path / ("n" * 300))
    with pytest.raises(FileError, match="cannot be written"):
        require_place(Path("a\0b"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused_before_any_work(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(FileError, match="permission denied"):
        require_place(tmp_path / "closed" / "a.txt")


@pytest.mark.parametrize("place", ["file/under/it.txt", "n" * 300 + ".txt", "folder"])
def test_a_place_that_no_file_can_have_is_told(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write_text(tmp_path / place, "text")
    assert names(tmp_path) == ["file", "folder"]


def test_a_folder_cannot_lie_under_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="model: cannot be written"), atomic_folder(tmp_path / "file" / "model"):
        pytest.fail("there is no place to write to")


def test_what_a_killed_process_left_is_settled(tmp_path):
    for name in (".a.b.x1.partial", ".a.b.x1.old", ".gone.x2.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
    (tmp_path / "a.b").mkdir()
    (tmp_path / ".notes.txt.77.partial.txt").write_text("half")
    clear_interrupted(tmp_path)
    assert names(tmp_path) == ["a.b", "gone"]  # the first was replaced already, the second not yet
    assert (tmp_path / "gone" / "which").read_text() == ".gone.x2.old"


def test_json_comes_back_as_it_was_written_with_hangul_to_be_read(tmp_path):
    write_json(tmp_path / "a.json", {"말": "소리"})
    assert "소리" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"말": "소리"}


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe{}", b"[" * 100_000], ids=["cut", "list", "utf16", "deep"])
def test_json_that_is_no_object_is_told(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.json: (not valid JSON|expected a JSON object)"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_a_missing_file_is_told(tmp_path, read):
    with pytest.raises(ConfigError, match="no such file"):
        read(tmp_path / "none")


def test_a_locked_file_is_one_process_s_until_it_is_closed(tmp_path):
    path = tmp_path / ".lock"
    code = f"from malsori.files import lock_file; lock_file(open({str(path)!r}, 'w'))"

    def another_process() -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(Path(files.__file__).parents[1])}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
        )

    with path.open("w") as file:
        lock_file(file)
        refused = another_process()
        assert refused.returncode == 1 and "Error" in refused.stderr.splitlines()[-1]
    assert another_process().returncode == 0


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "mine").write_text("kept", encoding="utf-8")
    with pytest.raises(FileError, match="mine is a file, not a folder"), atomic_folder(tmp_path / "mine"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "kept"
