"""When a person is needed: what words, mood and standing of a customer say; each rule can be switched off."""

import re
import unicodedata
from collections.abc import Collection
from enum import StrEnum

import opencc

from bot.handoff import mood


class Reason(StrEnum):
    """Why a ticket was opened; kept with it."""

    ASKED_FOR = "asked_for"
    COMPLAINT = "complaint"
    ANGRY = "angry"
    REFUND = "refund"
    OUT_OF_SCOPE = "out_of_scope"  # what a bot should not advise on
    MISSES = "misses"  # two questions in a row without an answer
    VIP = "vip"  # a member whom we do not let guess
    BOT_ERROR = "bot_error"
    BAD_RATING = "bad_rating"


ALL = frozenset(Reason)
MISSES_IN_A_ROW = 2
READ_CHARS = 2_000  # of a wall of text
_TO_SIMPLIFIED = opencc.OpenCC("t2s")
_GAP = re.compile(r"(?<=[\u4e00-\u9fff])\s+(?=[\u4e00-\u9fff])")

_LEAD = (
    r"(?:你好|您好|亲|麻烦|请|拜托|帮我|帮忙|给我|我|快|赶紧|马上|立刻|现在"
    r"|能不能|可不可以|可以|能|不能|要|想|需要|直接|还是|那|就|，|,|\s)*"
)
_VERB = r"(?:找|转接?|换|接入?|叫|联系|呼叫|来|有|有没有|和|跟|要|切换?到?|安排)"
_WHO = r"(?:人工|真人|活人|客服|店员|店长|老板|工作人员|负责人|管理员|小哥哥|小姐姐|人)"
_TAIL = (
    r"(?:服务|客服|人员|坐席|专员|小姐姐|处理|一下|回复|回答|说话|聊聊?|沟通|谈|说|来"
    r"|吗|么|嘛|呢|吧|啊|呀|在不在|在|不在|谢谢|了|的|好|[!！?？。.~～，,\s])*"
)
_ASKED_CHARS = 24  # a longer message is a story; and the patterns below try many ways
_ASKED = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_LEAD}(?:转|接|找|换|叫)?(?:一下|个|到|你们|你们的|一位)?(?:人工|真人|活人)(?:客服|服务)?{_TAIL}",
        rf"{_LEAD}{_VERB}(?:一下|个|到|你们|你们的|一位|接)*{_WHO}{_TAIL}",
        rf"{_LEAD}(?:你们的?)?(?:在线)?客服(?:人员|小姐姐)?{_TAIL}",
        r"(?:转?人工|真人|客服)+[!！?？。.~～]*",
        r"人呢[?？!！]*|有没有人(?:在|啊|呀|吗|管|回)*[?？!！]*",
        r"(?:zhuan\s*)?ren\s*gong(?:\s*(?:ke\s*fu|fu\s*wu))?|zrg|kefu",
        r"(?:human|agent|real person|customer service)[.! ]*",
    )
)
_ASKED_INSIDE = re.compile(
    r"转(?:接)?(?:到)?人工|(?:要|找|叫|换|给我|来)(?:个|一个|一下)?(?:真人|活人|人工)|人工(?:客服|服务)?(?:在哪|怎么(?:联系|找|转))|(?:怎么|如何|咋)(?:才能)?(?:转|联系|找|接)到?(?:人工|真人)"
    r"|(?:别|不要|不想|不用)(?:再)?(?:和|跟|用|让|给我)?(?:个)?(?:机器人|智能客服|自动回复)|(?:机器人|自动回复)(?:走开|滚|闭嘴)"
    r"|(?:speak|talk|chat)\s*(?:to|with)\s*(?:a|an|some)?\s*(?:human|person|agent|someone)"
)
_NEGATED = re.compile(
    r"(?:不用|不需要|不要|别|不想|无需|先不)(?:再|给我|帮我)?(?:转|找|接|叫)?(?:个)?(?:人工|真人|客服)"
)
_COMPLAINT = re.compile(
    r"(?:要|想|去|来|准备|打算|必须|我|再不.{0,8}就)投诉(?!.{0,4}(?:电话|渠道|方式|流程)是)|^投诉|投诉(?:你们|他|她|到底|无门)"
    r"|消费者协会|消协|12315|12345|工商(?:局|投诉)?|市场监管|起诉|法院|律师|维权|曝光|举报|报警|媒体"
    r"|(?:给|写|打)(?:个|你们)?差评|差评(?:了|!|！|$)|虚假(?:宣传|发货)|以次充好|卖假货|是假货|欺骗消费者|黑店|黑心"
)
_REFUND = re.compile(
    r"(?:必须|马上|立刻|立即|赶紧|赶快|快点?|尽快|现在就|今天就|直接)(?:就)?(?:给我)?(?:全额)?(?:退款|退钱|退货退款|赔偿?)"
    r"|(?:给我|把钱|钱)(?:全额)?(?:退款|退钱|退回来|还给我|退给我|还我)|还我(?:的)?钱|退我(?:的)?钱|退一赔|赔偿我|要求(?:全额)?(?:退款|赔偿|赔)"
    r"|(?:不给|不肯|拒绝|凭什么不|为什么不|为啥不|怎么不|就是不|还不|迟迟不|一直不|死活不)(?:给我?)?(?:退款?|退钱|退货|赔)"
    r"|退款(?:被拒|被驳回|被拒绝|失败了|纠纷)|(?:申请|退款).{0,6}被(?:拒|驳回)|重复扣(?:款|费)|多扣(?:了)?(?:我)?(?:的)?钱|乱扣"
)
_OUT_OF_SCOPE = re.compile(
    r"(?:呕?吐血|便血|拉血|尿血|抽搐|抽风|休克|昏迷|中毒|骨折|猫瘟|犬瘟|细小|急诊|快(?:不行|死)了|喘不上气|呼吸困难)"
    r"|(?:吃|用|打|喂)(?:什么|啥|多少|几)(?:药|针|片)|(?:剂量|药量|处方|抗生素|消炎药|止痛药|布洛芬|阿莫西林)"
    r"|身份证|银行卡(?:号|密码)|支付密码|验证码发|私下(?:交易|转账)|微信转账给|别人的?(?:订单|手机号|地址|电话)|其他(?:客户|会员)的"
    r"|(?:合同|公章|对公|批发|代理|加盟|招商|采购合作|商务合作)"
)


def plain(text: str) -> str:
    """What the rules read: simplified, lower case, half width, no gaps between Chinese characters, not endless."""
    storable = text[:READ_CHARS].encode("utf-8", "ignore").decode()
    folded = unicodedata.normalize("NFKC", storable).lower()
    return _GAP.sub("", _TO_SIMPLIFIED.convert(folded)).strip()


def asks_for_person(text: str) -> bool:
    """Whether somebody wants a person, in any of the usual spellings; "不用转人工" does not."""
    words = plain(text)
    if _NEGATED.search(words):
        return False
    short = len(words) <= _ASKED_CHARS
    return (short and any(one.fullmatch(words) for one in _ASKED)) or _ASKED_INSIDE.search(words) is not None


def detect(text: str, enabled: Collection[Reason] = ALL) -> Reason | None:
    """The reason for which this message goes to a person before the bot tries an answer; None: the bot may try."""
    words = plain(text)
    for reason, holds in (
        (Reason.COMPLAINT, _COMPLAINT.search),
        (Reason.ASKED_FOR, asks_for_person),
        (Reason.REFUND, _REFUND.search),
        (Reason.ANGRY, mood.is_angry),
    ):
        if reason in enabled and holds(words):
            return reason
    return None


def unanswered(text: str, *, misses: int, is_vip: bool, enabled: Collection[Reason] = ALL) -> Reason | None:
    """The reason for which a question without a sure answer goes to a person. misses: in a row, with this one."""
    if Reason.OUT_OF_SCOPE in enabled and _OUT_OF_SCOPE.search(plain(text)):
        return Reason.OUT_OF_SCOPE
    if Reason.VIP in enabled and is_vip:
        return Reason.VIP
    return Reason.MISSES if Reason.MISSES in enabled and misses >= MISSES_IN_A_ROW else None
