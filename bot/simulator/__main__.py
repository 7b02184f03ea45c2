"""`python -m bot.simulator`: a small WeCom on this machine, for any service under development."""

import argparse
import sys

from bot.simulator.corp import CallbackTarget
from bot.simulator.server import run
from bot.simulator.simulator import Simulator
from crm.base.clock import SystemClock

CORPID = "ww0000000000000001"
AGENTID = 1000002
SECRET = "simulator-secret"
TOKEN = "SimToken2024"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def small_world(simulator: Simulator, callback_url: str = "") -> None:
    """One app, one kf account, three employees, four customers, one group, one robot, one AI bot."""
    world = simulator.world
    callback = CallbackTarget(callback_url, TOKEN, AES_KEY) if callback_url else None
    world.register_app(AGENTID, "私域助手", SECRET, callback)
    for userid, name in (("wangxiaomei", "王小美"), ("liqiang", "李强"), ("zhaomin", "赵敏")):
        world.add_staff(userid, name)
    world.add_kf_account("小店客服", "wk0000000000000001", ["wangxiaomei", "liqiang"])
    customers = [world.add_customer(name, f"wm{name_key}") for name, name_key in _CUSTOMERS]
    for person in customers[:3]:
        world.add_contact("wangxiaomei", person.external_userid)
    world.add_group("会员福利群", "wangxiaomei", [person.external_userid for person in customers[:3]], "wr0000000001")
    world.webhooks.add("值班群机器人", "robot-0001")
    bot = world.aibots.add("小助手", "aib0000000000001")
    world.aibots.add_room("内部值班群", ["wangxiaomei", "liqiang", "zhaomin"], [bot.id], "in0000000000001")


_CUSTOMERS = (("陈晓", "chenxiao"), ("林悦", "linyue"), ("周航", "zhouhang"), ("何田田", "hetiantian"))


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bot.simulator", description="A WeCom on your laptop.")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8090)
    options.add_argument("--callback", default="", metavar="URL", help="where your service receives callbacks")
    chosen = options.parse_args()
    start(chosen.host, chosen.port, chosen.callback)


def start(host: str, port: int, callback_url: str = "") -> None:
    """Serve the small world until Ctrl-C, and say where it is and which secrets it has."""
    simulator = Simulator(corpid=CORPID, envelope_clock=SystemClock())
    small_world(simulator, callback_url)
    origin = f"http://{host}:{port}"
    sys.stdout.write(
        f"企业微信模拟器：{origin}/phone 扮演客户，{origin}/staff 扮演员工\n"
        f"corpid={CORPID} agentid={AGENTID} secret={SECRET} token={TOKEN} aes_key={AES_KEY}\n"
    )
    sys.stdout.flush()
    try:
        run(simulator, host, port)
    except OSError as error:
        sys.exit(f"不能监听 {host}:{port}：{error.strerror or error}")


if __name__ == "__main__":
    main()
