"""Our fields in the Docker API's spelling."""

import pytest

from common.model.naming import Specified, Version, docker_name


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("id", "ID"),
        ("nano_cpus", "NanoCPUs"),
        ("secret_id", "SecretID"),
        ("ca_cert", "CACert"),
        ("external_cas", "ExternalCAs"),
        ("enable_ipv6", "EnableIPv6"),
        ("global_", "Global"),
        ("hostname", "Hostname"),
        ("data_path_port", "DataPathPort"),
    ],
)
def test_words_have_dockers_case(field: str, name: str) -> None:
    assert docker_name(field) == name


@pytest.mark.parametrize(("read_at", "current"), [(4, False), (5, True), (7, True), (9, True), (10, False)])
def test_what_was_read_since_the_spec_changed_is_current(read_at: int, *, current: bool) -> None:
    assert Specified(spec_index=5, version=Version(index=9)).is_current(read_at) is current


def test_a_record_without_a_number_is_current_at_its_version() -> None:
    old = Specified(version=Version(index=9))
    assert old.is_current(9)
    assert not old.is_current(8)
