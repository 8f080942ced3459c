import pytest

from common.model.secret import SecretSpec
from common.model.service import ServiceSpec
from manager.api.errors import EngineError
from manager.api.http.body import decode


def refused(kind: type, body: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        decode(kind, body)
    assert caught.value.answered == 400
    return caught.value.message


def test_keys_in_any_case() -> None:
    body = b'{"name":"web","MODE":{"replicated":{"replicas":3}},"RollbackConfig":{"order":"start-first"}}'
    spec = decode(ServiceSpec, body)
    assert spec.name == "web"
    assert spec.mode.replicated is not None
    assert spec.mode.replicated.replicas == 3
    assert spec.rollback_config is not None
    assert spec.rollback_config.order == "start-first"


def test_keys_of_maps_are_kept_as_they_are() -> None:
    spec = decode(ServiceSpec, b'{"Labels":{"Name":"x","name":"y"}}')
    assert spec.labels == {"Name": "x", "name": "y"}


def test_lists_of_objects() -> None:
    body = b'{"tasktemplate":{"networks":[{"target":"a","ALIASES":["b"]}]}}'
    assert decode(ServiceSpec, body).task_template.networks[0].aliases == ("b",)


def test_nulls_and_unknown_keys_are_as_if_not_there() -> None:
    assert decode(ServiceSpec, b'{"Labels":null,"Nope":{"x":[1]},"UpdateConfig":null}') == ServiceSpec()


def test_empty_body_is_an_empty_object() -> None:
    assert decode(ServiceSpec, b" \n") == ServiceSpec()


def test_data_is_base64() -> None:
    assert decode(SecretSpec, b'{"Name":"s","Data":"aGVsbG8="}').data == b"hello"
    assert refused(SecretSpec, b'{"Data":"***"}').startswith("invalid JSON: Data: ")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"garbage", "invalid JSON"),
        (b"[]", "expected an object (ServiceSpec), got an array"),
        (b"3", "got a number"),
        (b"null", "got null"),
        (b'{"Name":5}', "Name: expected str, got int"),
        (b'{"Labels":{"a":1}}', "Labels[...]: expected str, got int"),
        (b'{"TaskTemplate":{"Networks":{}}}', "TaskTemplate.Networks: expected array, got object"),
        (b'{"TaskTemplate":{"Networks":[{"Target":[]}]}}', "TaskTemplate.Networks[0].Target: expected str, got array"),
        (b'{"TaskTemplate":{"ForceUpdate":1.5}}', "TaskTemplate.ForceUpdate"),
        (b'{"TaskTemplate":{"ForceUpdate":18446744073709551616}}', "ForceUpdate: 18446744073709551616 does not fit"),
        (b'{"Name":"a"} {"Name":"b"}', "invalid JSON"),
        (b'{"Name":"\xff"}', "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"Labels":' + b'{"a":' * 200 + b"1" + b"}" * 201, "nested deeper than 64 levels"),
    ],
)
def test_bad_bodies_name_the_field_and_what_was_expected(body: bytes, words: str) -> None:
    assert words in refused(ServiceSpec, body)
