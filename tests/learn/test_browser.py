"""The toys in a real browser, driven as a hand would: Chromium by Playwright, where both are installed. Slow."""

import shutil

import numpy as np
import pytest

from malsori.learn.catalog import find_lesson
from malsori.learn.pages import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield opened
    opened.close()
    playwright.stop()


@pytest.fixture(params=[1280, 390])
def opened(browser, tmp_path, request):
    """Return what opens a lesson, offline, from a file, and fails on any error of the page or any fetch."""
    context = browser.new_context(viewport={"width": request.param, "height": 900}, offline=True)
    context.add_init_script(LISTEN)
    faults: list[str] = []

    def open_lesson(name: str, language: str = "ko"):
        path = tmp_path / f"{name}.html"
        path.write_text(page(find_lesson(name), language), encoding="utf-8")
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda sent: faults.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None)
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= request.param
        return tab

    yield open_lesson
    context.close()
    assert not faults


#: Keeps the samples of every sound that a page plays.
LISTEN = """window.heard = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  window.heard.push({ rate: this.buffer.sampleRate, samples: Array.from(this.buffer.getChannelData(0)) });
  return start.apply(this, when);
};"""


def heard(tab, label: str) -> np.ndarray:
    """Press a player's button and return the samples (samples,) that sound, which must be a second's part and loud."""
    before = tab.evaluate("heard.length")
    tab.get_by_role("button", name=label).click()
    tab.wait_for_function("before => heard.length > before", arg=before)
    sound = tab.evaluate("heard[heard.length - 1]")
    samples = np.array(sound["samples"])
    assert sound["rate"] == 22_050 and 0.3 < len(samples) / sound["rate"] < 3 and 0.5 < np.abs(samples).max() <= 1
    return samples


def value(tab, name: str) -> str:
    return tab.locator(f"[data-value={name}]").inner_text()


def drag(tab, start: tuple[float, float], end: tuple[float, float], number: int = 0) -> None:
    """Drag over a canvas; places as shares of its width and height."""
    box = tab.locator(".toy canvas").nth(number)
    box.scroll_into_view_if_needed()
    at = box.bounding_box()
    tab.mouse.move(at["x"] + start[0] * at["width"], at["y"] + start[1] * at["height"])
    tab.mouse.down()
    tab.mouse.move(at["x"] + end[0] * at["width"], at["y"] + end[1] * at["height"], steps=8)
    tab.mouse.up()


def test_the_ctc_board_is_painted_by_hand_and_by_its_gradient(opened):
    tab = opened("ctc")
    assert value(tab, "read") == "ㅅㅏㄹㅏㅇㅎㅐ" and value(tab, "paths") == "15" and value(tab, "loss") == "3.843"
    before = float(value(tab, "probability"))
    tab.locator(".toy button").first.click()
    assert float(value(tab, "probability")) > before
    drag(tab, (0.1, 0.05), (0.9, 0.05))  # blanks everywhere
    assert float(value(tab, "probability")) != before
    tab.locator(".toy select").first.select_option("1")
    assert value(tab, "greedy") == "__he_llo__" and value(tab, "read") == "helo"
    tab.locator(".toy select").nth(1).select_option("1")
    assert float(value(tab, "probability")) == pytest.approx(3.3e-4, rel=0.02)
    tab.locator(".toy select").nth(2).select_option("3")  # the sums from the front: a row for each blank too
    drag(tab, (0.5, 0.5), (0.5, 0.5))
    assert float(value(tab, "probability")) != pytest.approx(3.3e-4, rel=0.02)
    tab.locator(".toy canvas").focus()
    tab.keyboard.press("Space")
    tab.locator(".toy select").first.select_option("2")
    assert value(tab, "read") == "ㅁㅗㄷㅏ"


def test_the_mel_is_rubbed_and_its_losses_move(opened):
    tab = opened("mel-loss")
    assert [value(tab, name) for name in ("l1", "l2", "features")] == ["0.000"] * 3
    drag(tab, (0.2, 0.8), (0.6, 0.8))
    assert float(value(tab, "l1")) > 0 and float(value(tab, "features")) > 0
    rubbed, right = heard(tab, "결과 듣기"), heard(tab, "정답 듣기")
    assert len(rubbed) == len(right) and np.abs(rubbed - right).max() > 0.05
    tab.get_by_role("button", name="처음으로").click()
    assert value(tab, "l1") == "0.000"
    tab.get_by_role("button", name="전체 흐리게").click()
    numbers = find_lesson("mel-loss").numbers
    for name, term in (("l1", "blur_l1"), ("adversarial", "blur_adversarial")):
        assert float(value(tab, name)) == pytest.approx(float(numbers[term]), abs=0.002)


def test_the_alignment_is_shifted_by_slider_and_by_dragging(opened):
    tab, numbers = opened("ground-truth"), find_lesson("ground-truth").numbers
    assert value(tab, "error") == numbers["error_right"]
    tab.locator(".toy input[type=range]").fill("3")
    assert value(tab, "ms") == numbers["three_frames_ms"] and value(tab, "error") == numbers["error_30"]
    taught, right = heard(tab, "이렇게 배운"), heard(tab, "정답 듣기")
    assert taught.shape != right.shape or np.abs(taught - right).max() > 0.05
    drag(tab, (0.3, 0.35), (0.27, 0.35))
    assert float(value(tab, "ms")) < 35


def test_the_players_take_turns(opened):
    tab = opened("gan", "en")
    assert value(tab, "judge") == "1.000"
    tab.get_by_role("button", name="discriminator's turn").click()
    assert float(value(tab, "judge")) < 1 and value(tab, "moves") == "1, 0"
    for _ in range(10):
        tab.get_by_role("button", name="ten rounds").click()
    assert float(value(tab, "shift")) == pytest.approx(1.0, abs=0.05)


def test_the_shares_follow_the_weights(opened):
    tab, numbers = opened("combining"), find_lesson("combining").numbers
    assert value(tab, "share0") == pytest.approx(value(tab, "share0")) and round(
        float(value(tab, "share0")[:-2])
    ) == int(numbers["hifigan_mel_share"][:-1])
    tab.get_by_role("button", name="모두 1로").click()
    assert round(float(value(tab, "share0")[:-2])) == int(numbers["hifigan_mel_equal"][:-1])


def test_a_question_is_answered(opened):
    tab = opened("norms", "en")
    tab.locator("#answer").fill("3")
    tab.get_by_role("button", name="check").click()
    assert tab.locator("form.question output").inner_text() == "Not yet. Try again."
    tab.locator("#answer").fill("2.0")
    tab.locator("#answer").press("Enter")
    assert (
        tab.locator("form.question output").inner_text() == "Right!"
        and tab.locator("details").get_attribute("open") is not None
    )
