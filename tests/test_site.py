"""The documentation as a site: its pages, their links, what they promise. Building it is slow."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from malsori.learn.catalog import lessons
from malsori.learn.lesson import LANGUAGES

from .test_readme import parse

ROOT = Path(__file__).parent.parent
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def site_module():
    spec = importlib.util.spec_from_file_location("malsori_site", ROOT / "docs" / "site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("pages")
    site_module().stage(out, lessons=False)
    return out


def navigation(name: str) -> list[str]:
    return re.findall(r": (\S+\.md)$", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_every_page_is_in_the_navigation_of_both_languages_and_no_other(staged):
    korean, english = navigation("mkdocs.yml"), navigation("mkdocs.en.yml")
    assert korean == english and len(set(korean)) == len(korean)
    for language in LANGUAGES:
        pages = {path.relative_to(staged / language).as_posix() for path in (staged / language).rglob("*.md")}
        assert pages == set(korean)
    taught = [Path(name).stem for name in korean if name.startswith("learn/") and name != "learn/index.md"]
    assert taught == [lesson.name for lesson in lessons()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_of_every_page_leads_somewhere(staged, language):
    missing = []
    for path in (staged / language).rglob("*.md"):
        text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", text):
            if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                missing.append(f"{path.name}: {target}")
        for target in re.findall(r'(?:href|src)="([^":]+)"', text):
            page = re.sub(r"\.html$", ".md", target)
            folder = path.parent
            if language == "ko":  # the site's en/ is the other tree
                page, folder = (page.replace("en/", "", 1), staged / "en") if "en/" in page else (page, folder)
                page = page.removeprefix("../") if folder == staged / "en" else page
            elif page.startswith("../"):
                page, folder = page.removeprefix("../../" if path.parent.name == "learn" else "../"), staged / "ko"
            if not (folder / page).exists():
                missing.append(f"{path.name}: {target}")
    assert not missing


def test_pages_that_most_need_it_are_in_korean_and_the_rest_say_that_they_are_not(staged):
    for name in (
        "index",
        "voice",
        "transcribe",
        "align",
        "evaluate",
        "server",
        "models",
        "beside",
        "samples",
        "extend",
    ):
        text = (staged / "ko" / f"{name}.md").read_text(encoding="utf-8")
        assert len(re.findall("[가-힣]", text)) > 250, name
    assert "이 쪽은 영어로만 있습니다" in (staged / "ko" / "checkpoints.md").read_text(encoding="utf-8")
    assert "이 쪽은 영어로만" not in (staged / "ko" / "index.md").read_text(encoding="utf-8")


def test_both_languages_of_a_page_show_the_same_commands():
    for korean in (ROOT / "docs").glob("*.ko.md"):
        english = korean.with_name(korean.name.replace(".ko.md", ".md"))
        ours, theirs = (
            re.findall(r"^malsori .*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            for path in (korean, english)
        )
        assert [
            line for line in ours if line.split("#")[0].strip() not in {x.split("#")[0].strip() for x in theirs}
        ] == []


def test_every_row_of_the_seeds_table_has_a_lesson_and_a_test_and_every_lesson_a_row():
    page = (ROOT / "docs" / "seed.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30 and all(len(row) == 4 for row in rows)
    taught = {name for row in rows for name in re.findall(r"\(learn/([\w-]+)\.md\)", row[2])}
    assert taught == {lesson.name for lesson in lessons()}
    assert all(re.search(r"\(\w+[/\w-]*\.md\)", row[2]) for row in rows)
    for row in rows:
        assert all(f"def {name}(" in TESTS for name in re.findall(r"`(test_\w+)`", row[3])) and "`test_" in row[3], row
    assert re.findall(r"slip (\d)", page) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_file_that_a_lesson_names_is_there(language):
    for lesson in lessons():
        for name in re.findall(r"`([a-z_]+/[a-z_0-9]+\.py)`", lesson.source(language)):
            assert (ROOT / "src" / "malsori" / name).is_file(), f"{lesson.name}: {name}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_that_a_lesson_names_is_understood(language):
    import shlex

    found = [words for lesson in lessons() for words in re.findall(r"`malsori ([^`]+)`", lesson.source(language))]
    assert len(found) >= 5
    for words in found:
        parse(shlex.split(words))


def test_the_samples_are_small_and_all_of_them_are_on_the_page():
    clips = sorted((ROOT / "docs" / "samples").glob("*.mp3"))
    assert clips and sum(clip.stat().st_size for clip in clips) < 1_500_000
    for name in ("samples.md", "samples.ko.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert set(re.findall(r'src="samples/([\w-]+\.mp3)"', page)) == {clip.name for clip in clips}


def test_the_citation_can_be_read():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == "Apache-2.0" and citation["title"].startswith("malsori")


def test_every_system_has_its_losses_on_the_page_of_models():
    module = site_module()
    for system, (heading, network, task) in module.MODELS.items():
        part = module.model(system, "ko")
        assert f"## {heading}" in part and (ROOT / "docs" / "diagrams" / f"{system}.ko.svg").is_file()
        assert module.losses_of(task), (network, task)
        for file, line in re.findall(r"`(losses/\w+\.py):(\d+)`", part):
            lines = (ROOT / "src" / "malsori" / file).read_text(encoding="utf-8").splitlines()
            assert lines[int(line) - 1].startswith("def ")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    commands = [[sys.executable, "docs/site.py", "build/pages"]]
    for name, out in (("mkdocs.yml", tmp_path / "site"), ("mkdocs.en.yml", tmp_path / "site" / "en")):
        commands.append([sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", name, "-d", str(out)])
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    assert (tmp_path / "site" / "learn" / "ctc.html").is_file() and (tmp_path / "site" / "en" / "index.html").is_file()
