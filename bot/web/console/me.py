"""One's own account: language, password, the second factor, and the browsers one is signed in with."""

import io
from dataclasses import dataclass

import segno
from aiohttp import web

from bot.access import accounts, passwords, sign_ins
from bot.access.rights import Right
from bot.web.language import LANGUAGES, N_
from bot.web.screens import Screens, change, go, house_of, looking, render, say, who
from crm.base.errors import Invalid, ShopError

SCREENS = Screens()
PATH = "/console/me"


@dataclass(eq=False)
class PasswordWrong(Invalid):
    """The present password was asked for, and this is not it."""

    code = "account.password_wrong"


@SCREENS.get(PATH, Right.MEMBERS)
async def me(request: web.Request) -> web.Response:
    return await _page(request)


@SCREENS.post(PATH + "/language", Right.MEMBERS)
async def speak(request: web.Request) -> web.Response:
    """The other language, on the page one was on."""
    form = await request.post()
    language, back = str(form.get("language", "")), str(form.get("back", "/console"))
    if language in LANGUAGES:
        async with change(request, "account.language", language=language) as deed:
            (await accounts.get(deed.session, who(request).account.id)).language = language
    return go(request, back if back.startswith(("/console", "/desk")) else "/console")


@SCREENS.post(PATH + "/password", Right.MEMBERS)
async def new_password(request: web.Request) -> web.Response:
    form, mine = await request.post(), who(request).account
    try:
        async with house_of(request).app.sessions.begin() as session:
            now = house_of(request).app.clock.now()
            await sign_ins.count_try(session, mine.name, address=request.remote or "", now=now)
        if mine.password is not None and not await passwords.fits(mine.password, str(form.get("old", ""))):
            raise PasswordWrong
        async with change(request, "account.password", about=f"account:{mine.id}") as deed:
            await accounts.set_password(deed.session, mine.id, str(form.get("new", "")), now=deed.now)
            await sign_ins.forget_tries(deed.session, mine.name)
    except ShopError as refusal:
        return await _page(request, refusal=refusal)
    return go(request, "/sign-in")


@SCREENS.post(PATH + "/second-factor", Right.MEMBERS)
async def second_factor(request: web.Request) -> web.Response:
    """Set it, with the first code as proof; or drop it, with the password."""
    form, mine = await request.post(), who(request).account
    try:
        if form.get("drop"):
            if not await passwords.fits(mine.password, str(form.get("password", ""))):
                raise PasswordWrong
            async with change(request, "account.second_factor_dropped", about=f"account:{mine.id}") as deed:
                await accounts.drop_second_factor(deed.session, mine.id)
        else:
            async with change(request, "account.second_factor_set", about=f"account:{mine.id}") as deed:
                await accounts.set_second_factor(
                    deed.session,
                    mine.id,
                    str(form.get("secret", "")),
                    str(form.get("code", "")),
                    vault=house_of(request).vault,
                    now=deed.now,
                )
    except ShopError as refusal:
        return await _page(request, refusal=refusal, secret=str(form.get("secret", "")))
    return go(request, PATH)


@SCREENS.post(PATH + "/sign-ins/{id}/revoke", Right.MEMBERS)
async def sign_out_there(request: web.Request) -> web.Response:
    mine = who(request).account
    async with change(request, "account.signed_out_there", about=f"account:{mine.id}") as deed:
        await sign_ins.revoke(deed.session, int(request.match_info["id"]), account_id=mine.id, now=deed.now)
    return await _page(request, said=say(request, N_("那个浏览器已退出登录。")))


async def _page(
    request: web.Request, *, refusal: ShopError | None = None, secret: str = "", said: str = ""
) -> web.Response:
    house, mine = house_of(request), who(request)
    async with looking(request) as session:
        account = await accounts.get(session, mine.account.id)
        browsers = await sign_ins.standing(session, account.id, now=house.app.clock.now())
    secret = secret or accounts.new_secret()
    picture = io.BytesIO()
    address = accounts.address(account, secret, shop=house.app.shop.name)
    segno.make(address, micro=False).save(picture, kind="svg", scale=4, border=2, xmldecl=False, svgns=True)
    return render(
        request,
        "console/me.html",
        status=refusal.status if refusal is not None else 200,
        refusal=refusal,
        said=said,
        account=account,
        browsers=browsers,
        here=mine.sign_in_id,
        secret=secret,
        picture=picture.getvalue().decode(),
        can_seal=house.vault is not None,
    )
