"""Tables of the staff's browser: accounts, sign-ins, tries at a password, and the log that only grows."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base
from crm.sight import Role


class Account(Base):
    """Somebody who may sign in. Never deleted: the log names them. `userid` ties them to their WeCom self."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)  # what they type, in lower case
    title: Mapped[str] = mapped_column(sa.String(40))  # what colleagues read
    role: Mapped[Role]
    userid: Mapped[str | None] = mapped_column(sa.String(64), unique=True)  # as staff.key spells it
    password: Mapped[str | None] = mapped_column(sa.String(200))  # argon2; None: signs in by WeCom alone
    totp_secret: Mapped[str | None] = mapped_column(sa.String(200))  # sealed; None: a password is enough
    totp_step: Mapped[int] = mapped_column(default=0)  # the last half minute whose code was used: none twice
    language: Mapped[str] = mapped_column(sa.String(5), default="zh")
    made_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class SignIn(Base):
    """One browser that is signed in. The cookie holds the token, the row only its hash."""

    __tablename__ = "sign_ins"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # to within some minutes
    ends_at: Mapped[datetime]  # whatever is done meanwhile
    address: Mapped[str] = mapped_column(sa.String(64))
    browser: Mapped[str] = mapped_column(sa.String(200))
    revoked_at: Mapped[datetime | None]


class SignInTry(Base):
    """A password that was tried, until it proves right: what throttles guessing."""

    __tablename__ = "sign_in_tries"
    __table_args__ = (sa.Index(None, "name", "at"), sa.Index(None, "address", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))
    address: Mapped[str] = mapped_column(sa.String(64))
    at: Mapped[datetime]


class AuditEntry(Base):
    """Something staff did. Each entry's hash covers the one before, and the database refuses to change or drop one."""

    __tablename__ = "audit_log"
    __table_args__ = (sa.Index(None, "about"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(sa.String(40))  # the account's name; "siyu" the command line
    action: Mapped[str] = mapped_column(sa.String(60))  # dotted: campaign.paused
    about: Mapped[str] = mapped_column(sa.String(80))  # campaign:12; empty: the shop
    facts: Mapped[dict[str, Any]]
    previous: Mapped[str] = mapped_column(sa.String(64), unique=True)  # so that the chain cannot fork
    hash: Mapped[str] = mapped_column(sa.String(64))
