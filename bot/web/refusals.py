"""A planned refusal as staff read it, by its code. The facts of the error fill the blanks."""

from collections.abc import Mapping
from gettext import NullTranslations

from bot import texts
from bot.web.language import N_
from crm.base.errors import ShopError

WORDS: Mapping[str, str] = {
    "page.not_found": N_("没有这个页面，或者它已经不在了。"),
    "page.failed": N_("出错了，已经记下。请再试一次；还不行就把时间告诉维护的同事。"),
    "form.stale": N_("页面打开得太久了，请刷新后再提交一次。"),
    "shop.busy": N_("现在有点忙，请过几秒再试一次。"),
    "shop.not_found": N_("没有找到，可能已经被删除。"),
    "shop.invalid": N_("填写的内容有误，请检查后再提交。"),
    "access.not_allowed": N_("您的角色没有这项权限，需要的话请找店主。"),
    "sign_in.wrong": N_("名字或密码不对，或者账号已停用。"),
    "sign_in.too_many_tries": N_("试得太多了，请等 {minutes:.0f} 分钟再试。"),
    "sign_in.no_account": N_("企业微信认出了您，但您还没有账号。请店主在『员工与角色』里添加，填上您的企业微信账号。"),
    "sign_in.wecom_failed": N_("企业微信没有告诉我们您是谁，请再试一次。"),
    "account.password_unfit": N_("密码要 10 到 200 个字符，不能就是名字，也不能只有两三种字符。"),
    "account.name_invalid": N_("名字用 2 到 40 个小写字母、数字、点或横线。"),
    "account.taken": N_("这个名字或这位企业微信同事已经有账号了。"),
    "account.not_found": N_("没有这个账号。"),
    "account.last_owner": N_("至少要有一位店主，先让别人当店主再改。"),
    "account.code_wrong": N_("六位验证码不对、过期了，或已经用过。"),
    "account.no_data_key": N_("店里没有设置 SIYU_DATA_KEY，两步验证用不了。"),
    "month.invalid": N_("月份写成 2026-10 这样，不能晚于这个月。"),
    "faq.not_found": N_("没有这篇文章。"),
    "faq.changed": N_("有人刚改过这篇文章，请打开最新的一版再改。"),
    "faq.bad_article": N_("文章还不能保存："),
    "faq.made_worse": N_("有问题会变差，没有发布。看下面的清单。"),
    "faq.question_taken": N_("「{question}」已经是文章 {other} 的问题了。"),
    "faq.no_cluster": N_("这一类问题已经处理过了。"),
    "numbers.period_invalid": N_("选一段从早到晚的日子，最长 400 天。"),
    "member.not_found": N_("没有找到这位会员。"),
    "member.erased": N_("这位会员的资料已被抹除。"),
    "sight.may_not_reveal": N_("您的角色不能看明文。"),
    "sight.why_missing": N_("写明为什么要看。"),
    "review.decided": N_("这条晒单已经由 {by} 审过了。"),
    "review.reason_missing": N_("写一句为什么，会员会看到。"),
    "review.not_found": N_("没有这条晒单。"),
    "follow_up.done": N_("这次回访 {by} 已经记过了。"),
    "follow_up.not_found": N_("没有这次回访。"),
    "tag.missing": N_("选一个标签。"),
    "segment.not_found": N_("没有这个人群。"),
    "segment.name_taken": N_("已经有同名的人群了，换个名字。"),
    "segment.definition_wrong": N_("条件还没写完整，看右边的提示。"),
    "ticket.not_found": N_("没有这张工单，或者这位客户的资料已被抹除。"),
    "ticket.taken": N_("这位客户已由同事接待。"),
    "ticket.closed": N_("这张工单已经结束。"),
    "ticket.not_at_desk": N_("这位客户在企业微信里接待，工作台发不了消息。"),
    "message.unsendable": N_("写点什么再发；一条消息最多 2048 字节，大约 680 个汉字。"),
    "window.spent": N_("48 小时内的 5 条消息已用完，要等客户再发一条消息。"),
    "canned.gap_left": N_("还有没填的空：{gap}"),
    "canned.code_invalid": N_("代码用 1 到 20 个字母、数字或汉字。"),
    "canned.text_invalid": N_("内容不能空，也不能超过一条消息；变量只能用列出来的那些。{unknown}"),
    "canned.not_found": N_("没有这条常用语。"),
    "desk.snooze_invalid": N_("稍后的时间要在 30 天以内。"),
    "desk.cannot_merge": N_("只能并入同一位客户另一张还开着的、在工作台接待的工单。"),
    "desk.hour_invalid": N_("定时要在将来，并且在 47 小时以内。"),
    "campaign.not_found": N_("没有这个活动。"),
    "campaign.run_not_found": N_("这一轮没有在等人决定，可能同事刚决定过。"),
    "campaign.wrong_status": N_("『{name}』现在的状态做不了这件事，刷新看看。"),
    "campaign.name_taken": N_("已经有叫『{name}』的活动了，换个名字。"),
    "offer.not_found": N_("没有这种优惠。"),
    "offer.fixed": N_("已经发出过券：减多少、门槛、范围、几天有效不能再改；张数和预算不能低于已经发出和用掉的。"),
    "offer.not_open": N_("『{key}』现在不发：还没开始、结束了，或者停发了。"),
    "grant.not_found": N_("没有叫『{name}』的这一次发券。"),
    "grant.name_taken": N_("『{name}』这个名字用过了，那一次发的是别的券，或者给别的人。换个名字。"),
    "grant.nobody": N_("这个人群现在一个人也没有，没有发。"),
    "grant.over": N_("『{name}』已经结束了，或者没有在等人决定。"),
    "grant.segment_unknown": N_("没有叫『{segment}』的人群，先存一个。"),
    "campaign.second_person": N_("自己做的活动要另一个人来批。"),
    "campaign.nobody": N_("『{name}』的人群现在一个人也没有。"),
    "campaign.wrong": N_("活动还不能这样保存，看下面写的。"),
    "playbook.not_found": N_("没有这个玩法。"),
    "referral.no_programme": N_("没有这个老带新活动。"),
    "referral.review_not_open": N_("这件复核已经有人决定了。"),
    "referral.not_to_do": N_("这笔奖励没有在等转账。"),
    "subscription.plan_unreadable": N_("这一处读不懂：{what}"),
    "subscription.plan_fixed": N_("“{key}”有 {subscribers} 人在订，周期不能改；换一个名字建新套餐。"),
    "subscription.plan_not_found": N_("没有这个套餐。"),
    "rules.wrong": N_("规则还不能这样定，看每一项旁边写的。"),
    "rules.changed": N_("同事刚改过规则（第 {version} 版），请看过再改。"),
    "rules.not_found": N_("没有第 {version} 版规则。"),
    "settings.no_data_key": N_("店里没有设置 SIYU_DATA_KEY（openssl rand -base64 32），建不了。"),
    "api_key.name_taken": N_("已经有过叫「{name}」的钥匙，换个名字。"),
    "api_key.wrong": N_("名字要 1 到 40 个字，至少勾一个权限。"),
    "api_key.not_found": N_("没有这把钥匙。"),
    "webhook.address": N_("地址要是 https 的公网网址，不带用户名、密码和 #。内网的先打开 SIYU_WEBHOOKS__PRIVATE。"),
    "webhook.name_taken": N_("已经有过叫「{name}」的 webhook，换个名字。"),
    "webhook.wrong": N_("名字要 1 到 40 个字，事件从列表里选。"),
    "webhook.not_found": N_("没有这个 webhook，或者已经删掉了。"),
    "webhook.span_unreadable": N_("写明从什么时候到什么时候，先后不能反。"),
    "sale.not_found": N_("没有这场秒杀。"),
    "sale.invalid": N_("这场秒杀还不能这样定：{problem}"),
    "sale.not_a_draft": N_("这场秒杀已经公布，不能再改；可以照着它新建一场。"),
    "sale.cannot_now": N_("这场秒杀现在做不了这件事，可能同事刚做过。"),
    "sale.refund_not_due": N_("这笔付款没有在等退款。"),
    "account.password_wrong": N_("现在的密码不对。"),
}
SOMEHOW = N_("这个操作被拒绝了（{code}）。")


def in_words(refusal: ShopError, language: NullTranslations) -> str:
    facts = {"code": refusal.code, **vars(refusal)}
    if "retry_after" in facts:
        facts["minutes"] = max(1.0, facts["retry_after"] / 60)
    return of_code(refusal.code, language).format(**facts)


def of_code(code: str, language: NullTranslations) -> str:
    """Ours, else what a member would read, else the code itself: never nothing."""
    if code in WORDS:
        return language.gettext(WORDS[code])
    return texts.REFUSALS.get(code) or language.gettext(SOMEHOW)
