"""Sounds that clients send, decoded by processes of little memory and time: the side of the server."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from malsori.annotations import Float
from malsori.errors import AudioError
from malsori.serve.settings import ServeSettings

_WALL = 4.0  # times the CPU time that decoding may take; more, and the process waits for something
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class DecodedSound:
    """A client's sound: its wave, which lies in a file without a name, and what of it was missing, a line each."""

    wave: Float[np.ndarray, " samples"]
    missing: tuple[str, ...]


class SoundDecoder:
    """A few processes that decode, each asked for one sound at a time. Safe for threads.

    Args:
        settings: how many, and what each may take.
        on_death: called when a sound took its process along.
    """

    def __init__(self, settings: ServeSettings, on_death: Callable[[], None] | None = None) -> None:
        self.settings, self._on_death = settings, on_death
        self._idle: queue.Queue[_Process] = queue.Queue()
        for _ in range(settings.decoders):
            self._idle.put(_Process(settings.decode_memory_mb))

    def decode(self, sound: Any, sample_rate: int) -> DecodedSound:
        """Return a sound as one channel at a rate.

        Args:
            sound: an open file of the system (what has a fileno), of any kind of sound.
        Raises: AudioError if it is none, is damaged, too long, or takes more memory or time than it may.
        """
        settings = self.settings
        request = {
            "sample_rate": sample_rate,
            "max_seconds": settings.max_sound_seconds,
            "cpu_seconds": settings.decode_seconds,
        }
        with tempfile.TemporaryFile() as target:
            answer = self._ask(request, sound.fileno(), target.fileno())
            if "error" in answer:
                raise AudioError(answer["error"])
            if not answer["samples"]:
                raise AudioError("the sound: holds 0 samples; send a recording that is not empty")
            wave = np.memmap(target, dtype=np.float32, mode="c", shape=(answer["samples"],))
            return DecodedSound(wave, tuple(answer["missing"]))

    def close(self) -> None:
        """End the processes."""
        while not self._idle.empty():
            self._idle.get().end()

    def _ask(self, request: dict[str, Any], source: int, target: int) -> dict[str, Any]:
        process = self._idle.get()
        try:
            return process.ask(request, source, target, _WALL * self.settings.decode_seconds)
        except _Died as death:
            if self._on_death:
                self._on_death()
            raise AudioError(f"the sound: {self._cause(death)}") from death
        finally:
            self._idle.put(process if process.alive else _Process(self.settings.decode_memory_mb))

    def _cause(self, death: "_Died") -> str:
        if death.status in (-signal.SIGXCPU, None):
            return f"decoding it takes more than {self.settings.decode_seconds} s (decode_seconds)"
        return "not a sound file that can be read: the decoder broke down over it"


class _Died(Exception):
    """The process ended, by itself with a status, or was ended (None) for it took too long."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class _Process:
    """One process that decodes, and the channel to it."""

    def __init__(self, megabytes: int) -> None:
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, "-m", "malsori.serve.decode_process", str(theirs.fileno()), str(megabytes)]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ONE_THREAD,
            start_new_session=True,  # Ctrl-C on the terminal is the server's to answer
        )
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], source: int, target: int, seconds: float) -> dict[str, Any]:
        """Return the answer to a request that has two files. Raises: _Died if there is none within so many seconds."""
        answer = b""
        try:
            self._channel.settimeout(seconds)
            socket.send_fds(self._channel, [json.dumps(request).encode()], [source, target])
            while not answer.endswith(b"\n"):
                part = self._channel.recv(65536)
                if not part:
                    raise _Died(self._process.wait())
                answer += part
        except TimeoutError as error:
            self.end()
            raise _Died(None) from error
        except OSError as error:  # it died before it was asked
            self.end()
            raise _Died(self._process.returncode) from error
        return json.loads(answer)

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
