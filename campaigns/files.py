"""Campaigns as files: a folder of YAML, what applying it would change and whom that would reach, and applying it.

Applying twice is applying once: a file that says what the shop has is left alone. What is no longer in the folder goes
on; ending a campaign is said, not left out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import audience, cautions, definition, engine, gifts, messages, overlaps
from campaigns.audience import Reach
from campaigns.definition import CampaignWrong, Definition
from campaigns.engine import Review
from campaigns.file_kinds import FileKind
from campaigns.follow_ups import FOLLOW_UPS
from campaigns.guard_rules import Gate
from campaigns.models.campaign import Campaign
from campaigns.offer_files import OFFERS
from campaigns.overlaps import Overlap
from campaigns.referral_files import REFERRALS
from campaigns.surveys import SURVEYS
from campaigns.tasks.files import TASKS
from campaigns.words import Words
from campaigns.words import read as read_words
from crm.base.errors import ShopError

BYTES = 256 * 1024  # of one file
MOST_FILES = 500
BY = "file"
KINDS: Sequence[FileKind] = (OFFERS, TASKS, REFERRALS, SURVEYS, FOLLOW_UPS)  # beside campaigns


class _Loader(yaml.SafeLoader):
    """Plain data only. No aliases: a few lines of them grow into millions of nodes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("别名（*…）不支持")
        return super().compose_node(parent, index)


@dataclass(frozen=True, slots=True)
class File:
    """One file. told: None where it cannot be meant. is_draft: it is not to be submitted yet."""

    path: Path
    name: str
    told: Any  # a Definition, or what `kind` reads
    is_draft: bool = False
    mistakes: list[dict[str, str]] = field(default_factory=list)
    kind: FileKind | None = None  # None: a campaign


class Change(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Step:
    """What applying one file does. fields: those that differ. wrong: why it cannot be applied."""

    name: str
    change: Change
    fields: tuple[str, ...] = ()
    reach: Reach | None = None
    wrong: str = ""
    overlaps: tuple[Overlap, ...] = ()  # other campaigns for the same members within a day
    cautions: tuple[str, ...] = ()  # what is no mistake and may not be meant


def read_folder(folder: Path, words: Words | None = None) -> list[File]:
    """Every .yaml and .yml in the folder and below, by path. A name that two files bear is a mistake of both.

    words: that messages should not carry; None: the product's own lists.
    """
    words = words or read_words()
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".yml"} and path.is_file())
    found = [_read(path, words) for path in paths[:MOST_FILES]]
    if len(paths) > MOST_FILES:
        found.append(File(folder, "", None, mistakes=[{"field": "", "reason": f"多于 {MOST_FILES} 个文件"}]))
    names = [one.name for one in found]
    for one in found:
        if one.name and names.count(one.name) > 1:
            one.mistakes.append({"field": "name", "reason": f"另一个文件也叫“{one.name}”"})
    return found


def parse(text: str) -> dict[str, Any]:
    """The YAML of one file as plain data. Raises CampaignWrong, and what yaml raises."""
    told = yaml.load(text, Loader=_Loader)
    if not isinstance(told, dict):
        raise CampaignWrong([{"field": "", "reason": "不是一份活动：要写 名字: 值"}])
    return {"on" if key is True else key: value for key, value in told.items()}  # to YAML 1.1 `on` is a yes


def _read(path: Path, words: Words) -> File:
    name = path.stem
    try:
        if path.stat().st_size > BYTES:
            raise CampaignWrong([{"field": "", "reason": f"大于 {BYTES // 1024} KB"}])
        told = parse(path.read_text(encoding="utf-8-sig"))
        name, is_draft = str(told.pop("name", name)), bool(told.pop("draft", False))
        if not 0 < len(name) <= 60:
            raise CampaignWrong([{"field": "name", "reason": "1 到 60 个字"}])
        if kind := next((one for one in KINDS if one.field in told), None):
            other = kind.read(name, told)
            return File(path, name, other, is_draft, kind.mistakes(other, words), kind)
        found = definition.read(told)
        if wrong := messages.mistakes(found, words):
            raise CampaignWrong(wrong)
        return File(path, name, found, is_draft)
    except CampaignWrong as wrong:
        return File(path, name, None, mistakes=list(wrong.mistakes))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        return File(path, name, None, mistakes=[{"field": "", "reason": unread(error)}])


def unread(error: Exception) -> str:
    """Where a file stops being YAML, in words."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark) is not None:
        return f"第 {mark.line + 1} 行第 {mark.column + 1} 个字读不懂：{error.problem or error.context}"
    if isinstance(error, UnicodeDecodeError):
        return "不是 UTF-8 的文字：另存为 UTF-8 再试"
    if "out of range" in str(error) or "must be in" in str(error):
        return f"有一个日期或钟点不存在：{str(error)[:100]}"
    return f"读不懂：{str(error)[:300]}"


async def plan(session: AsyncSession, files: Sequence[File], *, gate: Gate, now: datetime) -> list[Step]:
    """What applying these files would change, and whom the changed ones would reach now."""
    steps = []
    also = {one.name for one in files if one.kind is OFFERS}
    for one in files:
        if one.told is None:
            continue
        if one.kind is not None:
            steps.append(await _planned(session, one, one.kind, now=now))
            continue
        known = await _known(session, one.name)
        step = _compared(one, known)
        if step.change is not Change.SAME:
            step = await _looked(session, step, one.told, known, also, gate=gate, now=now)
        steps.append(step)
    return steps


async def apply(
    session: AsyncSession, files: Sequence[File], *, gate: Gate, review: Review, now: datetime
) -> list[Step]:
    """Make it so: all files or, when one of them cannot be, none. Raises ShopError with the caller's transaction."""
    steps = await plan(session, files, gate=gate, now=now)
    told = {one.name: one for one in files}
    for step in sorted(steps, key=lambda step: told[step.name].kind is None):  # offers before who gives of them
        one, known = told[step.name], await _known(session, step.name)
        if step.change is Change.SAME or one.told is None:
            continue
        if one.kind is not None:
            if not one.is_draft:
                await one.kind.put(session, one.name, one.told, now=now)
            continue
        made = (
            await engine.create(session, one.name, one.told, by=BY, now=now)
            if known is None
            else await engine.change(session, known.id, one.told, by=BY, now=now)
        )
        if not one.is_draft:
            await engine.submit(session, made.id, review=review, now=now)
    return steps


async def _planned(session: AsyncSession, one: File, kind: FileKind, *, now: datetime) -> Step:
    """The same of what is no campaign."""
    has, wanted = await kind.stored(session, one.name), kind.write(one.told)
    differ = _differ(wanted, has) if has is not None else ()
    change = Change.NEW if has is None else Change.CHANGED if differ else Change.SAME
    try:
        if change is not Change.SAME:
            await kind.check(session, one.name, one.told, now=now)
    except ShopError as refused:
        return Step(one.name, change, differ, None, str(refused))
    return Step(one.name, change, differ)


async def _known(session: AsyncSession, name: str) -> Campaign | None:
    found: Campaign | None = await session.scalar(
        sa.select(Campaign).where(Campaign.name == name).execution_options(populate_existing=True)
    )
    return found


def _compared(one: File, known: Campaign | None) -> Step:
    if known is None or one.told is None:
        return Step(one.name, Change.NEW)
    wanted, has = definition.write(one.told), known.definition
    differ = _differ(wanted, has)
    return Step(one.name, Change.CHANGED if differ else Change.SAME, differ)


def _differ(wanted: dict[str, Any], has: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name in wanted.keys() | has.keys() if wanted.get(name) != has.get(name)))


async def _looked(
    session: AsyncSession,
    step: Step,
    told: Definition,
    known: Campaign | None,
    also: Collection[str],
    *,
    gate: Gate,
    now: datetime,
) -> Step:
    try:
        if wrong := [
            *definition.late_schedule(told, now=now), *await gifts.check(session, told, also=also, now=now)
        ]:  # fmt: skip
            raise CampaignWrong(wrong)
        reach = await audience.preview(session, told, campaign_id=known.id if known else 0, gate=gate, now=now)
    except ShopError as refused:
        return Step(step.name, step.change, step.fields, None, str(refused))
    close = await overlaps.find(session, told, name=step.name, now=now)
    said = await cautions.find(session, told, gate=gate, also=also, now=now)
    return Step(step.name, step.change, step.fields, reach, overlaps=tuple(close), cautions=tuple(said))
