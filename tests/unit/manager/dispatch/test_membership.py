from common.wire.messages import RegistryAuth
from manager.dispatch.membership import RegistryCredentials


def test_credentials_are_sent_once_and_then_forgotten() -> None:
    credentials, sent = RegistryCredentials(), dict[str, RegistryAuth]()
    credentials.set("s1", "{}")
    assert [each.service_id for each in credentials.unsent(["s1", "s1", "s2"], sent)] == ["s1"]
    assert list(credentials.unsent(["s1"], sent)) == []
    credentials.set("s1", '{"password": "new"}')
    assert [each.auth for each in credentials.unsent(["s1"], sent)] == ['{"password": "new"}']
    credentials.forget("s1")
    assert list(credentials.unsent([], sent)) == []
    assert sent == {}
