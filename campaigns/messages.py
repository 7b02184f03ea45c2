"""What a campaign's messages say: templates and words looked at before it is scheduled, filled when they leave."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns import content, fields
from campaigns.content import Template, TemplateWrong
from campaigns.definition import Definition, Message, Step
from campaigns.guard_rules import Channel
from campaigns.words import Level, Words
from crm.base.clock import local_day

WRONG = {
    "empty": "没有内容",
    "too_long": "太长：最多 4,000 字",
    "syntax": "第 {line} 行写得不完整：{what}",
    "not_allowed": "第 {line} 行不能这样写：{what}。能写的只有字段、没有就写、元、日期和条件",
    "unknown_field": "第 {line} 行没有“{what}”这个字段{nearest}",
}
NODES = {
    "For": "循环（for）", "Getattr": "取内部属性（点号）", "Getitem": "取下标（方括号）", "Call": "调用函数（括号）",
    "Mul": "算式（*）", "Pow": "算式（**）", "Add": "算式（+）", "Sub": "算式（-）", "Div": "算式（/）",
    "Mod": "算式（%）", "Concat": "拼接（~）", "Assign": "赋值（set）", "Macro": "宏（macro）", "Block": "block",
    "Include": "引入文件（include）", "Import": "引入文件（import）", "FromImport": "引入文件（import）",
    "Extends": "继承文件（extends）", "Dict": "字典", "List": "列表", "Tuple": "列表",
}  # fmt: skip
LEVELS = {Level.REFUSE: "不能用", Level.WARN: "留神，确认要用就写 words_confirmed: true"}


def mistakes(told: Definition, words: Words) -> list[dict[str, str]]:
    """Everything about the messages that keeps a campaign from being scheduled, each with its field and reason."""
    wrong: list[dict[str, str]] = []
    for place, message, channels in _messages(told):
        try:
            template = _compiled(message.text)
        except TemplateWrong as refused:
            wrong.append({"field": f"{place}.text", "reason": _in_words(refused)})
            continue
        personal = sorted(template.fields - fields.ALWAYS)
        if personal and Channel.BROADCAST in channels:
            reason = f"企业群发对所有人是同一段话，不能写“{personal[0]}”；去掉它，或者 channels 只写 kf"
            wrong.append({"field": f"{place}.text", "reason": reason})
        said = {"text": message.text}
        if message.link is not None:
            said |= {"link.title": message.link.title, "link.desc": message.link.desc}
        for name, text in said.items():
            wrong += [
                {"field": f"{place}.{name}", "reason": reason} for reason in _words(text, words, told.words_confirmed)
            ]
    return wrong


def _messages(told: Definition) -> Iterator[tuple[str, Message, Sequence[Channel]]]:
    """Each with its place and the ways it may go."""
    yield from _said("", told, told.channels)
    for number, step in enumerate(told.steps):
        yield from _said(f"steps.{number}.", step, step.channels or told.channels)


def _said(prefix: str, part: Definition | Step, channels: Sequence[Channel]) -> Iterator[Any]:
    for number, message in enumerate(part.messages):
        yield f"{prefix}messages.{number}", message, channels
    for number, tier in enumerate(part.tiers):
        for inner, message in enumerate(tier.messages):
            yield f"{prefix}tiers.{number}.messages.{inner}", message, channels


def _words(text: str, words: Words, is_confirmed: bool) -> Iterator[str]:
    for one in words.check(text):
        if one.level is Level.REFUSE or not is_confirmed:
            yield f"第 {one.start + 1} 个字“{one.text}”{LEVELS[one.level]}（{one.kind}）：{one.suggest}"


def _in_words(wrong: TemplateWrong) -> str:
    nearest = f"，是不是 {'、'.join(wrong.nearest)}？" if wrong.nearest else ""
    return WRONG[wrong.reason].format(line=wrong.line, what=NODES.get(wrong.what, wrong.what), nearest=nearest)


async def fill(
    session: AsyncSession, wanted: Mapping[int, Message], *, now: datetime
) -> dict[int, Message | content.FieldMissing | content.TextTooLong]:
    """Each member's own text, or why there is none."""
    filled: dict[int, Message | content.FieldMissing | content.TextTooLong] = {}
    by_message: dict[Message, list[int]] = {}
    for member_id, message in wanted.items():
        by_message.setdefault(message, []).append(member_id)
    for message, member_ids in by_message.items():
        texts = await content.fill(session, _compiled(message.text), member_ids, now=now)
        for member_id, text in texts.items():
            filled[member_id] = message.model_copy(update={"text": text}) if isinstance(text, str) else text
    return filled


def for_all(message: Message, *, now: datetime) -> Message:
    """One text for everybody: what 企业群发 carries."""
    return message.model_copy(update={"text": content.render(_compiled(message.text), {"今天": local_day(now)})})


@lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    return content.compile_(text)
