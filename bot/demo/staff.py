"""Who works in the demo shop's browser. The password is printed where the demo starts: it guards made-up data."""

from datetime import datetime

from bot.access import accounts
from bot.demo import shop
from crm.base.db import Sessions
from crm.sight import Role

OWNER = "owner"
PASSWORD = "siyu-demo-2026"
DATA_KEY = "c2l5dS1kZW1vLWtleS1ub3QtZm9yLXJlYWwtdXNlISE="  # of the demo's made-up people


async def hire(sessions: Sessions, *, now: datetime) -> None:
    """An owner by password; a manager and agents by password or by scanning as who they are in WeCom."""
    people = [
        (OWNER, Role.OWNER, "店主", None),
        ("manager", Role.MANAGER, "运营", shop.SERVICERS[0]),
        *((f"agent{number}", Role.AGENT, f"客服 {number}", who) for number, who in enumerate(shop.SERVICERS[1:], 1)),
        ("auditor", Role.AUDITOR, "审计", None),
    ]
    async with sessions.begin() as session:
        for name, role, title, userid in people:
            await accounts.make(session, name, role=role, title=title, password=PASSWORD, userid=userid, now=now)
