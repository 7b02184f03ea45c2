"""Settings: read from the environment, and everything wrong is said at once."""

from datetime import timedelta

import pytest

from bot.settings import WrongSettings, read_settings
from campaigns.guard_rules import FrequencyCap, PlatformQuota

RIGHT = {
    "SIYU_CORP_ID": "ww0000000000000001",
    "SIYU_APPS__MAIN__AGENT_ID": "1000002",
    "SIYU_APPS__MAIN__SECRET": "test-secret",
    "SIYU_APPS__MAIN__TOKEN": "TestToken",
    "SIYU_APPS__MAIN__AES_KEY": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
}


def given(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in {**RIGHT, **changes}.items():
        monkeypatch.setenv(name, value)


def test_the_environment_makes_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SIYU_PORT="9000", SIYU_KF_POLL="PT30S")
    settings = read_settings(_env_file=None)
    assert (settings.port, settings.kf_poll.total_seconds(), settings.apps["main"].agent_id) == (9000, 30, 1000002)
    assert settings.wecom_api_url == "https://qyapi.weixin.qq.com"


def test_one_message_lists_everything_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "SIYU_PORT": "70000",
        "SIYU_WECOM_API_URL": "qyapi",
        "SIYU_LOG_LEVEL": "LOUD",
        "SIYU_APPS__MAIN__AGENT_ID": "x",
        "SIYU_APPS__MAIN__AES_KEY": "short",
    }
    given(monkeypatch, **wrong)
    with pytest.raises(WrongSettings) as refused:
        read_settings(_env_file=None)
    for name in ("SIYU_PORT", "SIYU_WECOM_API_URL", "SIYU_LOG_LEVEL", "SIYU_APPS__MAIN__AGENT_ID"):
        assert name in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_a_key_of_the_wrong_shape_is_named_and_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SIYU_APPS__MAIN__AES_KEY="short")
    with pytest.raises(WrongSettings) as refused:
        read_settings(_env_file=None)
    assert "AES_KEY" in str(refused.value)
    assert "short" not in str(refused.value) and "test-secret" not in str(refused.value)


def test_nothing_set_says_what_is_missing() -> None:
    with pytest.raises(WrongSettings) as refused:
        read_settings(_env_file=None)
    assert "SIYU_CORP_ID: is missing" in str(refused.value) and "SIYU_APPS: is missing" in str(refused.value)


def test_the_main_app_must_be_one_of_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SIYU_MAIN_APP="other")
    with pytest.raises(WrongSettings, match="SIYU_MAIN_APP"):
        read_settings(_env_file=None)


def test_an_api_key_that_anybody_could_guess_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SIYU_API_KEYS__SHOP="")
    with pytest.raises(WrongSettings, match="SIYU_API_KEYS__SHOP"):
        read_settings(_env_file=None)


def test_the_gate_is_the_operators_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        SIYU_GATE__QUIET_FROM="null",
        SIYU_GATE__PER_DAY="null",
        SIYU_GATE__PER_WEEK="2",
        SIYU_GATE__BROADCASTS_PER_MONTH="4",
    )
    gate = read_settings(_env_file=None).gate.policy()
    assert (gate.quiet, gate.caps) == (None, (FrequencyCap(2, timedelta(days=7)),))
    assert gate.quota == PlatformQuota(per_day=1, per_month=4)


def test_a_day_of_quiet_hours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SIYU_GATE__QUIET_FROM="08:00")
    with pytest.raises(WrongSettings, match="QUIET_FROM"):
        read_settings(_env_file=None)
