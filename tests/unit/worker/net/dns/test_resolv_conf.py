import os

import pytest

from common.errors import InvalidArgument
from common.model.container import DnsConfig
from worker.net.dns.forward import usable
from worker.net.dns.resolv_conf import ContainerFiles, HostResolution, Resolution, parse, render

HOST = Resolution(("192.0.2.1",), ("corp.example", "example"), ("timeout:2",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Resolution()),
        ("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n", (("127.0.0.53",), (".",), ("edns0", "trust-ad"))),
        (
            "# nameserver 1.1.1.1\nnameserver 9.9.9.9 # quad\n;x\nnameserver fe80::1%eth0",
            (("9.9.9.9", "fe80::1%eth0"),),
        ),
        ("domain one\nsearch two three", ((), ("two", "three"))),
        ("search two three\ndomain one", ((), ("one",))),
        ("nameserver nonsense\nnameserver\nsortlist 1.2.3.4\noptions\n  nameserver 8.8.8.8", (("8.8.8.8",),)),
        ("options a\noptions b", ((), (), ("a", "b"))),
    ],
)
def test_reading(text, expected):
    assert parse(text) == (expected if isinstance(expected, Resolution) else Resolution(*expected))


@pytest.mark.parametrize(
    ("host", "own", "search", "options"),
    [
        (Resolution(), None, (), ("ndots:0",)),
        (HOST, None, ("corp.example", "example"), ("timeout:2", "ndots:0")),
        (HOST, DnsConfig(search=("mine",)), ("mine",), ("timeout:2", "ndots:0")),
        (HOST, DnsConfig(search=(".",)), (), ("timeout:2", "ndots:0")),
        (HOST, DnsConfig(options=("ndots:2", "rotate")), ("corp.example", "example"), ("ndots:2", "rotate")),
        (Resolution(options=("ndots:5",)), None, (), ("ndots:5",)),
        (HOST, DnsConfig(search=("a\nnameserver 6.6.6.6",)), ("a", "nameserver", "6.6.6.6"), ("timeout:2", "ndots:0")),
    ],
)
def test_a_containers_file(host, own, search, options):
    text = render("10.0.16.1", host, own)
    assert parse(text) == Resolution(("10.0.16.1",), search, options)


def test_the_hosts_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "resolv.conf"
    host = HostResolution(path)
    assert host.current() == Resolution()
    path.write_text("nameserver 192.0.2.1\n")
    assert host.current().nameservers == ("192.0.2.1",)
    assert host.current() is host.current()
    path.write_text("nameserver 192.0.2.22\n")
    assert host.current().nameservers == ("192.0.2.22",)
    other = tmp_path / "new"
    other.write_text("nameserver 192.0.2.33\n")
    other.rename(path)
    assert host.current().nameservers == ("192.0.2.33",)
    path.unlink()
    assert host.current().nameservers == ("192.0.2.33",), "in the middle of being replaced"


def test_containers_files_follow_the_host_in_place(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\nsearch one\n")
    old_mask = os.umask(0o077)
    try:
        files = ContainerFiles(tmp_path / "files", HostResolution(path))
        mine = files.write("t1", "10.0.16.1", None)
        own = files.write("t2", "10.0.16.1", DnsConfig(search=("mine",)))
    finally:
        os.umask(old_mask)
    assert mine.stat().st_mode & 0o777 == 0o644
    bound = mine.open()
    path.write_text("nameserver 192.0.2.1\nsearch another.one\n")
    files.follow_host()
    assert "search another.one" in bound.read(), "a container has the file, not the name"
    bound.close()
    assert "search mine" in own.read_text()
    # After a restart of the worker the files are as good as before.
    again = ContainerFiles(tmp_path / "files", HostResolution(path))
    again.adopt("t1", None)
    again.adopt("nobody", None)
    path.write_text("search third\n")
    again.follow_host()
    assert parse(mine.read_text()) == Resolution(("10.0.16.1",), ("third",), ("ndots:0",))
    again.remove("t1")
    again.remove("t1")
    assert not mine.exists()
    again.remove_all()
    assert not (tmp_path / "files").exists()


def test_no_container_has_a_file_elsewhere(tmp_path):
    files = ContainerFiles(tmp_path / "files", HostResolution(tmp_path / "resolv.conf"))
    (tmp_path / "mine").write_text("nameserver 192.0.2.1\n")
    for call in (files.remove, files.path, lambda name: files.write(name, "10.0.16.1", None)):
        with pytest.raises(InvalidArgument, match="is not an id"):
            call("../mine")
    assert (tmp_path / "mine").read_text() == "nameserver 192.0.2.1\n"


def test_a_word_that_no_resolver_reads_is_left_out():
    own = DnsConfig(search=("good\nnameserver 192.0.2.9", "b\0d", "\x1b[31m"), options=("ndots:2\rtimeout:1",))
    said = render("10.0.16.1", Resolution(), own)
    assert said.splitlines()[1:] == [
        "nameserver 10.0.16.1",
        "search good nameserver 192.0.2.9",
        "options ndots:2 timeout:1",
    ]


def test_a_containers_own_loopback_cannot_be_asked_from_outside():
    assert usable(("127.0.0.1", "::1", "192.0.2.1", "nonsense", "fe80::1%x\ny", "2001:DB8::1")) == [
        "192.0.2.1",
        "2001:db8::1",
    ]
