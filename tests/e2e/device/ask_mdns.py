"""Asks the LAN for the address of a name (RFC 6762): sends to the group, and gets unicast answers."""

from __future__ import annotations

import socket
import struct
import sys

GROUP, PORT = "224.0.0.251", 5353
ADDRESS, INTERNET, ANSWER_ME_ALONE = 1, 1, 0x8000
WAIT_S = 2.0


def ask(name: str) -> list[str]:
    """The IPv4 addresses that one host answers; an empty list if there is no answer in time."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", ADDRESS, INTERNET | ANSWER_ME_ALONE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(WAIT_S)
        asker.sendto(struct.pack(">6H", 0, 0, 1, 0, 0, 0) + question, (GROUP, PORT))
        try:
            answer = asker.recv(9000)
        except TimeoutError:
            return []
    # The record of an address ends with its class, a time to live, the length 4, and the address.
    marks = [
        at
        for at in range(len(answer) - 13)
        if answer[at : at + 2] == b"\0\1" and answer[at + 8 : at + 10] == b"\0\4"
    ]
    return [socket.inet_ntoa(answer[at + 10 : at + 14]) for at in marks]


if __name__ == "__main__":
    print(*ask(sys.argv[1]))
