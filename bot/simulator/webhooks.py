"""Group robots (消息推送): their keys, what they posted into internal groups, and the 20-a-minute limit."""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

from bot.simulator import cards, checks
from bot.simulator.corp import Corp
from bot.simulator.faults import Limits
from bot.simulator.media import Media, sniff
from bot.simulator.refusals import Refusal

PER_MINUTE = 20
MAX_IMAGE = 2 * 1024 * 1024


@dataclass(slots=True)
class Robot:
    key: str
    name: str
    disabled: bool = False
    posts: list[dict[str, Any]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # media_ids it uploaded; nobody else may post them


class Webhooks:
    def __init__(self, corp: Corp, media: Media) -> None:
        self.corp = corp
        self.media = media
        self.robots: dict[str, Robot] = {}
        self._window = Limits()

    def add(self, name: str, key: str | None = None) -> Robot:
        robot = Robot(key or self.corp.new_id("robot-", 64), name)
        self.robots[robot.key] = robot
        return robot

    def get(self, key: object) -> Robot:
        robot = self.robots.get(key) if isinstance(key, str) else None
        if robot is None:
            raise Refusal(93000)
        if robot.disabled:
            raise Refusal(93004)
        return robot

    def post(self, key: object, body: checks.Body) -> None:
        robot, now = self.get(key), self.corp.now()
        msgtype = checks.text(body, "msgtype", missing=40008)
        payload = checks.node(body, msgtype)
        self._check(robot, msgtype, payload)
        if not self._window.count(robot.key, PER_MINUTE, now):
            raise Refusal(45009)
        robot.posts.append({"at": int(now), "msgtype": msgtype, msgtype: payload})
        self.corp.feed.publish("console", "webhook", {"key": robot.key})

    def _check(self, robot: Robot, msgtype: str, payload: dict[str, Any]) -> None:
        if msgtype == "text":
            checks.text(payload, "content", max_bytes=2048, missing=44004)
        elif msgtype in ("markdown", "markdown_v2"):
            checks.text(payload, "content", max_bytes=4096, missing=44004)
        elif msgtype == "image":
            _check_image(payload)
        elif msgtype == "news":
            if not len(checks.nodes(payload, "articles", most=8, errcode=45008)) >= 1:
                raise Refusal(40063, "articles")
        elif msgtype in ("file", "voice"):
            if payload.get("media_id") not in robot.files:
                raise Refusal(40007)
            self.media.get(payload["media_id"])
        elif msgtype == "template_card":
            cards.check(payload, notices_only=True)
        else:
            raise Refusal(40008, msgtype)


def _check_image(payload: dict[str, Any]) -> None:
    try:
        data = base64.b64decode(checks.text(payload, "base64"), validate=True)
    except ValueError as broken:
        raise Refusal(40058, "base64") from broken
    if hashlib.md5(data).hexdigest() != checks.text(payload, "md5").lower():
        raise Refusal(40058, "md5 does not match")
    if len(data) > MAX_IMAGE or not sniff(data).startswith("image/"):
        raise Refusal(40009)
