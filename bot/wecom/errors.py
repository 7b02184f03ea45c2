"""What WeCom can answer instead of yes, as types that say what to do about it.

WecomError                        retry     alert
├── Unreachable                   BACKOFF           no answer, and the call can safely be made again
├── OutcomeUnknown                NEVER             a write left and no answer came: it may have been done
├── TokenExpired                  TOKEN             40014, 42001
├── RateLimited                   WAIT              45009, 41094: `retry_after` seconds
├── Busy                          BACKOFF           -1
│   ├── Crowded                                     45033: too many calls at once
│   ├── Conflict                                    6000, 45035: somebody changes the same thing now
│   └── StillDispatching                            41063, 41078, 41079, 41096: seconds, not milliseconds
├── Declined                      NEVER             a known no; the business state or the input decides
│   ├── NotAContact                                 84061
│   ├── NoSuchContact                               40096
│   ├── NotACustomerGroup                           90501, 40050
│   ├── NoSuchStaff                                 40003, 46004, 60111
│   ├── NobodyToSendTo                              41048, 81013
│   ├── CodeSpent                                   41050: a welcome code used or older than 20 s
│   ├── WelcomeTaken                                41051
│   ├── OAuthCodeSpent                              40029, 42003
│   ├── TagNameTaken, NoSuchTag                     40071, 40068
│   ├── TaskCancelled                               41093
│   ├── MediaGone                                   40007
│   ├── TooMuchAsked                                81017, 45029: narrow the question
│   ├── DuplicateMsgid                              this msgid was accepted before
│   └── KfDeclined                                  customer service (微信客服)
│       ├── WindowFull, WindowOver                  95001, 95002
│       ├── SessionEnded, SessionRefusesSend        95013, 95018
│       ├── IllegalTransition                       95016
│       ├── NotAServicer, ServicerAway              95014, 95019
│       └── PullTokenExpired                        95007
├── NotAllowed                    NEVER     yes     an administrator must change something
│   └── SecretRefused                       yes     40001, 40013: never asked again in a loop, the IP would be banned
├── BadCall                       NEVER     yes     we sent what cannot be meant: a bug
│   └── BadAnswer                           yes     they answered what cannot be read
└── UnknownErrcode                NEVER     yes
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

MINUTE_BLOCK = 60.0
REMINDER_BLOCK = 86_400.0
BAN_BLOCK = 3_600.0  # gettoken asked too often: the caller's IP rests for about an hour

_HINT = re.compile(r"hint: \[(\d+)\]")


class Retry(StrEnum):
    """What a caller may do next with the same call."""

    BACKOFF = "backoff"  # again in a moment, three tries in all
    TOKEN = "token"  # again once with a fresh token
    WAIT = "wait"  # not before the limit's window has ended
    NEVER = "never"  # unchanged it fails again


class WecomError(Exception):
    """A call to WeCom that did not succeed. `hint` is what the vendor's support asks for."""

    retry: ClassVar[Retry] = Retry.NEVER
    alert: ClassVar[bool] = False  # somebody should look even when the caller copes
    undone: ClassVar[bool] = True  # WeCom surely did nothing, so even a write may be tried again
    pause: ClassVar[float] = 0.3  # seconds before the second try; doubles

    def __init__(self, errcode: int = 0, errmsg: str = "", path: str = "") -> None:
        super().__init__(errcode, errmsg, path)
        self.errcode, self.errmsg, self.path = errcode, errmsg, path
        self.after_unknown = False  # an earlier try of the same call had no clear outcome
        found = _HINT.search(errmsg)
        self.hint = found.group(1) if found else ""

    def __str__(self) -> str:
        return f"{self.path} answered {self.errcode}: {self.errmsg}" if self.errcode else f"{self.path}: {self.errmsg}"


class Unreachable(WecomError):
    """No answer, and the call can safely be made again: nothing was sent, or doing it twice is doing it once."""

    retry = Retry.BACKOFF


class OutcomeUnknown(WecomError):
    """A write left and the answer did not come: it may have been done. Settled by a read or by a human."""

    undone = False


class TokenExpired(WecomError):
    """The access token ran out or was revoked early."""

    retry = Retry.TOKEN


class RateLimited(WecomError):
    """A limit's window is used up; the block lasts `retry_after` seconds."""

    retry = Retry.WAIT

    def __init__(self, errcode: int = 45009, errmsg: str = "", path: str = "", *, retry_after: float = 60.0) -> None:
        super().__init__(errcode, errmsg, path)
        self.retry_after = retry_after


class Busy(WecomError):
    """The platform says it is busy; whether it did something it does not say."""

    retry = Retry.BACKOFF
    undone = False


class Crowded(Busy):
    """Too many calls of this kind at once: fewer in parallel, then again."""

    undone = True


class Conflict(Busy):
    """Somebody changes the same thing at this moment: one after the other, then again."""

    undone = True


class StillDispatching(Busy):
    """The task was just created and is still being handed out: ask again in some seconds."""

    undone = True
    pause = 2.0


class Declined(WecomError):
    """A known no: unchanged, the same call gets the same answer."""


class NotAContact(Declined):
    """The customer is no contact of this member of staff (any more)."""


class NoSuchContact(Declined):
    """The external_userid is of another corp, or nobody in the app's range follows it."""


class NotACustomerGroup(Declined):
    """The chat_id is not a customer group we can see."""


class NoSuchStaff(Declined):
    """The userid does not exist."""


class NobodyToSendTo(Declined):
    """None of the recipients can get the message."""


class CodeSpent(Declined):
    """The welcome code was used, is older than 20 s, or never was one."""


class WelcomeTaken(Declined):
    """They chat already, or another app has welcomed the customer."""


class OAuthCodeSpent(Declined):
    """The visitor's code was used or is older than five minutes: send them through sign-in again."""


class TagNameTaken(Declined):
    """A tag of this name exists: look it up instead."""


class NoSuchTag(Declined):
    """The tag or tag group does not exist."""


class TaskCancelled(Declined):
    """The mass-send task was cancelled."""


class MediaGone(Declined):
    """The media_id is unknown or older than three days: upload again."""


class TooMuchAsked(Declined):
    """The answer would be too large: filter, or ask for a smaller page."""


class DuplicateMsgid(Declined):
    """A message with this msgid was accepted before: the earlier try went through."""


class KfDeclined(Declined):
    """Customer service (微信客服) says no."""


class WindowFull(KfDeclined):
    """Five messages went out since the customer's last one."""


class WindowOver(KfDeclined):
    """The customer's last message is more than 48 hours old."""


class SessionEnded(KfDeclined):
    """The session has ended."""


class SessionRefusesSend(KfDeclined):
    """The session is queued, with a person, ended, or older than 48 hours: the bot may not send."""


class IllegalTransition(KfDeclined):
    """The session cannot go from where it is to where we want it: read its state again."""


class NotAServicer(KfDeclined):
    """The member of staff is no servicer of this account."""


class ServicerAway(KfDeclined):
    """The servicer is not receiving at the moment."""


class PullTokenExpired(KfDeclined):
    """The callback's token is older than ten minutes: pull without it."""


class NotAllowed(WecomError):
    """Permission, visible range or trusted IP: an administrator must change something."""

    alert = True


class SecretRefused(NotAllowed):
    """The app's secret or the corp id is wrong. Asking again and again gets our IP banned."""


class BadCall(WecomError):
    """We sent what cannot be meant: a bug of ours, or a limit of the vendor that we do not know."""

    alert = True


class BadAnswer(BadCall):
    """WeCom answered, but not with what its reference promises."""


class UnknownErrcode(WecomError):
    """An errcode that is not in our table: treated as a no, and somebody should look."""

    alert = True


_CODES: dict[type[WecomError], tuple[int, ...]] = {
    TokenExpired: (40014, 42001),
    RateLimited: (45009, 41094),
    Busy: (-1,),
    Crowded: (45033,),
    Conflict: (6000, 45035),
    StillDispatching: (41063, 41078, 41079, 41096),
    NotAContact: (84061,),
    NoSuchContact: (40096,),
    NotACustomerGroup: (90501, 40050),
    NoSuchStaff: (40003, 46004, 60111),
    NobodyToSendTo: (41048, 81013),
    CodeSpent: (41050,),
    WelcomeTaken: (41051,),
    OAuthCodeSpent: (40029, 42003),
    TagNameTaken: (40071,),
    NoSuchTag: (40068,),
    TaskCancelled: (41093,),
    MediaGone: (40007,),
    TooMuchAsked: (81017, 45029),
    WindowFull: (95001,),
    WindowOver: (95002,),
    SessionEnded: (95013,),
    SessionRefusesSend: (95018,),
    IllegalTransition: (95016,),
    NotAServicer: (95014,),
    ServicerAway: (95019,),
    PullTokenExpired: (95007,),
    KfDeclined: (*range(95000, 95032),),
    SecretRefused: (40001, 40013),
    NotAllowed: (
        *(41045, 41055, 41058, 41084, 42014, 42015, 43009, 43012),
        *(48001, 48002, 48005, 48006, 48007, 50001, 50002, 50003),
        *(60011, 60020, 84074, 84084, 93000, 93004, 93006, 93008, 301002, 610015, 610016),
    ),
    BadCall: (
        *(40004, 40005, 40006, 40008, 40009, 40011, 40031, 40032, 40033, 40035, 40039, 40056, 40058, 40063, 40066),
        *(40072, 40093, 42012, 40094, 45034, 41001, 41002, 41004, 41035, 41040, 41041, 41042, 41043, 41044),
        *(41046, 41047, 41049, 41064, 41065, 41091, 42045, 44001, 44004, 45001, 45002, 45007, 45008),
        *(60251, 60252, 610014),
    ),
    Declined: (
        *(40097, 40098, 40099, 41053, 41054, *range(41068, 41078), *range(41080, 41089), 60003, 60123, 60124, 60136),
        *(84071, 86001, *range(86003, 86009), *range(86215, 86218), 90500, 90502),
        *(660001, 660002, 660003, 660009, 660014, 701008, 846605),
    ),
}
# Where two lines name a code the upper one decides: KfDeclined takes what is left of 950xx.
_KINDS = {code: kind for kind, codes in reversed(_CODES.items()) for code in codes}
_BLOCKS = {41094: REMINDER_BLOCK}


def error_for(errcode: int, errmsg: str, path: str, headers: Mapping[str, str] | None = None) -> WecomError:
    """The exception for an answer's non-zero errcode.

    headers: the answer's; a `Retry-After` in seconds overrides the usual length of a block.
    """
    if _repeats_msgid(errcode, errmsg, path):
        return DuplicateMsgid(errcode, errmsg, path)
    kind = _KINDS.get(errcode, UnknownErrcode)
    if issubclass(kind, RateLimited):
        return kind(errcode, errmsg, path, retry_after=_block(errcode, path, headers or {}))
    return kind(errcode, errmsg, path)


def _repeats_msgid(errcode: int, errmsg: str, path: str) -> bool:
    # The reference says a repeated msgid "is an error" and gives no code. This is the one place where we read
    # errmsg: without it a retried send that had gone through would look like a bug of ours.
    if not path.startswith("/cgi-bin/kf/send_msg") or errcode in (0, -1):
        return False
    said = errmsg.lower()
    return "msgid" in said and any(word in said for word in ("dup", "repeat", "exist", "used"))


def _block(errcode: int, path: str, headers: Mapping[str, str]) -> float:
    asked = headers.get("Retry-After", "")
    if asked.isascii() and asked.isdigit():
        return float(min(int(asked), 86_400))
    return BAN_BLOCK if path.endswith("/gettoken") else _BLOCKS.get(errcode, MINUTE_BLOCK)
