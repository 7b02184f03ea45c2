"""Staff and roles: who may sign in, as what."""

from aiohttp import web

from bot.access import accounts
from bot.access.rights import Right
from bot.web.language import N_
from bot.web.names import ROLE_HINTS
from bot.web.screens import Screens, change, looking, render, say
from crm.base.errors import ShopError
from crm.sight import Role

SCREENS = Screens()
PATH = "/console/accounts"


@SCREENS.get(PATH, Right.ACCOUNTS)
async def everybody(request: web.Request) -> web.Response:
    return await _page(request)


@SCREENS.post(PATH, Right.ACCOUNTS)
async def make(request: web.Request) -> web.Response:
    form = {name: str(value) for name, value in (await request.post()).items()}
    try:
        async with change(request, "account.made", role=form.get("role", "")) as deed:
            made = await accounts.make(
                deed.session,
                form.get("name", ""),
                role=_role(form.get("role", "")),
                title=form.get("title", ""),
                password=form.get("password") or None,
                userid=form.get("userid", "").strip() or None,
                now=deed.now,
            )
            deed.about, deed.facts = f"account:{made.id}", {"name": made.name, "role": made.role}
    except ShopError as refusal:
        return await _page(request, refusal=refusal, form=form)
    return await _page(request, said=say(request, N_("账号 %(name)s 已建好。"), name=made.name))


@SCREENS.post(PATH + "/{id}", Right.ACCOUNTS)
async def alter(request: web.Request) -> web.Response:
    """Role, WeCom person, a new password, off or on: whatever the form brings."""
    account_id, form = int(request.match_info["id"]), await request.post()
    try:
        async with change(request, "account.changed", about=f"account:{account_id}") as deed:
            if "role" in form:
                await accounts.set_role(deed.session, account_id, role := _role(str(form["role"])))
                deed.facts["role"] = role
            if "userid" in form:
                await accounts.set_userid(deed.session, account_id, userid := str(form["userid"]).strip() or None)
                deed.facts["userid"] = userid
            if form.get("password"):
                await accounts.set_password(deed.session, account_id, str(form["password"]), now=deed.now)
                deed.facts["password"] = "new"
            if form.get("off") == "yes":
                await accounts.disable(deed.session, account_id, now=deed.now)
                deed.facts["disabled"] = True
            if form.get("off") == "no":
                await accounts.enable(deed.session, account_id)
                deed.facts["disabled"] = False
            if form.get("factor") == "drop":
                await accounts.drop_second_factor(deed.session, account_id)
                deed.facts["second_factor"] = None
    except ShopError as refusal:
        return await _page(request, refusal=refusal)
    return await _page(request, said=say(request, N_("已保存。")))


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        return Role.AGENT


async def _page(
    request: web.Request, *, refusal: ShopError | None = None, form: dict[str, str] | None = None, said: str = ""
) -> web.Response:
    async with looking(request) as session:
        found = await accounts.everybody(session)
    return render(
        request,
        "console/accounts.html",
        status=refusal.status if refusal is not None else 200,
        accounts=found,
        refusal=refusal,
        form=form or {},
        said=said,
        role_hints=ROLE_HINTS,
    )
