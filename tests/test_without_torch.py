"""A fresh environment without PyTorch, as the pages say to make it: it speaks, hears itself, and stays small."""

import re
import resource
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: MB that each way of installing may take, without pip and setuptools: measured, and 4 % more.
BOUNDS = {"pip install malsori": 490, "smallest": 295}


def commands(kind: str) -> list[list[str]]:
    """Return the arguments of pip, as docs/onnx.md gives them for the smallest, with this source for malsori."""
    if kind != "smallest":
        return [["install", str(ROOT)]]
    page = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8").split("## Without PyTorch")[1]
    block = page.split("```bash\n")[2].split("```")[0]
    lines = [line.partition("#")[0].split()[1:] for line in block.splitlines() if line.startswith("pip ")]
    return [[str(ROOT) if word == "malsori" else word for word in line] for line in lines]


def megabytes(folder: Path) -> dict[str, float]:
    """Return what each package takes on disk, as `du -m` counts, pip's own left out."""
    own = re.compile(r"(pip|setuptools|pkg_resources|_distutils_hack)\b")
    sizes: dict[str, float] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).parts[0].partition(".")[0]
        if path.is_file() and not own.match(name):
            sizes[name] = sizes.get(name, 0) + path.stat().st_blocks * 512 / 2**20
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(BOUNDS))
def test_a_fresh_environment_speaks_and_hears_within_its_bound(kind: str, tmp_path: Path, capsys) -> None:
    venv.create(tmp_path / "fresh", with_pip=True)
    python = str(tmp_path / "fresh" / "bin" / "python")
    if subprocess.run([python, "-m", "pip", "install", "--dry-run", "--no-deps", "typer"], check=False).returncode:
        pytest.skip("pip has no network here")
    for arguments in commands(kind):
        subprocess.run([python, "-m", "pip", *arguments, "-c", ROOT / "constraints.txt"], check=True)

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run([python, *command], cwd=tmp_path, check=False, capture_output=True, encoding="utf-8")

    assert "No module named 'torch'" in run("-c", "import torch").stderr
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("-m", "malsori", "say", "안녕하세요.", "-o", "hello.wav", "--threads", "1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert run("-m", "malsori", "transcribe", "hello.wav").stdout.strip() == "안녕하세요."
    told = run("-m", "malsori", "align", "hello.wav", "안녕하세요.")
    assert told.returncode == 2 and "pip install 'malsori[train]'" in told.stderr
    sizes = megabytes(next((tmp_path / "fresh" / "lib").glob("python*/site-packages")))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with capsys.disabled():
        greatest = ", ".join(f"{name} {size:.0f}" for name, size in sorted(sizes.items(), key=lambda one: -one[1])[:9])
        print(f"\n{kind}: {sum(sizes.values()):.0f} MB ({greatest}); first `say`: {cpu:.2f} s of CPU", file=sys.stderr)
    assert sum(sizes.values()) <= BOUNDS[kind]
