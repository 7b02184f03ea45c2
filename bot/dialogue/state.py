"""Who holds the talk, bot or person, and where it stands; topics expire."""

from datetime import datetime, timedelta
from typing import Any

from bot.models.conversation import Conversation
from bot.wecom.api.kf import ServiceState
from bot.wecom.kf_items import SessionChange, SessionStatusChange

TOPIC_LIFE = timedelta(minutes=30)
MISSES_LIFE = timedelta(minutes=30)  # a miss longer ago than this is not "in a row"
BOT_MAY_SPEAK = frozenset({ServiceState.UNTREATED, ServiceState.BOT})
FLEETING = frozenset({ServiceState.QUEUE, ServiceState.ENDED})  # left without an event: asked whenever something comes


def bot_holds(conversation: Conversation) -> bool:
    """Whether the bot may answer: in the queue, with a person, or after the end it is silent."""
    return conversation.service_state in BOT_MAY_SPEAK


def set_topic(conversation: Conversation, topic: str | None, data: dict[str, Any] | None, *, now: datetime) -> None:
    conversation.topic, conversation.topic_data = topic, data
    conversation.topic_expires_at = now + TOPIC_LIFE if topic else None


def topic_of(conversation: Conversation, *, now: datetime) -> str | None:
    """What the talk is about, unless that was too long ago."""
    expires = conversation.topic_expires_at
    return conversation.topic if expires is not None and now < expires else None


def count_miss(conversation: Conversation, now: datetime) -> int:
    """One more question we had no answer to; returns how many there are in a row."""
    conversation.misses, conversation.missed_at = misses_in_a_row(conversation, now=now) + 1, now
    return conversation.misses


def misses_in_a_row(conversation: Conversation, *, now: datetime) -> int:
    last = conversation.missed_at
    return conversation.misses if last is not None and now - last < MISSES_LIFE else 0


def clear_misses(conversation: Conversation) -> None:
    """An answer was given, or a person takes over."""
    conversation.misses, conversation.missed_at = 0, None


def take_in(conversation: Conversation, event: SessionStatusChange) -> None:
    """Follow what a person did with the session; from here on nobody waits for one to come."""
    conversation.human_wanted_at = None
    if event.change is SessionChange.ENDED:
        conversation.service_state, conversation.servicer_userid = None, None  # where it opens again WeCom decides
    elif event.change is not SessionChange.OTHER:
        conversation.service_state = ServiceState.HUMAN
        conversation.servicer_userid = event.new_servicer or conversation.servicer_userid
