"""Our fields in the Docker API's spelling."""

import pytest

from common.model.naming import docker_name


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
