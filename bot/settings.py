"""What the operator may change: environment and .env, read once in the composition root."""

import re
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.flashsale import newcomers
from bot.handoff import triggers
from bot.handoff.hours import UnreadableHours, WorkingHours
from bot.handoff.policy import USUAL_HOURS, Policy
from bot.handoff.sla import Promise, Promises, Target
from bot.handoff.triggers import Reason
from campaigns import words
from campaigns.guard_rules import FrequencyCap, Gate, PlatformQuota, QuietHours
from crm.base.secrets import Vault, WrongKey
from crm.rfm_rules import FixedCutoffs, Rule

AES_KEY = r"^[A-Za-z0-9]{43}$"
TOKEN = r"^[A-Za-z0-9]{1,32}$"


def _address(value: Any) -> Any:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address like https://qyapi.weixin.qq.com")
    return str(value).rstrip("/")


def _hours(value: Any) -> Any:
    try:
        return WorkingHours.read(str(value)).words
    except UnreadableHours as unreadable:
        raise ValueError(
            f"cannot be read at {str(unreadable)!r}: write it like 工作日 9:00–18:00；周六 10:00–16:00"
        ) from None


Address = Annotated[str, BeforeValidator(_address)]
Hours = Annotated[str, BeforeValidator(_hours)]


class WecomApp(BaseModel, frozen=True):
    """One self-built app (自建应用): its callback is /wecom/callback/NAME."""

    agent_id: int
    secret: SecretStr = Field(min_length=1)
    token: SecretStr | None = None  # both from 接收消息 in the admin console; without them no callback is accepted
    aes_key: SecretStr | None = None

    def model_post_init(self, _context: Any) -> None:
        _check_shapes(self.token, self.aes_key)


def _check_shapes(token: SecretStr | None, aes_key: SecretStr | None) -> None:
    for name, value, shape in (("TOKEN", token, TOKEN), ("AES_KEY", aes_key, AES_KEY)):
        if value is not None and not re.match(shape, value.get_secret_value()):
            raise ValueError(f"{name} has the wrong shape: 43 letters and digits for AES_KEY, up to 32 for TOKEN")


class BotSettings(BaseModel, frozen=True):
    """SIYU_BOTS__NAME__…: one AI bot (智能机器人) in callback mode: its callback is /wecom/aibot/NAME."""

    token: SecretStr
    aes_key: SecretStr
    display_name: str = ""  # as staff mention it; empty: whatever follows an @ is taken for a mention
    help_url: Address | None = None  # where what is personal is answered: a kf link or an H5 page

    def model_post_init(self, _context: Any) -> None:
        _check_shapes(self.token, self.aes_key)


class ArchiveSettings(BaseModel, frozen=True):
    """SIYU_ARCHIVE__…: the chat archive (会话内容存档), where the shop has licensed it. Off without a URL."""

    url: Address | None = None  # of the bridge to the vendor's SDK
    secret: SecretStr | None = None  # the bridge wants it as a bearer token
    private_keys: dict[int, Path] = {}  # version -> PEM file; JSON
    keywords: tuple[str, ...] = ()  # the group's owner is told when a customer says one
    unanswered_after: timedelta = timedelta(minutes=30)  # then a question in a group joins the list of misses
    kept: timedelta = timedelta(days=5)  # what was said in groups
    poll: timedelta = timedelta(seconds=60)  # without a notice: notices get lost

    def model_post_init(self, _context: Any) -> None:
        if self.url is not None and (self.secret is None or not self.private_keys):
            raise ValueError("ARCHIVE__URL needs ARCHIVE__SECRET and ARCHIVE__PRIVATE_KEYS beside it")


class HandoffSettings(BaseModel, frozen=True):
    """SIYU_HANDOFF__…: when and how a person takes over. Lists and mappings are written as JSON."""

    triggers: frozenset[Reason] = triggers.ALL  # the rules that are on
    vip_tags: frozenset[str] = frozenset({"黑卡"})  # corp tags; their bearers need not ask twice
    skills: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # article tag -> userids who know it
    capacity: int = Field(default=20, ge=1)  # open tickets of one servicer
    desk_accounts: frozenset[str] = frozenset()  # open_kfids whose agents answer from our desk
    supervisors: tuple[str, ...] = ()  # userids told of a breach; none: all servicers of the account
    first_response: timedelta = timedelta(minutes=15)  # of working time
    resolution: timedelta = timedelta(hours=12)  # of working time
    complaint_first_response: timedelta = timedelta(hours=2)  # of working time
    complaint_resolution: timedelta = timedelta(hours=48)  # by the calendar
    silence: timedelta = timedelta(minutes=10)  # of working time; then a colleague gets the customer
    asks_rating: bool = True
    rating_reminder: timedelta = timedelta(hours=20)  # desk mode only

    def policy(self, hours: WorkingHours) -> Policy:
        """These choices as the rules take them."""
        return Policy(
            promises=Promises(
                hours,
                usual=Promise(Target(self.first_response), Target(self.resolution)),
                complaints=Promise(
                    Target(self.complaint_first_response), Target(self.complaint_resolution, elapsed=True)
                ),
            ),
            enabled=self.triggers,
            vip_tags=self.vip_tags,
            skills=self.skills,
            capacity=self.capacity,
            desk_accounts=self.desk_accounts,
            supervisors=self.supervisors,
            silence=self.silence,
            asks_rating=self.asks_rating,
            rating_reminder=self.rating_reminder,
        )


class GateSettings(BaseModel, frozen=True):
    """SIYU_GATE__…: when and how often marketing may reach a member."""

    quiet_from: time | None = time(22)  # shop-local; null: no quiet hours
    quiet_to: time = time(8)
    per_day: int | None = Field(default=1, ge=0)  # touches of one member in any 24 hours; null: no cap
    per_week: int | None = Field(default=3, ge=0)  # in any 7 days
    needs_opt_in: bool = False  # who never said yes is left in peace
    broadcasts_per_day: int | None = Field(default=1, ge=0)  # 企业群发 to one customer or group, by the calendar
    broadcasts_per_week: int | None = Field(default=None, ge=0)
    broadcasts_per_month: int | None = Field(default=None, ge=0)  # null: as many as the month has days

    def model_post_init(self, _context: Any) -> None:
        if self.quiet_from == self.quiet_to:
            raise ValueError("QUIET_FROM and QUIET_TO are the same: no hour would be left")

    def policy(self) -> Gate:
        """These choices as the rules take them."""
        caps = ((self.per_day, timedelta(days=1)), (self.per_week, timedelta(days=7)))
        return Gate(
            quiet=QuietHours(self.quiet_from, self.quiet_to) if self.quiet_from is not None else None,
            caps=tuple(FrequencyCap(touches, window) for touches, window in caps if touches is not None),
            quota=PlatformQuota(self.broadcasts_per_day, self.broadcasts_per_week, self.broadcasts_per_month),
            needs_opt_in=self.needs_opt_in,
        )


class NewcomersSettings(BaseModel, frozen=True):
    """SIYU_NEWCOMERS__…: when new faces at a flash sale are looked at by a person first. JSON null turns one off."""

    new_for: timedelta | None = timedelta(days=1)  # before the sale opens; null: nobody is looked at
    window: Annotated[timedelta, Field(ge=timedelta(minutes=1))] = timedelta(minutes=10)
    same_address: int | None = Field(default=5, ge=2)  # so many of one address
    together: int | None = Field(default=100, ge=2)  # so many in all

    def rule(self) -> newcomers.Rule | None:
        """These choices as the rule takes them."""
        if self.new_for is None:
            return None
        return newcomers.Rule(self.new_for, self.window, self.same_address, self.together)


class BillsSettings(BaseModel, frozen=True):
    """SIYU_BILLS__…: reading what customers paid to the corp (对外收款). Off without POLL."""

    poll: Annotated[timedelta, Field(ge=timedelta(seconds=30))] | None = None
    payees: tuple[str, ...] = ()  # userids who collect for sales; none: everything the app may see
    app: str | None = None  # listed under 可调用接口的应用 of 对外收款; left out: MAIN_APP


AtLeastAWeek = Annotated[timedelta, Field(ge=timedelta(days=7))]  # longer than any retry, so late copies are known


class WebhookSettings(BaseModel, frozen=True):
    """SIYU_WEBHOOKS__…: how other systems are called."""

    private: bool = False  # addresses inside our own networks, and plain http: for demo and tests
    timeout: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0), le=timedelta(seconds=60))


class KeptSettings(BaseModel, frozen=True):
    """SIYU_KEPT__…: how long what came in, what left and what happened is kept. Cleared every night."""

    callbacks: AtLeastAWeek = timedelta(days=30)  # also answers of the API, and the course of syncs
    messages: AtLeastAWeek = timedelta(days=365)  # of kf conversations
    outbox: AtLeastAWeek = timedelta(days=180)  # what was sent, or could not be
    webhooks: AtLeastAWeek = timedelta(days=30)  # what other systems were told, with every attempt
    events: AtLeastAWeek = timedelta(days=400)  # as far as a segment's `did` can look back
    tickets: AtLeastAWeek = timedelta(days=1095)  # closed ones, with their steps
    reveals: AtLeastAWeek = timedelta(days=1095)  # who looked at a phone number
    touches: Annotated[timedelta, Field(ge=timedelta(days=40))] = timedelta(days=120)  # of the gate: caps and quota
    pictures: AtLeastAWeek = timedelta(days=180)  # of reviews that were decided


class Settings(BaseSettings):
    """What the operator may change. Layers below receive values (addresses, durations), never this."""

    model_config = SettingsConfigDict(
        env_prefix="SIYU_",
        env_file=".env",
        env_nested_delimiter="__",
        env_parse_none_str="null",
        frozen=True,
        extra="ignore",
    )

    database_url: str = "sqlite+aiosqlite:///var/siyu.db"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: Address | None = None  # where members reach our pages; without it chat answers carry no links
    oauth_url: Address = "https://open.weixin.qq.com"  # where visitors of our pages are asked who they are
    login_url: Address = "https://login.work.weixin.qq.com"  # where staff scan a code to sign in on a computer
    pay_url: Address | None = None  # the shop's payment page: gets no, fen, title and back
    pay_key: Annotated[SecretStr, Field(min_length=16)] | None = None  # signs what it tells /pay/notify
    wecom_api_url: Address = "https://qyapi.weixin.qq.com"  # the simulator's address in demo and tests
    corp_id: str = Field(min_length=1)
    apps: dict[str, WecomApp] = Field(min_length=1)  # SIYU_APPS__MAIN__SECRET, SIYU_APPS__MAIN__AGENT_ID, …
    main_app: str = "main"  # the app that calls kf and customer contact
    bots: dict[str, BotSettings] = {}  # SIYU_BOTS__HELPER__TOKEN, …
    archive: ArchiveSettings = ArchiveSettings()
    shop_name: str = "本店"
    service_hours: Hours = USUAL_HOURS  # told to customers, and what the clocks of a handoff run in
    handoff: HandoffSettings = HandoffSettings()
    gate: GateSettings = GateSettings()
    bills: BillsSettings = BillsSettings()
    newcomers: NewcomersSettings = NewcomersSettings()
    digest_robot: SecretStr | None = None  # key of the group robot that tells last week's figures; none: nobody does
    digest_hour: int = Field(default=9, ge=0, le=23)  # shop-local, on Mondays
    words_file: Path | None = None  # TOML: the shop's own words that marketing texts should not carry
    campaign_review_members: int = Field(default=2_000, ge=0)  # a campaign to more needs a second person's yes
    campaign_review_fen: int = Field(default=500_000, ge=0)  # and one that gives away more than this
    faq_file: Path | None = None  # CSV, XLSX or JSONL, taken into the database at start when it has changed
    faq_pictures: Path | None = None  # folder of the pictures that articles name by file
    kept: KeptSettings = KeptSettings()
    faq_questions_kept: timedelta = timedelta(days=180)  # what customers asked, for the list of answers to write
    faq_meaning: Literal["auto", "off", "local", "server"] = "auto"  # the model of the extra where it is installed
    faq_vectors: Path = Path("var/faq-vectors.npz")  # what the model said of the articles: a restart is quick
    faq_meaning_limit: timedelta = timedelta(seconds=0.3)  # after that the lexical answer stands
    faq_embeddings_url: Address | None = None  # an OpenAI-compatible server, as http://127.0.0.1:8000/v1
    faq_embeddings_model: str = ""
    faq_embeddings_key: SecretStr | None = None
    faq_asks_usefulness: bool = False  # 有帮助/没帮助 below an answer, where it costs no message of its own
    inviter_ways: int = Field(default=50_000, ge=0, le=500_000)  # 渠道活码 of inviters, at most; then links alone
    poster_font: Path | None = None  # with Chinese; unless given, the first of the system's usual ones
    line_gap: timedelta = timedelta(seconds=3)  # a question without an answer waits this long for its next line
    kf_poll: timedelta = timedelta(seconds=60)  # pull without a callback this often: callbacks can get lost
    reply_deadline: timedelta = timedelta(hours=2)  # an answer later than this is not sent
    night_hour: int = Field(default=3, ge=0, le=23)  # shop-local: from then on, members are scored for the day
    rfm_window_days: int = Field(default=365, ge=1, le=3650)
    rfm_cutoffs: FixedCutoffs | None = None  # JSON; none: scores by rank
    api_keys: dict[str, Annotated[SecretStr, Field(min_length=16)]] = {}  # SIYU_API_KEYS__NAME: who may call /api/v1
    api_calls_per_minute: int = Field(default=600, ge=1)  # of one key and one web process
    webhooks: WebhookSettings = WebhookSettings()
    data_key: SecretStr | None = None  # 32 bytes of base64; seals phones. Lost, they cannot be read again
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_json: bool = False

    def model_post_init(self, _context: Any) -> None:
        if self.data_key is not None:
            try:
                Vault(self.data_key.get_secret_value())
            except WrongKey as wrong:
                raise ValueError(
                    f"SIYU_DATA_KEY must be 32 bytes of base64 (openssl rand -base64 32): {wrong}"
                ) from None
        if self.words_file is not None:
            try:
                words.read(self.words_file)
            except words.WordsUnreadable as unreadable:
                raise ValueError(f"SIYU_WORDS_FILE cannot be read: {unreadable.reason}") from None
        if self.bills.app is not None and self.bills.app not in self.apps:
            raise ValueError(f"SIYU_BILLS__APP names {self.bills.app!r}, which is not among SIYU_APPS__…")
        if self.main_app not in self.apps:
            raise ValueError(f"SIYU_MAIN_APP names {self.main_app!r}, which is not among SIYU_APPS__…")


def rfm_rule(settings: Settings) -> Rule:
    """How this shop scores its members."""
    return Rule(window_days=settings.rfm_window_days, fixed=settings.rfm_cutoffs)


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
