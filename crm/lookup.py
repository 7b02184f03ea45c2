"""Finding a member by whatever somebody has in hand: the code, a phone number, an id of WeCom's, a shop account."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import members, phones
from crm.base.secrets import Vault
from crm.identities import Key
from crm.models.member import Identity, IdentityKind, Member

TYPED_AS_IS = (
    IdentityKind.EXTERNAL_USERID,
    IdentityKind.UNIONID,
    IdentityKind.OPENID,
    IdentityKind.SHOP_ACCOUNT,  # with its system: taobao:12345
)


def keys_for(typed: str, vault: Vault | None) -> list[Key]:
    """Every identity that this may be. A phone is one only with the key that hides it."""
    text = typed.strip()
    keys: list[Key] = [(kind, text) for kind in TYPED_AS_IS]
    if vault is not None and (phone := phones.normalized(text)) is not None:
        keys.append(phones.key(vault, phone))
    return keys


async def find(session: AsyncSession, typed: str, vault: Vault | None = None) -> Member | None:
    """The member with this code or identity, as the one they are by now."""
    by_code = await members.find_by_code(session, typed)
    if by_code is not None:
        return by_code
    names = sa.or_(*(sa.and_(Identity.kind == kind, Identity.value == value) for kind, value in keys_for(typed, vault)))
    found = await session.scalar(sa.select(Identity.member_id).where(names).limit(1))
    return await members.get(session, found) if found is not None else None
