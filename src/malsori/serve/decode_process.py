"""The process that decodes what clients send, with little memory and little time: what it dies of harms nobody else.

It is started as `python -m malsori.serve.decode_process CHANNEL MEGABYTES` and is asked over a socket: one line of JSON
with two open files beside it, the sound and where its samples go. It never sees a path that a client named.
"""

import json
import math
import os
import resource
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

from malsori.audio.io import stream_audio
from malsori.errors import MalsoriError, SoundWarning

_MESSAGE_BYTES = 65536


def serve_decoding(channel: socket.socket) -> None:
    """Decode each sound that is asked for, until the other side closes the channel."""
    while True:
        message, files, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 2)
        if not message:
            return
        source, target = files
        try:
            answer = _decode(json.loads(message), source, target)
        except MalsoriError as error:
            answer = {"error": str(error)}
        except MemoryError:
            answer = {"error": "the sound: decoding it takes more memory than the server allows (decode_memory_mb)"}
        finally:
            os.close(source)
            os.close(target)
        told = json.dumps(answer).replace(_path(source), "the sound")
        channel.sendall(told.encode() + b"\n")


def limit_memory(megabytes: int) -> None:
    """Let this process hold no more, open nothing to write by name, and leave no core file."""
    size = megabytes << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(request: dict[str, Any], source: int, target: int) -> dict[str, Any]:
    """Write a sound's samples as float32, and return how many there are."""
    _limit_time(request["cpu_seconds"])
    rate, samples = request["sample_rate"], 0
    max_samples = math.ceil(request["max_seconds"] * rate)
    with open(target, "wb", closefd=False) as out, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for part in stream_audio(Path(_path(source)), rate):
            samples += len(part)
            if samples > max_samples:
                limit = f"{request['max_seconds']:g} s, the longest that is taken (max_sound_seconds)"
                return {"error": f"the sound: lasts more than {limit}"}
            out.write(part.tobytes())
    return {"samples": samples, "missing": [str(one.message) for one in told if one.category is SoundWarning]}


def _limit_time(seconds: int) -> None:
    """Let this process compute for so many seconds more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _path(descriptor: int) -> str:
    return f"/dev/fd/{descriptor}"


if __name__ == "__main__":
    limit_memory(int(sys.argv[2]))
    serve_decoding(socket.socket(fileno=int(sys.argv[1])))
