"""A flash sale as plain data, from a file or a form: read into a plan and back, every mistake named in Chinese."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.flashsale import sales
from bot.flashsale.sales import ItemPlan, Plan
from bot.flashsale.terms import SaleInvalid
from bot.models.sale import Sale, SaleGroup, SaleItem, SaleShare
from crm import groups
from crm.base.clock import SHANGHAI
from crm.models.group import Group

BYTES = 256 * 1024
Yuan = Annotated[Decimal, Field(ge=0, le=10_000_000, decimal_places=2)]
Hours = Annotated[Decimal, Field(ge=0, le=72)]
MISTAKES = {
    "missing": "没有写",
    "extra_forbidden": "没有这个字段",
    "decimal_max_places": "最多写到分",
    "decimal_parsing": "要写数字，例如 19.9",
    "decimal_type": "要写数字，例如 19.9",
    "int_parsing": "要写整数",
    "int_type": "要写整数",
    "int_from_float": "要写整数",
    "bool_parsing": "写 true 或 false",
    "bool_type": "写 true 或 false",
    "string_type": "要写文字，纯数字请加引号",
    "string_too_short": "不能是空的",
    "string_too_long": "最多 {max_length} 个字",
    "greater_than_equal": "不能小于 {ge}",
    "less_than_equal": "不能大于 {le}",
    "list_type": "要写成列表，一样一行，前面加 -",
    "dict_type": "要写成 名字: 值",
    "model_type": "要写成 名字: 值",
    "finite_number": "要写普通的数字",
}
AS_TOLD = {"name", "early_levels", "early_tags", "honours_late", "series", "groups_only", "recaps"}
TIMES = ("datetime_parsing", "datetime_type", "datetime_from_date_parsing", "datetime_object_invalid")


class ItemFile(BaseModel):
    """An article as a file tells it: money in yuan, shares by a group's name or chat_id."""

    model_config = ConfigDict(extra="forbid")
    code: str
    sku: str = Field(min_length=1, max_length=64)
    name: str
    price: Yuan
    list_price: Yuan
    stock: int
    limit_each: int = 1
    picture: str = ""
    shares: dict[str, int] = {}


class SaleFile(BaseModel):
    """A sale as a file tells it; an instant without an offset is the shop's local time."""

    model_config = ConfigDict(extra="forbid")
    name: str
    opens_at: datetime
    closes_at: datetime
    items: list[ItemFile]
    early_at: datetime | None = None
    early_levels: list[str] = []
    early_tags: list[str] = []
    groups: list[str] = []
    pay_minutes: int = Field(15, ge=1, le=1440)
    honours_late: bool = True
    announce_hours: Hours = Decimal(2)
    groups_only: bool = True
    recaps: bool = False
    series: str | None = Field(None, min_length=1, max_length=40)


def read(file: Path) -> SaleFile:
    """A sale from its file. JSON is YAML too, but says its own mistakes better. Raises SaleInvalid."""
    try:
        if file.stat().st_size > BYTES:
            raise SaleInvalid(f"{file.name} 大于 {BYTES // 1024} KB")
        text = file.read_text(encoding="utf-8-sig")
        return understood(json.loads(text) if file.suffix == ".json" else yaml.safe_load(text))
    except (yaml.YAMLError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as wrong:
        raise SaleInvalid(f"{file.name} 读不懂：{str(wrong)[:300]}") from None


def understood(told: Any) -> SaleFile:
    """What plain data says. Raises SaleInvalid with every field that cannot be meant."""
    try:
        return SaleFile.model_validate(told)
    except ValidationError as wrong:
        raise SaleInvalid("\n".join(_mistake(one) for one in wrong.errors())) from None


def _mistake(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"]) or "整份"
    if error["type"] in TIMES:
        return f"{field}：要写时间，例如 2026-03-12 20:00"
    words = MISTAKES.get(error["type"], "写得不对")
    return f"{field}：{words.format(**error.get('ctx', {}))}"


async def plan(session: AsyncSession, told: SaleFile) -> Plan:
    """With groups looked up by name or chat_id. Raises SaleInvalid."""
    names = {name for item in told.items for name in item.shares} | set(told.groups)
    ids = {name: await _group(session, name) for name in sorted(names)}
    items = [
        ItemPlan(
            price_fen=int(one.price * 100),
            list_price_fen=int(one.list_price * 100),
            shares={ids[name]: units for name, units in one.shares.items()},
            **one.model_dump(exclude={"price", "list_price", "shares"}),
        )
        for one in told.items
    ]
    return Plan(
        opens_at=_local(told.opens_at),
        closes_at=_local(told.closes_at),
        early_at=_local(told.early_at) if told.early_at else None,
        items=items,
        group_ids=[ids[name] for name in told.groups],
        pay_window=timedelta(minutes=told.pay_minutes),
        announce_ahead=timedelta(seconds=int(told.announce_hours * 3600)),
        **told.model_dump(include=AS_TOLD),
    )


async def _group(session: AsyncSession, name: str) -> int:
    found = await groups.called(session, name)
    if len(found) != 1:
        raise SaleInvalid(f"groups：有几个群都叫“{name}”，请写 chat_id" if found else f"groups：没有群“{name}”")
    return found[0].id


def _local(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=SHANGHAI)


async def told(session: AsyncSession, sale: Sale) -> SaleFile:
    """A sale as plain data: what a form shows, and what a copy begins with."""
    chats = {row.id: row.chat_id for row in await session.execute(sa.select(Group.id, Group.chat_id))}
    shares: dict[int, dict[str, int]] = {}
    mine = sa.select(SaleShare).join(SaleItem, SaleItem.id == SaleShare.item_id).where(SaleItem.sale_id == sale.id)
    for one in await session.scalars(mine):
        shares.setdefault(one.item_id, {})[chats[one.group_id]] = one.stock
    items = [
        ItemFile(
            code=one.code, sku=one.sku, name=one.name, price=Decimal(one.price_fen) / 100,
            list_price=Decimal(one.list_price_fen) / 100, stock=one.stock, limit_each=one.limit_each,
            picture=one.picture, shares=shares.get(one.id, {}),
        )
        for one in await sales.items_of(session, sale.id)
    ]  # fmt: skip
    groups_in = await session.scalars(sa.select(SaleGroup.group_id).where(SaleGroup.sale_id == sale.id))
    return SaleFile(
        name=sale.name, opens_at=sale.opens_at, closes_at=sale.closes_at, items=items, early_at=sale.early_at,
        early_levels=list(sale.early.get("levels", ())), early_tags=list(sale.early.get("tags", ())),
        groups=[chats[one] for one in groups_in], pay_minutes=max(1, sale.pay_seconds // 60),
        honours_late=sale.honours_late, announce_hours=Decimal(sale.ahead_seconds) / 3600,
        groups_only=sale.groups_only, recaps=sale.recaps, series=sale.series,
    )  # fmt: skip
