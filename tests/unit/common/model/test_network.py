"""What a network's driver options mean."""

import pytest

from common.model.container import DriverConfig
from common.model.network import ENCRYPTED, MTU, NetworkSpec


@pytest.mark.parametrize("value", ["", "true", "false"])
def test_the_option_encrypts_whatever_it_says(value: str) -> None:
    assert NetworkSpec(driver=DriverConfig(options={ENCRYPTED: value})).encrypted
    assert not NetworkSpec().encrypted


@pytest.mark.parametrize(("text", "mtu"), [("1400", 1400), ("", 0), ("-1", 0), ("big", 0), ("1" * 7, 0)])
def test_an_mtu_is_a_number_or_the_hosts_choice(text: str, mtu: int) -> None:
    assert NetworkSpec(driver=DriverConfig(options={MTU: text})).mtu == mtu
