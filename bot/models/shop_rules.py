"""The table of the rules that staff changed in the console: each change a whole version, the newest one in force."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class RuleVersion(Base):
    """What differs from the server's settings since `made_at`. A row is never changed: going back makes another."""

    __tablename__ = "shop_rule_versions"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1, 2, 3 …: two cannot make the same
    texts: Mapped[dict[str, Any]]  # rule -> as it was written
    changed: Mapped[list[str]]  # names of the rules that this version changed
    made_by: Mapped[str] = mapped_column(sa.String(64))
    made_at: Mapped[datetime]
    back_to: Mapped[int | None]  # the version that was put back; 0: what the server says
