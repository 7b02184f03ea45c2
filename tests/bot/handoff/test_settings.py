"""What an operator writes in the environment, as the rules take it."""

from datetime import timedelta

import pytest

from bot.handoff.hours import ALWAYS
from bot.handoff.triggers import Reason
from bot.models.handoff import Priority, TicketMode
from bot.settings import HandoffSettings, WrongSettings, read_settings

APP = {"main": {"agent_id": 1, "secret": "s"}}


def test_the_environment_becomes_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SKILLS": '{"售后": ["adou"]}',
        "TRIGGERS": '["asked_for", "angry"]',
        "DESK_ACCOUNTS": '["wkDESK"]',
        "COMPLAINT_FIRST_RESPONSE": "PT30M",
    }.items():
        monkeypatch.setenv(f"SIYU_HANDOFF__{name}", value)
    chosen = read_settings(_env_file=None, corp_id="ww1", apps=APP)
    policy = chosen.handoff.policy(ALWAYS)
    assert policy.hours is ALWAYS
    assert policy.skills == {"售后": ("adou",)}
    assert policy.enabled == {Reason.ASKED_FOR, Reason.ANGRY}
    assert (policy.mode_of("wkDESK"), policy.mode_of("wkOTHER")) == (TicketMode.DESK, TicketMode.NATIVE)
    assert policy.promises.of(Reason.COMPLAINT).first_response.within == timedelta(minutes=30)


def test_hours_nobody_can_read_are_refused_with_a_sentence() -> None:
    with pytest.raises(WrongSettings, match=r"SIYU_SERVICE_HOURS.*cannot be read"):
        read_settings(_env_file=None, corp_id="ww1", apps=APP, service_hours="早上到晚上")


@pytest.mark.parametrize(
    ("reason", "priority"),
    [(Reason.COMPLAINT, Priority.URGENT), (Reason.VIP, Priority.HIGH), (Reason.ASKED_FOR, Priority.NORMAL)],
)
def test_a_reason_has_its_priority(reason: Reason, priority: Priority) -> None:
    assert HandoffSettings().policy(ALWAYS).promises.priority_of(reason) is priority
