"""微信客服 as it lives in WeCom: accounts, sessions and their states, and what customers and servicers do by hand."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from bot.simulator.chats import Chat, Chats, Message
from bot.simulator.codes import Codes
from bot.simulator.corp import HOUR, Corp, Customer, Event
from bot.simulator.kf_log import MsgTokens, SyncLog
from bot.simulator.refusals import NotPossible, Refusal, Unknown

WINDOW = 48 * HOUR
WELCOME_LIFE = 20.0


class State(IntEnum):
    UNTREATED = 0
    BOT = 1
    QUEUE = 2
    HUMAN = 3
    ENDED = 4


class Change(IntEnum):
    """change_type of session_status_change."""

    ACCEPTED = 1
    TRANSFERRED = 2
    ENDED = 3
    REOPENED = 4


@dataclass(slots=True)
class Servicer:
    userid: str
    receiving: bool = True
    stop_type: int = 0


@dataclass(slots=True)
class Account:
    open_kfid: str
    name: str
    avatar: str = ""
    servicers: dict[str, Servicer] = field(default_factory=dict)
    log: SyncLog = field(default_factory=lambda: SyncLog(""))
    msgids: set[str] = field(default_factory=set)  # every msgid the API ever used: the vendor's protection from repeats
    apps: set[int] | None = None  # agentids it is authorised to; None is all
    opens_in: State = State.UNTREATED  # where a customer's first message puts the session
    queue: dict[str, None] = field(default_factory=dict)  # external_userids in state 2, oldest first
    messages: int = 0  # written by customers, for the statistics
    openings: int = 0
    deleted: bool = False


@dataclass(slots=True)
class Session:
    """One customer's conversation with one account, over all its openings."""

    account: Account
    customer: Customer
    chat: Chat
    state: State = State.ENDED
    servicer: str = ""
    last_customer_at: float = float("-inf")
    last_enter_at: float = float("-inf")
    welcomed_at: float = float("-inf")
    sent: int = 0  # API messages since the customer's last one
    prompted: set[State] = field(default_factory=set)  # states of this opening that already gave a msg_code
    scene: str = ""
    scene_param: str = ""
    rejected: bool = False  # the servicer switched this customer's messages off
    opening: int = 0

    @property
    def entered(self) -> bool:
        return self.last_enter_at > float("-inf")

    def lapsed(self, now: float) -> bool:
        return now - self.last_customer_at > WINDOW


@dataclass(slots=True, frozen=True)
class CodeUse:
    """What a welcome_code or msg_code stands for. `state` None is the welcome; else where the session must still be."""

    session: Session
    state: State | None
    opening: int


class Kf:
    """All kf accounts. Customers' and servicers' own deeds are methods here; what the API may do is kf_bot.py."""

    def __init__(self, corp: Corp, chats: Chats) -> None:
        self.corp = corp
        self.chats = chats
        self.tokens = MsgTokens(corp)
        self.codes: Codes[CodeUse] = Codes(corp, "KFC")
        self.accounts: dict[str, Account] = {}
        self.links: dict[str, tuple[str, str]] = {}  # enc_scene -> (open_kfid, scene)
        self.echo_own_changes = False  # whether trans by API comes back as session_status_change (unverified)
        self._sessions: dict[tuple[str, str], Session] = {}
        self._held: dict[str, dict[tuple[str, str], Session]] = {}  # userid -> sessions in state 3

    # setting up

    def add_account(
        self, name: str, open_kfid: str | None = None, servicers: list[str] | None = None, avatar: str = ""
    ) -> Account:
        known = open_kfid or self.corp.new_id("wk")
        account = Account(known, name, avatar, log=SyncLog(self.corp.new_id("c", 64)))
        account.servicers = {userid: Servicer(userid) for userid in servicers or []}
        self.accounts[known] = account
        self.chats.name(known, name, avatar)
        return account

    def get_account(self, open_kfid: str) -> Account:
        account = self.accounts.get(open_kfid)
        if account is None or account.deleted:
            raise Unknown("没有这个客服账号")
        return account

    def session(self, open_kfid: str, external_userid: str) -> Session:
        """The session of a customer with an account; made when they meet for the first time."""
        found = self._sessions.get((open_kfid, external_userid))
        if found is None:
            account, customer = self.get_account(open_kfid), self.corp.get_customer(external_userid)
            found = Session(account, customer, self.chats.private("kf", external_userid, open_kfid))
            self._sessions[(open_kfid, external_userid)] = found
        if found.state != State.ENDED and found.lapsed(self.corp.now()):
            self._lapse(found)
        return found

    def consulted_within(self, external_userid: str, seconds: float) -> Session | None:
        """The customer's latest session if they entered or wrote to any account within `seconds`."""
        own = [found for known in self.accounts if (found := self._sessions.get((known, external_userid)))]
        latest = max(own, key=_last_seen, default=None)
        return latest if latest and self.corp.now() - _last_seen(latest) <= seconds else None

    def sessions_for(self, userid: str) -> list[Session]:
        """What an employee's client shows: the queues of their accounts and the sessions they hold."""
        accounts = [account for account in self.accounts.values() if userid in account.servicers]
        queued = [self.session(account.open_kfid, known) for account in accounts for known in list(account.queue)]
        held = [self.session(*key) for key in list(self._held.get(userid, {}))]
        return [one for one in queued if one.state == State.QUEUE] + [one for one in held if one.state == State.HUMAN]

    def end_lapsed(self) -> None:
        """End every session without a customer's word for 48 hours; called when the clock was pushed."""
        now = self.corp.now()
        for session in self._sessions.values():
            if session.state != State.ENDED and session.lapsed(now):
                self._lapse(session)

    # a customer's deeds

    def enter(self, open_kfid: str, external_userid: str, scene: str = "", scene_param: str = "") -> str:
        """The customer opens the chat. Returns the welcome_code that the event carries, or an empty text."""
        session, now = self.session(open_kfid, external_userid), self.corp.now()
        session.scene, session.scene_param, session.last_enter_at = scene, scene_param, now
        event: dict[str, Any] = {"scene": scene, "scene_param": scene_param}
        code = ""
        if now - session.welcomed_at > WINDOW and session.lapsed(now):
            code = self.codes.issue(CodeUse(session, None, session.opening), seconds=WELCOME_LIFE)
            event["welcome_code"] = code
        self._log_event(session.account, "enter_session", session, **event)
        return code

    def say(self, open_kfid: str, external_userid: str, msgtype: str, payload: dict[str, Any]) -> Message:
        """The customer writes: the window is full again, and an ended session opens."""
        session, account = self.session(open_kfid, external_userid), self.get_account(open_kfid)
        now = self.corp.now()
        msgid = self.corp.new_id("from_msgid_", 80)
        message = self.chats.post(session.chat, "customer", external_userid, msgtype, payload, msgid)
        if session.rejected:
            return message
        account.messages += 1
        session.last_customer_at, session.sent = now, 0
        if session.state == State.ENDED:
            session.opening += 1
            account.openings += 1
            session.prompted.clear()
            self.move(session, account.opens_in)
        self._log(account, self._item(session, 3, msgtype, payload, msgid))
        return message

    def recall(self, open_kfid: str, external_userid: str, seq: int) -> Message:
        session = self.session(open_kfid, external_userid)
        message = self.chats.recall(session.chat, seq, by=external_userid)
        self._log_event(session.account, "user_recall_msg", session, recall_msgid=message.msgid)
        return message

    # a servicer's deeds

    def accept(self, userid: str, open_kfid: str, external_userid: str) -> Session:
        session = self._of_servicer(userid, open_kfid, external_userid)
        if session.state != State.QUEUE:
            raise NotPossible("这位客户不在待接入池里")
        self.move(session, State.HUMAN, userid)
        self._log_change(session, Change.ACCEPTED, new=userid, code=self.message_code(session))
        return session

    def end(self, userid: str, open_kfid: str, external_userid: str) -> Session:
        session = self._held_by(userid, open_kfid, external_userid)
        self.move(session, State.ENDED)
        self._log_change(session, Change.ENDED, old=userid, code=self.message_code(session))
        return session

    def transfer(self, userid: str, open_kfid: str, external_userid: str, to_userid: str) -> Session:
        session = self._held_by(userid, open_kfid, external_userid)
        if to_userid not in session.account.servicers or to_userid == userid:
            raise NotPossible("只能转给这个账号的其他接待人员")
        self.move(session, State.HUMAN, to_userid)
        self._log_change(session, Change.TRANSFERRED, old=userid, new=to_userid)
        return session

    def reply(
        self, userid: str, open_kfid: str, external_userid: str, msgtype: str, payload: dict[str, Any]
    ) -> Message:
        """A servicer writes in the client; writing into an ended session opens it again as theirs."""
        session = self._of_servicer(userid, open_kfid, external_userid)
        if session.state == State.ENDED:
            self.move(session, State.HUMAN, userid)
            self._log_change(session, Change.REOPENED, new=userid)
        elif session.state != State.HUMAN or session.servicer != userid:
            raise NotPossible("先接入这位客户，再回复")
        msgid = self.corp.new_id("from_msgid_", 80)
        message = self.chats.post(session.chat, "staff", userid, msgtype, payload, msgid)
        self._log(session.account, {**self._item(session, 5, msgtype, payload, msgid), "servicer_userid": userid})
        return message

    def recall_reply(self, userid: str, open_kfid: str, external_userid: str, seq: int) -> Message:
        session = self._of_servicer(userid, open_kfid, external_userid)
        message = self.chats.recall(session.chat, seq, by=userid)
        self._log_event(
            session.account, "servicer_recall_msg", session, recall_msgid=message.msgid, servicer_userid=userid
        )
        return message

    def set_receiving(self, userid: str, open_kfid: str, receiving: bool, stop_type: int = 0) -> None:
        account = self.get_account(open_kfid)
        if userid not in account.servicers:
            raise NotPossible("这位员工不是该账号的接待人员")
        servicer = account.servicers[userid]
        servicer.receiving, servicer.stop_type = receiving, stop_type
        status: dict[str, Any] = {"status": 1} if receiving else {"status": 2, "stop_type": stop_type}
        self._log_event(account, "servicer_status_change", None, servicer_userid=userid, **status)
        self.corp.changed(userid, "sessions")

    def set_rejected(self, userid: str, open_kfid: str, external_userid: str, rejected: bool) -> None:
        session = self._of_servicer(userid, open_kfid, external_userid)
        session.rejected = rejected
        self._log_event(
            session.account,
            "reject_customer_msg_switch_change",
            session,
            servicer_userid=userid,
            reject_switch=int(rejected),
        )

    # shared with the API's side

    def move(self, session: Session, state: State, servicer: str = "") -> None:
        """Change state and owner, and tell everybody's screens."""
        account, known = session.account, session.customer.external_userid
        concerned = {userid for userid in (session.servicer, servicer) if userid}
        if State.QUEUE in (session.state, state):
            concerned |= account.servicers.keys()
        self._held.get(session.servicer, {}).pop((account.open_kfid, known), None)
        account.queue.pop(known, None)
        session.state, session.servicer = state, servicer
        if state == State.QUEUE:
            account.queue[known] = None
        elif state == State.HUMAN:
            self._held.setdefault(servicer, {})[(account.open_kfid, known)] = session
        session.chat.watchers = {servicer} if servicer else set(account.servicers) if state == State.QUEUE else set()
        self._announce(session)
        for userid in concerned:
            self.corp.changed(userid, "sessions")

    def message_code(self, session: Session) -> str:
        """The msg_code of the state just reached; empty when this opening had one for it already."""
        if session.state in session.prompted:
            return ""
        session.prompted.add(session.state)
        life = WELCOME_LIFE if session.state == State.ENDED else WINDOW
        return self.codes.issue(CodeUse(session, session.state, session.opening), seconds=life)

    def log_send_failure(self, session: Session, msgid: str, fail_type: int) -> None:
        self._log_event(session.account, "msg_send_fail", session, fail_msgid=msgid, fail_type=fail_type)

    def log_own_change(self, session: Session, change: Change, **who: str) -> None:
        if self.echo_own_changes:
            self._log_change(session, change, **who)

    def _of_servicer(self, userid: str, open_kfid: str, external_userid: str) -> Session:
        session = self.session(open_kfid, external_userid)
        if userid not in session.account.servicers:
            raise NotPossible("这位员工不是该账号的接待人员")
        return session

    def _held_by(self, userid: str, open_kfid: str, external_userid: str) -> Session:
        session = self._of_servicer(userid, open_kfid, external_userid)
        if session.state != State.HUMAN or session.servicer != userid:
            raise NotPossible("这位客户现在不由这位员工接待")
        return session

    def _lapse(self, session: Session) -> None:
        held_by = session.servicer
        self.move(session, State.ENDED)
        if held_by:
            self._log_change(session, Change.ENDED, old=held_by)

    def _announce(self, session: Session) -> None:
        """The grey line the customer sees, and the state that the chat list shows."""
        lines = {State.QUEUE: "正在排队，请稍候", State.ENDED: "本次会话已结束"}
        if session.state == State.HUMAN:
            lines[State.HUMAN] = f"{self.chats.title(session.servicer)[0]} 为您服务"
        if line := lines.get(session.state):
            self.chats.post(session.chat, "system", "", "event", {"content": line})
        self.corp.feed.publish(f"phone:{session.customer.external_userid}", "chats", {})

    # the log that sync_msg reads

    def _item(self, session: Session, origin: int, msgtype: str, payload: dict[str, Any], msgid: str) -> dict[str, Any]:
        return {
            "msgid": msgid,
            "open_kfid": session.account.open_kfid,
            "external_userid": session.customer.external_userid,
            "send_time": int(self.corp.now()),
            "origin": origin,
            "msgtype": msgtype,
            msgtype: payload,
        }

    def _log_change(self, session: Session, change: Change, old: str = "", new: str = "", code: str = "") -> None:
        facts: dict[str, Any] = {"change_type": int(change), "old_servicer_userid": old, "new_servicer_userid": new}
        if code:
            facts["msg_code"] = code
        self._log_event(session.account, "session_status_change", session, **facts)

    def _log_event(self, account: Account, event_type: str, session: Session | None, **facts: Any) -> None:
        who = {"external_userid": session.customer.external_userid} if session else {}
        event = {"event_type": event_type, "open_kfid": account.open_kfid, **who, **facts}
        item = {
            "msgid": self.corp.new_id("event_msgid_", 80),
            "send_time": int(self.corp.now()),
            "origin": 4,
            "msgtype": "event",
            "event": event,
        }
        self._log(account, item)

    def _log(self, account: Account, item: dict[str, Any]) -> None:
        """Append, and call the service to come and pull. The callback says nothing but which account."""
        account.log.append(item, self.corp.now())
        self.corp.emit(
            Event(
                "kf",
                {
                    "ToUserName": self.corp.corpid,
                    "CreateTime": int(self.corp.now()),
                    "MsgType": "event",
                    "Event": "kf_msg_or_event",
                    "Token": self.tokens.issue(account.open_kfid),
                    "OpenKfId": account.open_kfid,
                },
            )
        )


def _last_seen(session: Session) -> float:
    return max(session.last_customer_at, session.last_enter_at)


def must_exist(accounts: dict[str, Account], open_kfid: object) -> Account:
    """The account an API call names: 60251 missing, 95000 malformed, 95004 unknown or deleted."""
    if not open_kfid:
        raise Refusal(60251)
    if not isinstance(open_kfid, str) or not open_kfid.startswith("wk"):
        raise Refusal(95000)
    account = accounts.get(open_kfid)
    if account is None or account.deleted:
        raise Refusal(95004)
    return account
