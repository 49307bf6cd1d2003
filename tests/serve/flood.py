"""Requests of every kind that clients send, and what every answer to one has to be.

Three sources: schemathesis reads the server's own OpenAPI document; hypothesis fills bodies, texts and heads; a corpus
of sounds is broken, huge, lying or exploding.
"""

import json
import random
import re
import string
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import numpy as np
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from .test_decoding import HOSTILE, sound

#: What an answer never holds: where the server lies, how its code runs, what lies on its disk.
SECRETS = re.compile(r"Traceback|\.py\b|site-packages|/dev/fd|root:x:|/home/|/tmp/")
#: A mark that one request has and no other.
MARK = re.compile(r"표(\d+)표")
SECONDS = 120.0  # that an answer may take before it counts as a hang; the machine may be busy

#: Texts that break what reads them.
TEXTS = (
    "",
    " ",
    "\0",
    "\x1b[31m\x07\x08",
    "가" * 100_000,
    "가\u0300" * 3000,
    "안녕하세요",  # NFD, as a Mac's files are named
    "👩‍👩‍👧‍👦" * 40_000,
    "\u202e거꾸로\u202c",
    "\ud800",
    "1" * 5000,
    "9999999999999999999999999999999원 3.141592653589793e+999",
    "<speak><break time='99999s'/>네</speak>",
    "<speak>" * 3000,
    "[[]](((",
    "%s%n%00../../etc/passwd",
    "{{7*7}}${7*7}<script>alert(1)</script>",
    "ㅋㅋㅋㅎㅎㅎㅠㅠ",
    "㈜①½℃㎏",
)
NAMES = (
    "a.wav",
    "../../../../etc/passwd",
    "..\\..\\windows.wav",
    "/dev/zero",
    "나.mp3",
    "a" * 5000,
    "a\r\nX-Evil: 1.wav",
    "\u202egpj.wav",
    "",
    "nul\0.wav",
)


@dataclass
class Tally:
    """What came back."""

    statuses: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total(self) -> int:
        """Requests that were answered, or were not."""
        return self.statuses.total()

    def add(self, what: str, status: int | None, body: bytes, kind: str, sent: str = "") -> None:
        """Count an answer, and note what is wrong with it."""
        text = body.decode("utf-8", "replace") if not kind.startswith("audio") else ""
        wrong = self._wrong(status, text, kind, sent)
        with self._lock:
            self.statuses[status] += 1
            if wrong:
                self.faults.append(f"{what[:200]}: {wrong}: {status} {text[:200]!r}")

    def _wrong(self, status: int | None, text: str, kind: str, sent: str) -> str:
        if status is None:
            return "no answer"
        if status >= 500:
            return "a fault of the server"
        if set(MARK.findall(text)) - set(MARK.findall(sent)):
            return "another client's words"
        if secret := SECRETS.search(text.replace(sent, "") if sent else text):
            return f"tells {secret[0]}"
        if status >= 400 and text and kind.startswith("application/json"):  # HEAD has no body
            error = json.loads(text).get("error", {})
            if not {"message", "type", "param", "code"} <= set(error) or len(error["message"]) > 500:
                return "not in OpenAI's shape"
        return ""


def ask(http: httpx.Client, tally: Tally, method: str, path: str, sent: str = "", **content) -> None:
    """Send one request and count its answer; what httpx itself refuses to send is not counted."""
    try:
        answer = http.request(method, path, **content)
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError):
        return
    except httpx.HTTPError as error:
        tally.add(f"{method} {path} {sent[:60]!r} {error!r}", None, b"", "")
        return
    tally.add(f"{method} {path} {sent[:60]!r}", answer.status_code, answer.content, _kind(answer.headers), sent)


def from_the_schema(url: str, http: httpx.Client, tally: Tally, count: int, round_: int = 0) -> None:
    """Send so many requests that the OpenAPI document gives rise to, valid and not."""
    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations()]
    modes = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    ways = [(operation, mode) for operation in operations for mode in modes]
    each = -(-count // len(ways))
    for number, (operation, mode) in enumerate(ways):
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            _drawn(strategy, each, number + 1000 * round_, lambda case: _send(case, url, tally))
        except (schemathesis.errors.InvalidSchema, Unsatisfiable):
            continue  # nothing that could be wrong with it: it takes nothing


def _send(case: schemathesis.Case, url: str, tally: Tally) -> None:
    try:
        answer = case.call(base_url=url, timeout=SECONDS)
    except Exception as error:
        name = type(error).__name__
        if name in ("InvalidHeader", "InvalidURL", "UnicodeEncodeError", "LocationParseError"):
            return  # the client refused to send it
        tally.add(f"{case.method} {case.path} {name}", None, b"", "")
        return
    kind = (answer.headers.get("content-type") or [""])[0]
    sent = repr(case.body) + repr(case.query) + repr(case.path_parameters)
    shown = answer.content if "json" not in kind else answer.content[:2000]
    tally.add(
        f"{case.method} {case.path} {case.body!r}", answer.status_code, shown, "" if len(shown) == 2000 else kind, sent
    )


def _drawn(strategy: st.SearchStrategy, count: int, number: int, use: Callable) -> None:
    """Use so many examples of a strategy, the same ones each time."""

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(example) -> None:
        use(example)

    each()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def of_json(http: httpx.Client, tally: Tally, count: int, round_: int = 0) -> None:
    """Send so many bodies of JSON, nearly right and not at all."""
    right = {
        "/v1/audio/speech": {"input": "네.", "response_format": "pcm"},
        "/v1/explain": {"text": "국물"},
        "/v1/score": {"reference": "네", "hypothesis": "내"},
    }
    names = "input text reference hypothesis model voice speed pitch energy lexicon timestamps response_format"
    fields = st.sampled_from([*names.split(), "stream_format", "instructions", "extra", "punctuation"])
    bodies = st.tuples(st.sampled_from([*right]), st.dictionaries(fields, _VALUES, max_size=3), st.booleans())

    def send(drawn: tuple[str, dict, bool]) -> None:
        path, changed, whole = drawn
        body = (right[path] if whole else {}) | changed
        content = json.dumps(body).encode()
        ask(http, tally, "POST", path, content.decode(), content=content, headers={"Content-Type": "application/json"})

    _drawn(bodies, count, round_, send)


def of_raw_bytes(http: httpx.Client, tally: Tally, count: int, round_: int = 0) -> None:
    """Send so many bodies and heads that are no JSON, no form, no path."""
    paths = [
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/align",
        "/v1/score",
        "/v1/models/",
    ]
    printable = st.text(string.printable.strip(), max_size=20)
    kinds = st.sampled_from(
        ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", ""]
    )
    drawn = st.tuples(
        st.sampled_from(["POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]),
        st.sampled_from(paths) | printable.map(lambda text: f"/{text}"),
        st.binary(max_size=300)
        | st.sampled_from([b"--x\r\n", b'{"input": ', b"[" * 50_000, b'{"a":' * 50_000, b"\xff\xfe"]),
        kinds,
        st.dictionaries(
            st.sampled_from(["x-request-id", "authorization", "accept", "range", "origin"]), printable, max_size=2
        ),
    )

    def send(parts: tuple) -> None:
        method, path, content, kind, heads = parts
        headers = {name: value for name, value in (heads | {"content-type": kind}).items() if value}
        ask(http, tally, method, path, path + content.decode("latin-1"), content=content, headers=headers)

    _drawn(drawn, count, round_, send)


def damaged(draw: random.Random) -> bytes:
    """Return a sound that is broken, lying or exploding."""
    if draw.random() < 0.25:
        return draw.choice([*HOSTILE.values()])
    forms = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16")]
    form, subtype = draw.choice([*forms, ("CAF", "PCM_16"), ("W64", "PCM_16"), ("AU", "PCM_16"), ("WAV", "FLOAT")])
    channels = draw.choice([1, 1, 2, 8])
    channels = min(channels, 2) if form == "MP3" else channels
    content = bytearray(sound(form, channels, draw.choice([0.02, 0.2, 0.4]), subtype))
    if subtype == "FLOAT":
        samples = np.frombuffer(bytes(content[-400:]), "<f4").copy()
        samples[::7] = draw.choice([np.nan, np.inf, -np.inf, 1e38])
        content[-400:] = samples.tobytes()
    for _ in range(draw.choice([0, 1, 4, 30])):
        place = draw.randrange(min(len(content), draw.choice([60, len(content)])))
        content[place] = draw.choice([0, 0xFF, 0x7F, 0x80, draw.randrange(256)])
    if draw.random() < 0.4:
        del content[draw.randrange(len(content)) :]
    return bytes(content)


def of_sounds(http: httpx.Client, tally: Tally, count: int, first: int = 0) -> None:
    """Send so many sounds with their fields."""
    draw = random.Random(first)
    for number in range(first, first + count):
        path = draw.choice(["/v1/audio/transcriptions"] * 4 + ["/v1/audio/translations", "/v1/align"])
        mark = f"표{number}표"
        data = (
            {"text": draw.choice(["네. " + mark, *TEXTS])}
            if path == "/v1/align"
            else {"prompt": mark}
            if draw.random() < 0.1
            else {}
        )
        if draw.random() < 0.5:
            data["response_format"] = draw.choice(
                ["json", "text", "srt", "vtt", "verbose_json", "textgrid", "docx", ""]
            )
        if draw.random() < 0.3:
            name = draw.choice(
                ["stream", "temperature", "language", "hotwords", "model", "extra", "timestamp_granularities[]"]
            )
            data[name] = draw.choice(
                ["true", "word", "0.5", "ko", "xx", "auto", "-1", "nan", *TEXTS[:6], "tiny-ear", "/etc"]
            )
        data = {name: value.encode("utf-8", "replace").decode() for name, value in data.items()}
        files = {"file": (draw.choice(NAMES), damaged(draw), draw.choice(["audio/wav", "text/html", "", "x/y"]))}
        ask(
            http,
            tally,
            "POST",
            path,
            json.dumps(data, ensure_ascii=False) + repr(files["file"][0]),
            data=data,
            files=files,
        )


def of_words(http: httpx.Client, tally: Tally, count: int, first: int = 0) -> None:
    """Send so many texts that come back, each marked as its client's."""
    draw = random.Random(first)
    for number in range(first, first + count):
        text = f"{draw.choice(TEXTS[5:])[:1500]} 표{number}표"
        body = json.dumps({"text": text} if number % 2 else {"reference": text, "hypothesis": f"내 표{number}표"})
        headers = {"Content-Type": "application/json", "x-request-id": f"flood-{first}-{number}"}
        path = "/v1/explain" if number % 2 else "/v1/score"
        ask(http, tally, "POST", path, text, content=body.encode(), headers=headers)


def flood(url: str, count: int, round_: int = 0) -> Tally:
    """Send so many requests, or a few more, from three clients at a time; return what came back.

    Each round sends others.
    """
    tally, fourth, first = Tally(), -(-count // 4), 10_000_000 * round_

    def drawn(http: httpx.Client) -> None:
        from_the_schema(url, http, tally, fourth, round_)
        of_json(http, tally, fourth // 2, round_)
        of_raw_bytes(http, tally, fourth // 2, round_)

    def client(work: Callable[[httpx.Client], Iterator | None]) -> threading.Thread:
        def run() -> None:
            try:
                with httpx.Client(base_url=url, timeout=SECONDS) as http:
                    work(http)
            except Exception as error:
                tally.faults.append(f"a client broke down: {error!r}")

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    clients = [
        client(drawn),  # one at a time: hypothesis reads source, which two threads cannot in 3.11
        client(lambda http: of_sounds(http, tally, fourth, first)),
        client(lambda http: of_words(http, tally, fourth, first + 1_000_000)),
    ]
    for thread in clients:
        thread.join()
    missing = count - tally.total  # of what is drawn no client can send all
    with httpx.Client(base_url=url, timeout=SECONDS) as http:
        of_sounds(http, tally, missing // 2, first + 2_000_000)
        of_words(http, tally, missing - missing // 2, first + 3_000_000)
    return tally


def _kind(headers: httpx.Headers) -> str:
    return headers.get("content-type", "")
