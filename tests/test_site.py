"""The documentation as a site: its pages, their links, what they promise. Building it is slow."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
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


def test_every_block_of_code_begins_as_mkdocs_knows_one(staged):
    fences = [line for path in staged.rglob("*.md") for line in path.read_text("utf-8").splitlines() if "```" in line]
    assert len(fences) > 100 and {line.strip() for line in fences} <= {
        "```", "```bash", "```python", "```text", "```toml", "```yaml", "```json",
    }  # fmt: skip


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


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The site as `make docs` builds it, without a warning."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    site = tmp_path_factory.mktemp("built") / "site"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    commands = [[sys.executable, "docs/site.py", "build/pages"]]
    for name, out in (("mkdocs.yml", site), ("mkdocs.en.yml", site / "en")):
        commands.append([sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", name, "-d", str(out)])
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return site


@pytest.mark.slow
def test_the_site_builds_without_a_warning(built):
    assert (built / "learn" / "ctc.html").is_file() and (built / "en" / "index.html").is_file()


STILL = "*, ::before, ::after {transition: none !important; animation: none !important}"


@pytest.fixture
def tab(built):
    """A tab of a Chromium without a network."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_context(offline=True).new_page()
        tab.set_default_timeout(180_000)
        yield tab
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_has_a_serious_fault_of_accessibility_or_is_wider_than_its_window(built, tab, language):
    axe = (files(pytest.importorskip("axe_playwright_python")) / "axe.min.js").read_text(encoding="utf-8")
    top = built if language == "ko" else built / "en"
    pages = sorted(page for page in top.rglob("*.html") if language == "en" or not page.is_relative_to(built / "en"))
    pages = [page for page in pages if page.name != "404.html"]  # its style is where a server's root is, not a file's
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(f"{tab.url}: {error}"))
    tab.on("request", lambda sent: faults.append(sent.url) if sent.url.startswith("http") else None)
    for page in pages:
        tab.goto(page.as_uri())
        tab.add_style_tag(content=STILL)  # the theme fades its parts in: half-way their colors are nobody's choice
        tab.evaluate(axe)
        for width in (1280, 390):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.wait_for_timeout(200)  # what is seen to by a ResizeObserver
            found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
            told = [f"{fault['id']} of {fault['nodes'][0]['html'][:80]}" for fault in serious]
            wide = tab.evaluate("document.documentElement.scrollWidth") > width
            faults += [f"{page.relative_to(built)} at {width}: {fault}" for fault in told + ["too wide"] * wide]
    assert len(pages) >= 40
    assert not faults
