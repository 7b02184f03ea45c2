"""How this shop hands over: what the operator chose, as values for the rules and verbs of this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from bot.handoff import triggers
from bot.handoff.hours import WorkingHours
from bot.handoff.sla import Promises
from bot.handoff.triggers import Reason
from bot.models.handoff import TicketMode

USUAL_HOURS = "每天 9:00–21:00"


@dataclass(frozen=True)
class Policy:
    """Choices of one shop. userids are staff's; tags are corp tags (企业标签) by name."""

    promises: Promises = field(default_factory=lambda: Promises(WorkingHours.read(USUAL_HOURS)))
    enabled: frozenset[Reason] = triggers.ALL
    vip_tags: frozenset[str] = frozenset({"黑卡"})
    skills: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # topic -> who knows it
    capacity: int = 20  # open tickets of one servicer
    desk_accounts: frozenset[str] = frozenset()  # open_kfids in desk mode
    supervisors: tuple[str, ...] = ()  # told of a breach; none: every servicer of the account
    silence: timedelta = timedelta(minutes=10)  # working time after which a silent servicer loses the ticket
    reassigns: int = 2  # times; after that only the alarm is left
    retry: timedelta = timedelta(minutes=2)  # between tries to bring a waiting customer to somebody
    asks_rating: bool = True
    rating_reminder: timedelta = timedelta(hours=20)  # desk mode only: natively no session is open to remind in

    @property
    def hours(self) -> WorkingHours:
        return self.promises.hours

    def mode_of(self, open_kfid: str) -> TicketMode:
        return TicketMode.DESK if open_kfid in self.desk_accounts else TicketMode.NATIVE
