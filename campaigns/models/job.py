"""The table of long jobs: how far each has come and when it was last done, so that a restart changes nothing."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class JobMark(Base):
    """One job that walks through many rows in small transactions, once a day."""

    __tablename__ = "job_marks"

    name: Mapped[str] = mapped_column(sa.String(60), primary_key=True)
    place: Mapped[int] = mapped_column(default=0)  # the last row that was looked at
    begun_at: Mapped[datetime]  # of the walk that goes on, or of the newest that is done
    done_at: Mapped[datetime | None]  # None: it goes on
