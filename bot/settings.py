"""What the operator may change: environment and .env, read once in the composition root."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

AES_KEY = r"^[A-Za-z0-9]{43}$"
TOKEN = r"^[A-Za-z0-9]{1,32}$"


def _address(value: Any) -> Any:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address like https://qyapi.weixin.qq.com")
    return str(value).rstrip("/")


Address = Annotated[str, BeforeValidator(_address)]


class WecomApp(BaseModel, frozen=True):
    """One self-built app (自建应用): its callback is /wecom/callback/NAME."""

    agent_id: int
    secret: SecretStr = Field(min_length=1)
    token: SecretStr | None = None  # both from 接收消息 in the admin console; without them no callback is accepted
    aes_key: SecretStr | None = None

    def model_post_init(self, _context: Any) -> None:
        import re

        for name, value, shape in (("TOKEN", self.token, TOKEN), ("AES_KEY", self.aes_key, AES_KEY)):
            if value is not None and not re.match(shape, value.get_secret_value()):
                raise ValueError(f"{name} has the wrong shape: 43 letters and digits for AES_KEY, up to 32 for TOKEN")


class Settings(BaseSettings):
    """What the operator may change. Layers below receive values (addresses, durations), never this."""

    model_config = SettingsConfigDict(
        env_prefix="SIYU_", env_file=".env", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    database_url: str = "sqlite+aiosqlite:///var/siyu.db"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    wecom_api_url: Address = "https://qyapi.weixin.qq.com"  # the simulator's address in demo and tests
    corp_id: str = Field(min_length=1)
    apps: dict[str, WecomApp] = Field(min_length=1)  # SIYU_APPS__MAIN__SECRET, SIYU_APPS__MAIN__AGENT_ID, …
    main_app: str = "main"  # the app that calls kf and customer contact
    shop_name: str = "本店"
    service_hours: str = "每天 9:00–21:00"  # told to customers who ask for a person
    faq_file: Path | None = None  # CSV, XLSX or JSONL; none: the bot knows no answers
    kf_poll: timedelta = timedelta(seconds=60)  # pull without a callback this often: callbacks can get lost
    reply_deadline: timedelta = timedelta(hours=2)  # an answer later than this is not sent
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_json: bool = False

    def model_post_init(self, _context: Any) -> None:
        if self.main_app not in self.apps:
            raise ValueError(f"SIYU_MAIN_APP names {self.main_app!r}, which is not among SIYU_APPS__…")


class WrongSettings(Exception):
    """The environment cannot be meant; the message lists everything that is wrong."""


def read_settings(**overrides: Any) -> Settings:
    """Settings from the environment and .env; raises WrongSettings with one line per mistake."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [f"  {_name(one['loc'])}: {_sentence(one)}" for one in error.errors()]
        raise WrongSettings("These settings are wrong (environment or .env):\n" + "\n".join(lines)) from None


def _name(location: tuple[int | str, ...]) -> str:
    return "SIYU_" + "__".join(str(part).upper() for part in location) if location else "settings"


def _sentence(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing"
    return str(error["msg"]).removeprefix("Value error, ")
