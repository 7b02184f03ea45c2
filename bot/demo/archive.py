"""The demo's chat archive: a key made anew each time, a licence for whoever owns a group, and a talk in one of them."""

from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from bot.demo import shop
from bot.settings import ArchiveSettings
from bot.simulator.simulator import Simulator

SECRET = "demo-bridge-not-a-real-one"
KEY_FILE = "demo-archive.pem"
ROOM, OWNER = "wrDEMO0000000001", "yuanyuan"  # the first group of shop.GROUPS
TALK = (
    ("大家换季掉毛厉害吗", 0),
    ("新疆可以寄吗？邮费怎么算呀", 1),
    ("上次买的猫粮袋子是破的，我要投诉", 2),
)


def set_up(simulator: Simulator, folder: Path, simulator_port: int) -> ArchiveSettings:
    """Licence the owners of groups in the simulated WeCom; the settings to read it with."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = folder / KEY_FILE
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    simulator.world.archive.set_up(SECRET, public, 1, shop.AGENT_ID, sorted(set(shop.GROUPS.values())))
    return ArchiveSettings(
        url=f"http://127.0.0.1:{simulator_port}/archive",
        secret=SecretStr(SECRET),
        private_keys={1: file},
        keywords=("团购",),
        unanswered_after=timedelta(minutes=1),
        poll=timedelta(seconds=5),
    )


def talk(simulator: Simulator) -> None:
    """What three customers say in their group: chatter, a question nobody answers, and a complaint for its owner."""
    groups = simulator.world.groups
    customers = [member.id for member in groups.find(ROOM).members.values() if member.type == 2]
    for words, place in TALK:
        groups.say(ROOM, customers[place], "text", {"content": words})
