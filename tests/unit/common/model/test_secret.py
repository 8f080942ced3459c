"""A secret's data shows in no log."""

from common.model.secret import Config, ConfigSpec, Secret, SecretSpec


def test_data_of_a_secret_is_not_in_a_repr() -> None:
    secret = Secret(id="s", spec=SecretSpec(name="key", data=b"hunter2"))
    assert "hunter2" not in repr(secret)
    assert "<7 bytes>" in repr(secret)


def test_both_are_called_as_their_specification_says() -> None:
    assert Secret(spec=SecretSpec(name="a")).name == "a"
    assert Config(spec=ConfigSpec(name="b")).name == "b"
