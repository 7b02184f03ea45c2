"""What the shop is connected to, without any secret; and what `siyu doctor` finds."""

from dataclasses import dataclass

import sqlalchemy as sa
from aiohttp import web

from bot import doctor
from bot.access.rights import Right
from bot.models.gateway import KfAccount
from bot.settings import Settings
from bot.web.language import N_
from bot.web.screens import Screens, house_of, looking, render, say

SCREENS = Screens()
PATH = "/console/connections"


@dataclass(frozen=True, slots=True)
class Line:
    """One connection. is_there: set up; hint: what is missing without it, or where it leads."""

    title: str
    is_there: bool
    shown: str
    hint: str


@SCREENS.get(PATH, Right.SETTINGS)
async def show(request: web.Request) -> web.Response:
    house = house_of(request)
    async with looking(request) as session:
        found = await doctor.examine(session, now=house.app.clock.now())
        accounts = await session.scalars(
            sa.select(KfAccount).where(KfAccount.removed_at.is_(None)).order_by(KfAccount.open_kfid)
        )
        kf = list(accounts)
    settings = house.settings
    apps = [
        (name, one.agent_id, name == settings.main_app, one.token is not None and one.aes_key is not None)
        for name, one in sorted(settings.apps.items())
    ]
    dialect = "PostgreSQL" if house.app.sessions.dialect == "postgresql" else "SQLite"
    return render(
        request,
        "console/connections.html",
        found=found,
        corp_id=settings.corp_id,
        wecom=settings.wecom_api_url,
        apps=apps,
        kf=kf,
        lines=_lines(request, settings),
        dialect=dialect,
    )


def _lines(request: web.Request, settings: Settings) -> list[Line]:
    archive, bots = settings.archive.url, ", ".join(sorted(settings.bots))
    told = (
        (N_("会员打开的页面"), settings.public_url, N_("没有它，聊天里的回答不带链接")),
        (N_("付款页"), settings.pay_url, N_("没有它，秒杀只有抢，没有在线付款")),
        (N_("付款通知的签名"), settings.pay_key and "••••", N_("没有它，不收付款通知")),
        (N_("数据密钥"), settings.data_key and "••••", N_("没有它，不收手机号，也建不了钥匙和 webhook")),
        (N_("会话存档"), archive, N_("没有它，读不到客户群里的话")),
        (N_("智能机器人"), bots, N_("没有它，内部群里 @ 不到机器人")),
        (N_("对外收款"), settings.bills.poll and str(settings.bills.poll), N_("没有它，不查没通知到的付款")),
    )
    return [Line(say(request, title), bool(value), str(value or ""), say(request, hint)) for title, value, hint in told]
