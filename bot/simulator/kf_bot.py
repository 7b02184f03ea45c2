"""What the API may do to a kf conversation: change its state, send within the window, answer an event's code."""

from typing import Any

from bot.simulator import checks, kf_messages
from bot.simulator.checks import Body
from bot.simulator.corp import App
from bot.simulator.kf import Account, Change, CodeUse, Kf, Session, State, must_exist
from bot.simulator.media import Media
from bot.simulator.refusals import Refusal

SENDS_PER_MESSAGE = 5
TRANSITIONS: dict[State, set[State]] = {
    State.UNTREATED: {State.BOT, State.QUEUE, State.HUMAN},
    State.BOT: {State.QUEUE, State.HUMAN},
    State.QUEUE: {State.HUMAN},
    State.HUMAN: {State.HUMAN, State.ENDED},
    State.ENDED: set(),
}
UNVERIFIED_ENDINGS = {State.UNTREATED, State.BOT, State.QUEUE}  # → 4 by API is not in the vendor's table
CODE_TYPES = {None: {"text", "msgmenu"}, State.ENDED: {"text", "msgmenu"}}


class KfBot:
    def __init__(self, kf: Kf, media: Media) -> None:
        self._kf = kf
        self._media = media
        self.allow_ending_from_any_state = False
        self.failing: list[tuple[int, float]] = []  # (fail_type, seconds until the event) for the next sends

    def account(self, app: App, open_kfid: object) -> Account:
        account = must_exist(self._kf.accounts, open_kfid)
        if account.apps is not None and app.agentid not in account.apps:
            raise Refusal(48007)
        return account

    def session(self, app: App, body: Body, who: str = "external_userid") -> Session:
        account = self.account(app, body.get("open_kfid"))
        customer = self._kf.corp.known_customer(body.get(who))
        return self._kf.session(account.open_kfid, customer.external_userid)

    # states

    def change_state(self, app: App, body: Body) -> str:
        """service_state/trans; returns the msg_code, empty when this state already gave one."""
        session = self.session(app, body)
        wanted = State(checks.integer(body, "service_state", -1, low=0, high=4))
        if not self._allowed(session.state, wanted):
            raise Refusal(95016, f"{session.state} -> {wanted}")
        before, servicer = session.servicer, ""
        if wanted == State.HUMAN:
            servicer = self._receiving_servicer(session, checks.text(body, "servicer_userid"))
        self._kf.move(session, wanted, servicer)
        self._echo(session, before)
        return self._kf.message_code(session) if wanted >= State.QUEUE else ""

    def _allowed(self, state: State, wanted: State) -> bool:
        if wanted == State.ENDED and state in UNVERIFIED_ENDINGS:
            return self.allow_ending_from_any_state
        return wanted in TRANSITIONS[state]

    def _receiving_servicer(self, session: Session, userid: str) -> str:
        member = self._kf.corp.find_staff(userid)
        servicer = session.account.servicers.get(member.userid) if member and member.active else None
        if servicer is None:
            raise Refusal(95014, userid)
        if not servicer.receiving:
            raise Refusal(95019, userid)
        if session.servicer == servicer.userid:
            raise Refusal(95016, "already with this servicer")
        return servicer.userid

    def _echo(self, session: Session, before: str) -> None:
        if session.state == State.ENDED:
            self._kf.log_own_change(session, Change.ENDED, old=before)
        elif session.state == State.HUMAN:
            change = Change.TRANSFERRED if before else Change.ACCEPTED
            self._kf.log_own_change(session, change, old=before, new=session.servicer)

    # sending

    def send(self, app: App, body: Body) -> str:
        """kf/send_msg. A repeated msgid is refused before the window is looked at: a retry learns that it arrived."""
        session = self.session(app, body, "touser")
        msgid = self._fresh_msgid(session.account, checks.msgid(body))
        msgtype, payload = kf_messages.checked(body, self._media)
        if session.opening and session.lapsed(self._kf.corp.now()):
            raise Refusal(95002)
        if session.state not in (State.UNTREATED, State.BOT):
            raise Refusal(95018, f"session is in state {session.state}")
        if session.sent >= SENDS_PER_MESSAGE:
            raise Refusal(95001)
        session.sent += 1
        if session.state == State.UNTREATED:
            self._kf.move(session, State.BOT)
        self._deliver(session, msgid, msgtype, payload)
        return msgid

    def send_on_event(self, body: Body) -> str:
        """kf/send_msg_on_event: one message for one code, outside the 5 in 48 h."""
        code = checks.text(body, "code")
        use = self._kf.codes.find(code)
        if use is None:
            raise Refusal(41050, "code is unknown, used or too old")
        msgid = self._fresh_msgid(use.session.account, checks.msgid(body))
        self._check_code_type(body, use)
        msgtype, payload = kf_messages.checked(body, self._media)
        self._check_code_state(use)
        self._kf.codes.burn(code)
        if use.state is None:
            use.session.welcomed_at = self._kf.corp.now()
        self._deliver(use.session, msgid, msgtype, payload)
        return msgid

    def _check_code_type(self, body: Body, use: CodeUse) -> None:
        if body.get("msgtype") not in CODE_TYPES.get(use.state, {"text"}):
            raise Refusal(40008, "not allowed with this code")

    def _check_code_state(self, use: CodeUse) -> None:
        session = self._kf.session(use.session.account.open_kfid, use.session.customer.external_userid)
        if use.state is None or (session.state == use.state and session.opening == use.opening):
            return
        raise Refusal(95013 if session.state == State.ENDED else 95018)

    def _fresh_msgid(self, account: Account, msgid: str) -> str:
        """The vendor refuses a msgid it has seen. Its errcode is not documented: 40058 is our choice (unverified)."""
        if msgid in account.msgids:
            raise Refusal(40058, "msgid duplicated")
        return msgid or self._kf.corp.new_id("", 128)

    def _deliver(self, session: Session, msgid: str, msgtype: str, payload: dict[str, Any]) -> None:
        session.account.msgids.add(msgid)
        if self.failing:
            fail_type, seconds = self.failing.pop(0)
            self._kf.corp.later(seconds, lambda: self._kf.log_send_failure(session, msgid, fail_type))
            return  # accepted, then lost: the customer never sees it
        sender = session.account.open_kfid
        self._kf.chats.post(session.chat, "bot", sender, msgtype, payload, msgid)
