"""What every request passes first: keys, hosts, origins, limits, ids, and the log."""

import json
import logging
import re
import threading
import time

import httpx
import pytest

from malsori.errors import OptionError
from malsori.serve.errors import error_body
from malsori.serve.logs import JsonFormatter, log_config
from malsori.serve.settings import ServeSettings

from .conftest import running


@pytest.fixture(scope="module")
def guarded():
    """A server with keys and tight limits."""
    limits = {
        "max_body_mb": 0.2,
        "max_sound_seconds": 1.0,
        "max_characters": 20,
        "max_requests": 1,
        "body_seconds": 1.0,
    }
    with running(api_key="first,zweiter-schlüssel", cors_origins="https://chat.example", **limits) as server:
        yield server


def key(name: str = "first") -> dict[str, str]:
    return {"Authorization": f"Bearer {name}".encode()}


def test_a_key_is_asked_for_but_by_those_who_ask_whether_it_runs(guarded):
    with guarded.http() as http:
        refused = http.get("/v1/models")
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
        assert http.get("/v1/models", headers=key("wrong")).status_code == 401
        assert http.get("/v1/models", headers=key()).status_code == 200
        assert http.get("/v1/models", headers=key("zweiter-schlüssel")).status_code == 401  # headers are Latin-1
        assert http.get("/v1/models", auth=("", "zweiter-schlüssel")).status_code == 200
        assert http.get("/health").status_code == 200
        assert http.get("/docs").status_code == http.get("/metrics").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "malsori.example"}, 403),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://chat.example"}, 200),
    ],
    ids=str,
)
def test_pages_of_others_cannot_call_unless_allowed(guarded, headers, status):
    with guarded.http() as http:
        assert http.get("/health", headers=headers).status_code == status


def test_a_body_that_is_too_large_or_does_not_come_is_refused(guarded):
    def trickled():
        yield b"{"
        time.sleep(1.5)
        yield b"}"

    with guarded.http(headers=key()) as http:
        large = {"input": "가" * 100_000}
        assert http.post("/v1/audio/speech", json=large).status_code == 413
        chunks = (b'{"input": "', *[b"x" * 50_000] * 5, b'"}')  # no Content-Length
        assert http.post("/v1/audio/speech", content=iter(chunks)).status_code == 413
        late = http.post("/v1/audio/speech", content=trickled())
        assert late.status_code == 408 and "body_seconds" in late.json()["error"]["message"]


def test_a_text_and_a_sound_that_are_too_long_are_refused(guarded, spoken):
    with guarded.http(headers=key()) as http:
        told = http.post("/v1/audio/speech", json={"input": "가" * 21}).json()["error"]
        assert told["code"] == "string_above_max_length" and "max_characters" in told["message"]
        told = http.post("/v1/audio/transcriptions", files={"file": spoken.read_bytes()}).json()["error"]
        assert "max_sound_seconds" in told["message"]


def test_more_requests_than_are_taken_are_told_to_come_again(guarded):
    jobs = guarded.state.jobs
    with guarded.http(headers=key()) as http, jobs.admission():
        refused = http.post("/v1/audio/speech", json={"input": "네."})
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert jobs.admitted == 0


def test_an_id_is_given_back_if_it_is_one_and_made_if_not(server):
    with server.http() as http:
        assert http.get("/health", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        made = http.get("/health", headers={"x-request-id": 'no "id"'}).headers["x-request-id"]
    assert re.fullmatch("req_[0-9a-f]{32}", made)


def test_the_log_has_a_line_a_request_and_nothing_that_was_said(server, caplog, spoken):
    with caplog.at_level(logging.INFO, "malsori.serve"), server.http() as http:
        http.post("/v1/audio/speech", json={"input": "비밀입니다.", "response_format": "pcm"}, headers=named("log-0"))
        http.post("/v1/audio/speech", json={"input": "비밀 ..", "voice": "비밀"}, headers=named("log-1"))
        files = {"file": ("비밀.wav", spoken.read_bytes())}
        http.post("/v1/audio/transcriptions?비밀", files=files, headers=named("log-2"))
        http.get("/비밀", headers=named("log-3"))
        http.get("/health", headers=named("log-4"))
        lines = logged(caplog, [f"log-{i}" for i in range(5)])
    assert all(record.name.startswith("malsori.serve") for record in caplog.records if record.levelno < logging.ERROR)
    assert {"route", "status", "seconds"} < set(lines["log-0"]) and lines["log-0"]["characters"] == 6
    assert "비밀" not in "".join(JsonFormatter().format(record) for record in caplog.records)
    assert log_config(False)["loggers"]["malsori"]["level"] == "ERROR"  # a recognizer's lines hold texts


def named(request_id: str) -> dict[str, str]:
    return {"x-request-id": request_id}


def logged(caplog, ids: list[str]) -> dict[str, dict]:
    """The line of each request, which the server writes after the client has its answer."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        lines = [json.loads(JsonFormatter().format(record)) for record in list(caplog.records)]
        found = {line["request_id"]: line for line in lines if line.get("request_id") in ids}
        if len(found) == len(ids):
            return found
        time.sleep(0.01)
    raise AssertionError(f"of {ids} only {sorted(found)} have a line")


def test_unknown_paths_and_methods_are_told_in_the_same_shape(server):
    with server.http() as http:
        for answer in (http.get("/v2"), http.get("/v1/audio/speech"), http.post("/v1/audio/speech", content=b"{")):
            assert (
                set(answer.json()["error"]) == {"message", "type", "param", "code"} and 400 <= answer.status_code < 500
            )


def test_what_a_client_sent_is_told_on_one_line_of_bounded_length():
    message = error_body(400, "a\nb" + "c" * 1000)["error"]["message"]
    assert message.startswith("a bccc") and len(message) == 500


def test_pages_fetch_nothing_from_elsewhere(server):
    with server.http() as http:
        for path in ("/docs", "/redoc"):
            page = http.get(path).text
            addresses = re.findall(r'(?:src|href|url)\s*[=:]\s*["\']([^"\']+)', page)
            assert addresses and all(address.startswith("/") for address in addresses), addresses
            assert all(http.get(address).status_code == 200 for address in addresses)


def test_another_host_is_not_listened_on_without_a_key():
    with pytest.raises(OptionError, match="--api-key"):
        ServeSettings(host="0.0.0.0")
    with pytest.raises(OptionError, match="port"):
        ServeSettings(port=70_000)
    with pytest.raises(OptionError, match=r"unknown key 'prot'.*'port'"):
        ServeSettings(prot=1)
    assert not ServeSettings(host="0.0.0.0", api_key="a").is_loopback
    assert ServeSettings(host="::1").is_loopback and ServeSettings(host="localhost").is_loopback


def test_every_setting_is_read_from_the_environment_and_is_an_option(monkeypatch):
    from malsori.cli.serving import _options

    monkeypatch.setenv("MALSORI_MAX_BODY_MB", "7.5")
    monkeypatch.setenv("MALSORI_API_KEY", "a, b")
    settings = ServeSettings(port="81")
    assert (settings.max_body_mb, settings.api_key, settings.port) == (7.5, ("a", "b"), 81)
    assert [option.name for option in _options()] == list(ServeSettings.model_fields)
    assert all(field.description for field in ServeSettings.model_fields.values())


def test_models_voices_and_counters_are_told(server, client):
    names = {model.id for model in client.models.list()}
    assert {"fastspeech2-ko", "conformer-ko", "tts-1", "whisper-1"} < names and "vocos-ko" not in names
    assert client.models.retrieve("fastspeech2-ko").id == "fastspeech2-ko"
    with server.http() as http:
        assert {voice["id"] for voice in http.get("/v1/audio/voices").json()["voices"]} >= {"lmy", "kih"}
        assert http.get("/ready").json()["status"] == "ready"
        page = http.get("/metrics").text
    assert re.search(r'malsori_requests_total\{route="/v1/models",status="200"\} [1-9]', page)
    assert httpx.get(f"{server.url}/v1/models/none").status_code == 404


def test_a_client_that_leaves_is_no_fault_of_the_server(server, caplog, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> dict:
        begun.set()
        go_on.wait(60)
        return {}

    monkeypatch.setattr("malsori.serve.analysis._explain", slow)
    with caplog.at_level(logging.INFO, "malsori.serve"), server.http() as http:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/explain", json={"text": "네."}, timeout=httpx.Timeout(30, read=0.5), headers=named("left"))
        assert begun.wait(60)
        line = logged(caplog, ["left"])["left"]
        go_on.set()
    assert line["message"] == "request" and line["status"] == 499
