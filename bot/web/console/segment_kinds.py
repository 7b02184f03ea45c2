"""What the condition builder offers: a table of the questions a segment may ask, each with its fields.

A field is (path in the definition, how it is asked, label, choices). How: several, whole, yuan, grade, text, words,
days, date, one. `choices` of None are filled from the shop's own tags, levels, groups and staff.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from bot.web.language import N_
from bot.web.names import STAGES
from crm.models.audience import Tag, TagGroup
from crm.models.group import Group
from crm.models.lifecycle import DateKind
from crm.models.loyalty import Level
from crm.models.member import Gender, MemberSource, Staff
from crm.models.rfm import Segment, Tier

Choices = Sequence[tuple[Any, str]]
Asked = tuple[str, str, str, Choices | None]

GENDERS: Choices = [(Gender.FEMALE.value, N_("女")), (Gender.MALE.value, N_("男")), (Gender.UNKNOWN.value, N_("未知"))]
SOURCES: Choices = [
    (MemberSource.CONTACT.value, N_("加企微好友")),
    (MemberSource.GROUP.value, N_("进客户群")),
    (MemberSource.KF.value, N_("微信客服")),
    (MemberSource.H5.value, N_("活动页面")),
    (MemberSource.IMPORT.value, N_("导入")),
]
DATES: Choices = [
    (DateKind.BIRTHDAY.value, N_("生日")),
    (DateKind.CHILD_BIRTHDAY.value, N_("孩子生日")),
    (DateKind.PET_BIRTHDAY.value, N_("宠物生日")),
    (DateKind.ANNIVERSARY.value, N_("纪念日")),
]
TIERS: Choices = [
    (Tier.HIGH_VALUE.value, N_("高价值")),
    (Tier.POTENTIAL.value, N_("潜力")),
    (Tier.DORMANT.value, N_("沉睡")),
]
ANSWERS: Choices = [("yes", N_("同意")), ("no", N_("不同意")), ("never", N_("没说过"))]
EVENTS: Choices = [
    ("CheckedIn", N_("签到")),
    ("GroupJoined", N_("进群")),
    ("GroupLeft", N_("离群")),
    ("ContactAdded", N_("加好友")),
    ("ContactLost", N_("删好友")),
    ("OptedOut", N_("退订")),
    ("OrderPaid", N_("付款")),
]
LAST: Asked = ("when.last_days", "days", N_("最近多少天"), None)
KINDS: Mapping[str, tuple[str, Sequence[Asked]]] = {
    "ordered": (
        N_("买过"),
        [
            LAST,
            ("categories", "words", N_("品类"), None),
            ("skus", "words", N_("商品编码"), None),
            ("count.least", "whole", N_("至少几单"), None),
            ("count.most", "whole", N_("至多几单"), None),
            ("spent_fen.least", "yuan", N_("至少花多少元"), None),
            ("spent_fen.most", "yuan", N_("至多花多少元"), None),
        ],
    ),
    "rfm": (
        "RFM",
        [
            ("segments", "several", N_("分类"), [(one.value, one.value) for one in Segment]),
            ("tiers", "several", N_("层级"), TIERS),
            ("r.least", "grade", N_("R 至少"), None),
            ("f.least", "grade", N_("F 至少"), None),
            ("m.least", "grade", N_("M 至少"), None),
        ],
    ),
    "stage": (
        N_("生命周期"),
        [
            ("among", "several", N_("阶段"), [(stage.value, words) for stage, words in STAGES.items()]),
            ("for_days", "days", N_("至少多少天了"), None),
        ],
    ),
    "level": (N_("等级"), [("among", "several", N_("等级"), None), ("for_days", "days", N_("至少多少天了"), None)]),
    "tagged": (N_("标签"), [("any_of", "several", N_("任一标签"), None)]),
    "lifetime": (
        N_("累计消费"),
        [
            ("orders.least", "whole", N_("至少几单"), None),
            ("orders.most", "whole", N_("至多几单"), None),
            ("spent_fen.least", "yuan", N_("至少花多少元"), None),
            ("spent_fen.most", "yuan", N_("至多花多少元"), None),
        ],
    ),
    "points": (
        N_("可用积分"),
        [("active.least", "whole", N_("至少"), None), ("active.most", "whole", N_("至多"), None)],
    ),
    "points_expire": (
        N_("积分快到期"),
        [("within_days", "days", N_("多少天内"), None), ("points.least", "whole", N_("至少多少分"), None)],
    ),
    "joined": (N_("成为会员"), [LAST]),
    "source": (N_("来源"), [("among", "several", N_("来源"), SOURCES)]),
    "gender": (N_("性别"), [("among", "several", N_("性别"), GENDERS)]),
    "date_comes": (
        N_("日子快到"),
        [("kinds", "several", N_("哪种日子"), DATES), ("within_days", "whole", N_("多少天内"), None)],
    ),
    "in_group": (N_("在群里"), [("any_of", "several", N_("任一群，不选就是任何群"), None)]),
    "contact_of": (N_("是谁的好友"), [("any_of", "several", N_("任一员工，不选就是任何人"), None)]),
    "did": (
        N_("做过"),
        [("event", "one", N_("什么"), EVENTS), LAST, ("count.least", "whole", N_("至少几次"), None)],
    ),
    "consent": (N_("接收营销"), [("answer", "one", N_("态度"), ANSWERS)]),
    "bucket": (
        N_("随机一部分"),
        [
            ("salt", "text", N_("名称，换一个就重新分"), None),
            ("first", "whole", N_("从（0–9999）"), None),
            ("end", "whole", N_("到，不含（1–10000）"), None),
        ],
    ),
}


async def offered(session: AsyncSession, say: Any) -> list[dict[str, Any]]:
    """The table for the browser, in the visitor's language, with the shop's own names. say: gettext."""
    own: Mapping[tuple[str, str], Choices] = {
        ("level", "among"): await _pairs(session, sa.select(Level.id, Level.name).order_by(Level.id)),
        ("tagged", "any_of"): await _pairs(
            session,
            sa.select(Tag.id, TagGroup.name + " · " + Tag.name)
            .join(TagGroup, TagGroup.id == Tag.group_id)
            .order_by(TagGroup.name, Tag.name),
        ),
        ("in_group", "any_of"): await _pairs(
            session, sa.select(Group.id, Group.name).where(Group.dismissed_at.is_(None)).order_by(Group.name)
        ),
        ("contact_of", "any_of"): await _pairs(
            session, sa.select(Staff.id, Staff.name).where(Staff.follows).order_by(Staff.name)
        ),
    }
    return [
        {
            "is": kind,
            "title": say(title),
            "fields": [
                {
                    "path": path,
                    "how": how,
                    "label": say(label),
                    "choices": [[value, say(str(words))] for value, words in (own.get((kind, path)) or choices or ())],
                }
                for path, how, label, choices in fields
            ],
        }
        for kind, (title, fields) in KINDS.items()
    ]


async def _pairs(session: AsyncSession, query: Any) -> Choices:
    return [(row[0], row[1] or f"#{row[0]}") for row in await session.execute(query.limit(500))]
