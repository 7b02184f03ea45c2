"""Customer contact (客户联系): who follows whom, what we know of a customer, and the welcome."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bot.wecom.api.call import Caller, Page, pages
from bot.wecom.errors import NotAContact
from bot.wecom.reading import Fields, Json, given, instant, number, obj, objs, text, texts

CONTACT = "/cgi-bin/externalcontact"
WELCOME_SECONDS = 5.0  # the code dies after 20 s
STAFF_PER_CALL = 100
CONTACTS_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class Person:
    """A customer as WeCom knows them, whoever follows them."""

    external_userid: str
    name: str
    avatar: str
    kind: int  # 1 WeChat user, 2 WeCom user of another corp
    gender: int  # 0 unknown, 1 male, 2 female
    unionid: str = field(repr=False)  # only when the corp is bound to a developer account
    corp_name: str = ""


@dataclass(frozen=True, slots=True)
class Follow:
    """What one member of staff has noted about a customer, and since when."""

    userid: str
    remark: str
    description: str
    added_at: datetime
    state: str  # of the contact way the customer came by
    add_way: int
    tag_ids: tuple[str, ...]  # corp and strategy tags; personal ones have no id
    oper_userid: str = ""
    mobiles: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer and those who follow them: from batch listings one, from `get` up to 500 a page."""

    person: Person
    follows: tuple[Follow, ...]


class ContactsApi:
    """Calls of 客户联系 about single contacts."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get_follow_user_list(self, *, app: str | None = None) -> tuple[str, ...]:
        """The userids of staff who may have customers."""
        return texts(await self._caller.get(f"{CONTACT}/get_follow_user_list", app=app), "follow_user")

    async def list(self, userid: str, *, app: str | None = None) -> tuple[str, ...]:
        """The external_userids of one member of staff; nobody where WeCom says 84061 instead of an empty list."""
        try:
            return texts(await self._caller.get(f"{CONTACT}/list", {"userid": userid}, app=app), "external_userid")
        except NotAContact:
            return ()

    async def get(self, external_userid: str, *, app: str | None = None) -> Contact:
        """A customer with all who follow them. Raises NotAContact or NoSuchContact."""
        contact: Contact | None = None

        async def fetch(cursor: str) -> Page[Contact]:
            return await self.get_page(external_userid, cursor, app=app)

        async for page in pages(fetch):
            for found in page.items:
                contact = found if contact is None else Contact(contact.person, contact.follows + found.follows)
        assert contact is not None  # a page of this call is never empty
        return contact

    async def get_page(self, external_userid: str, cursor: str = "", *, app: str | None = None) -> Page[Contact]:
        """A customer with up to 500 of their followers."""
        params = {"external_userid": external_userid} | ({"cursor": cursor} if cursor else {})
        answer = await self._caller.get(f"{CONTACT}/get", params, app=app)
        follows = tuple(_follow(one) for one in objs(answer, "follow_user"))
        return Page((Contact(_person(obj(answer, "external_contact")), follows),), text(answer, "next_cursor"))

    async def batch_get_by_user(
        self, userids: Sequence[str], cursor: str = "", *, app: str | None = None
    ) -> Page[Contact]:
        """A page of the contacts of up to 100 members of staff; each item has exactly one follow."""
        body = given(userid_list=list(userids), cursor=cursor or None, limit=CONTACTS_PER_PAGE)
        answer = await self._caller.post(f"{CONTACT}/batch/get_by_user", body, app=app, repeatable=True)
        found = tuple(
            Contact(_person(obj(one, "external_contact")), (_follow(obj(one, "follow_info")),))
            for one in objs(answer, "external_contact_list")
        )
        return Page(found, text(answer, "next_cursor"))

    def batches(
        self, userids: Sequence[str], *, cursor: str = "", app: str | None = None
    ) -> AsyncIterator[Page[Contact]]:
        """All pages of `batch_get_by_user` from `cursor` on."""
        return pages(lambda at: self.batch_get_by_user(userids, at, app=app), cursor=cursor)

    async def remark(
        self,
        userid: str,
        external_userid: str,
        *,
        remark: str | None = None,
        description: str | None = None,
        company: str | None = None,
        mobiles: Sequence[str] | None = None,
        app: str | None = None,
    ) -> None:
        """Set what the member of staff sees of this customer; None leaves a field, an empty one clears it."""
        body = given(
            userid=userid,
            external_userid=external_userid,
            remark=remark,
            description=description,
            remark_company=company,
            remark_mobiles=None if mobiles is None else list(mobiles) or [""],
        )
        await self._caller.post(f"{CONTACT}/remark", body, app=app, repeatable=True)

    async def send_welcome_msg(self, welcome_code: str, message: Fields, *, app: str | None = None) -> None:
        """Greet a new contact with `message` (text, attachments): once, within 20 s.

        Not repeatable: a code that is answered as spent may have been spent by our own lost try.
        """
        body: Json = {**message, "welcome_code": welcome_code}
        await self._caller.post(f"{CONTACT}/send_welcome_msg", body, app=app, repeatable=False, seconds=WELCOME_SECONDS)


def _person(fields: Json) -> Person:
    return Person(
        text(fields, "external_userid"),
        text(fields, "name"),
        text(fields, "avatar"),
        number(fields, "type"),
        number(fields, "gender"),
        text(fields, "unionid"),
        text(fields, "corp_name"),
    )


def _follow(fields: Json) -> Follow:
    # `get` answers with tag objects, the batch with ids
    ids = texts(fields, "tag_id") or tuple(filter(None, (text(tag, "tag_id") for tag in objs(fields, "tags"))))
    return Follow(
        text(fields, "userid"),
        text(fields, "remark"),
        text(fields, "description"),
        instant(fields, "createtime"),
        text(fields, "state"),
        number(fields, "add_way"),
        ids,
        text(fields, "oper_userid"),
        texts(fields, "remark_mobiles"),
    )
