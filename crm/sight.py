"""What a role sees of a person: which names, ids and numbers are shown, which are masked; and the logged reveal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from crm import phones
from crm.base.errors import Invalid, Refused
from crm.base.secrets import Vault


class Role(StrEnum):
    OWNER = "owner"
    MANAGER = "manager"
    AGENT = "agent"
    AUDITOR = "auditor"  # sees what was done, not with whom


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What somebody may see. Phones are masked for everybody until they reveal them."""

    names: bool = True  # else the first character
    ids: bool = True  # of WeCom and the shop; else the ends
    phones: bool = True  # 138****8000; else only that there is one
    words: bool = True  # what staff and customers wrote
    reveals: bool = True

    def name(self, name: str) -> str:
        return name if self.names or not name else f"{name[0]}**"

    def id(self, value: str) -> str:
        return value if self.ids else masked(value)

    def phone(self, phone: str) -> str:
        return phones.masked(phone) if self.phones else "***"

    def said(self, words: str) -> str:
        return words if self.words or not words else "***"


SIGHT: Mapping[Role, Sight] = {
    Role.OWNER: Sight(),
    Role.MANAGER: Sight(),
    Role.AGENT: Sight(ids=False),
    Role.AUDITOR: Sight(names=False, ids=False, phones=False, words=False, reveals=False),
}
SHOWN = 4  # characters at the ends of a masked id


@dataclass(eq=False)
class MayNotReveal(Refused):
    """This role sees no phone number in plain text."""

    code = "sight.may_not_reveal"
    role: Role


class WhyMissing(Invalid):
    """Who looks at a phone number says why."""

    code = "sight.why_missing"


def masked(value: str) -> str:
    """Enough to tell two apart, too little to look somebody up."""
    if len(value) <= 2 * SHOWN:
        return "***"
    return f"{value[:SHOWN]}***{value[-SHOWN:]}"


async def reveal(
    session: AsyncSession, vault: Vault, member_id: int, *, role: Role, userid: str, because: str, now: datetime
) -> list[str]:
    """A member's phone numbers in plain text; who looked and why is kept. Raises MayNotReveal, WhyMissing."""
    if not SIGHT[role].reveals:
        raise MayNotReveal(role)
    if not because.strip():
        raise WhyMissing
    return await phones.reveal(session, vault, member_id, userid=userid, because=because.strip()[:200], now=now)
