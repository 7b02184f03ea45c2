"""API calls about one member: the card for a staff screen, and the erasure with its dry run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, RootModel
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api_keys import Caller
from bot.models.api import Scope
from bot.privacy import EVERYTHING
from bot.web.api_call import Call
from bot.web.api_orders import Body, MemberUnknown
from crm import card, members, privacy
from crm.base.errors import Refused
from crm.base.secrets import Vault
from crm.card import Card
from crm.holds import PersonErased
from crm.models.member import Member
from crm.privacy import Fate, Reason
from crm.sight import Role


class CardIn(BaseModel):
    """role: of whoever looks at the screen; what they may not see is masked. A key that may not see people: auditor."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None


class CardOut(RootModel[Card]):
    """Everything a staff screen shows of one member."""


@dataclass(eq=False)
class MayNotSee(Refused):
    """This key sees a card only as an auditor does; for other roles it needs members:personal."""

    code = "sight.may_not_see"
    status = 403
    role: Role


class ErasureIn(Body):
    """Without confirm: what would go and what stays, and nothing happens. With it there is no way back."""

    confirm: bool = False
    reason: Reason = Reason.ASKED


class ErasureLine(BaseModel):
    table: str
    title: str
    fate: Fate
    rows: int
    why: str


class ErasureOut(BaseModel):
    """receipt: its number; none after a dry run."""

    receipt: str | None
    lines: list[ErasureLine]


def member_calls(vault: Vault | None) -> Sequence[Call]:
    """vault: opens phones for their mask."""

    async def show_card(session: AsyncSession, body: CardIn, *, now: datetime, code: str, caller: Caller) -> CardOut:
        role = body.role or (Role.AGENT if caller.sees_people else Role.AUDITOR)
        if role is not Role.AUDITOR and not caller.sees_people:
            raise MayNotSee(role)
        member = await _get(session, code)
        return CardOut(await card.read(session, member.id, role=role, vault=vault, now=now))

    return (
        Call(
            method="GET",
            path="/members/{code}/card",
            summary="A member's card, masked by role",
            takes=CardIn,
            gives=CardOut,
            handle=show_card,
            scope=Scope.MEMBERS_READ,
            refuses=(MemberUnknown, MayNotSee),
            by_caller=True,
            example={"role": "agent"},
        ),
        Call(
            method="POST",
            path="/members/{code}/erasure",
            summary="Erase a member; a dry run first",
            takes=ErasureIn,
            gives=ErasureOut,
            handle=erase,
            scope=Scope.MEMBERS_ERASE,
            refuses=(MemberUnknown, PersonErased),
            by_caller=True,
            example={"confirm": False},
        ),
    )


async def erase(session: AsyncSession, body: ErasureIn, *, now: datetime, code: str, caller: Caller) -> ErasureOut:
    member = await _get(session, code)
    if not body.confirm:
        found = await privacy.plan(session, await privacy.subject_of(session, member.id), EVERYTHING)
        lines = [ErasureLine.model_validate(line, from_attributes=True) for line in found]
        return ErasureOut(receipt=None, lines=lines)
    made = await privacy.erase(
        session, member.id, EVERYTHING, by=f"api:{caller.name}"[:64], reason=body.reason, now=now
    )
    return ErasureOut(receipt=made.number, lines=[ErasureLine.model_validate(line) for line in made.lines])


async def _get(session: AsyncSession, code: str) -> Member:
    member = await members.find_by_code(session, code)
    if member is None:
        raise MemberUnknown
    return member
