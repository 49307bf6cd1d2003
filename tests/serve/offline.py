"""Nothing leaves the machine: any attempt to reach another host, or to ask for its name, is refused and noted.

Copied as sitecustomize.py beside a program it holds for that program from its first line on, if
MALSORI_TEST_ATTEMPTS names the file for the attempts.
"""

import ipaddress
import os
import sys

attempts: list[str] = []
_state = {"holds": False}


def hold(holds: bool) -> None:
    """Begin or end to refuse."""
    if not _state.get("hooked"):
        sys.addaudithook(_refuse)
        _state["hooked"] = True
    _state["holds"] = holds


def _refuse(event: str, arguments: tuple) -> None:
    if not _state["holds"] or not event.startswith("socket."):
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1] if event == "socket.connect" else arguments[-1]
        host = address[0] if isinstance(address, tuple) else None  # else a socket of this machine's files
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host is None or _is_here(host):
        return
    attempts.append(f"{event} {host}")
    if path := os.environ.get("MALSORI_TEST_ATTEMPTS"):
        with open(path, "a") as file:
            file.write(f"{event} {host}\n")
    raise OSError(f"the network is cut: {event} {host}")


def _is_here(host: str | bytes) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("localhost", "")


if "MALSORI_TEST_ATTEMPTS" in os.environ:
    hold(True)
