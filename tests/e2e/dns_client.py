"""Ask a name server, from within a container's network: run by `nsenter`, prints JSON.

`dns_client.py SERVER[,SERVER…] ask NAME/KIND/udp|tcp…` prints `{"rcode", "addresses", "names", "cut", "ttl"}` for each;
`dns_client.py SERVER wait NAME` asks until there is an answer and prints the seconds that this took;
`dns_client.py SERVER load NAME COUNT` asks one after the other and prints the seconds that each took;
`dns_client.py SERVER flood NAME COUNT WINDOW` keeps so many questions on the way and prints the answers a second and
the 99th percentile of the seconds that one took;
`dns_client.py ADDRESS serve` is a name server of the world outside: every A record is 192.0.2.7, but what begins with
`nosuch` does not exist.
"""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset


def ask(servers: str, *questions: str) -> None:
    pairs = [(server, question) for server in servers.split(",") for question in questions]
    with ThreadPoolExecutor(
        len(pairs)
    ) as pool:  # together: one that waits for the world outside keeps no other waiting
        answers = list(pool.map(lambda pair: _ask(pair[0], *pair[1].rsplit("/", 2)), pairs))
    print(json.dumps(answers))


def _ask(server: str, name: str, kind: str, how: str) -> dict[str, object]:
    message = dns.message.make_query(name, kind)
    answer = {"udp": dns.query.udp, "tcp": dns.query.tcp}[how](message, server, timeout=6)
    records = [record for rrset in answer.answer for record in rrset]
    return {
        "rcode": dns.rcode.to_text(answer.rcode()),
        "addresses": sorted(each.address for each in records if each.rdtype == dns.rdatatype.A),
        "names": [each.target.to_text() for each in records if each.rdtype == dns.rdatatype.PTR],
        "cut": bool(answer.flags & dns.flags.TC),
        "ttl": answer.answer[0].ttl if answer.answer else None,
    }


def wait(server: str, name: str) -> None:
    packet = dns.message.make_query(name, "A").to_wire()
    began = time.perf_counter()
    while True:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(0.1)
                client.connect((server, 53))
                client.send(packet)
                answer = dns.message.from_wire(client.recv(4096))
            if answer.answer:
                break
        except OSError:
            time.sleep(0.01)
    print(json.dumps(time.perf_counter() - began))


def load(server: str, name: str, count: str) -> None:
    packet = bytearray(dns.message.make_query(name, "A").to_wire())
    seconds = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((server, 53))
        for number in range(int(count)):
            packet[:2] = (number & 0xFFFF).to_bytes(2)
            began = time.perf_counter()
            client.send(packet)
            while client.recv(4096)[:2] != packet[:2]:
                pass
            seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


def flood(server: str, name: str, count: str, window: str) -> None:
    packet = bytearray(dns.message.make_query(name, "A").to_wire())
    sent: dict[bytes, float] = {}
    seconds = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((server, 53))
        began = time.perf_counter()
        for number in range(int(count) + int(window)):
            if number >= int(window):
                answer = client.recv(4096)
                if not answer[7]:
                    raise SystemExit(f"no answer in {answer!r}")
                seconds.append(time.perf_counter() - sent.pop(answer[:2]))
            if number < int(count):
                packet[:2] = (number & 0xFFFF).to_bytes(2)
                sent[bytes(packet[:2])] = time.perf_counter()
                client.send(packet)
        took = time.perf_counter() - began
    print(json.dumps([int(count) / took, sorted(seconds)[int(len(seconds) * 0.99)]]))


def serve(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        print("ready", flush=True)
        while True:
            packet, sender = server.recvfrom(4096)
            message = dns.message.from_wire(packet)
            answer = dns.message.make_response(message)
            name = message.question[0].name.to_text()
            if name.startswith("nosuch"):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif message.question[0].rdtype == dns.rdatatype.A:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.7"))
            server.sendto(answer.to_wire(), sender)


if __name__ == "__main__":
    server, action, *arguments = sys.argv[1:]
    {"ask": ask, "flood": flood, "load": load, "serve": serve, "wait": wait}[action](server, *arguments)
