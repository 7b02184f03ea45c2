"""The lanes of the outbox that lead to WeCom: their names, and the messages that go on them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crm.base.ids import dedupe_key
from crm.base.outbox import Message

KF = "kf"  # kf/send_msg: inside the window, in the bot's states
KF_EVENT = "kf_event"  # kf/send_msg_on_event: welcome and prompts, by one-use code
KF_HANDOFF = "kf_handoff"  # kf/service_state/trans to a servicer or the queue
WELCOME = "welcome"  # externalcontact/send_welcome_msg
STAFF = "staff"  # message/send to staff
TAG = "tag"  # externalcontact/mark_tag
WEBHOOK = "webhook"  # a group robot

CODE_LIFE = timedelta(seconds=20)  # welcome and closing codes
PROMPT_LIFE = timedelta(hours=48)  # codes of queue and handover prompts


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


def handoff(to: KfAddress, ticket_id: int) -> Message:
    """Bring the session to a person: after what the bot still has to say, because it has the conversation's key."""
    return Message(
        lane=KF_HANDOFF,
        key=to.key,
        dedupe_key=dedupe_key("handoff", ticket_id),
        member_id=to.member_id,
        body={
            "conversation_id": to.conversation_id,
            "open_kfid": to.open_kfid,
            "external_userid": to.external_userid,
            "member_id": to.member_id,
            "ticket_id": ticket_id,
        },
    )


def welcome(app: str, code: str, message: dict[str, Any], *, deadline: datetime) -> Message:
    """The one greeting a new contact gets."""
    return Message(
        lane=WELCOME,
        dedupe_key=dedupe_key("welcome", code),
        body={"app": app, "message": {"welcome_code": code, **message}},
        deadline=deadline,
    )
