"""Which addresses a webhook may go to: public ones over https, so that nobody makes us call our own machines.

A name is resolved by us and looked at in the instant of the connection: one that points inside later is refused then.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from crm.base.errors import Invalid

NAT64 = ipaddress.ip_network("64:ff9b::/96")
LONGEST = 2000


class AddressRefused(Invalid):
    """A webhook goes to a public https address, without a password in it."""

    code = "webhook.address"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def check(url: str, *, private: bool) -> None:
    """What can be seen of an address before anybody is asked. Raises AddressRefused. private: inner ones may be."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("unreadable") from None
    checks = (
        (len(url) > LONGEST or not url.isascii() or any(one.isspace() for one in url), "unreadable"),
        (parts.scheme not in ({"http", "https"} if private else {"https"}), "not_https"),
        (not parts.hostname or port == 0, "no_host"),
        (parts.username is not None or parts.password is not None, "password"),
        (bool(parts.fragment), "fragment"),
    )
    if why := next((why for is_wrong, why in checks if is_wrong), None):
        raise AddressRefused(why)
    if not private and (literal := _literal(parts.hostname or "")) is not None and not is_public(literal):
        raise AddressRefused("private")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, whichever way it is written into another."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _literal(host: str) -> str | None:
    """The IP address that a host is, also in the odd spellings the system's resolver takes: 2130706433, 0x7f.1."""
    try:
        return str(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


class PublicResolver(AbstractResolver):
    """Names to addresses, inner addresses left out; a name that has no other cannot be connected to."""

    def __init__(self, *, private: bool, inner: AbstractResolver | None = None) -> None:
        self._private, self._inner = private, inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self._inner = self._inner or ThreadedResolver()
        found = await self._inner.resolve(host, port, family)
        public = [one for one in found if self._private or is_public(one["host"])]
        if not public:
            raise OSError(f"{host} leads to an inner address")
        return public

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()


def why_in_words(no: AddressRefused) -> str:
    return WORDS[no.why]


WORDS: dict[str, str] = {
    "unreadable": "这不是一个能读的网址",
    "not_https": "要用 https",
    "no_host": "网址里没有主机名",
    "password": "网址里不要写用户名和密码",
    "fragment": "网址里不要有 #",
    "private": "内网地址不能收；测试时打开 SIYU_WEBHOOKS__PRIVATE",
}
