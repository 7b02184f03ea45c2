"""Members out of a file: a row a person, known by shop account, phone, external_userid or unionid.

A file completes what is known and overwrites nothing that WeCom or a member said. A phone joins a row to the member who
has it, but never two accounts of one shop system: families and shop assistants share numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from crm import identities, member_dates, members, phones
from crm.base.clock import SHANGHAI, local_day
from crm.base.db import Sessions
from crm.base.secrets import Vault
from crm.identities import Key, Person, shop_account
from crm.import_cells import BadCell, instant, number, text
from crm.import_files import BadFile, Row, open_sheet
from crm.imports import Progress, Refusals, Report, calm_memory, check_columns
from crm.members import Profile
from crm.models.lifecycle import DateKind
from crm.models.member import Gender, Identity, IdentityKind, Member, MemberSource

TOGETHER = 500
OLDEST = timedelta(days=120 * 365)

_COLUMNS = {
    "member_no": "member_id member_no buyer_id 会员号 会员编号 会员id 会员卡号 客户编号 买家账号 买家会员名 买家id",
    "external_userid": "external_userid 外部联系人id 企微客户id",
    "unionid": "unionid",
    "phone": "phone mobile 手机 手机号 手机号码 电话 联系电话 联系手机 绑定手机号",
    "name": "name nickname 姓名 昵称 会员姓名 会员昵称 客户姓名 微信昵称",
    "gender": "gender sex 性别",
    "joined_at": "joined_at created_at 注册时间 入会时间 开卡时间 创建时间 成为会员时间",
    "birthday": "birthday 生日 出生日期",
}
COLUMNS = {name: column for column, names in _COLUMNS.items() for name in names.split()}
NEEDED = {("member_no", "external_userid", "unionid", "phone"): "会员号（或手机号、external_userid、unionid）"}
GENDERS = {
    **dict.fromkeys(("男", "m", "male", "1", "先生"), Gender.MALE),
    **dict.fromkeys(("女", "f", "female", "2", "女士"), Gender.FEMALE),
    **dict.fromkeys(("", "0", "未知", "保密", "unknown"), Gender.UNKNOWN),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """One person of the file."""

    row: Row
    member_no: str
    phone: str | None
    person: Person
    joined_at: datetime | None
    birthday: date | None


async def import_members(
    sessions: Sessions,
    path: Path,
    *,
    source: str,
    vault: Vault | None,
    now: datetime,
    zone: ZoneInfo = SHANGHAI,
    progress: Progress = lambda _share, _report: None,
) -> Report:
    """Take in a file of members; a second run changes nothing. Raises BadFile before anything is written.

    source: the shop system whose account numbers these are. vault: what seals phones; without it a file with phones is
    refused.
    """
    sheet = open_sheet(path, COLUMNS)
    check_columns(sheet, NEEDED)
    if "phone" in sheet.columns and vault is None:
        raise BadFile("有手机号这一列，而没有加密它的密钥：请先设置 SIYU_DATA_KEY（openssl rand -base64 32）")
    report = Report()
    with Refusals(path, report) as refusals, calm_memory():
        batch: list[Draft] = []
        for row in sheet.rows:
            report.rows += 1
            try:
                if row.broken:
                    raise BadCell(row.broken)
                batch.append(_read(row, source, vault, now=now, zone=zone))
            except BadCell as reason:
                refusals.add(row, str(reason))
            if len(batch) >= TOGETHER:
                await _write(sessions, batch, source, vault, report, refusals, now=now, zone=zone)
                batch = []
                progress(sheet.done, report)
        await _write(sessions, batch, source, vault, report, refusals, now=now, zone=zone)
        progress(1.0, report)
    return report


def _read(row: Row, source: str, vault: Vault | None, *, now: datetime, zone: ZoneInfo) -> Draft:
    cells = row.cells.get
    member_no, keys = number(cells("member_no"), longest=200), list[Key]()
    if member_no:
        keys.append(shop_account(source, member_no))
    if found := number(cells("external_userid"), longest=64):
        keys.append((IdentityKind.EXTERNAL_USERID, found))
    if found := number(cells("unionid"), longest=64):
        keys.append((IdentityKind.UNIONID, found))
    phone = None
    if (written := number(cells("phone"), longest=40)) and vault is not None:
        phone = phones.normalized(written)
        if phone is None:
            raise BadCell(f"不是手机号：{written[:20]}")
        keys.append(phones.key(vault, phone))
    if not keys:
        raise BadCell("没有会员号，也没有手机号")
    gender = GENDERS.get(text(cells("gender")).lower())
    if gender is None:
        raise BadCell(f"不认识这个性别：{text(cells('gender'))[:20]}")
    born = instant(cells("birthday"), zone=zone, now=now, earliest=now - OLDEST)
    return Draft(
        row=row,
        member_no=member_no,
        phone=phone,
        person=Person(keys=tuple(keys), profile=Profile(name=text(cells("name"))[:100] or None, gender=gender)),
        joined_at=instant(cells("joined_at"), zone=zone, now=now),
        birthday=local_day(born, zone) if born is not None else None,
    )


async def _write(
    sessions: Sessions,
    batch: Sequence[Draft],
    source: str,
    vault: Vault | None,
    report: Report,
    refusals: Refusals,
    *,
    now: datetime,
    zone: ZoneInfo,
) -> None:
    if not batch:
        return
    async with sessions.begin() as session:
        owners = await identities.owners_of(session, {key for draft in batch for key in draft.person.keys})
        taken = await _accounts_of(session, source, set(owners.values()))
        good, refused = _keep_accounts_apart(batch, owners, taken, source)
        ids = await identities.enrol_batch(
            session, [draft.person for draft in good], source=MemberSource.IMPORT, now=now
        )
        told = [(draft, member_id) for draft, member_id in zip(good, ids, strict=True) if member_id is not None]
        erased = [draft for draft, member_id in zip(good, ids, strict=True) if member_id is None]
        changed = await _complete(session, told, owners, now=now, zone=zone)
        if vault is not None:
            await phones.keep(
                session, vault, {draft.phone: member_id for draft, member_id in told if draft.phone}, now=now
            )
    for draft in refused:
        refusals.add(draft.row, "这个手机号已经属于另一个会员号")
    for draft in erased:
        refusals.add(draft.row, "这位会员已要求抹除资料，不再导入")
    for draft, member_id in told:
        if not any(key in owners for key in draft.person.keys):
            report.added += 1
        elif member_id in changed or not all(key in owners for key in draft.person.keys):
            report.changed += 1
        else:
            report.unchanged += 1


async def _accounts_of(session: AsyncSession, source: str, member_ids: set[int]) -> dict[int, set[str]]:
    """Which accounts of this shop system these members have."""
    rows = await session.execute(
        sa.select(Identity.member_id, Identity.value).where(
            Identity.member_id.in_(member_ids),
            Identity.kind == IdentityKind.SHOP_ACCOUNT,
            Identity.value.startswith(f"{source}:", autoescape=True),
        )
    )
    found: dict[int, set[str]] = {}
    for member_id, value in rows:
        found.setdefault(member_id, set()).add(value)
    return found


def _keep_accounts_apart(
    batch: Sequence[Draft], owners: Mapping[Key, int], taken: Mapping[int, set[str]], source: str
) -> tuple[list[Draft], list[Draft]]:
    """Leave out rows whose phone would make one member of two accounts of one shop system."""
    good, refused, account_of = list[Draft](), list[Draft](), dict[str, str]()
    for draft in batch:
        if draft.phone and draft.member_no:
            account = shop_account(source, draft.member_no)
            phone_key = next(key for key in draft.person.keys if key[0] is IdentityKind.PHONE_HASH)
            others = taken.get(owners.get(phone_key, 0), set()) - {account[1]}
            same_member = owners.get(account) == owners.get(phone_key, 0)
            if (others and not same_member) or account_of.setdefault(draft.phone, draft.member_no) != draft.member_no:
                refused.append(draft)
                continue
        good.append(draft)
    return good, refused


async def _complete(
    session: AsyncSession,
    told: Sequence[tuple[Draft, int]],
    owners: Mapping[Key, int],
    *,
    now: datetime,
    zone: ZoneInfo,
) -> set[int]:
    """Fill what is blank; returns the members in whom something changed. An erased member stays blank."""
    found = await members.get_batch(session, {member_id for _, member_id in told})
    changed = set()
    for draft, member_id in told:
        member = found[member_id]
        if member.erased_at is None:
            if _fill(member, draft):
                changed.add(member_id)
            if draft.birthday is not None:
                day = draft.birthday
                await member_dates.remember(
                    session,
                    member_id,
                    DateKind.BIRTHDAY,
                    month=day.month,
                    day=day.day,
                    year=day.year,
                    now=now,
                    zone=zone,
                )
    await session.flush()
    return changed


def _fill(member: Member, draft: Draft) -> bool:
    before = (member.name, member.gender, member.joined_at)
    member.name = member.name or draft.person.profile.name or ""
    if member.gender is Gender.UNKNOWN:
        member.gender = draft.person.profile.gender or Gender.UNKNOWN
    if draft.joined_at is not None:
        member.joined_at = min(member.joined_at, draft.joined_at)
    return before != (member.name, member.gender, member.joined_at)
