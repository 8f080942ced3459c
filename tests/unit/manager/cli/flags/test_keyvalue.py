"""Pairs of a key and a value: labels, variables, hosts."""

from pathlib import Path

import pytest

from manager.cli.flags.keyvalue import (
    merge_variables,
    parse_host,
    parse_label,
    parse_pair,
    parse_variable,
    read_env_file,
    remove_hosts,
)


def test_pairs_and_variables():
    assert parse_pair("a=b=c") == ("a", "b=c")
    assert parse_pair("a") == ("a", "")
    assert parse_variable("A=b", {}) == "A=b"
    assert parse_variable("A", {"A": "here"}) == "A=here"
    assert parse_variable("A", {}) == "A"
    assert merge_variables(["A=1", "B=2", "A=3"], ["B"]) == ("A=3",)
    for wrong in ("=x", ""):
        with pytest.raises(ValueError, match=r"\w"):
            parse_pair(wrong)


def test_labels():
    assert parse_label("a=b c") == ("a", "b c")
    with pytest.raises(ValueError, match="label 'a b' contains whitespaces"):
        parse_label("a b=c")


def test_environment_files(tmp_path: Path):
    file = tmp_path / "env"
    file.write_text("\ufeff# a comment\n\nA=1 # kept\n  B\nC\nD=\n")
    assert read_env_file(str(file), {"B": "2"}) == ["A=1 # kept", "B=2", "D="]
    file.write_text("A B=1")
    with pytest.raises(ValueError, match="contains whitespaces"):
        read_env_file(str(file), {})


def test_hosts():
    assert parse_host("db:10.0.0.1") == "10.0.0.1 db"
    assert parse_host("db:2001:db8::1") == "2001:db8::1 db"
    assert parse_host("host.docker.internal:host-gateway") == "host-gateway host.docker.internal"
    assert remove_hosts(["10.0.0.1 db cache", "10.0.0.2 db"], ["db:10.0.0.1"]) == ("10.0.0.1 cache", "10.0.0.2 db")
    assert remove_hosts(["10.0.0.1 db"], ["db"]) == ()
    for wrong in ("db", "db:nowhere"):
        with pytest.raises(ValueError, match="add-host"):
            parse_host(wrong)
