"""The studio's routes without a browser: what they show, refuse, and never fetch."""

import re
from importlib import resources

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from starlette.testclient import TestClient

from malsori.asr.recognizer import load_recognizer
from malsori.decode.ctc import greedy
from malsori.serve.app import create_app
from malsori.serve.errors import HttpError
from malsori.serve.settings import ServeSettings
from malsori.studio.listen import letter_frames
from malsori.studio.render import words
from malsori.studio.runs import run_named
from malsori.text.letters import decode_letters
from malsori.text.symbols import JAMO
from malsori.train.checkpoint import checkpoint_steps, model_at

from ..serve.tiny import tiny_models

PAGES = resources.files("malsori.studio") / "pages"
TABS = {"speak", "listen", "measure", "align", "losses", "runs", "lessons"}


def templates() -> dict[str, str]:
    files = [*PAGES.iterdir(), *(PAGES / "forms").iterdir()]
    return {str(file): file.read_text(encoding="utf-8") for file in files if file.name.endswith(".html")}


def test_every_text_of_the_pages_stands_in_both_languages_and_is_used():
    asked = set()
    for text in templates().values():
        asked |= set(re.findall(r"""\bt\(["'](\w+)["']\)""", text))
        asked |= set(re.findall(r"parts\.(?:send|sound)\(t, \"(\w+)\"", text))
    asked |= TABS | {f"{tab}_about" for tab in TABS} | {"words", "syllables", "phones", "step", "best_model"}
    assert asked == set(words())
    assert all(text.strip() for languages in words().values() for text in languages.values())
    korean = [languages["ko"] for key, languages in words().items() if key != "other_language"]
    assert all(re.search("[가-힣]", text) for text in korean)


def test_the_page_and_all_it_is_made_of_come_from_the_server_under_a_policy_that_holds_it_to_that(studio):
    with studio.http(follow_redirects=True) as http:
        page = http.get("/studio", headers={"Accept-Language": "ko-KR,ko;q=0.9"})
        assert page.status_code == 200 and page.url.path == "/studio/" and 'lang="ko"' in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http" not in policy
        linked = re.findall(r'(?:src|href)="([^"#?]+)"', page.text)
        assert len(linked) == 4
        for name in (*linked, "assets/NanumGothic.ttf"):
            found = http.get(f"/studio/{name}")
            assert found.status_code == 200
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", found.text if ".ttf" not in name else "")
        assert http.get("/studio/assets/..%2fpages%2fwords.tsv").status_code == 404
        assert http.get("/studio/assets/render.py").status_code == 404
        assert ">Speak<" in http.get("/studio/", headers={"Accept-Language": "en-US"}).text
        assert ">Speak<" in http.get("/studio/?lang=en").text


def test_a_lesson_has_its_files_beside_it_and_no_script_that_the_policy_would_refuse(studio):
    with studio.http() as http:
        answer = http.post("/studio/lessons?lang=en", data={"name": "gan"})
        assert answer.status_code == 200 and "<h2 data-lesson=" in answer.text and 'data-next="ctc"' in answer.text
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", answer.text, flags=re.DOTALL)
        assert len(scripts) == 3 and all("src=" in attributes and not code for attributes, code in scripts)
        for source in re.findall(r'src="([^"]+)"', answer.text):
            assert http.get(f"/studio/{source}").status_code == 200
        assert http.get("/studio/lessons/en/gan/gan.en.png").content.startswith(b"\x89PNG")
        for wrong in ("en/gan/ctc.js", "fr/gan/gan.js", "en/ganz/gan.js", "en/gan/..%2fctc%2fctc.js"):
            assert http.get(f"/studio/lessons/{wrong}").status_code == 404


def test_a_server_that_was_not_told_to_serves_no_studio():
    assert TestClient(create_app(ServeSettings())).get("/studio/").status_code == 404


@pytest.mark.parametrize(
    ("tool", "form", "status"),
    [
        ("speak", {"text": "네.", "voice": "../../etc/passwd"}, 404),
        ("speak", {"text": "네" * 5000, "voice": "tiny-voice"}, 400),
        ("speak", {"text": "네.", "voice": "tiny-voice", "word": ["a"], "reading": []}, 400),
        ("speak", {"text": "네.", "voice": "tiny-voice", "speed": "NaN"}, 400),
        ("losses", {"name": "run:../runs/vocos"}, 404),
        ("losses", {"name": "/etc/passwd"}, 400),
        ("runs", {"name": ["vocos", ".."]}, 404),
        ("samples", {"name": "vocos", "text": "네."}, 400),
        ("score", {"reference": "가\n나", "hypothesis": "가"}, 400),
        ("listen", {"model": "conformer-ko"}, 400),
        ("lessons", {"name": "../ctc"}, 404),
    ],
    ids=str,
)
def test_what_a_page_would_never_send_is_refused_in_words(studio, tool, form, status):
    with studio.http() as http:
        answer = http.post(f"/studio/{tool}", data=form)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_what_a_text_holds_is_shown_and_never_run(studio):
    hostile = "<script>alert(1)</script> 네 \"'><img src=x onerror=alert(1)>"
    with studio.http() as http:
        for answer in (
            http.post("/studio/score", data={"reference": hostile, "hypothesis": "네"}),
            http.post("/studio/speak", data={"text": f"{hostile} 네.", "voice": "tiny-voice"}),
        ):
            assert answer.status_code == 200
            assert "<script" not in answer.text and "<img src=x" not in answer.text and "&lt;" in answer.text


def test_the_frames_of_ctc_collapse_to_what_the_network_says(tmp_path):
    recognizer = load_recognizer(tiny_models(tmp_path)["models"].rpartition("=")[2])
    wave = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    frames = letter_frames(recognizer, wave)
    assert sum(length for _, _, length in frames.runs) == len(frames.best) > 40 and not frames.cut
    assert frames.letters == [symbol for symbol, blank, _ in frames.runs if not blank]
    assert all(0 < sure <= 1 for *_, sure in frames.best)
    posteriors = recognizer.decoder.encoder.posteriors(wave)
    assert frames.text == decode_letters(JAMO, greedy(posteriors.log_probs, posteriors.blank))
    starts = [start for _, _, start, _, _ in frames.best]
    assert starts == sorted(starts) and starts[-1] < 2.0 + posteriors.frame_seconds
    assert letter_frames(recognizer, np.tile(wave, 8)).cut


def test_a_run_is_one_of_the_folder_and_its_steps_give_the_averaged_weights(runs_folder):
    settings = ServeSettings(runs=str(runs_folder))
    for name in ("..", "", "vocos/../vocos", str(runs_folder / "vocos")):
        with pytest.raises(HttpError):
            run_named(settings, name)
    run = run_named(settings, "fastspeech2")
    assert checkpoint_steps(run) == [2]
    saved = load_file(run / "checkpoints" / "step_00000002" / "ema.safetensors")
    found = model_at(run, 2).network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in saved.items()) and set(saved) == set(found)
