"""Tokens, tickets, visitors of H5 pages, and media."""

from aiohttp import BodyPartReader, web

from bot.simulator.api.core import Answer, Call, get, open_get, post
from bot.simulator.refusals import Refusal

TICKET_LIFE = 7200


@open_get("gettoken")
def gettoken(call: Call) -> Answer:
    token, seconds = call.simulator.tokens.get(
        call.query.get("corpid", ""), call.query.get("corpsecret", ""), call.request.remote or ""
    )
    return {"access_token": token, "expires_in": seconds}


@get("getcallbackip", empty={"ip_list": []})
def getcallbackip(call: Call) -> Answer:
    return {"ip_list": ["127.0.0.1"]}


@get("get_jsapi_ticket", empty={"ticket": ""})
def get_jsapi_ticket(call: Call) -> Answer:
    return {"ticket": f"jsapi-{call.world.corp.corpid}", "expires_in": TICKET_LIFE}


@get("ticket/get", empty={"ticket": ""})
def ticket_get(call: Call) -> Answer:
    if call.query.get("type") != "agent_config":
        raise Refusal(40058, "type")
    return {"ticket": f"agent-{call.app.agentid}", "expires_in": TICKET_LIFE}


# media


@post("media/upload", json=False)
async def media_upload(call: Call) -> Answer:
    filename, data = await uploaded(call)
    material = call.world.media.upload(call.query.get("type", ""), filename, data)
    return {
        "errmsg": "",
        "type": material.type,
        "media_id": material.media_id,
        "created_at": str(int(material.created_at)),
    }


@post("media/uploadimg", json=False)
async def media_uploadimg(call: Call) -> Answer:
    filename, data = await uploaded(call)
    material = call.world.media.upload_permanent_image(filename, data)
    return {"url": call.url(f"/sim/media/{material.media_id}")}


@post("media/upload_attachment", json=False)
async def media_upload_attachment(call: Call) -> Answer:
    filename, data = await uploaded(call)
    if call.query.get("attachment_type") not in ("1", "2"):
        raise Refusal(41072)
    material = call.world.media.upload(call.query.get("media_type", ""), filename, data)
    return {"type": material.type, "media_id": material.media_id, "created_at": str(int(material.created_at))}


@get("media/get")
def media_get(call: Call) -> web.Response:
    material = call.world.media.get(call.query.get("media_id"))
    response = web.Response(body=material.data, content_type=material.content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{material.media_id}"'
    return response


async def uploaded(call: Call) -> tuple[str, bytes]:
    """(filename, bytes) of the multipart field `media`; no such part or an empty one is 44001."""
    if not call.request.content_type.startswith("multipart/"):
        raise Refusal(44001)
    async for part in await call.request.multipart():
        if isinstance(part, BodyPartReader) and part.name == "media":
            return part.filename or "file", bytes(await part.read())
    raise Refusal(44001)
