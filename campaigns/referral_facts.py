"""What happens in 老带新, and what is refused."""

from dataclasses import dataclass
from typing import ClassVar

from campaigns.models.referral import CameBy, Side
from crm.base.errors import NotFound, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInvited:
    """Somebody new came by a member's link."""

    invitation_id: int
    member_id: int  # the invitee
    inviter_id: int
    came_by: CameBy


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteAttempted:
    """Somebody came by a member's link who cannot be invited: known before, or their own link."""

    invitation_id: int
    member_id: int
    inviter_id: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationDue:
    """The refund window of an invitee's first order is over."""

    invitation_id: int
    member_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationCounted:
    """An invitation counts. counted: of the inviter, in this programme."""

    invitation_id: int
    member_id: int  # the inviter
    invitee_id: int
    programme_id: int
    counted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationEnded:
    """An invitation will not count, or counts no longer. why: refund, left, lapsed, not_new, same_person, ring, …"""

    invitation_id: int
    member_id: int  # the inviter
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardDue:
    """A reward that could not be given is to be tried again."""

    reward_id: int
    member_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSettled:
    """A member got a reward. Cash is told when a colleague has paid it."""

    reward_id: int
    member_id: int
    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOpened:
    """Something about an invitation looks odd; nothing is paid for it until a person has decided."""

    review_id: int
    invitation_id: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammePaused:
    """A programme takes no new invitations. because: cap, budget, or somebody's words."""

    programme_id: int
    because: str


@dataclass(eq=False)
class ProgrammeNotFound(NotFound):
    """No programme has this name."""

    code: ClassVar[str] = "referral.no_programme"
    name: str


@dataclass(eq=False)
class NothingOpen(Refused):
    """No programme takes invitations now: not begun, ended, or paused."""

    code: ClassVar[str] = "referral.not_open"


@dataclass(eq=False)
class LinkNotFound(NotFound):
    """Nobody has this invite code."""

    code: ClassVar[str] = "referral.no_link"
    invite_code: str


@dataclass(eq=False)
class LinkClosed(Refused):
    """Whose link it was is no member any more."""

    code: ClassVar[str] = "referral.link_closed"


@dataclass(eq=False)
class ReviewNotOpen(Refused):
    """This review was decided, or never was."""

    code: ClassVar[str] = "referral.review_not_open"
    review_id: int


@dataclass(eq=False)
class RewardNotToDo(Refused):
    """This reward is no cash that waits to be paid."""

    code: ClassVar[str] = "referral.not_to_do"
    reward_id: int
