"""Community tasks among the shop's files."""

import re
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.definition import CampaignWrong
from campaigns.file_kinds import FileKind
from campaigns.tasks import definition, store
from campaigns.tasks.definition import AnyTask

KEY = re.compile(r"[^\s，。！？/:]{1,40}")


def _read(name: str, told: dict[str, Any]) -> AnyTask:
    if not KEY.fullmatch(name):
        raise CampaignWrong([{"field": "name", "reason": "1 到 40 个字，不能有空格和标点：会员会输入它"}])
    return definition.read({"title": name, **told})


async def _stored(session: AsyncSession, name: str) -> dict[str, Any] | None:
    known = await store.find(session, name)
    return None if known is None else {**known.body, **({"closed": True} if known.closed_at else {})}


async def _check(session: AsyncSession, name: str, told: AnyTask, *, now: datetime) -> None:
    del now
    await store.check(session, name, told)


TASKS = FileKind(
    field="task",
    read=_read,
    write=definition.write,
    mistakes=store.mistakes,
    stored=_stored,
    check=_check,
    put=store.put,
)
