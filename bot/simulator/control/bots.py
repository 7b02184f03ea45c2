"""/sim: AI bots and internal groups: setting them up as the admin console does, and being in them as staff."""

from aiohttp import web

from bot.simulator.aibots import AiBot, Room
from bot.simulator.chats import last_line
from bot.simulator.control.core import Deed, Told, control
from bot.simulator.control.phone import MAX_MESSAGES
from bot.simulator.corp import CallbackTarget, Staff
from bot.simulator.world import World

ROOM = "/sim/staff/{userid}/rooms/{chat}"


def add_routes(app: web.Application) -> None:
    add_get, add_post = app.router.add_get, app.router.add_post
    add_get("/sim/bots", control(everything))
    add_post("/sim/bots", control(add_bot))
    add_post("/sim/bots/{bot}/callback", control(save_callback))
    add_post("/sim/rooms", control(add_room))
    add_get(ROOM + "/messages", control(messages))
    add_post(ROOM + "/message", control(write))
    add_post(ROOM + "/rate", control(rate))
    add_post("/sim/staff/{userid}/bots/{bot}/enter", control(enter))


# the admin console


def everything(deed: Deed) -> Told:
    bots = deed.world.aibots
    return {
        "bots": [_bot(each) for each in bots.all.values()],
        "rooms": [_room(deed.world, each) for each in bots.rooms.values() if not each.single],
    }


def add_bot(deed: Deed) -> Told:
    return _bot(deed.world.aibots.add(deed.text("name").strip()[:32]))


async def save_callback(deed: Deed) -> Told:
    """Verified first, kept only if the service answers right."""
    bot = deed.world.aibots.get(deed.path["bot"])
    target = CallbackTarget(deed.text("url"), deed.text("token"), deed.text("aes_key"))
    await deed.simulator.bot_calls.verify(target)
    bot.callback = target
    return _bot(bot)


def add_room(deed: Deed) -> Told:
    room = deed.world.aibots.add_room(deed.text("name"), deed.texts("members"), deed.texts("bots"))
    return _room(deed.world, room)


# being in them


def rooms_of(world: World, member: Staff) -> Told:
    """What the client's overview says of bots and internal groups."""
    rooms = [_room(world, each) for each in world.aibots.of_member(member.userid)]
    return {"rooms": rooms, "bots": [_bot(each) for each in world.aibots.all.values()]}


def messages(deed: Deed) -> Told:
    room = deed.world.aibots.find(deed.path["chat"], _me(deed))
    chat = deed.world.chats.internal(room.chat_id)
    found = chat.after(deed.integer("after", 0), min(max(deed.integer("limit", 200), 1), MAX_MESSAGES))
    return {"messages": [deed.world.chats.shown(chat, message) for message in found]}


def write(deed: Deed) -> Told:
    quote = deed.whole("quote") if deed.body.get("quote") is not None else None
    message = deed.world.aibots.say(_me(deed), deed.path["chat"], *deed.message(), quote=quote)
    return deed.world.chats.shown(deed.world.chats.internal(deed.path["chat"]), message)


def rate(deed: Deed) -> Told:
    words = deed.text("content", "")
    deed.world.aibots.rate(_me(deed), deed.path["chat"], deed.whole("seq"), deed.whole("type"), words)
    return {}


def enter(deed: Deed) -> Told:
    return _room(deed.world, deed.world.aibots.enter(_me(deed), deed.path["bot"]))


def _me(deed: Deed) -> str:
    return deed.world.corp.get_staff(deed.path["userid"]).userid


def _bot(bot: AiBot) -> Told:
    url = bot.callback.url if bot.callback else ""
    return {"id": bot.id, "name": bot.name, "avatar": bot.avatar, "callback_url": url}


def _room(world: World, room: Room) -> Told:
    written = world.chats.internal(room.chat_id).messages
    return {
        "chat_id": room.chat_id,
        "name": room.name,
        "members": len(room.members),
        "single": room.single,
        "bots": [{"id": each, "name": world.aibots.all[each].name} for each in room.bots],
        "last": {"text": last_line(written[-1]).replace("**", ""), "at": written[-1].at} if written else None,
    }
