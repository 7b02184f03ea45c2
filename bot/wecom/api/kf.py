"""Customer service (微信客服): accounts, links, servicers, sessions, messages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from bot.wecom.api.call import Caller, Page
from bot.wecom.errors import DuplicateMsgid
from bot.wecom.reading import Fields, Json, given, number, obj, objs, text, texts

KF = "/cgi-bin/kf"
PULL_SECONDS = 20.0
ACCOUNTS_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class Account:
    open_kfid: str
    name: str
    avatar: str
    manageable: bool  # our app may manage it


@dataclass(frozen=True, slots=True)
class Servicer:
    """A member of staff who answers, or a department whose people do."""

    userid: str = ""
    department_id: int = 0
    receiving: bool = False
    suspended: bool = False  # not receiving for a while only


@dataclass(frozen=True, slots=True)
class ServicerResult:
    userid: str
    department_id: int
    errcode: int
    errmsg: str  # "ignored": it was so already


class ServiceState(IntEnum):
    """Who holds a session. The bot may send in UNTREATED and BOT."""

    UNTREATED = 0
    BOT = 1
    QUEUE = 2
    HUMAN = 3
    ENDED = 4


@dataclass(frozen=True, slots=True)
class Session:
    state: ServiceState
    servicer_userid: str = ""  # in HUMAN


@dataclass(frozen=True, slots=True)
class Customer:
    external_userid: str
    nickname: str
    avatar: str
    gender: int  # 0 unknown, 1 male, 2 female
    unionid: str = field(repr=False)
    scene: str = ""  # of the latest session
    scene_param: str = ""


@dataclass(frozen=True, slots=True)
class Customers:
    found: tuple[Customer, ...]
    invalid: tuple[str, ...]  # no customers of ours, or silent for more than 48 hours


class KfApi:
    """Calls of 微信客服. `app` is the app that may use the account; None is the client's usual one."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def account_list(self, cursor: str = "", *, app: str | None = None) -> Page[Account]:
        """One page; this listing counts, it has no cursor of its own. Use with `pages`."""
        offset = int(cursor or 0)
        body: Json = {"offset": offset, "limit": ACCOUNTS_PER_PAGE}
        answer = await self._caller.post(f"{KF}/account/list", body, app=app, repeatable=True)
        found = tuple(_account(one) for one in objs(answer, "account_list"))
        return Page(found, str(offset + len(found)) if len(found) == ACCOUNTS_PER_PAGE else "")

    async def add_contact_way(self, open_kfid: str, scene: str = "", *, app: str | None = None) -> str:
        """A link that opens the chat. With a scene, `&scene_param=…` may be appended; both come back on entering.

        Repeatable: the link of an account and a scene is always the same one.
        """
        body = given(open_kfid=open_kfid, scene=scene or None)
        return text(await self._caller.post(f"{KF}/add_contact_way", body, app=app, repeatable=True), "url")

    async def servicer_add(
        self, open_kfid: str, userids: Sequence[str], *, departments: Sequence[int] = (), app: str | None = None
    ) -> tuple[ServicerResult, ...]:
        """Up to 100 people and 20 departments. Each has its own result."""
        return await self._servicers("add", open_kfid, userids, departments, app)

    async def servicer_del(
        self, open_kfid: str, userids: Sequence[str], *, departments: Sequence[int] = (), app: str | None = None
    ) -> tuple[ServicerResult, ...]:
        """Up to 100 people and 100 departments. Each has its own result."""
        return await self._servicers("del", open_kfid, userids, departments, app)

    async def _servicers(
        self, verb: str, open_kfid: str, userids: Sequence[str], departments: Sequence[int], app: str | None
    ) -> tuple[ServicerResult, ...]:
        body = given(
            open_kfid=open_kfid, userid_list=list(userids) or None, department_id_list=list(departments) or None
        )
        answer = await self._caller.post(f"{KF}/servicer/{verb}", body, app=app, repeatable=True)
        return tuple(
            ServicerResult(
                text(one, "userid"), number(one, "department_id"), number(one, "errcode"), text(one, "errmsg")
            )
            for one in objs(answer, "result_list")
        )

    async def servicer_list(self, open_kfid: str, *, app: str | None = None) -> tuple[Servicer, ...]:
        answer = await self._caller.get(f"{KF}/servicer/list", {"open_kfid": open_kfid}, app=app)
        return tuple(_servicer(one) for one in objs(answer, "servicer_list"))

    async def get_state(self, open_kfid: str, external_userid: str, *, app: str | None = None) -> Session:
        body: Json = {"open_kfid": open_kfid, "external_userid": external_userid}
        answer = await self._caller.post(f"{KF}/service_state/get", body, app=app, repeatable=True)
        state = number(answer, "service_state")
        # a state we do not know is one in which we do not send
        known = ServiceState(state) if state in set(ServiceState) else ServiceState.ENDED
        return Session(known, text(answer, "servicer_userid") or text(answer, "service_userid"))

    async def trans(
        self,
        open_kfid: str,
        external_userid: str,
        state: ServiceState,
        *,
        servicer_userid: str | None = None,
        app: str | None = None,
    ) -> str:
        """Move the session; returns the code for one prompt to the customer, or "".

        Not repeatable: a second 0 → 1 or 3 → 3 is refused, and the code comes with the first answer only. After
        OutcomeUnknown `get_state` says what happened.
        """
        body = given(
            open_kfid=open_kfid,
            external_userid=external_userid,
            service_state=int(state),
            servicer_userid=servicer_userid,
        )
        return text(await self._caller.post(f"{KF}/service_state/trans", body, app=app, repeatable=False), "msg_code")

    async def sync_msg(
        self,
        open_kfid: str,
        *,
        cursor: str | None = None,
        token: str | None = None,
        limit: int = 1000,
        app: str | None = None,
    ) -> Json:
        """One page as the vendor sends it: next_cursor, has_more and msg_list, whose items parse_kf_item reads.

        No cursor: from three days ago. Raises PullTokenExpired: pull again without the token.
        """
        body = given(open_kfid=open_kfid, cursor=cursor or None, token=token or None, limit=limit, voice_format=0)
        # Pulls without a token are limited strictly: hitting that limit must not silence those that have one.
        lane = "" if token else "without token"
        return await self._caller.post(
            f"{KF}/sync_msg", body, app=app, repeatable=True, seconds=PULL_SECONDS, lane=lane
        )

    async def send_msg(self, body: Fields, *, msgid: str, app: str | None = None) -> str:
        """Send `body` (touser, open_kfid, msgtype and its payload) once, however often it is tried; returns the msgid.

        msgid: ≤ 32 of [0-9a-zA-Z_-], the same for every try of one message. Repeatable because WeCom refuses a msgid
        it has accepted: DuplicateMsgid on the first try here means that an earlier process had sent it.
        """
        try:
            answer = await self._caller.post(f"{KF}/send_msg", {**body, "msgid": msgid}, app=app, repeatable=True)
        except DuplicateMsgid as refused:
            if refused.after_unknown:  # the try whose answer was lost went through
                return msgid
            raise
        return text(answer, "msgid") or msgid

    async def send_msg_on_event(self, body: Fields, *, msgid: str, app: str | None = None) -> str:
        """Send `body` (code, msgtype and its payload) on a one-use code of an event or a transition.

        Not repeatable: what a spent code is answered with does not say whether we spent it.
        """
        answer = await self._caller.post(f"{KF}/send_msg_on_event", {**body, "msgid": msgid}, app=app, repeatable=False)
        return text(answer, "msgid") or msgid

    async def customer_batchget(
        self, external_userids: Sequence[str], *, with_session: bool = False, app: str | None = None
    ) -> Customers:
        """Names and pictures of up to 100 customers."""
        body: Json = {
            "external_userid_list": list(external_userids),
            "need_enter_session_context": int(with_session),
        }
        answer = await self._caller.post(f"{KF}/customer/batchget", body, app=app, repeatable=True)
        found = tuple(_customer(one) for one in objs(answer, "customer_list"))
        return Customers(found, texts(answer, "invalid_external_userid"))


def _account(fields: Fields) -> Account:
    return Account(
        text(fields, "open_kfid"), text(fields, "name"), text(fields, "avatar"), bool(fields.get("manage_privilege"))
    )


def _servicer(fields: Fields) -> Servicer:
    receiving = "status" in fields and number(fields, "status") == 0
    return Servicer(
        text(fields, "userid"),
        number(fields, "department_id"),
        receiving,
        suspended=not receiving and number(fields, "stop_type") == 1,
    )


def _customer(fields: Fields) -> Customer:
    context = obj(fields, "enter_session_context")
    return Customer(
        text(fields, "external_userid"),
        text(fields, "nickname"),
        text(fields, "avatar"),
        number(fields, "gender"),
        text(fields, "unionid"),
        text(context, "scene"),
        text(context, "scene_param"),
    )
