"""Runs on a lab host: counts the packets on its cable that contain each of the given words, until told to end.

Prints a line of JSON when standard input is closed.
"""

import contextlib
import json
import select
import socket
import sys

_ALL = 0x0003
_PATIENCE = 0.05


def main() -> None:
    words = sys.argv[2:]
    counts = dict.fromkeys(words, 0)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as cable:
        cable.bind((sys.argv[1], 0))
        cable.setblocking(False)
        print("listening", flush=True)
        ended = False
        while True:
            readable, _, _ = select.select(
                [cable] if ended else [cable, sys.stdin], [], [], _PATIENCE if ended else None
            )
            if cable in readable:
                with contextlib.suppress(BlockingIOError):
                    packet = cable.recv(65535)
                    for word in words:
                        counts[word] += word.encode() in packet
            elif ended:
                break
            ended = ended or sys.stdin in readable
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
