"""The front-end alone, beside somebody else's voice: neither torch nor numpy, nor anything else that is heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from malsori import cli

#: What `pip install --no-deps malsori kiwipiepy kiwipiepy-model` and `pip install tqdm typer` leave out (README.md).
ABSENT = "torch numpy jaxtyping lhotse numba rapidfuzz safetensors soundfile soxr tokenizers yaml huggingface_hub scipy"
BLOCKER = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in set({ABSENT!r}.split()):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def alone(code: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    command = [sys.executable, "-c", BLOCKER + code]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=environment)


def test_the_front_end_reads_text_and_asks_for_morphemes():
    done = alone(
        "import malsori.text\nfrom malsori.text.frontend import Frontend\n"
        "front = Frontend()\nreading = front.read('신을 신고 3개를 세었다.')\n"
        "print(reading.pronounced, len(front.ids(reading)) == len(reading.phonemes))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "시늘 신꼬 세 개를 세얻따. True"  # 신꼬: only morphemes tell it from 신고 (report)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["text", "normalize", "3개"], "세 개"),
        (["text", "pronounce", "국물"], "궁물"),
        (["text", "phonemes", "가"], "^ ㄱ ㅏ ."),
        (["--help"], "Usage"),
    ],
)
def test_the_command_line_reads_text(arguments, said):
    done = alone(f"from malsori import cli; sys.exit(cli.run({arguments!r}))")
    assert done.returncode == 0 and said in done.stdout, done.stderr


def test_the_page_about_other_peoples_voices_holds_without_torch():
    page = (Path(__file__).parents[2] / "docs" / "beside.md").read_text(encoding="utf-8")
    block = page.split("```python\n")[1].split("```")[0]
    shown = [line.partition("#")[2].strip() for line in block.splitlines() if "print(" in line and "#" in line]
    done = alone(f"exec({block!r})")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[: len(shown)] == shown and len(shown) == 3


def test_marks_are_taken_out_without_torch():
    done = alone(
        "from malsori.tts.markup import parse_markup\n"
        "script = parse_markup('{COEX|코엑스}에서 [pause:0.7] 만나요')\nprint(script.text, script.pauses)"
    )
    assert done.stdout.strip() == "COEX에서   만나요 {7: 0.7}", done.stderr


@pytest.mark.parametrize("kind", ["normalize", "pronounce", "phonemes"])
def test_a_pipe_takes_a_lexicon_and_refuses_an_option_that_is_none(kind, tmp_path):
    (tmp_path / "mine.tsv").write_text("COEX\t코엑스\n", encoding="utf-8")
    arguments = ["text", kind, "COEX", "-5", "--lexicon", str(tmp_path / "mine.tsv")]
    done = alone(f"from malsori import cli; sys.exit(cli.run({arguments!r}))")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2 and done.stdout[0] in "코^", done.stderr
    done = alone(f"from malsori import cli; sys.exit(cli.run({['text', kind, '--lexicn', 'f']!r}))")
    assert done.returncode == 2 and not done.stdout
    assert "no option '--lexicn'. Did you mean '--lexicon'?" in done.stderr


def test_a_command_that_needs_more_says_so_in_one_line():
    done = alone("from malsori import cli; sys.exit(cli.run(['say', '안녕', '-o', 'x.wav']))")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "which is not installed; install all that malsori needs with: pip install malsori" in done.stderr


def test_without_the_analyzer_it_says_so_once():
    done = alone(
        "sys.modules['kiwipiepy'] = None\nfrom malsori import cli\n"
        "sys.exit(cli.run(['text', 'pronounce', '신을 신고', '신을 신고']))"
    )
    assert done.returncode == 0 and done.stdout.count("\n") == 2
    assert done.stderr.count("\n") == 1 and "kiwipiepy cannot be imported" in done.stderr
