"""`siyu coupons …`: a coupon for everybody of a segment, and how far that has come."""

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncSession

from bot import texts
from bot.commands.database import with_session
from bot.web.grant_names import BECAUSE, STATUS
from campaigns import coupon_grants
from campaigns.coupon_grants import Outlook
from campaigns.models.coupon_grant import CouponGrant
from crm.base.clock import SHANGHAI, SystemClock
from crm.base.errors import ShopError

cli = typer.Typer(help="批量发券：给一个人群每人一张，看进展，停下", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
Found = TypeVar("Found")
Name = Annotated[str, typer.Argument(help="这一次的名字，见 siyu coupons grants")]


@cli.command()
def give(
    offer: Annotated[str, typer.Argument(help="优惠的名字（key）")],
    segment: Annotated[str, typer.Option(help="给哪个人群，已存的名字")],
    name: Annotated[str, typer.Option(help="这一次叫什么；同一个名字再说一遍不会再发")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="真的发；不写只说会发给多少人")] = False,
) -> None:
    """Give one coupon of an offer to everybody of a segment; without --yes only say whom that would reach."""
    name = name or f"{offer}·{segment}"
    if not 0 < len(name) <= 60:
        _fail("名字 1 到 60 个字，写 --name")

    async def work(session: AsyncSession, now: datetime) -> tuple[Outlook, CouponGrant | None]:
        told = await coupon_grants.condition_of(session, segment)
        seen = await coupon_grants.outlook(session, offer, told, now=now)
        if not yes:
            return seen, None
        return seen, await coupon_grants.begin(session, name, offer, told, by=getpass.getuser(), now=now)

    seen, grant = _with_session(work, writes=yes)
    out.print(_words(seen), markup=False)
    if grant is None:
        out.print(f"什么也没发。要发就加 --yes；这一次叫“{name}”", markup=False)
    else:
        out.print(
            f"“{grant.name}”：{_stands(grant)}，由 siyu serve 或 worker 发，siyu coupons grants 看进展", markup=False
        )


@cli.command()
def grants() -> None:
    """What was given to whole segments, and how far each has come."""
    rows = _with_session(lambda session, now: coupon_grants.newest(session), writes=False)
    for one, offer in rows:
        at = f"{one.created_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        out.print(f"“{one.name}”（优惠 {offer.key}，{at}，{one.created_by}）：{_stands(one)}", markup=False)
        ends = ((one.had_it, "已经有了"), (one.at_limit, "到限领了"), (one.missed, "来时没有了"))
        others = "".join(f"，{count:,} 人{why}" for count, why in ends if count)
        out.print(f"    轮到 {one.selected:,} 人，发了 {one.issued:,} 张{others}", markup=False)
    if not rows:
        out.print("还没有批量发过券。")


@cli.command()
def stop(name: Name) -> None:
    """Give nobody more; who has one keeps it."""
    _print(_with_session(lambda session, now: coupon_grants.stop(session, name, now=now)))


@cli.command(name="go-on")
def go_on(name: Name) -> None:
    """Let one go on that slept for too long and asks."""
    _print(_with_session(lambda session, now: coupon_grants.go_on(session, name, now=now)))


def _words(seen: Outlook) -> str:
    odd = "（选中了全部会员，确认不是写错了？）" if 1 < seen.everybody == seen.selected else ""
    words = f"这个人群现在有 {seen.selected:,} 人{odd}"
    if not seen.selected:
        return "这个人群现在一个人也没有。"
    if not seen.is_open:
        return f"{words}；这个优惠现在不发：还没开始、过期了，或者停发了。"
    if seen.short_of:
        return f"{words}；只剩 {seen.left:,} 张，按会员号先后发，{seen.short_of:,} 人会没有。"
    return f"{words}；张数够。" if seen.left is not None else f"{words}；不限张数。"


def _stands(one: CouponGrant) -> str:
    because = BECAUSE.get(one.ended_because, one.ended_because)
    return STATUS[one.status][0] + (f"：{because}" if because else "")


def _print(one: CouponGrant) -> None:
    out.print(f"“{one.name}”：{_stands(one)}，发了 {one.issued:,} 张", markup=False)


def _with_session(work: Callable[[AsyncSession, datetime], Awaitable[Found]], *, writes: bool = True) -> Found:
    try:
        return with_session(lambda session: work(session, SystemClock().now()), writes=writes)
    except coupon_grants.SegmentUnknown as no:
        _fail(f"没有叫“{no.segment}”的人群")
    except coupon_grants.GrantOver as no:
        _fail(f"“{no.name}”现在{STATUS[no.stands][0]}，做不了这件事")
    except ShopError as no:
        _fail(REFUSED.get(no.code) or texts.refusal(no))


REFUSED = {
    "grant.not_found": "没有叫这个名字的批量发券，看 siyu coupons grants",
    "grant.name_taken": "这个名字发过别的优惠，或者发给了别的人；换一个 --name",
    "grant.nobody": "这个人群现在一个人也没有，什么也没发",
    "offer.not_found": "没有叫这个名字的优惠",
    "offer.not_open": "这个优惠现在不发：还没开始、过期了，或者停发了",
}


def _fail(words: str) -> NoReturn:
    Console(stderr=True).print(words, style="red", markup=False)
    raise typer.Exit(2)
