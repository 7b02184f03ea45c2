"""Where a webhook may not go: our own machines, however they are spelled, and names that lead there."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from bot.webhooks import addresses
from bot.webhooks.addresses import AddressRefused, PublicResolver


@pytest.mark.parametrize(
    "url",
    [
        "http://erp.example.com/hook",
        "ftp://erp.example.com/",
        "https://",
        "https://user:pw@erp.example.com/",
        "https://erp.example.com/#x",
        "https://erp.example.com:99999/",
        "https://erp.exa mple.com/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://192.168.0.1:8443/hook",
        "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://224.0.0.1/",
        "https://" + "a" * 3000,
    ],
)
def test_an_address_that_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused) as no:
        addresses.check(url, private=False)
    assert addresses.why_in_words(no.value)


@pytest.mark.parametrize(
    "url", ["https://erp.example.com/hook?x=1", "https://8.8.8.8/", "https://[2001:4860::8888]:8443/"]
)
def test_an_address_that_may_be(url: str) -> None:
    addresses.check(url, private=False)


def test_the_demo_and_tests_may_use_their_own_machine() -> None:
    addresses.check("http://127.0.0.1:8090/hook", private=True)


class Names(AbstractResolver):
    """A resolver that leads where it is told."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in self.hosts
        ]

    async def close(self) -> None:
        pass


async def test_a_name_that_leads_inside_is_not_connected_to() -> None:
    with pytest.raises(OSError, match="inner address"):
        await PublicResolver(private=False, inner=Names("127.0.0.1", "::1", "10.0.0.1")).resolve("erp.example.com", 443)


async def test_of_several_addresses_only_public_ones_are_left() -> None:
    found = await PublicResolver(private=False, inner=Names("10.0.0.1", "93.184.216.34")).resolve("erp.example.com")
    assert [one["host"] for one in found] == ["93.184.216.34"]
