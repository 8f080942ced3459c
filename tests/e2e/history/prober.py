"""Asks a published port all the time, of one host after the other: `python prober.py PORT ADDRESS…`, on a lab host.

Prints a line of JSON for each question, `[began, ended, answered]`, until it is ended. A question is put to the next
host when one does not answer within `ATTEMPT_SECONDS`, and given up after `GIVEN_UP_SECONDS`: a balancer sends some of
the attempts to a host that has just been cut off. With the standard library only.
"""

import itertools
import json
import socket
import sys
import time

ATTEMPT_SECONDS = 0.5
GIVEN_UP_SECONDS = 6.0
PAUSE_SECONDS = 0.2


def answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=ATTEMPT_SECONDS) as asked:
            asked.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b" 200 " in asked.recv(100)
    except OSError:
        return False


def main(port: int, addresses: list[str]) -> None:
    turn = itertools.cycle(addresses)
    while True:
        began = time.monotonic()
        answered = False
        while not answered and time.monotonic() - began < GIVEN_UP_SECONDS:
            tried = time.monotonic()
            answered = answers(next(turn), port)
            if not answered:
                time.sleep(max(0.0, tried + PAUSE_SECONDS - time.monotonic()))
        print(json.dumps([began, time.monotonic(), answered]), flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
