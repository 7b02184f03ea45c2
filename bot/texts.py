"""Every sentence a customer reads, in one voice: warm, short, honest about what happens next."""

from crm.base.clock import SHANGHAI
from crm.base.errors import ShopError
from crm.models.order import Order

WELCOME_KF = "您好，欢迎来到{shop}！我是智能客服小毛球，配送、退换、优惠、积分和养宠问题都可以直接问我～"
WELCOME_CONTACT = "{name}您好，我是{shop}的{staff}，很高兴认识您！有问题随时找我，回复也可以找我们的在线客服。"
MENU_HEAD = "大家常问："
MENU_TAIL = "也可以直接打字提问；需要人工请回复「人工」。"
SUGGEST_HEAD = "您是想问下面哪一个呢？"
SUGGEST_TAIL = "都不是的话，换个说法试试，或回复「人工」找同事帮您。"
MISS = "抱歉，这个问题我还没学会。您可以换个说法再问一次，或回复「人工」，我请同事来帮您。"
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
HUMAN_COMING = "好的，已经帮您呼叫人工客服，您的问题也一并转告了。接下来由同事在这里回复您，人工服务时间：{hours}。"
HUMAN_ALREADY = "已经在帮您联系人工客服了，同事会在这里回复您，请稍等一下。人工服务时间：{hours}。"
HUMAN_PROMPT = "正在为您转接人工客服，请稍候。"
HUMAN_AWAY = "同事现在不在线（人工服务时间：{hours}），您的问题已经记下，上线后会尽快回复您。这期间我也可以继续帮您。"
HUMAN_QUEUED = "同事正忙，已为您排队，请稍候，轮到您时会直接在这里回复。"
OPTED_OUT = (
    "好的，已为您关闭活动和优惠推送，之后不会再主动打扰。订单、售后等服务消息不受影响。想恢复时回复「恢复推送」即可。"
)
OPTED_OUT_ALREADY = "您已经关闭了活动推送，我们不会主动打扰您。想恢复时回复「恢复推送」即可。"
OPTED_IN = "好的，已为您恢复活动和优惠推送。想关闭时回复「退订」即可。"
THANKS = "不客气，能帮到您就好～还有问题随时问我。"
HELLO = "您好呀，我是{shop}的智能客服。配送、退换、优惠、积分和养宠问题都可以直接问我～"
BUG = "抱歉，我这边出了点小问题，已经请同事来帮您处理，请稍等一下。"
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

REFUSALS: dict[str, str] = {
    "shop.busy": "现在有点忙，请过几秒再试一次。",
    "shop.not_found": "没有找到您说的内容，请检查一下再试。",
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
