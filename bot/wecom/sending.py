"""What each lane of the outbox does with a message: one call, or the few that belong together."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bot.wecom import lanes
from bot.wecom.client import WecomClient
from bot.wecom.errors import NobodyToSendTo, NotAllowed
from bot.wecom.lanes import Lane, Send, Sent
from crm.base.outbox import Claimed

TASK_ID_USED = 42014
SAME_TEXT = timedelta(hours=1)  # WeCom drops a repeated text within this time


def lane_table(
    client: WecomClient,
    *,
    handover: Send,
    mark_tags: Send,
    late_answers: Send,
    broadcast: Send,
    group_broadcast: Send,
    robot_key: str = "",
) -> Mapping[str, Lane]:
    """Every lane that leads to WeCom. handover: brings a session to a person. mark_tags: a relation's corp tags.

    robot_key: of the group robot that tells managers; without one nothing is put into its lane.

    late_answers: an AI bot's answer that its stream did not show. broadcast, group_broadcast: staff are asked to send.
    """

    async def kf(one: Claimed) -> Sent:
        return Sent({"msgid": await client.kf.send_msg(one.body["message"], msgid=one.dedupe_key)})

    async def kf_event(one: Claimed) -> Sent:
        return Sent({"msgid": await client.kf.send_msg_on_event(one.body["message"], msgid=one.dedupe_key)})

    async def welcome(one: Claimed) -> Sent:
        message = dict(one.body["message"])
        await client.contacts.send_welcome_msg(message.pop("welcome_code"), message, app=one.body.get("app"))
        return Sent()

    async def robot(one: Claimed) -> Sent:
        await client.staff.webhook_send(robot_key, one.body["message"])
        return Sent()

    return {
        lanes.KF: Lane(32, kf),
        lanes.KF_EVENT: Lane(16, kf_event),
        lanes.KF_HANDOFF: Lane(8, handover),
        lanes.WELCOME: Lane(16, welcome),
        lanes.STAFF: Lane(8, _to_staff(client)),
        lanes.ROBOT: Lane(1, robot),
        lanes.TAG: Lane(4, mark_tags),
        lanes.AIBOT: Lane(4, late_answers),
        lanes.BROADCAST: Lane(2, broadcast),
        lanes.GROUP_BROADCAST: Lane(4, group_broadcast),
    }


def _to_staff(client: WecomClient) -> Send:
    """An app message to named people or to an account's servicers, or a change to a card."""

    async def staff(one: Claimed) -> Sent:
        body = one.body
        if "response_code" in body:
            await client.staff.update_template_card(body["userids"], body["response_code"], body["change"])
            return Sent()
        userids = body["userids"] or await _servicers(client, body["open_kfid"])
        return await _send(client, userids, body["message"], is_repeat=one.attempts > 1)

    return staff


async def _servicers(client: WecomClient, open_kfid: str) -> list[str]:
    found = [one.userid for one in await client.kf.servicer_list(open_kfid) if one.userid]
    if not found:
        raise NobodyToSendTo(errmsg=f"{open_kfid} has no servicers", path="/cgi-bin/kf/servicer/list")
    return found


async def _send(client: WecomClient, userids: list[str], message: dict[str, Any], *, is_repeat: bool) -> Sent:
    try:
        sent = await client.staff.send(userids, message, repeat_guard=SAME_TEXT)
    except NotAllowed as no:
        if is_repeat and no.errcode == TASK_ID_USED:  # an earlier try of this card went through
            return Sent({"userids": userids})
        raise
    return Sent({"userids": userids, "msgid": sent.msgid, "response_code": sent.response_code})
