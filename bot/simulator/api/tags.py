"""Corp tag calls, and marking customers with tags."""

import asyncio

from bot.simulator import checks
from bot.simulator.api.core import Answer, Call, post
from bot.simulator.contacts import mark
from bot.simulator.refusals import Refusal
from bot.simulator.tags import shown

MAX_TAGS_PER_PAIR = 3000


@post("externalcontact/get_corp_tag_list", module="contacts", empty={"tag_group": []})
def get_corp_tag_list(call: Call) -> Answer:
    tag_ids = checks.strings(call.body, "tag_id", most=100)
    group_ids = checks.strings(call.body, "group_id", most=100)
    return {"tag_group": call.world.tags.shown(tag_ids, group_ids)}


@post("externalcontact/add_corp_tag", module="contacts")
def add_corp_tag(call: Call) -> Answer:
    tags = checks.nodes(call.body, "tag", most=1000)
    names = [(checks.text(each, "name", missing=40072), _order(each)) for each in tags]
    group, made = call.world.tags.add(
        checks.optional_text(call.body, "group_id"),
        checks.optional_text(call.body, "group_name"),
        names,
        by=call.app,
        order=_order(call.body),
    )
    return {"tag_group": shown(group, made)}


@post("externalcontact/edit_corp_tag", module="contacts")
def edit_corp_tag(call: Call) -> Answer:
    known = checks.text(call.body, "id", missing=40068)
    order = _order(call.body) if "order" in call.body else None
    call.world.tags.edit(known, checks.optional_text(call.body, "name"), order, by=call.app)
    return {}


@post("externalcontact/del_corp_tag", module="contacts")
def del_corp_tag(call: Call) -> Answer:
    tag_ids = checks.strings(call.body, "tag_id", most=1000)
    group_ids = checks.strings(call.body, "group_id", most=1000)
    if not tag_ids and not group_ids:
        raise Refusal(40063, "tag_id or group_id needed")
    gone = call.world.tags.delete(tag_ids, group_ids, by=call.app)
    call.world.contacts.forget_tags(gone)
    return {}


@post("externalcontact/mark_tag", module="contacts")
async def mark_tag(call: Call) -> Answer:
    """Takes a moment of real time; a second call on the same customer meanwhile is 45035."""
    world, body = call.world, call.body
    member = world.corp.visible_staff(call.app, body.get("userid"))
    customer = world.corp.known_customer(body.get("external_userid"))
    follow = world.contacts.followed(member.userid, customer.external_userid)
    add, remove = checks.strings(body, "add_tag", most=1000), checks.strings(body, "remove_tag", most=1000)
    if not add and not remove:
        raise Refusal(40063, "add_tag or remove_tag needed")
    world.tags.check_ids([*add, *remove])
    if len(follow.tags.keys() | set(add)) > MAX_TAGS_PER_PAIR:
        raise Refusal(40058, "too many tags")
    if customer.external_userid in world.contacts.writing:
        raise Refusal(45035)
    world.contacts.writing.add(customer.external_userid)
    try:
        await asyncio.sleep(call.simulator.options.mark_tag_seconds)
        mark(follow, add, remove)
    finally:
        world.contacts.writing.discard(customer.external_userid)
    return {}


def _order(body: checks.Body) -> int:
    return checks.integer(body, "order", 0, low=0, high=2**32)
