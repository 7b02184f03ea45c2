"""The demo shop 毛球小铺: its staff, customers, groups and orders, the same every time."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.simulator.corp import CallbackTarget
from bot.simulator.simulator import Simulator
from crm.base.ids import code
from crm.level_programme import GROUP
from crm.models.order import OrderStatus
from crm.order_terms import Line

NAME = "毛球小铺"
CORP_ID = "ww0000000000000001"
AGENT_ID = 1000002
SECRET = "demo-secret-not-a-real-one"
TOKEN = "DemoToken2026"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
BOT, BOT_NAME = "aibDEMO0000000001", "毛球助手"
BOT_TOKEN = "DemoBotToken2026"
BOT_AES_KEY = "DemoBotKeyDemoBotKeyDemoBotKeyDemoBotKey123"
STAFF_ROOM = "inDEMO0000000001"
KF = "wkDEMO0000000001"
KF_DESK = "wkDEMO0000000002"  # its agents answer from our desk
FIRST_CUSTOMER = "wmDEMO0000000001"  # whose phone the demo opens first
FIRST_QUESTION = "你好，猫粮多久能到呀？"
FIRST_MENTION = f"@{BOT_NAME} 满多少包邮？"
CUSTOMERS = 240

STAFF = {
    "yuanyuan": "圆圆（社群）",
    "xiaoman": "小满（社群）",
    "adou": "阿豆（客服）",
    "nuomi": "糯米（客服）",
    "dianzhang": "店长",
}
SERVICERS = ("adou", "nuomi")
GROUPS = {
    "毛球小铺 · 猫咪福利 1 群": "yuanyuan",
    "毛球小铺 · 猫咪福利 2 群": "yuanyuan",
    "毛球小铺 · 猫咪福利 3 群": "yuanyuan",
    "毛球小铺 · 狗狗福利 1 群": "xiaoman",
    "毛球小铺 · 狗狗福利 2 群": "xiaoman",
    "毛球小铺 · 新人报到群": "xiaoman",
    "毛球小铺 · 周四秒杀群": "yuanyuan",
    "毛球小铺 · 老客专享群": "dianzhang",
}
FIRST_GROUPS = ("毛球小铺 · 猫咪福利 1 群", "毛球小铺 · 周四秒杀群")  # where the first phone reads of the sale
TAGS = {
    GROUP: ("普通", "银卡", "金卡", "黑卡"),
    "养宠": ("猫", "狗", "猫狗双全"),
    "来源": ("包裹卡", "门店", "老带新"),
}
PETS = (
    "橘座",
    "布偶",
    "英短",
    "三花",
    "奶牛猫",
    "狸花",
    "金渐层",
    "柯基",
    "金毛",
    "泰迪",
    "柴柴",
    "边牧",
    "豆包",
    "年糕",
    "团子",
    "芝麻",
)
KEEPERS = (
    "家的铲屎官",
    "麻麻",
    "粑粑",
    "的小跟班",
    "今天吃什么",
    "不爱洗澡",
    "又胖了",
    "的饭搭子",
    "在晒太阳",
    "的日常",
)
GOODS = (
    ("CF-2KG", "全价成猫粮 2kg", "猫粮", 12800),
    ("CF-10KG", "全价成猫粮 10kg", "猫粮", 45900),
    ("KF-15", "全价幼猫粮 1.5kg", "猫粮", 10900),
    ("DF-5KG", "全价成犬粮 5kg", "狗粮", 19900),
    ("CL-6L", "豆腐猫砂 6L×4", "猫砂", 8900),
    ("CL-BN", "矿土猫砂 10kg", "猫砂", 5900),
    ("SN-FD", "冻干鸡肉粒 100g", "零食", 3900),
    ("SN-CAN", "主食罐 170g×12", "零食", 15600),
    ("TY-BALL", "逗猫棒套装", "玩具", 2900),
    ("TY-ROPE", "狗狗磨牙绳", "玩具", 2500),
    ("CR-BRUSH", "去浮毛梳", "洗护", 4500),
    ("CR-WASH", "宠物香波 500ml", "洗护", 6900),
)


@dataclass(frozen=True, slots=True)
class PastOrder:
    """An order of the time before the demo begins."""

    external_userid: str
    external_no: str
    placed_at: datetime
    status: OrderStatus
    lines: tuple[Line, ...]

    @property
    def total_fen(self) -> int:
        return sum(line.price_fen * line.quantity for line in self.lines)


def furnish(simulator: Simulator, chance: random.Random) -> list[str]:
    """Put the shop's people and groups into the simulated WeCom; returns the customers' external_userids."""
    world = simulator.world
    world.register_app(AGENT_ID, "思域助手", SECRET)
    for userid, name in STAFF.items():
        world.add_staff(userid, name)
    world.add_kf_account(f"{NAME}客服", KF, list(SERVICERS))
    world.add_kf_account(f"{NAME}售后", KF_DESK, list(SERVICERS))
    world.aibots.add(BOT_NAME, BOT)
    world.aibots.add_room("员工内购群", list(STAFF), [BOT], STAFF_ROOM)
    tags = []
    for group, names in TAGS.items():
        _, made = world.tags.add("", group, [(name, len(names) - place) for place, name in enumerate(names)], by=None)
        if group != GROUP:  # the service says who has which level
            tags += [tag.id for tag in made]
    customers = [
        world.add_customer(name, f"wmDEMO{number:010d}", gender=chance.choice((0, 1, 2, 2))).external_userid
        for number, name in enumerate(nicknames(chance), start=1)
    ]
    for customer in customers:
        for userid in chance.sample(("yuanyuan", "xiaoman", "dianzhang"), k=chance.choice((1, 1, 1, 2))):
            follow = world.add_contact(userid, customer, state=chance.choice(("", "pkg_card", "store_qr", "invite")))
            follow.tags.update(dict.fromkeys(chance.sample(tags, k=chance.randint(0, 3))))
    for number, (name, owner) in enumerate(GROUPS.items(), start=1):
        people = chance.sample(customers, k=chance.randint(25, 70))
        if name in FIRST_GROUPS:
            people = list(dict.fromkeys([FIRST_CUSTOMER, *people]))
        world.add_group(name, owner, [*SERVICERS, *people], f"wrDEMO{number:010d}")
    return customers


def connect(simulator: Simulator, service_url: str) -> None:
    """Save the callback addresses in the app's and the bot's settings, as an administrator would."""
    world = simulator.world
    world.corp.apps[AGENT_ID].callback = CallbackTarget(f"{service_url}/wecom/callback/main", TOKEN, AES_KEY)
    world.aibots.get(BOT).callback = CallbackTarget(f"{service_url}/wecom/aibot/helper", BOT_TOKEN, BOT_AES_KEY)


def nicknames(chance: random.Random) -> list[str]:
    """As many different WeChat nicknames as the shop has customers; the first is the one the demo shows."""
    every = [f"{pet}{keeper}" for pet in PETS for keeper in KEEPERS]
    every += [f"{pet}和{other}" for pet in PETS for other in PETS if pet < other]
    others = chance.sample([name for name in every if name != "橘座家的铲屎官"], k=CUSTOMERS - 1)
    return ["橘座家的铲屎官", *others]


def past_orders(customers: list[str], chance: random.Random, *, now: datetime) -> list[PastOrder]:
    """What they bought in the last year: many bought once, some are regulars."""
    found = []
    for customer in customers:
        for _ in range(chance.choice((0, 0, 1, 1, 1, 2, 2, 3, 4, 6, 9))):
            placed_at = now - timedelta(days=chance.uniform(0.5, 365))
            goods = chance.sample(GOODS, k=chance.choice((1, 1, 2, 3)))
            lines = tuple(
                Line(sku=sku, name=name, category=category, quantity=chance.choice((1, 1, 1, 2)), price_fen=price)
                for sku, name, category, price in goods
            )
            status = chance.choices((OrderStatus.PAID, OrderStatus.CANCELLED, OrderStatus.PLACED), (90, 6, 4))[0]
            number = f"MQ{placed_at:%y%m%d}{code(chance, 6)}"
            found.append(PastOrder(customer, number, placed_at, status, lines))
    return found
