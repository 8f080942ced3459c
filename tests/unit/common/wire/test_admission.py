import asyncio

import pytest

from common.wire import admission as admission_module
from common.wire.admission import FAILED_OF_ADDRESS, HANDSHAKES_OF_ADDRESS, MOST_OF_ADDRESS, Admission, source_of
from tests.fakes.virtual_loop import run_virtual


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("/run/socket", "/run/socket"),
    ],
)
def test_a_host_is_one_ipv4_address_or_an_ipv6_network(address: str, source: str) -> None:
    assert source_of(address) == source


def test_failed_connections_are_limited_per_address() -> None:
    admission = Admission()
    for _ in range(int(FAILED_OF_ADDRESS.burst)):
        assert admission.lets_in("10.0.0.1", 100.0)
        admission.note_failed("10.0.0.1", 100.0)
    assert not admission.lets_in("10.0.0.1", 100.0)
    assert admission.lets_in("10.0.0.2", 100.0)
    assert admission.lets_in("10.0.0.1", 100.0 + 1 / FAILED_OF_ADDRESS.per_second)


def test_handshakes_of_one_address_queue_and_others_do_not_wait() -> None:
    async def story() -> None:
        admission = Admission()
        at_once = most = 0

        async def shake_hands(address: str) -> float:
            nonlocal at_once, most
            async with admission.handshake(address):
                at_once += 1
                most = max(most, at_once)
                await asyncio.sleep(1)
                at_once -= 1
            return asyncio.get_running_loop().time()

        many = [asyncio.create_task(shake_hands("10.0.0.1")) for _ in range(3 * HANDSHAKES_OF_ADDRESS)]
        await asyncio.sleep(0.5)
        assert await shake_hands("10.0.0.2") == pytest.approx(1.5)
        assert max(await asyncio.gather(*many)) == pytest.approx(3)
        assert most == HANDSHAKES_OF_ADDRESS + 1
        assert not admission._coming
        assert not admission._slots

    run_virtual(story())


def test_waiting_handshakes_are_bounded_per_address_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        admission = Admission()
        gone = asyncio.Event()

        async def wait(address: str) -> None:
            async with admission.handshake(address):
                await gone.wait()

        waiting = [asyncio.create_task(wait("10.0.0.1")) for _ in range(MOST_OF_ADDRESS)]
        await asyncio.sleep(0)
        assert not admission.lets_in("10.0.0.1", 0.0)
        assert admission.lets_in("10.0.0.2", 0.0)
        monkeypatch.setattr(admission_module, "MOST", MOST_OF_ADDRESS)
        assert not admission.lets_in("10.0.0.2", 0.0)
        gone.set()
        await asyncio.gather(*waiting)
        assert admission.lets_in("10.0.0.1", 0.0)

    run_virtual(story())
