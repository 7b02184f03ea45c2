"""企业群发: mass messages as tasks that an employee must confirm; caps, reminders, cancelling, results per target."""

from calendar import monthrange
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bot.simulator.attachments import Part
from bot.simulator.contacts import Contacts
from bot.simulator.corp import DAY, SHOP_ZONE, App, Corp
from bot.simulator.groups import Groups
from bot.simulator.refusals import NotPossible, Refusal, Unknown

UNSENT, SENT, NOT_FRIEND, OVER_CAP = 0, 1, 2, 3  # status of one target
WAITING, DONE = 0, 2  # status of one member's share
REMINDERS_PER_DAY = 3


@dataclass(slots=True)
class Share:
    """What one member has to send."""

    userid: str
    targets: list[str]
    status: int = WAITING
    sent_at: int = 0
    results: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Task:
    msgid: str
    chat_type: str  # single | group
    agentid: int
    text: str
    parts: list[Part]
    attachments: list[dict[str, Any]]
    created_at: float
    allow_select: bool
    shares: dict[str, Share]
    cancelled: bool = False
    reminded_at: list[float] = field(default_factory=list)
    sender: str = ""


class Tasks:
    def __init__(self, corp: Corp, contacts: Contacts, groups: Groups) -> None:
        self.corp = corp
        self.contacts = contacts
        self.groups = groups
        self.all: dict[str, Task] = {}
        self.dispatch_seconds = 1.0  # queries right after creation answer 41063
        self.monthly_cap: int | None = None  # per customer and per group; None is as many as the month has days
        self.daily_cap: int | None = None
        self._of_member: dict[str, list[Task]] = {}
        self._received: dict[str, deque[float]] = {}  # target -> when mass messages reached it

    # by API

    def create(
        self,
        app: App,
        *,
        chat_type: str,
        shares: dict[str, list[str]],
        text: str,
        parts: list[Part],
        attachments: list[dict[str, Any]],
        allow_select: bool,
        sender: str,
    ) -> Task:
        """Put the task into the members' clients. Nothing reaches a customer before a member confirms."""
        task = Task(
            self.corp.new_id("msgGC", 128),
            chat_type,
            app.agentid,
            text,
            parts,
            attachments,
            self.corp.now(),
            allow_select,
            {userid: Share(userid, targets) for userid, targets in shares.items()},
            sender=sender,
        )
        self.all[task.msgid] = task
        for userid in shares:
            self._of_member.setdefault(userid, []).append(task)
            self.corp.changed(userid, "tasks")
        return task

    def get(self, app: App, msgid: object) -> Task:
        """The task an API call asks about: 41046, 41047, 41093 cancelled, 41063 still being dispatched."""
        if not msgid:
            raise Refusal(41046)
        task = self.all.get(msgid) if isinstance(msgid, str) else None
        if task is None or task.agentid != app.agentid:
            raise Refusal(41047)
        if task.cancelled:
            raise Refusal(41093)
        if self.corp.now() - task.created_at < self.dispatch_seconds:
            raise Refusal(41063)
        return task

    def remind(self, app: App, msgid: object) -> None:
        task, now = self.get(app, msgid), self.corp.now()
        if len([at for at in task.reminded_at if now - at < DAY]) >= REMINDERS_PER_DAY:
            raise Refusal(41094)
        task.reminded_at.append(now)
        self._tell(task)

    def cancel(self, app: App, msgid: object) -> None:
        task = self.get(app, msgid)
        task.cancelled = True
        self._tell(task)

    # by hand

    def of_member(self, userid: str) -> list[Task]:
        return self._of_member.get(userid, [])

    def send(self, userid: str, msgid: str, leave_out: list[str] | None = None) -> Share:
        """The member taps 发送: each target gets the message or a reason why not."""
        task = self.all.get(msgid)
        share = task.shares.get(userid) if task else None
        if task is None or share is None:
            raise Unknown("没有这个群发任务")
        if task.cancelled:
            raise NotPossible("这个群发任务已经被取消")
        if share.status == DONE:
            raise NotPossible("这个群发任务已经发过了")
        if leave_out and not task.allow_select:
            raise NotPossible("这个群发任务不允许调整对象")
        share.status, share.sent_at = DONE, int(self.corp.now())
        for target in share.targets:
            share.results[target] = UNSENT if target in (leave_out or []) else self._send_one(task, userid, target)
        self.corp.changed(userid, "tasks")
        return share

    def _send_one(self, task: Task, userid: str, target: str) -> int:
        if not self._reachable(task, userid, target):
            return NOT_FRIEND
        if not self._under_cap(target):
            return OVER_CAP
        self._received[target].append(self.corp.now())
        if task.chat_type == "group":
            self._post_in_group(task, userid, target)
        else:
            self.contacts.deliver(self.contacts.get(userid, target), task.text, task.parts)
        return SENT

    def _reachable(self, task: Task, userid: str, target: str) -> bool:
        if task.chat_type == "group":
            group = self.groups.all.get(target)
            return group is not None and not group.dismissed and group.owner == userid
        follow = self.contacts.find(userid, target)
        return follow is not None and not follow.one_way

    def _post_in_group(self, task: Task, userid: str, chat_id: str) -> None:
        if task.text:
            self.groups.say(chat_id, userid, "text", {"content": task.text})
        for msgtype, payload in task.parts:
            self.groups.say(chat_id, userid, msgtype, payload)

    def _under_cap(self, target: str) -> bool:
        """Whether the target may get one more this month (and day). Days and months are the shop's."""
        today = datetime.fromtimestamp(self.corp.now(), UTC).astimezone(SHOP_ZONE)
        day = today.replace(hour=0, minute=0, second=0, microsecond=0)
        month_start, day_start = day.replace(day=1).timestamp(), day.timestamp()
        received = self._received.setdefault(target, deque())
        while received and received[0] < month_start:
            received.popleft()
        cap = monthrange(today.year, today.month)[1] if self.monthly_cap is None else self.monthly_cap
        today_count = sum(at >= day_start for at in received)
        return len(received) < cap and (self.daily_cap is None or today_count < self.daily_cap)

    def _tell(self, task: Task) -> None:
        for userid in task.shares:
            self.corp.changed(userid, "tasks")
