"""Load on a server: many clients at once, mixed speech and transcription, every answer checked against its request.

    python bench/serve.py [--clients 64] [--minutes 5] [-- OPTIONS OF malsori serve]
    python bench/serve.py --speech 0 --sounds FOLDER --url http://127.0.0.1:9000 --model NAME    # another server

A server of its own is started on loopback, or one that runs is asked. One client asks for a while, then all of them.
Printed for each: answers by status, answers lost or not their request's, answers a second, p50/p95/p99 by route; and
the server's memory by time with its slope after warm-up, and what many clients gain over one.

How an answer is known: a text is spoken at the length that the same text had when it was asked for alone, and a sound
comes back as the text that it gave alone. Texts and sounds all differ in that.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

WORDS = "오늘 날씨가 정말 좋네요 내일은 비가 온다고 합니다 우리 모두 함께 걸어서 바다까지".split()  # noqa: SIM905


@dataclass
class Load:
    """What the clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter = field(default_factory=Counter)
    swapped: int = 0
    lost: int = 0
    refused: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)
    rate: float = 0.0  # answers a second


def texts(count: int) -> list[str]:
    """Return sentences, no two alike."""
    draw = random.Random(0)
    return [f"{' '.join(draw.sample(WORDS, draw.randint(2, 6)))}, {number + 11}번입니다." for number in range(count)]


def start(options: list[str]) -> tuple[subprocess.Popen, str]:
    """Return a server that is ready, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "malsori", "serve", "--port", "0", *options], stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        told = json.loads(line) if line.startswith("{") else {}
        if "address" in told:
            break
    else:
        raise SystemExit("the server did not start")
    asyncio.get_running_loop().run_in_executor(None, lambda: [None for _ in process.stderr])  # drain its log
    while httpx.get(f"{told['address']}/ready").status_code != 200:
        time.sleep(0.5)
    return process, told["address"]


async def speak(client: httpx.AsyncClient, text: str) -> httpx.Response:
    """Ask for a text as PCM."""
    return await client.post("/v1/audio/speech", json={"input": text, "response_format": "pcm"})


async def listen(client: httpx.AsyncClient, sound: bytes, model: str) -> httpx.Response:
    """Ask for a sound's text."""
    asked = {"model": model, "language": "ko"}
    return await client.post("/v1/audio/transcriptions", data=asked, files={"file": ("a.flac", sound)})


async def answers(
    client: httpx.AsyncClient, said: list[str], asked: argparse.Namespace
) -> tuple[dict[str, int], dict[bytes, str]]:
    """Return what each text and each sound gives when it is asked for alone."""
    lengths = {text: len((await speak(client, text)).content) for text in said} if asked.speech else {}
    if asked.sounds:
        waves = [path.read_bytes() for path in sorted(asked.sounds.iterdir())]
    else:
        wanted = [{"input": text, "response_format": "flac"} for text in said[: max(4, len(said) // 4)]]
        waves = [(await client.post("/v1/audio/speech", json=each)).content for each in wanted]
    return lengths, {wave: (await listen(client, wave, asked.model)).json()["text"] for wave in waves}


async def one_client(
    number: int, url: str, until: float, load: Load, known: tuple[dict, dict], asked: argparse.Namespace
) -> None:
    """Send requests until the time is over, and check each answer."""
    draw, (lengths, sounds) = random.Random(number), known
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        while time.monotonic() < until:
            began, kind = time.monotonic(), "speech" if draw.random() < asked.speech else "transcription"
            try:
                if kind == "speech":
                    text = draw.choice(list(lengths))
                    answer = await speak(client, text)
                    right = len(answer.content) == lengths[text]
                else:
                    sound = draw.choice(list(sounds))
                    answer = await listen(client, sound, asked.model)
                    right = answer.status_code == 200 and answer.json()["text"] == sounds[sound]
            except httpx.HTTPError:
                load.lost += 1
                continue
            load.statuses[answer.status_code] += 1
            if answer.status_code == 429:
                await asyncio.sleep(float(answer.headers["retry-after"]))
                continue
            load.seconds[kind].append(time.monotonic() - began)
            load.swapped += not right


async def watch(process: subprocess.Popen | None, load: Load, until: float) -> None:
    """Note the server's memory every second."""
    began = time.monotonic()
    while process and time.monotonic() < until:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        load.memory.append((time.monotonic() - began, pages * 4096 / 1e6))
        await asyncio.sleep(1)


async def phase(url: str, asked: argparse.Namespace, known: tuple[dict, dict], clients: int, minutes: float, process):
    """Return what so many clients saw in so many minutes."""
    load, until = Load(), time.monotonic() + 60 * minutes
    working = [one_client(number, url, until, load, known, asked) for number in range(clients)]
    await asyncio.gather(watch(process, load, until), *working)
    print(f"{clients} clients, {minutes:g} minutes")
    load.rate = tell(load, minutes)
    return load


def tell(load: Load, minutes: float) -> float:
    """Print what was seen, and return the answers a second."""
    done = sum(map(len, load.seconds.values()))
    print(f"{dict(load.statuses)}, lost {load.lost}, not their request's {load.swapped}")
    for kind, times in sorted(load.seconds.items()):
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        print(f"  {kind:14}{len(times):6} answers, p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s")
    print(f"  {done / (60 * minutes):.2f} answers a second")
    later = [(second, size) for second, size in load.memory if second > 0.3 * 60 * minutes]
    if len(later) > 2:
        slope = statistics.linear_regression(*zip(*later, strict=True)).slope * 60
        print(f"  memory {load.memory[0][1]:.0f} → {load.memory[-1][1]:.0f} MB; after warm-up {slope:+.2f} MB a minute")
        quarters = np.array_split([size for _, size in later], 4)
        print(f"  quarters of that time: {', '.join(f'{part.mean():.0f}' for part in quarters)} MB")
    return done / (60 * minutes)


async def main() -> None:
    """Run it and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--alone-minutes", type=float, default=0.5, help="of one client before the others")
    parser.add_argument("--speech", type=float, default=0.7, help="share of speech among the requests")
    parser.add_argument("--sounds", type=Path, help="folder of recordings to transcribe; else spoken ones")
    parser.add_argument("--url", help="of a server that runs")
    parser.add_argument("--model", default="whisper-1", help="that transcribes")
    parser.add_argument("options", nargs="*", help="options of malsori serve, behind --")
    asked = parser.parse_args()
    options = ["--max-requests", str(max(64, asked.clients)), *asked.options]
    process, url = (None, asked.url) if asked.url else start(options)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=600) as client:
            known = await answers(client, texts(16), asked)
        alone = await phase(url, asked, known, 1, asked.alone_minutes, process)
        seen = await phase(url, asked, known, asked.clients, asked.minutes, process)
    finally:
        if process:
            process.terminate()
            process.wait(60)
    print(f"{asked.clients} clients against one: {seen.rate / alone.rate:.2f} times the answers a second")
    failed = seen.lost + seen.swapped + sum(n for status, n in seen.statuses.items() if status >= 500)
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    asyncio.run(main())
