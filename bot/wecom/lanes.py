"""The lanes of the outbox that lead to WeCom: their names, the messages that go on them, and what a send ends with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from campaigns import broadcasts, group_tasks
from crm.base.ids import dedupe_key
from crm.base.outbox import Claimed, MarketingMessage, Message

KF = "kf"  # kf/send_msg: inside the window, in the bot's states
KF_EVENT = "kf_event"  # kf/send_msg_on_event: welcome and prompts, by one-use code
KF_HANDOFF = "kf_handoff"  # kf/service_state/trans to a servicer or the queue
WELCOME = "welcome"  # externalcontact/send_welcome_msg
STAFF = "staff"  # message/send to staff
ROBOT = "robot"  # webhook/send: a group robot says something to colleagues
AIBOT = "aibot"  # aibot/response: what a stream could not show in time
TAG = "tag"  # externalcontact/mark_tag
BROADCAST = broadcasts.LANE  # externalcontact/add_msg_template, to customers
GROUP_BROADCAST = group_tasks.LANE  # and into groups

CODE_LIFE = timedelta(seconds=20)  # welcome and closing codes
PROMPT_LIFE = timedelta(hours=48)  # codes of queue and handover prompts


@dataclass(frozen=True, slots=True)
class Sent:
    """What WeCom answered; what we learnt by it, and what leaves because of it, commit with the settlement."""

    result: dict[str, Any] = field(default_factory=dict)
    learnt: tuple[sa.Executable, ...] = ()
    messages: tuple[Message, ...] = ()


Send = Callable[[Claimed], Awaitable[Sent]]


@dataclass(frozen=True, slots=True)
class Lane:
    """How many messages of a lane are on their way at once, and how one is sent."""

    concurrency: int
    send: Send


@dataclass(frozen=True, slots=True)
class KfAddress:
    """Where a kf message goes."""

    conversation_id: int
    open_kfid: str
    external_userid: str
    member_id: int | None

    @property
    def key(self) -> str:
        return f"kf:{self.conversation_id}"


def msgid(*because: object) -> str:
    """The same cause is the same msgid, and WeCom takes a msgid once."""
    return dedupe_key("kf", *because)


def kf_message(
    to: KfAddress,
    payload: dict[str, Any],
    *,
    because: tuple[object, ...],
    deadline: datetime | None,
    by_person: bool = False,
) -> Message:
    """A kf message. `because` names what caused it: the same cause is the same message, at WeCom too (msgid).

    by_person: it may use the window's last slot, which is kept from the bot.
    """
    return Message(
        lane=KF,
        key=to.key,
        dedupe_key=msgid(*because),
        member_id=to.member_id,
        body={
            "conversation_id": to.conversation_id,
            "by_person": by_person,
            "message": {"touser": to.external_userid, "open_kfid": to.open_kfid, **payload},
        },
        deadline=deadline,
    )


def marketing(message: Message, *, gate_ref: str) -> MarketingMessage:
    """This message as one that the gate let through under `gate_ref`, and that leaves only if it still does."""
    return MarketingMessage(**{one.name: getattr(message, one.name) for one in fields(Message)}, gate_ref=gate_ref)


def kf_event_message(code: str, payload: dict[str, Any], *, to: KfAddress, deadline: datetime) -> Message:
    """A message on a one-use code; the code itself refuses a second copy."""
    return Message(
        lane=KF_EVENT,
        key=to.key,
        dedupe_key=dedupe_key("kf_event", code),
        member_id=to.member_id,
        body={"message": {"code": code, **payload}},
        deadline=deadline,
    )


def handoff(to: KfAddress, ticket_id: int, *, round_no: int, without: tuple[str, ...] = ()) -> Message:
    """Bring the session to a person: after what the bot still has to say, because it has the conversation's key.

    round_no: the how-manieth try for this ticket. without: servicers who shall not get it (again).
    """
    return Message(
        lane=KF_HANDOFF,
        key=to.key,
        dedupe_key=dedupe_key("handoff", ticket_id, round_no),
        member_id=to.member_id,
        body={
            "conversation_id": to.conversation_id,
            "open_kfid": to.open_kfid,
            "external_userid": to.external_userid,
            "member_id": to.member_id,
            "ticket_id": ticket_id,
            "round": round_no,
            "without": list(without),
        },
    )


def staff_message(
    message: dict[str, Any],
    *,
    because: tuple[object, ...],
    userids: tuple[str, ...] = (),
    open_kfid: str = "",
    about: int | None = None,
    deadline: datetime | None = None,
) -> Message:
    """An app message to `userids`; without any, to the servicers of this kf account. about: the member it speaks of.

    Repeatable: a card's task_id is refused a second time, and the same text is dropped by WeCom's duplicate check.
    """
    return Message(
        lane=STAFF,
        dedupe_key=dedupe_key("staff", *because),
        member_id=about,
        body={"userids": list(userids), "open_kfid": open_kfid, "message": message},
        deadline=deadline,
    )


def robot_message(message: Mapping[str, Any], *, because: tuple[object, ...]) -> Message:
    """What the managers' group robot says. Tried once: the robot takes a repeat for a second message."""
    return Message(
        lane=ROBOT, dedupe_key=dedupe_key("robot", *because), body={"message": dict(message)}, repeatable=False
    )


def card_update(userids: tuple[str, ...], response_code: str, change: dict[str, Any]) -> Message:
    """A change to a card that was sent. The code works once, so it is tried once."""
    return Message(
        lane=STAFF,
        dedupe_key=dedupe_key("card_update", response_code),
        body={"userids": list(userids), "response_code": response_code, "change": change},
        repeatable=False,
    )


def late_answer(mention_id: int, *, not_before: datetime, deadline: datetime) -> Message:
    """An AI bot's answer by the address that came with the message; its code refuses a second one."""
    return Message(
        lane=AIBOT,
        dedupe_key=dedupe_key("aibot", mention_id),
        body={"mention_id": mention_id},
        not_before=not_before,
        deadline=deadline,
    )


def welcome(app: str, code: str, message: dict[str, Any], *, deadline: datetime) -> Message:
    """The one greeting a new contact gets."""
    return Message(
        lane=WELCOME,
        dedupe_key=dedupe_key("welcome", code),
        body={"app": app, "message": {"welcome_code": code, **message}},
        deadline=deadline,
    )


def tag_marks(contact_id: int, external_userid: str, *, about: int, because: tuple[object, ...]) -> Message:
    """Compare one relation's corp tags with our tags when this leaves. One customer's relations take turns (45035).

    about: the member.
    """
    return Message(
        lane=TAG,
        key=f"tag:{external_userid}",
        dedupe_key=dedupe_key("tag", contact_id, *because),
        member_id=about,
        body={"contact_id": contact_id},
    )
