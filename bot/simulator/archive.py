"""The chat archive (会话内容存档): what is said in customer groups, for those who hold a licence and the right key.

The real one is a native SDK. Here its two functions answer over HTTP, and DecryptData is a stand-in of our own: the
vendor's cipher is not documented. Records, numbers, RSA and agreements are as documented.
"""

import base64
import hashlib
import json
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from bot.simulator.chats import Chat, Chats, Message
from bot.simulator.corp import DAY, Corp, Customer
from bot.simulator.faults import Limits
from bot.simulator.groups import Groups
from bot.simulator.refusals import NotPossible, Refusal

KEPT_SECONDS = 5 * DAY
MOST = 1000
CALLS_PER_MINUTE = 600
NOTICE_SECONDS = 15.0
AGREE, DISAGREE = "Agree", "Disagree"


@dataclass(frozen=True, slots=True)
class Record:
    seq: int
    msgid: str
    at: float
    plaintext: str


@dataclass(slots=True)
class Setup:
    """What the admin console holds. agentid: the app that is told of news."""

    secret: str
    public_key: rsa.RSAPublicKey
    version: int
    agentid: int
    seats: set[str]  # userids with a licence: only chats they are in are archived


class Archive:
    """Off until it is set up. It hears groups only, and nobody else does."""

    def __init__(self, corp: Corp, chats: Chats, groups: Groups) -> None:
        self.corp, self.groups = corp, groups
        self.setup: Setup | None = None
        self.records: deque[Record] = deque()
        self._seq = 0
        self._said: dict[tuple[str, str], tuple[str, int]] = {}  # (chat_id, external_userid) -> (status, since)
        self._noticed_at = float("-inf")
        self._notice_waits = False
        self._window = Limits()
        chats.listeners.append(self._hear)

    # the admin console, and customers

    def set_up(self, secret: str, public_key: str, version: int, agentid: int, seats: list[str]) -> None:
        """A new public key is used for records read from now on."""
        try:
            key = load_pem_public_key(public_key.encode())
        except ValueError as wrong:
            raise NotPossible("公钥要是 PEM 格式") from wrong
        if not isinstance(key, rsa.RSAPublicKey):
            raise NotPossible("公钥要是 RSA 的")
        known = {self.corp.get_staff(userid).userid for userid in seats}
        self.setup = Setup(secret, key, version, agentid, known)

    def agree(self, chat_id: str, external_userid: str, agrees: bool) -> None:
        """A customer lets their words in a group be archived, or no longer."""
        person: Customer = self.corp.get_customer(external_userid)
        group = self.groups.find(chat_id)
        if person.external_userid not in group.members:
            raise NotPossible("不在群里")
        status = AGREE if agrees else DISAGREE
        self._said[(chat_id, person.external_userid)] = (status, int(self.corp.now()))
        kind = "agree" if agrees else "disagree"
        told = {"userid": person.external_userid, f"{kind}_time": int(self.corp.now() * 1000)}
        self._record(chat_id, person.external_userid, kind, told)

    # the bridge: GetChatData and DecryptData

    def check_secret(self, given: str) -> Setup:
        if self.setup is None or given != f"Bearer {self.setup.secret}":
            raise Refusal(40001)
        return self.setup

    def chat_data(self, setup: Setup, after: int, limit: int) -> list[dict[str, Any]]:
        """Records behind a number; those of more than five days ago are gone."""
        now = self.corp.now()
        if not 0 < limit <= MOST:
            raise Refusal(40058, "limit")
        if not self._window.count("chatdata", CALLS_PER_MINUTE, now):
            raise Refusal(45009)
        while self.records and self.records[0].at < now - KEPT_SECONDS:
            self.records.popleft()
        found = [one for one in self.records if one.seq > after][:limit]
        return [self._sealed(setup, one) for one in found]

    def decrypt(self, key: str, sealed: str) -> str | None:
        """The stand-in for DecryptData."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            opened = _cipher(key).decryptor()
            plain = opened.update(raw) + opened.finalize()
            content = plain[: -plain[-1]].decode()
            json.loads(content)
        except (ValueError, IndexError):
            return None
        return content

    # the HTTP helpers

    def room_agreements(self, chat_id: object) -> list[dict[str, Any]]:
        """Everybody in the group has agreed unless they said otherwise."""
        group = self.groups.get(chat_id)
        people = [member for member in group.members.values() if member.type == 2]
        shown = []
        for member in people:
            status, since = self._said.get((group.chat_id, member.id), (AGREE, member.join_time))
            shown.append({"status_change_time": since, "agree_status": status, "exteranalopenid": member.id})
        return shown

    def counted(self) -> dict[str, int]:
        kinds: Counter[str] = Counter(json.loads(one.plaintext)["msgtype"] for one in self.records)
        return dict(kinds)

    # inside

    def _hear(self, chat: Chat, message: Message) -> None:
        group = self.groups.all.get(chat.ref) if chat.kind == "group" else None
        if self.setup is None or group is None or message.sender_kind == "system":
            return
        if not self.setup.seats & set(group.members):
            return
        if self._said.get((chat.ref, message.sender), (AGREE, 0))[0] == DISAGREE:
            return
        payload = {name: value for name, value in message.payload.items() if name != "media_url"}
        self._record(chat.ref, message.sender, message.msgtype, payload)

    def _record(self, chat_id: str, sender: str, msgtype: str, payload: dict[str, Any]) -> None:
        if self.setup is None:
            return
        now = self.corp.now()
        self._seq += 1
        msgid = f"{self.corp.chance.getrandbits(62)}_{int(now)}"
        others = [known for known in self.groups.all[chat_id].members if known != sender]
        said = {
            "msgid": msgid,
            "action": "send",
            "from": sender,
            "tolist": others,
            "roomid": chat_id,
            "msgtime": int(now * 1000),
            "msgtype": msgtype,
            msgtype: payload,
        }
        self.records.append(Record(self._seq, msgid, now, json.dumps(said, ensure_ascii=False)))
        self._notice()

    def _notice(self) -> None:
        """msgaudit_notify, with at least fifteen seconds between two."""
        if self._notice_waits:
            return
        wait = self._noticed_at + NOTICE_SECONDS - self.corp.now()
        self._notice_waits = wait > 0
        self.corp.later(wait, self._tell)

    def _tell(self) -> None:
        self._notice_waits, self._noticed_at = False, self.corp.now()
        if self.setup is not None:
            agentid = self.setup.agentid
            self.corp.emit_event("app", "msgaudit_notify", {"AgentID": agentid}, agentid=agentid)

    def _sealed(self, setup: Setup, one: Record) -> dict[str, Any]:
        key = base64.b64encode(self.corp.chance.randbytes(24)).decode()
        content = one.plaintext.encode()
        count = 16 - len(content) % 16
        closing = _cipher(key).encryptor()
        sealed = closing.update(content + bytes([count]) * count) + closing.finalize()
        return {
            "seq": one.seq,
            "msgid": one.msgid,
            "publickey_ver": setup.version,
            "encrypt_random_key": base64.b64encode(setup.public_key.encrypt(key.encode(), padding.PKCS1v15())).decode(),
            "encrypt_chat_msg": base64.b64encode(sealed).decode(),
        }


def _cipher(key: str) -> Cipher[modes.CBC]:
    digest = hashlib.sha256(key.encode()).digest()
    return Cipher(algorithms.AES(digest), modes.CBC(digest[:16]))
