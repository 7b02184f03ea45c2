"""What things are called on the staff's pages; a page shows them by way of gettext."""

from collections.abc import Mapping

from bot.web.language import N_
from crm.models.lifecycle import Stage
from crm.sight import Role

ROLES: Mapping[Role, str] = {
    Role.OWNER: N_("店主"),
    Role.MANAGER: N_("运营"),
    Role.AGENT: N_("客服"),
    Role.AUDITOR: N_("审计"),
}
ROLE_HINTS: Mapping[Role, str] = {
    Role.OWNER: N_("全部权限，包括员工账号和接口密钥"),
    Role.MANAGER: N_("活动、秒杀、会员、知识库和设置；不能管理账号"),
    Role.AGENT: N_("工作台接待客户，查会员；看不到企业微信里的编号"),
    Role.AUDITOR: N_("只读：看做了什么，姓名和号码都遮盖"),
}
STAGES: Mapping[Stage, str] = {
    Stage.LEAD: N_("潜客"),
    Stage.NEW: N_("新客"),
    Stage.ACTIVE: N_("活跃"),
    Stage.LOYAL: N_("忠诚"),
    Stage.AT_RISK: N_("有流失风险"),
    Stage.LAPSED: N_("已流失"),
    Stage.WON_BACK: N_("已赢回"),
}
