"""The table of what members said yes and no to."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class Consent(Base):
    """One yes or no; the newest per member, topic and channel counts. Rows are the evidence and stay for good."""

    __tablename__ = "consents"
    __table_args__ = (sa.Index(None, "member_id", "topic", "channel"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    topic: Mapped[str] = mapped_column(sa.String(40))  # "marketing", or narrower as the shop defines it
    channel: Mapped[str] = mapped_column(sa.String(40))  # "wecom", or "any"
    granted: Mapped[bool]
    source: Mapped[str] = mapped_column(sa.String(40))  # where it was said: "chat", "h5", "console", "import"
    wording_version: Mapped[str]  # of the text the member answered
    said_at: Mapped[datetime]
