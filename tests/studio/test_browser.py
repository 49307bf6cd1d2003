"""Every tab of the studio as a person uses it, in a real headless Chromium, and nothing that leaves the machine.

With MALSORI_SCREENSHOTS=FOLDER each test leaves pictures of what it saw, at 1280 and at 390 pixels.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

WAIT = 60_000  # ms: the machine may be busy
SCREENSHOTS = os.environ.get("MALSORI_SCREENSHOTS")


class Visitor:
    """A person at a page: what was asked of which host, and what went wrong in the page."""

    def __init__(self, browser, url: str, width: int = 1280, language: str = "ko") -> None:
        self.asked, self.faults = [], []
        locale = {"ko": "ko-KR", "en": "en-US"}[language]
        self.context = browser.new_context(viewport={"width": width, "height": 900}, locale=locale)
        self.context.grant_permissions(["microphone"])
        self.context.set_default_timeout(WAIT)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)
        self.page.goto(f"{url}/studio")

    def tab(self, name: str):
        """Open a tab and return its panel."""
        self.page.locator(f"#tab-{name}").click()
        return self.page.locator(f"#{name}")

    def photograph(self, name: str) -> None:
        """Leave pictures, where they are asked for."""
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            for width in (1280, 390):
                self.page.set_viewport_size({"width": width, "height": 900})
                self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}.png", full_page=True)
            self.page.set_viewport_size({"width": 1280, "height": 900})

    def too_wide(self) -> bool:
        """Whether the page itself has to be scrolled sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.fixture
def visitor(browser, studio) -> Iterator[Visitor]:
    """Somebody who reads Korean."""
    visitor = Visitor(browser, studio.url)
    yield visitor
    hosts = {urlsplit(url).hostname for url in visitor.asked if not url.startswith(("data:", "blob:"))}
    visitor.context.close()
    assert hosts == {"127.0.0.1"}
    assert not visitor.faults


def finished(panel, number: int = 0):
    """Return a form's result once it is there."""
    result = panel.locator(".result").nth(number)
    result.locator("> *").first.wait_for()
    panel.locator("form").nth(number).locator(".busy").wait_for(state="hidden")
    return result


def test_speak_shows_each_step_and_speaks_again_when_a_reading_is_given(visitor):
    panel = visitor.tab("speak")
    panel.locator("[name=text]").fill("COEX에서 국물을 먹어요.")
    panel.get_by_role("button", name="말하기").click()
    result = finished(panel)
    assert "궁무를" in result.inner_text() and "제18항" in result.inner_text()
    assert result.locator("audio").evaluate("audio => audio.duration") > 0.05
    assert "코엑스" not in result.inner_text()
    phones = result.locator(".phones button")
    assert phones.count() > 15 and re.fullmatch(r"\d+", phones.first.locator("small").inner_text())
    phones.nth(3).click()
    started = float(phones.nth(3).get_attribute("data-start"))
    assert result.locator("audio").evaluate("audio => audio.currentTime") >= started - 0.01
    before = result.locator("audio").get_attribute("src")
    panel.get_by_role("button", name="낱말 더하기").click()
    panel.get_by_label("적힌 낱말").fill("COEX")
    panel.get_by_label("읽는 법", exact=True).fill("코엑스")
    visitor.page.keyboard.press("Tab")
    visitor.page.wait_for_function("before => document.querySelector('#speak audio').src !== before", arg=before)
    assert "코엑스" in finished(panel).inner_text()
    visitor.photograph("speak")
    with visitor.page.expect_download() as kept:
        result.get_by_role("link", name="TextGrid").click()
    assert "COEX" in Path(kept.value.path()).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_slider_has_it_spoken_again_and_a_fault_is_told_in_words(visitor):
    panel = visitor.tab("speak")
    panel.locator("[name=text]").fill("네, 좋아요.")
    panel.get_by_role("button", name="말하기").click()
    finished(panel)
    with visitor.page.expect_request("**/studio/speak*") as sent:
        panel.get_by_label("빠르기").fill("0.5")
    assert b'name="speed"\r\n\r\n0.5\r\n' in sent.value.post_data_buffer
    finished(panel)
    panel.locator("[name=text]").fill("…")
    panel.get_by_role("button", name="말하기").click()
    panel.get_by_role("alert").wait_for()
    assert "nothing to say" in panel.get_by_role("alert").inner_text()
    visitor.photograph("fault")
    visitor.faults.clear()  # the browser's own line on the status 400


def test_listen_gives_words_that_sound_when_pressed_and_the_frames_of_ctc(visitor, spoken_sentence):
    text, sound = spoken_sentence
    panel = visitor.tab("listen")
    panel.get_by_role("button", name="받아쓰기").click()
    panel.get_by_role("alert").wait_for()  # nothing was chosen
    panel.locator("input[type=file]").set_input_files(sound)
    assert "말소리.wav" in panel.inner_text()
    panel.get_by_role("button", name="받아쓰기").click()
    panel.locator(".said").wait_for()
    result = finished(panel)
    words = result.locator(".said button")
    said = "".join(words.all_inner_texts())
    assert len(set(said) & set(text)) > 5
    words.nth(1).click()
    visitor.page.wait_for_function("document.querySelector('#listen audio').currentTime > 0")
    assert result.locator(".best .blank").count() > 10
    letters = result.locator(".letters span").all_inner_texts()
    assert 10 < len(letters) < result.locator(".best button").count()
    assert result.locator(".text strong").inner_text()
    visitor.photograph("listen")
    with visitor.page.expect_download() as kept:
        result.get_by_role("link", name="SRT").click()
    assert " --> " in Path(kept.value.path()).read_text(encoding="utf-8")


@pytest.mark.slow
def test_listen_takes_what_the_microphone_records(visitor):
    panel = visitor.tab("listen")
    panel.get_by_role("button", name="녹음").click()
    visitor.page.wait_for_timeout(1500)  # of beeps, by Chromium's own false microphone
    panel.get_by_role("button", name="녹음 끝내기").click()
    panel.get_by_text(re.compile(r"녹음한 소리 \(\d\.\d s\)")).wait_for()
    panel.get_by_role("button", name="받아쓰기").click()
    finished(panel).locator("h3").first.wait_for()
    assert panel.get_by_role("alert").count() == 0


def test_measure_scores_texts_and_says_how_far_apart_two_sounds_are(visitor, spoken_sentence, tmp_path):
    panel = visitor.tab("measure")
    panel.get_by_label("말한 글").fill("오늘은 날씨가 참 좋네요.\n비가 와요.")
    panel.get_by_label("받아쓴 글").fill("오늘은 날씨가 참 조네요\n비가 와요.")
    panel.get_by_text("문장 부호는 빼고").click()
    panel.get_by_role("button", name="채점하기").click()
    card = finished(panel)
    assert "7.1" in card.inner_text() and card.locator(".wrong").count() == 1  # 1 of 14 characters
    files = panel.locator("input[type=file]")
    for number in (0, 1):
        files.nth(number).set_input_files(spoken_sentence[1])
    panel.get_by_role("button", name="거리 재기").click()
    assert "0.00 dB" in finished(panel, 1).inner_text()
    visitor.photograph("measure")


def test_align_lays_a_text_over_its_sound_and_gives_a_textgrid(visitor, spoken_sentence):
    text, sound = spoken_sentence
    panel = visitor.tab("align")
    panel.locator("input[type=file]").set_input_files(sound)
    panel.get_by_label("소리에서 말한 글").fill(text)
    panel.get_by_role("button", name="맞추기").click()
    result = finished(panel)
    assert [words.split("\n")[0] for words in result.locator(".words button").all_inner_texts()] == text.split()
    assert result.locator("img").evaluate("image => image.naturalWidth") > 500
    visitor.photograph("align")
    with visitor.page.expect_download() as kept:
        result.get_by_role("link", name="TextGrid").click()
    assert "IntervalTier" in Path(kept.value.path()).read_text(encoding="utf-8")


def test_losses_are_drawn_of_a_system_and_of_a_run(visitor):
    panel = visitor.tab("losses")
    panel.get_by_label("모형").select_option("fastspeech2")
    panel.get_by_role("button", name="그리기").click()
    finished(panel)
    assert panel.locator("svg text").count() > 10
    panel.get_by_label("모형").select_option("run:vocos")
    panel.get_by_role("button", name="그리기").click()
    panel.locator("svg text").filter(has_text="vocos, vocos").wait_for()
    visitor.photograph("losses")


def test_runs_show_their_curves_and_warnings(visitor):
    panel = visitor.tab("runs")
    panel.get_by_role("button", name="보기").click()
    result = finished(panel)
    assert result.locator("img").count() >= 1 and "경고" in result.inner_text()
    panel.get_by_label("단계마다 말할 글").fill("네.")
    panel.get_by_role("button", name="단계마다 말하기").click()
    samples = finished(panel, 1)
    assert (
        samples.locator("h4").all_inner_texts() == ["단계 2", "가장 나은 모형"]
        and samples.locator("audio").count() == 2
    )
    visitor.photograph("runs")


def test_a_lesson_opens_its_toy_is_driven_and_its_question_answered(visitor):
    panel = visitor.tab("lessons")
    panel.get_by_label("수업").select_option("gan")
    panel.get_by_role("button", name="펼치기").click()
    result = finished(panel)
    value = result.locator("[data-value=judge]")
    assert value.inner_text() == "1.000"
    result.get_by_role("button", name="판별기 차례").click()
    assert float(value.inner_text()) < 1
    assert result.locator("figure img").first.evaluate("image => image.naturalWidth") > 500
    result.get_by_label("답").fill("0.5")
    visitor.page.keyboard.press("Enter")
    assert result.locator("form.question output").inner_text() == "맞습니다!"
    visitor.photograph("lessons")
    visitor.page.set_viewport_size({"width": 390, "height": 900})
    assert not visitor.too_wide()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_lesson_opens_in_turn_under_the_policy(browser, studio, width, language):
    visitor = Visitor(browser, studio.url, width=width, language=language)
    try:
        panel = visitor.tab("lessons")
        panel.locator("form button").first.click()
        names = panel.locator("option").evaluate_all("options => options.map(option => option.value)")
        for number, name in enumerate(names):
            panel.locator(f"[data-lesson={name}]").wait_for(timeout=3 * WAIT)
            assert panel.locator("[name=name]").input_value() == name and not visitor.too_wide()
            if panel.locator(".toy").count():
                panel.locator(".toy canvas").first.wait_for()
            assert panel.locator("audio").evaluate_all("sounds => sounds.every(sound => !sound.error)")
            visitor.photograph(f"lesson-{language}-{number}-{name}")
            visitor.page.set_viewport_size({"width": width, "height": 900})
            if name != names[-1]:
                panel.locator("[data-next]").press("Enter")
        assert panel.locator("[data-next]").count() == 0 and not visitor.faults
        assert {urlsplit(url).hostname for url in visitor.asked if url.startswith("http")} == {"127.0.0.1"}
    finally:
        visitor.context.close()


@pytest.mark.slow
def test_the_keyboard_alone_gets_through_the_tabs_and_sends_a_form(visitor):
    page = visitor.page
    page.locator("#tab-speak").focus()
    for name in ("listen", "measure", "align", "losses", "runs", "lessons", "speak"):
        page.keyboard.press("ArrowRight")
        assert page.locator(f"#tab-{name}").get_attribute("aria-selected") == "true"
        assert page.locator(f"#{name}").is_visible() and urlsplit(page.url).fragment == name
    page.keyboard.press("End")
    assert page.locator("#lessons").is_visible()
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("네.")
    while page.evaluate("document.activeElement.type") != "submit":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert finished(page.locator("#speak")).locator("audio").count() == 1


@pytest.mark.parametrize("language", [pytest.param("ko", marks=pytest.mark.slow), "en"])
def test_a_phone_shows_every_tab_without_scrolling_sideways_in_either_language(browser, studio, language):
    visitor = Visitor(browser, studio.url, width=390, language=language)
    try:
        for name in ("speak", "listen", "measure", "align", "losses", "runs", "lessons"):
            panel = visitor.tab(name)
            assert panel.is_visible() and not visitor.too_wide()
            boxes = [button.bounding_box() for button in panel.get_by_role("button").all()]
            small = [box for box in boxes if box and box["height"] < 34]
            assert not small  # for a thumb
        spoken = "말하기" if language == "ko" else "Speak"
        visitor.tab("speak").get_by_role("button", name=spoken, exact=True).click()
        finished(visitor.page.locator("#speak"))
        assert not visitor.too_wide() and not visitor.faults
        visitor.page.locator("#language").click()
        visitor.page.wait_for_url(re.compile("lang=" + ("en" if language == "ko" else "ko")))
        assert visitor.page.locator("html").get_attribute("lang") != language
    finally:
        visitor.context.close()
