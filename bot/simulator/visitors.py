"""OAuth2 of H5 pages: who opened a page, the one-use code that says so, and the page to choose a person by hand."""

from dataclasses import dataclass
from html import escape
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bot.simulator.codes import Codes
from bot.simulator.contacts import Contacts
from bot.simulator.corp import App, Corp
from bot.simulator.refusals import Refusal, Unknown

CODE_LIFE = 300.0


@dataclass(slots=True, frozen=True)
class Visitor:
    """kind: a member of staff, a customer, or anybody else in WeChat (then `id` is an openid)."""

    kind: Literal["staff", "customer", "stranger"]
    id: str


class Visitors:
    def __init__(self, corp: Corp, contacts: Contacts) -> None:
        self._corp = corp
        self._contacts = contacts
        self._codes: Codes[Visitor] = Codes(corp, "OAU")

    def check_redirect(self, app: App | None, redirect_uri: str) -> None:
        """50001 when the page's host is not the app's trusted domain."""
        parts = urlsplit(redirect_uri)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Refusal(50001, redirect_uri)
        if app and app.trusted_domains is not None and parts.netloc not in app.trusted_domains:
            raise Refusal(50001, parts.netloc)

    def admit(self, visitor: Visitor, redirect_uri: str, state: str) -> str:
        """The address to send the visitor to: redirect_uri with code and state."""
        code = self._codes.issue(visitor, seconds=CODE_LIFE)
        parts = urlsplit(redirect_uri)
        query = [*parse_qsl(parts.query, keep_blank_values=True), ("code", code), ("state", state)]
        return urlunsplit(parts._replace(query=urlencode(query)))

    def identify(self, app: App, code: object) -> dict[str, str]:
        """auth/getuserinfo: burns the code. A customer is named only if a member the app sees follows them."""
        visitor = self._codes.find(code)
        if visitor is None:
            raise Refusal(40029)
        self._codes.burn(str(code))
        if visitor.kind == "staff":
            return {"userid": visitor.id}
        if visitor.kind == "stranger":
            return {"openid": visitor.id}
        openid = self._corp.customers[visitor.id].openid
        if any(app.sees(follow.userid) for follow in self._contacts.of_customer(visitor.id)):
            return {"openid": openid, "external_userid": visitor.id}
        return {"openid": openid}

    def named(self, who: str) -> Visitor:
        """`customer:wm…`, `staff:userid` or `stranger` as the cookie and the links write it."""
        kind, _, known = who.partition(":")
        if kind == "customer":
            return Visitor("customer", self._corp.get_customer(known).external_userid)
        if kind == "staff":
            return Visitor("staff", self._corp.get_staff(known).userid)
        if kind == "stranger":
            return Visitor("stranger", self._corp.new_id("oo"))
        raise Unknown("没有这个人")

    def choices(self) -> list[tuple[str, str]]:
        """(who, label) of everybody who may open a page."""
        staff = [(f"staff:{each.userid}", f"员工 {each.name}") for each in self._corp.staff.values()]
        people = self._corp.customers.values()
        customers = [(f"customer:{each.external_userid}", f"客户 {each.name}") for each in people]
        return [*customers, *staff, ("stranger", "陌生人（不是客户）")]


def choice_page(choices: list[tuple[str, str]], query: dict[str, str]) -> str:
    """The authorize page: WeChat knows who is looking, the simulator has to ask."""
    rows = "".join(
        f'<li><a href="?{escape(urlencode({**query, "as": who}))}">{escape(label)}</a></li>' for who, label in choices
    )
    return (
        '<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>选择访问者</title><style>body{font:16px/1.6 system-ui,sans-serif;margin:24px;background:#ededed}"
        "ul{list-style:none;padding:0;background:#fff;border-radius:8px}li{border-bottom:1px solid #eee}"
        "a{display:block;padding:12px 16px;color:#111;text-decoration:none}</style>"
        f"<h1>你是谁？</h1><p>微信会自己知道是谁打开了网页；在模拟器里由你选。</p><ul>{rows}</ul></html>"
    )
