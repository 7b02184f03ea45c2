"""The demo's campaigns, tasks, survey and visits: a folder of files like a shop's own, with days that fit today."""

import random
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from campaigns import files, surveys
from campaigns.engine import Review
from campaigns.guard_rules import Gate
from campaigns.tasks import entries, store
from crm.base.clock import SHANGHAI
from crm.base.db import Sessions

FOLDER = Path(__file__).parent / "plans"
VOTE, SURVEY = "新罐头", "这个月的看法"
VOTERS, ANSWERS = 46, 31


async def put(sessions: Sessions, members: Sequence[int], chance: random.Random, *, now: datetime) -> None:
    """Apply the files, and let some members vote and say what they think."""
    with tempfile.TemporaryDirectory() as scratch:
        for path in FOLDER.glob("*.yaml"):
            (Path(scratch) / path.name).write_text(_dated(path.read_text(encoding="utf-8"), now), encoding="utf-8")
        found = files.read_folder(Path(scratch))
    async with sessions.begin() as session:
        await files.apply(session, found, gate=Gate(), review=Review(), now=now)
        task, survey = await store.get(session, VOTE), await surveys.find(session, SURVEY)
        assert survey is not None, "the file was applied just now"
        for member_id in chance.sample(members, k=VOTERS):
            choice = chance.choices((1, 2, 3), (5, 9, 3))[0]
            await entries.answer(session, VOTE, member_id, [choice], version=task.version, channel="h5", now=now)
        for member_id in chance.sample(members, k=ANSWERS):
            score = chance.choices((10, 9, 8, 7, 6, 3), (9, 8, 5, 3, 2, 1))[0]
            await surveys.answer(session, survey.id, member_id, score, channel="h5", now=now)


def _dated(text: str, now: datetime) -> str:
    """START is last week, END the week after next, TOMORROW ten in the morning."""
    today = now.astimezone(SHANGHAI)
    tomorrow = (today + timedelta(days=1)).replace(hour=10, minute=0, second=0)
    days = {"START": today - timedelta(days=7), "END": today + timedelta(days=14), "TOMORROW": tomorrow}
    for word, at in days.items():
        text = text.replace(word, f"{at:%Y-%m-%dT%H:%M:%S}")
    return text
