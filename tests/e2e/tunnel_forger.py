"""Sends a datagram in a frame of the nodes' tunnel, in a node's name; or hears datagrams and prints what is in them.

    tunnel_forger.py hear PORT
    tunnel_forger.py send SOURCE TARGET SOURCE-MAC TARGET-MAC INNER-SOURCE INNER-TARGET PORT WORD

Run by `nsenter` in a container's network, or on a host. Only the standard library: it runs with any Python.
"""

import ipaddress
import socket
import struct
import sys

TUNNEL_PORT, TUNNEL_VNI = 4789, 4096
_HAS_VNI = 0x08000000


def checksum(data: bytes) -> int:
    """Return an IPv4 header's checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(source: str, target: str, port: int, data: bytes) -> bytes:
    """Return an IPv4 packet with a datagram, which has no checksum of its own."""
    body = struct.pack("!HHHH", 50_000, port, 8 + len(data), 0) + data
    ends = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(target).packed

    def head(check: int) -> bytes:
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, socket.IPPROTO_UDP, check) + ends

    return head(checksum(head(0))) + body


def hardware(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def send(
    source: str,
    target: str,
    source_mac: str,
    target_mac: str,
    inner_source: str,
    inner_target: str,
    port: str,
    word: str,
) -> None:
    frame = hardware(target_mac) + hardware(source_mac) + b"\x08\x00"
    frame += datagram(inner_source, inner_target, int(port), word.encode())
    whole = datagram(source, target, TUNNEL_PORT, struct.pack("!II", _HAS_VNI, TUNNEL_VNI << 8) + frame)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(whole, (target, 0))


def hear(port: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("", int(port)))
        print("listening", flush=True)
        while True:
            print(ear.recv(1000).decode(), flush=True)


if __name__ == "__main__":
    {"send": send, "hear": hear}[sys.argv[1]](*sys.argv[2:])
