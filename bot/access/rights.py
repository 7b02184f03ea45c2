"""What each role may do in the browser. What they see of a person is crm/sight.py's."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from crm.base.errors import ShopError
from crm.sight import Role


class Right(StrEnum):
    """A page asks for one; a button that a role may not press is not shown."""

    DESK = "desk"  # read conversations and tickets
    CHAT = "chat"  # take tickets, answer customers
    MEMBERS = "members"  # look members up
    CONSOLE = "console"  # the manager's screens
    MANAGE = "manage"  # change campaigns, sales, growth, knowledge, segments, tags
    STOP = "stop"  # the emergency brake
    SETTINGS = "settings"  # words, caps, connections, webhooks
    ACCOUNTS = "accounts"  # staff accounts, roles, keys
    AUDIT = "audit"  # read what was done


@dataclass(eq=False)
class NotAllowed(ShopError):
    """This role has no right to it."""

    code = "access.not_allowed"
    status = 403
    right: Right


RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.MANAGER: frozenset(Right) - {Right.ACCOUNTS},
    Role.AGENT: frozenset({Right.DESK, Right.CHAT, Right.MEMBERS}),
    Role.AUDITOR: frozenset({Right.DESK, Right.MEMBERS, Right.CONSOLE, Right.AUDIT}),
}
