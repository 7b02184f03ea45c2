"""Every sentence a customer or a colleague reads: warm, short, honest about what happens next."""

from datetime import date, timedelta

from campaigns.suggestions import Suggestion
from crm.base.clock import SHANGHAI, local_day
from crm.base.errors import ShopError
from crm.check_ins import Done
from crm.level_standing import LevelStanding
from crm.models.loyalty import EntryKind, PointEntry
from crm.models.order import Order
from crm.point_nights import last_day
from crm.points import Balance

WELCOME_KF = "您好，欢迎来到{shop}！我是智能客服小毛球，配送、退换、优惠、积分和养宠问题都可以直接问我～"
WELCOME_CONTACT = "您好，我是{shop}的{staff}，很高兴认识您！有问题随时找我，回复也可以找我们的在线客服。"
MENU_HEAD = "大家常问："
MENU_TAIL = "也可以直接打字提问；需要人工请回复「人工」。"
SUGGEST_HEAD = "您是想问下面哪一个呢？"
SUGGEST_TAIL = "都不是的话，换个说法试试，或回复「人工」找同事帮您。"
MISS = "抱歉，这个问题我还没学会。您可以换个说法再问一次，或回复「人工」，我请同事来帮您。"
USEFUL_CHOICES = ("👍 有帮助", "👎 没帮助")
USEFUL = "能帮到您就好～还有问题随时问我。"
USELESS = "抱歉没帮上忙，您的反馈我们会看。您可以换个说法再问一次，或回复「人工」，我请同事来帮您。"
LINK = "{title}：{url}"
BROADCAST_ASKED = (
    "【群发待确认】“{campaign}”请您发给 {recipients} 位客户：企业微信 → 客户联系 → 群发助手，点“发送”才会送到客户。"
)
GROUP_POST_ASKED = (
    "【群公告待确认】“{campaign}”请您发到 {recipients} 个客户群：企业微信 → 客户联系 → 群发助手，点“发送”才会发到群里。"
)
NOT_TEXT = "收到您的{kind}啦。我目前只看得懂文字，麻烦您用文字说一下，或回复「人工」找同事帮您看。"
KINDS = {
    "image": "图片",
    "voice": "语音",
    "video": "视频",
    "file": "文件",
    "location": "位置",
    "link": "链接",
    "business_card": "名片",
    "miniprogram": "小程序",
}
HUMAN_WHY = {  # why a person comes, by triggers.Reason
    "asked_for": "好的，已经帮您呼叫人工客服，您的问题也一并转告了。",
    "complaint": "非常抱歉给您带来不好的体验，您反映的情况我已经记下，马上请专人跟进。",
    "angry": "非常抱歉让您不愉快了，这件事我已经记下，马上请同事来帮您处理。",
    "refund": "退款的事马虎不得，我请同事来为您核实处理。",
    "out_of_scope": "这个问题我不敢随便回答，请同事来帮您看看更稳妥。",
    "misses": "抱歉，这两个问题我都没答上来，我请同事来帮您。",
    "vip": "这个问题我没有十足的把握，马上请您的专属同事来帮您。",
    "bot_error": "抱歉，我这边出了点小问题，已经请同事来帮您处理。",
    "bad_rating": "很抱歉这次没能让您满意，已经请负责的同事跟进。",
}
HUMAN_SOON = "同事会在这里回复您，最晚{when} 前，请稍等。"
HUMAN_SOON_COMPLAINT = "同事最晚{when} 前在这里向您致歉并给出处理方案，48 小时内给您处理结果。"
HUMAN_LATER = "现在是休息时间（人工服务时间：{hours}），同事最晚{when} 前在这里回复您，提前上线的同事会先来帮您。"
HUMAN_ALREADY = "已经在帮您联系人工客服了，同事最晚{when} 前在这里回复您，请稍等一下。"
HUMAN_URGED = "已经帮您催促同事了，会尽快在这里回复您，让您久等了。"
HUMAN_PROMPT = "已为您接通人工客服，请稍候。"
HUMAN_AWAY = "同事现在都不在线，您的问题已经记下，最晚{when} 前在这里回复您。这期间我也可以继续帮您。"
HUMAN_QUEUED = "同事正忙，已为您排队，请稍候，轮到您时会直接在这里回复。"
CSAT_HEAD = "这次的服务您还满意吗？点一下就好："
CSAT_REMINDER = "方便的话，帮我们评价一下这次的服务吧，点一下就好："
CSAT_CHOICES = {5: "非常满意", 4: "满意", 3: "一般", 2: "不满意", 1: "非常不满意"}
CSAT_THANKS = "谢谢您的评价，祝您和毛孩子每天开心～"
CSAT_WHY = "谢谢您的评价。方便说说哪里可以做得更好吗？直接回复就行。"
CSAT_COMMENT_KEPT = "谢谢您告诉我们，已经转给负责的同事。"
CSAT_ALREADY = "您已经评价过啦，谢谢！"
FLOOD = "您的消息有点多，我一条一条看，请稍等一会儿再发。着急的话回复「人工」，我请同事来帮您。"
WALL = "您发的内容比较长，我怕看漏。麻烦用一两句话说说想问什么，或回复「人工」，请同事仔细看。"
EMOJI = "收到啦～有什么可以帮您的，直接打字告诉我就好。"
PROMPT_LIKE = "我是{shop}的智能客服，只能帮您解答购物和养宠的问题哦。您想了解哪方面呢？"
NOT_CHINESE = (
    "Sorry, I can only read Chinese for now. Reply 人工 and a colleague will help you.\n"
    "抱歉，我目前只看得懂中文；需要帮助请回复「人工」，同事会来帮您。"
)
OPTED_OUT = (
    "好的，已为您关闭活动和优惠推送，之后不会再主动打扰。订单、售后等服务消息不受影响。想恢复时回复「恢复推送」即可。"
)
OPTED_OUT_ALREADY = "您已经关闭了活动推送，我们不会主动打扰您。想恢复时回复「恢复推送」即可。"
OPTED_IN = "好的，已为您恢复活动和优惠推送。想关闭时回复「退订」即可。"
THANKS = "不客气，能帮到您就好～还有问题随时问我。"
HELLO = "您好呀，我是{shop}的智能客服。配送、退换、优惠、积分和养宠问题都可以直接问我～"
ORDERS_HEAD = "您最近的订单："
ORDER_LINE = "{day}  {number}  {yuan} 元  {status}"
ORDER_STATUS = {
    "placed": "待付款",
    "paid": "已付款",
    "partly_refunded": "部分退款",
    "refunded": "已退款",
    "cancelled": "已取消",
}
NAMELESS = "您"
NO_ORDER_YET = "暂无订单"
ORDERS_NONE = "还没有查到您的订单。如果您是用别的账号下的单，请回复「人工」，同事帮您核对。"

# Flash sales

SALE_NONE = "现在没有秒杀。有新的专场会在群里预告，也可以随时回复「秒杀」看看。"
SALE_HOW = "回复「抢 商品代号」就能抢，例如「抢 A1」或「抢 A1 x2」；「我的秒杀」看结果。"
SALE_OPEN = "进行中，{closes} 结束"
SALE_SOON = "{opens} 开抢"
SALE_ITEM = "{code}  {name}  秒杀价 {price} 元（原价 {list_price} 元），每人限 {limit} 件，{left}"
SALE_NO_ITEM = "没有找到代号是 {item} 的秒杀商品。回复「秒杀」看看有什么。"
SALE_GRANTED = "抢到了！{item} × {quantity}，共 {yuan} 元。请在 {until} 前付款，过时名额会自动让给排队的人。"
SALE_UNPAID = "您有一单还没付款，先付掉或放弃这一单，再抢别的数量。"
SALE_SOLD_OUT = "{item} 抢光了。回复「排队 {code}」候补，有人没付款就按顺序轮到您。"
SALE_NOT_OPEN = "{item} 还没开抢，{opens} 准时开始。"
SALE_WAITING = "已经排上了：{item}，您是第 {number} 位。轮到您时名额会为您留着，请留意这里的消息。"
SALE_WAIT_LINE = "{item}：候补第 {number} 位"
SALE_MINE = "您的秒杀："
SALE_MINE_NONE = "您还没有抢过秒杀。回复「秒杀」看看有什么。"
SALE_OFFERED = "候补轮到您了！{item} × {quantity}，共 {yuan} 元，请在 {until} 前付款。{link}"
SALE_ITEM_OVER = "{item} {why}，这场秒杀结束了。{then}"
SALE_ITEM_GONE, SALE_ITEM_ENDED = "已售罄", "已经结束"
SALE_UNSENT = "【秒杀】“{sale}”开抢了，{head}。还没发的：{groups}"
SALE_REFUND = "您的付款到账时名额已经释放，{yuan} 元会原路退回。给您添麻烦了。"
SALE_ADMITTED = "{sale}：已经为您放行，现在可以抢了。"
SALE_TURNED_AWAY = "{sale}：店里核对过，没有放行。有疑问请回复「人工」。"
SALE_HELD_UP = "店里要先核对一下这一单，放行后才能付款。请过一会儿再来看。"
H5_WAITING = "已经排上了，您是第 {number} 位。轮到您时名额会为您留着。"
H5_STRANGER = "这个页面给{shop}的会员看。请先添加我们的员工为好友，或从群里的链接打开。"
CLAIM_LINE = "{item} × {quantity}  {yuan} 元  {state}"
CLAIM_STATES = {"held": "待付款，{until} 前有效", "paid": "已付款", "released": "已释放"}
CLAIM_REFUNDS = {"refund_due": "已释放，付款退回中", "refunded": "已释放，付款已退回"}

# Inviting friends

REFERRAL_NONE = "现在没有邀请好友的活动，有新的会告诉您。"
REFERRAL_MINE = "【{title}】您邀请的朋友里，已有 {counted} 位算数："
REFERRAL_NOBODY = "还没有朋友通过您的邀请加入。"
REFERRAL_NEXT = "再邀请 {missing} 位，就到满 {at} 位的奖励啦。"
REFERRAL_HOW = "朋友完成首单并过了退款期就算数，奖励自动到账。回复「邀请海报」拿您的专属海报。"
REFERRAL_SHARE = "您的专属链接：\n{url}\n邀请码 {code}。海报马上发给您，转给朋友就行。"
REFERRAL_BY_CODE = "您的邀请码是 {code}：请朋友加我们的客服后回复「邀请码 {code}」就行。"
REFERRAL_NO_POSTER = "抱歉，海报这会儿没做出来，上面的链接一样能用；过一会儿再回复「邀请海报」试试。"
REFERRAL_CAME = "欢迎！已经记下是朋友邀请您来的，新人礼会自动到您的账上。"
REFERRAL_REFUSED = {
    "own_link": "这是您自己的邀请码，请发给朋友来用～",
    "not_new": "邀请码是给新朋友的，您已经是我们的老朋友啦。回复「邀请好友」，也可以邀请您的朋友。",
    "invited_before": "您之前已经通过朋友的邀请加入啦，一位新朋友只算一次。",
}
REFERRAL_EMPTY_RANKING = "榜上还没有人，回复「邀请好友」当第一个！"
REFERRAL_RANKING = "【{title}】邀请榜："
REFERRAL_PLACE = "您现在第 {place} 名。"
REFERRAL_COUNTED = "您邀请的{friend}算数啦，现在一共 {counted} 位。"
REFERRAL_GOT = "您得到：{gifts}。"
REFERRAL_WELCOME = "欢迎！朋友邀请您来的新人礼到了：{gift}。"
REFERRAL_REWARD = "邀请活动的奖励到了：{gift}。"
REFERRAL_REVOKED = "您邀请的一位朋友不再计入（{why}），因此得到的奖励已经收回。"

# What everybody in an internal group reads

GROUP_HELLO = "大家好，我是{shop}的智能助手，商品、配送、退换、优惠的问题 @我 就能问～"
GROUP_MENU = "大家常问：\n{lines}"
GROUP_LOOKING = "正在查…"
GROUP_LATE = "这个问题要多查一会儿，查到后马上发在这里。"
GROUP_LOST = "抱歉，这次没能答上来，麻烦再 @我 问一次。"
GROUP_MISS = "抱歉，这个问题我还没学会，已经记下来请同事补上。可以换个说法再 @我 问一次。"
GROUP_SUGGEST = "您是想问下面哪一个呢？\n{lines}\n@我 并回复序号就行；都不是的话，换个说法试试。"
GROUP_RELATED = "相关问题：\n{lines}"
GROUP_PERSONAL = "这件事和个人有关，这里不方便说。请到微信客服里一对一问{link}。"
GROUP_PERSONAL_LINK = "：[点这里]({url})"
GROUP_FLOOD = "您问得有点快，我一条一条看，请过一分钟再 @我。"
GROUP_NOT_TEXT = "收到您的{kind}啦。我目前只看得懂文字，麻烦用文字说一下。"
GROUP_WALL = "内容比较长，我怕看漏。麻烦用一两句话说说想问什么。"
GROUP_NOT_CHINESE = "Sorry, I can only read Chinese for now. 抱歉，我目前只看得懂中文。"
GROUP_PICTURE = "[图片]({url})"
GROUP_LINK = "[{title}]({url})"

# Points and levels

POINTS_BALANCE = "您现在有 {active} 积分可用。"
POINTS_PENDING = "另有 {points} 积分待入账，最早 {day}到账。"
POINTS_EXPIRING = "其中 {points} 积分快到期了，最早的 {day}到期。"
POINTS_OWED = "之前退款的订单还有 {points} 积分要扣回，会从之后到账的积分里抵。"
POINTS_STATEMENT = "最近的积分记录："
POINTS_LINE = "{day}  {points:+d}  {kind}"
POINTS_CAPPED = "{day}  0  {kind}（已到当天上限）"
POINTS_NO_STATEMENT = "还没有积分记录。回复「签到」，今天就可以有。"
POINT_KINDS = {
    "earned": "获得",
    "granted": "补发",
    "returned": "使用退回",
    "spent": "使用",
    "taken_back": "退款扣回",
    "deducted": "扣除",
    "expired": "到期",
    "parted": "账号拆分调整",
}
POINT_CAUSES = {"order": "购物", "check_in": "签到", "review": "评价", "referral": "邀请好友", "task": "社群任务"}
CHECKED_IN = "签到成功，连续 {streak} 天，获得 {points} 积分。您现在有 {active} 积分可用。"
CHECKED_IN_CAPPED = "签到成功，连续 {streak} 天。今天的积分已到上限，明天再来～"
CHECK_IN_REWARD = "再连续签到 {days} 天，多得 {points} 积分。"
CHECKED_IN_ALREADY = "今天已经签到过啦，连续 {streak} 天，明天再来～"
LEVEL = "您现在是{name}。"
LEVEL_UNTIL = "有效期到 {day}。"
LEVEL_NEXT = "近 {days} 天实付 {growth} 元，再消费 {missing} 元就能升到{name}。"
LEVEL_TOP = "近 {days} 天实付 {growth} 元，已经是最高等级啦。"
LEVEL_GRACE = "保级提醒：{day}前再消费 {missing} 元，就能保住{name}。"
LEVEL_NONE = "普通会员"
COUPONS_NONE = "您的券包里现在没有券。回复「领券」看看有什么可以领。"
COUPONS_HEAD = "您的券："
COUPONS_TAIL = "有待付款的订单时，回复「用券 券码」就能用上。"
COUPON_USED = "已经用在订单 {order} 上：{saved}。30 分钟内付款有效，过时券会回到您的券包。"
COUPON_NO_ORDER = "您现在没有待付款的订单。下单后再回复「用券 券码」，或结算时输入券码：\n{line}"
COUPON_UNFIT = {
    "scope": "这张券不能用在这个订单的商品上，券还在您的券包里。",
    "threshold": "还差 {missing} 元就能用这张券了，券还在您的券包里。",
    "nothing_left": "这个订单已经没有可以再减的了，券还在您的券包里。",
    "not_together": "这张券不能和别的券一起用，券还在您的券包里。",
}
CLAIM_HEAD = "现在可以领的券，回复一行就能领："
CLAIM_NONE = "现在没有可以领的券，有新的会告诉您。"
CLAIM_UNKNOWN = "没有找到「{key}」这张券。回复「领券」看看现在有什么。"
CLAIMED = "领到啦！\n{line}"
LADDER_GIVEN = "{why}\n{got}"
LADDER_WHY = "您是我们的{tier}会员，这份是给您的："
LADDER_EVERYBODY = "这份是给您的："
EXCHANGE_HEAD = "积分可以换这些，回复一行就能换："
EXCHANGED = "用 {points} 积分换到了：\n{line}"

SUGGESTIONS_NONE = "还没有适合您的推荐：多买几次，我就知道您喜欢什么啦。"
SUGGESTIONS_HEAD = "猜您会喜欢："
SUGGESTION_LINE = "· {name}（{why}）"
SUGGESTION_WHY = {"together": "常和「{because}」一起买", "new": "「{because}」新品"}

# What staff read

REASONS = {
    "asked_for": "客户要求人工",
    "complaint": "投诉",
    "angry": "情绪激动",
    "refund": "退款争议",
    "out_of_scope": "超出机器人范围",
    "misses": "连续两次没答上",
    "vip": "重要客户",
    "bot_error": "机器人出错",
    "bad_rating": "差评回访",
}
CARD_TITLES = {"urgent": "【加急】客户转人工", "high": "【优先】客户转人工", "normal": "客户转人工"}
CARD_TAKEN = "{who}已接单"
CARD_PASSED = "已转给同事"
STAFF_TAKEN = "客户「{customer}」已由{who}接待。"
STAFF_AWAY = "接单没有成功：您现在不在接待状态。请先在微信客服里开启接待，再点一次接单。"
STAFF_ENDED = "客户「{customer}」的会话已结束，请在微信客服里直接给客户发消息，会话会重新打开。"
STAFF_GONE = "这张卡片的会话已经结束，不用处理了。"
STAFF_NOBODY_ELSE = "现在没有其他同事可以接手，客户「{customer}」仍由您接待。"
DIGEST = (
    "**上周小结 {since} – {until}**\n"
    '> 净额 <font color="info">¥{net}</font>{net_change}\n'
    "> 订单 {orders} 单，客单价 ¥{average}，复购率 {repeat}，首单买家 {newcomers} 人\n"
    "> 秒杀：{claimed} 位找过客服的会员抢到，{paid} 位付了款\n"
    "> 客服：机器人独立解决 {deflection}，满意度 {rating}，没答上 {misses} 个问题"
)
STAFF_PASSED = "同事把工单 {number} 转给了您，请到工作台回复客户：「{quote}」"
STAFF_MENTIONED = "工单 {number} 的备注里提到了您：{words}"
STAFF_NOT_YOURS = "只有正在接待的同事才能转出这位客户。"
SLA_WARNED = "提醒：工单 {number}，客户「{customer}」（{reason}）的{clock}将在{when}到期，请尽快处理。"
SLA_BREACHED = "超时：工单 {number}，客户「{customer}」（{reason}）的{clock}已在{when}到期，请主管跟进。接待：{who}。"
ARCHIVE_ALARM = (
    "客户群「{group}」里，{customer}可能需要您（{reason}）：「{quote}」。机器人不会在群里说话，请您尽快回复或私下联系。"
)
ARCHIVE_KEYWORD = "客户群「{group}」里，{customer}提到了「{word}」：「{quote}」"
ARCHIVE_SOMEBODY = "一位客户"
ARCHIVE_NAMELESS = "未命名的群"
FOLLOW_UPS = (
    "【回访】“{rule}”今天有 {visits} 位客户请您回访，{due}前完成。名单和要问的在管理台「回访」，问完在那里记一笔。"
)
SLA_CLOCKS = {"first_response": "首次回复", "resolution": "解决时限"}

REFUSALS: dict[str, str] = {
    "shop.busy": "现在有点忙，请过几秒再试一次。",
    "shop.not_found": "没有找到您说的内容，请检查一下再试。",
    "ticket.taken": "这位客户已由同事接待。",
    "ticket.closed": "这张工单已经结束。",
    "points.not_enough": "积分不够：需要 {points} 分，您现在可用 {available} 分。",
    "offer.not_found": "没有找到这个优惠，请检查一下再试。",
    "offer.not_open": "这个优惠现在不能领：还没开始，或者已经结束。",
    "offer.sold_out": "抱歉，这个优惠已经领完了。",
    "offer.limit_reached": "您已经领过啦，每人最多 {per_member} 张。",
    "offer.budget_spent": "抱歉，这个活动的优惠已经用完了。",
    "offer.not_for_points": "这个优惠不能用积分换。",
    "ladder.no_tier": "抱歉，这份礼物这次没有适合您的，或者已经送完了。",
    "coupon.not_found": "您的券包里没有这张券，请检查一下券码。",
    "coupon.expired": "抱歉，这张券已经过期了。",
    "coupon.spent": "这张券已经用过了。",
    "coupon.in_use": "这张券已经用在订单 {order_no} 上，付款或取消那个订单后再试。",
    "window.spent": "48 小时内的 5 条消息已用完，要等客户再发一条消息。",
}
REFUSALS |= {
    "referral.not_open": "邀请活动还没开始，或者已经结束了。",
    "referral.no_link": "没有找到这个邀请码，请和朋友核对一下。",
    "referral.link_closed": "这个邀请已经失效了。",
    "member.erased": "您的资料已按您的要求删除，有需要请直接和我们说。",
    "visitor.sign_in_failed": "微信没有告诉我们您是谁，请关掉页面再打开一次。",
    "visitor.form_expired": "页面打开得太久了，请刷新后再试。",
    "sale.not_found": "没有找到这场秒杀，可能已经结束。",
    "sale.item_not_found": "没有找到这件秒杀商品，回复「秒杀」看看有什么。",
    "sale.claim_not_found": "没有找到这一单。",
    "sale.bill_not_found": "没有在等的这笔收款。",
    "sale.quantity_invalid": "数量要在 1 到 99 之间。",
    "sale.not_open": "还没开抢，请等开始。",
    "sale.over": "这场秒杀已经结束了。",
    "sale.sold_out": "抢光了，可以排队候补。",
    "sale.too_few_left": "只剩 {left} 件了，少要一点再试。",
    "sale.share_sold_out": "这个群的名额已经抢光了。",
    "sale.limit_reached": "每人限 {limit} 件，您已经有 {have} 件了。",
    "sale.not_invited": "这场秒杀是给指定的群的，您不在这些群里。",
    "sale.unpaid_claim": "您有一单还没付款，先付掉或放弃这一单。",
    "sale.claim_released": "这一单没有在时限内付款，名额已经释放。想要请重新抢。",
    "sale.stock_is_back": "现在还有 {left} 件，不用排队，直接抢吧。",
    "sale.under_review": "一下子来了很多新朋友，店里要先核对一下。放行后您就能抢，请过一会儿再来。",
    "sale.turned_away": "店里核对过，这场秒杀没有放行。有疑问请联系客服。",
    "sale.cannot_cancel": "这一单已经付款或已经释放，不能再放弃。",
}
REFUSALS |= {
    "task.not_found": "没有找到这个任务。回复「任务」看看现在有什么。",
    "task.not_open": "这个任务还没开始，或者已经结束了。回复「任务」看看现在有什么。",
    "task.already_done": "您已经参加过啦，每人一次。",
    "task.changed": "题目有更新，请重新打开再答。",
    "survey.not_found": "没有找到这份问卷。",
    "survey.not_open": "这份问卷已经结束了，谢谢您！",
    "survey.already_answered": "您已经打过分啦，谢谢！",
    "survey.score_wrong": "请选 0 到 10 里的一个。",
    "review.not_to_review": "这件商品现在不能晒：不是近期买的，或者已经晒过了。",
    "review.not_found": "没有找到这条晒单。",
    "review.enough": "这个月的晒单已经满 {a_month} 次啦，下个月再来～",
    "review.picture_wrong": "照片没有收下：要 1 到 6 张 JPG、PNG、GIF 或 WebP，每张不超过 8 MB。",
    "review.words_missing": "再写几句吧，至少 {min_chars} 个字。",
    "task.choice_wrong": "没有这个选项，请每一题选一个再提交。",
}
REFUSALS |= {
    "subscription.plan_not_found": "没有找到这个订阅套餐。回复「订阅」看看有哪些。",
    "subscription.plan_closed": "这个套餐不再接受新的订阅了。回复「订阅」看看现在有哪些。",
    "subscription.not_found": "没有找到这个订阅。回复「我的订阅」看看。",
    "subscription.already": "您已经订阅了这个套餐，回复「我的订阅」看看。",
    "subscription.date_invalid": "日期要在 {first} 到 {last} 之间。",
    "subscription.address_invalid": "地址请写全省市区、街道和门牌号。",
    "subscription.no_addresses": "收货地址暂时不能在这里填，请回复「人工」找同事。",
    "subscription.quantity_invalid": "份数要在 1 到 99 之间。",
    "subscription.nothing_open": "现在没有等您决定的一期，下一期是 {due_on}。",
    "subscription.too_late": "这一期已经处理过了，回复「我的订阅」看看现在的安排。",
    "subscription.wrong_standing": "这个订阅现在办不了这件事，回复「我的订阅」看看它的状态。",
}
REFUSED = "这个操作暂时办不了，请换个说法再试，或回复「人工」找同事帮您。"


def refusal(error: ShopError) -> str:
    """The sentence for a planned refusal; facts of the error fill its blanks."""
    return REFUSALS.get(error.code, REFUSED).format(**vars(error))


def order_line(order: Order) -> str:
    """An order in one line: day, number, amount, where it stands."""
    day = order.placed_at.astimezone(SHANGHAI)
    return ORDER_LINE.format(
        day=f"{day:%m-%d}", number=order.external_no, yuan=f"{order.total_fen / 100:.2f}",
        status=ORDER_STATUS[order.status],
    )  # fmt: skip


def day(on: date) -> str:
    return f"{on.year} 年 {on.month} 月 {on.day} 日"


def points_balance(found: Balance) -> str:
    """What a member has, what comes, what goes soon, what is owed."""
    said = [POINTS_BALANCE.format(active=found.active)]
    if found.pending and found.next_active_at is not None:
        said.append(POINTS_PENDING.format(points=found.pending, day=day(local_day(found.next_active_at))))
    if found.expiring and found.expires_at is not None:
        said.append(POINTS_EXPIRING.format(points=found.expiring, day=day(last_day(found.expires_at))))
    if found.owed:
        said.append(POINTS_OWED.format(points=found.owed))
    return "\n".join(said)


def points_line(entry: PointEntry) -> str:
    """One movement of points in one line; what a colleague wrote as the reason is for colleagues."""
    kind = POINT_KINDS[entry.kind]
    if entry.kind is EntryKind.EARNED:
        kind = POINT_CAUSES.get(entry.cause_kind, kind)
    pattern = POINTS_LINE if entry.points else POINTS_CAPPED
    return pattern.format(day=f"{entry.booked_on:%m-%d}", points=entry.points, kind=kind)


def checked_in(done: Done, found: Balance) -> str:
    pattern = CHECKED_IN if done.points else CHECKED_IN_CAPPED
    said = pattern.format(streak=done.streak, points=done.points, active=found.active)
    return f"{said}\n{CHECK_IN_REWARD.format(days=done.reward_in, points=done.reward)}" if done.reward_in else said


def level(found: LevelStanding) -> str:
    """A member's level, until when, and the way up or the way to keep it."""
    said = [LEVEL.format(name=found.name)]
    if found.grace_until_on is not None:
        last = found.grace_until_on
        said.append(LEVEL_GRACE.format(day=day(last), missing=yuan(found.keeps_with_fen), name=found.name))
    elif found.until_on is not None:
        said[0] += LEVEL_UNTIL.format(day=day(found.until_on - timedelta(days=1)))
    facts = {"days": found.window_days, "growth": yuan(found.growth_fen)}
    if found.next_name is None:
        said.append(LEVEL_TOP.format(**facts))
    else:
        said.append(LEVEL_NEXT.format(**facts, missing=yuan(found.next_in_fen), name=found.next_name))
    return "\n".join(said)


def suggestion_why(found: Suggestion) -> str:
    """常和「猫粮」一起买"""
    return SUGGESTION_WHY[found.why].format(because=found.because)


def yuan(fen: int) -> str:
    """Fen as yuan, without needless zeros: 50000 -> 500, 8850 -> 88.5."""
    return f"{fen / 100:.2f}".rstrip("0").rstrip(".")
