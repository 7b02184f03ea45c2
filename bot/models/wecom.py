"""Tables of the calls to WeCom: the access tokens that all processes share."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class WecomToken(Base):
    """An app's access token, the lease on asking for the next one, and how long a refusal is respected."""

    __tablename__ = "wecom_tokens"
    app: Mapped[str] = mapped_column(String(64), primary_key=True)
    credentials: Mapped[str] = mapped_column(String(32))  # digest of corp id and secret: a new secret starts afresh
    access_token: Mapped[str | None]
    fetched_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]  # exclusive: at this instant it is dead
    refreshing_until: Mapped[datetime | None]  # somebody asks for a new one; past this instant the lease is void
    refused_until: Mapped[datetime | None]  # the secret was refused: nobody asks again before
    refusals: Mapped[int] = mapped_column(default=0)  # in a row; the pause doubles with each
    refusal_errcode: Mapped[int] = mapped_column(default=0)
    refusal_errmsg: Mapped[str] = mapped_column(default="")
