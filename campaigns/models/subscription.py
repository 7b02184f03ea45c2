"""Tables of subscriptions: the shop's plans, who subscribed, each delivery that comes of it, and its reminders."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from crm.base.db import Base


class CycleUnit(StrEnum):
    DAYS = "days"
    MONTHS = "months"


class OnHoliday(StrEnum):
    """What becomes of a delivery whose day is a statutory holiday."""

    BEFORE = "before"  # it leaves on the last day before: nobody runs out
    AFTER = "after"
    SAME = "same"


class SubscriptionStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class Mode(StrEnum):
    """What happens when the member says nothing: their own choice at sign-up."""

    ASKS = "asks"  # nothing is ordered
    DEFAULT = "default"  # the order is placed on the day


class CycleStatus(StrEnum):
    """announced -> ordered -> paid | unpaid; announced -> skipped | missed | cancelled; paid -> refunded"""

    ANNOUNCED = "announced"  # its reminders run, the member may still say what they like
    ORDERED = "ordered"  # the order is placed and not paid
    PAID = "paid"  # or free
    SKIPPED = "skipped"
    MISSED = "missed"  # asked for, and the member did not answer
    UNPAID = "unpaid"  # reminded in vain
    CANCELLED = "cancelled"  # with its subscription, or by a colleague
    REFUNDED = "refunded"  # all of it


class ReminderStatus(StrEnum):
    DUE = "due"
    QUEUED = "queued"  # on its way by `way`
    SENT = "sent"
    FAILED = "failed"  # no way was left, see `trail`
    DROPPED = "dropped"  # not needed any more: answered before, or its day is over


class Way(StrEnum):
    KF = "kf"  # the bot, inside the window
    BROADCAST = "broadcast"  # 企业群发, confirmed by staff
    TODO = "todo"  # a card for a colleague


class SubscriptionPlan(Base):
    """What can be subscribed to, and how often it comes. Its price and articles are terms, which have versions."""

    __tablename__ = "subscription_plans"
    __table_args__ = (sa.CheckConstraint("every > 0", name="comes_again"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(40), unique=True)  # what members type
    title: Mapped[str] = mapped_column(sa.String(60))
    unit: Mapped[CycleUnit]
    every: Mapped[int]  # so many of the unit
    on_holiday: Mapped[OnHoliday]
    locks_price: Mapped[bool]  # who signed up keeps their terms; else new ones hold from the next delivery on
    terms_id: Mapped[int | None]  # those of now
    closed_at: Mapped[datetime | None]  # nobody can sign up any more
    created_at: Mapped[datetime]


class PlanTerms(Base):
    """Articles, price and gifts of a plan from some instant on. Never changed: deliveries point here."""

    __tablename__ = "subscription_terms"
    __table_args__ = (
        sa.UniqueConstraint("plan_id", "version"),
        sa.CheckConstraint("price_fen >= 0", name="price_not_negative"),
        sa.CheckConstraint("gift_every >= 0 AND gift_every <> 1", name="gift_after_some"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(sa.ForeignKey("subscription_plans.id"))
    version: Mapped[int]
    items: Mapped[list[Any]]  # subscription_plans.Item each
    price_fen: Mapped[int]  # of one delivery
    gift_every: Mapped[int]  # every so-manieth delivery is free; 4 is 买3送1; 0: none
    set_at: Mapped[datetime]


class Subscription(Base):
    """One member's subscription to one plan."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        sa.Index(
            "ix_subscriptions_coming",
            "due_on",
            sqlite_where=sa.text("status = 'active' AND cycle_id IS NULL"),
            postgresql_where=sa.text("status = 'active' AND cycle_id IS NULL"),
        ),
        sa.Index(
            "ix_subscriptions_resuming",
            "resumes_on",
            sqlite_where=sa.text("resumes_on IS NOT NULL"),
            postgresql_where=sa.text("resumes_on IS NOT NULL"),
        ),
        sa.Index(
            "uq_subscriptions_living",
            "signed_by_id",
            "plan_id",
            unique=True,
            sqlite_where=sa.text("status <> 'cancelled'"),
            postgresql_where=sa.text("status <> 'cancelled'"),
        ),
        sa.Index(None, "member_id"),
        sa.Index(None, "plan_id", "status"),
        sa.CheckConstraint("quantity BETWEEN 1 AND 99", name="some_and_not_too_many"),
        sa.CheckConstraint("bought >= 0", name="bought_not_negative"),
        sa.CheckConstraint("(status = 'cancelled') = (ended_at IS NOT NULL)", name="ended_at_some_time"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    no: Mapped[str] = mapped_column(sa.String(8), unique=True)  # what people and pages call it
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    signed_by_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))  # as whom, before any merge
    plan_id: Mapped[int] = mapped_column(sa.ForeignKey("subscription_plans.id"))
    terms_id: Mapped[int] = mapped_column(sa.ForeignKey("subscription_terms.id"))  # as promised at sign-up
    status: Mapped[SubscriptionStatus]
    mode: Mapped[Mode]
    quantity: Mapped[int]
    anchor_on: Mapped[date]  # where the rhythm counts from: the 31st stays the 31st
    step: Mapped[int]  # cycles from the anchor to the next delivery
    due_on: Mapped[date]  # of the next delivery, holidays considered
    number: Mapped[int] = mapped_column(default=0)  # deliveries begun so far
    cycle_id: Mapped[int | None]  # the one that is open
    bought: Mapped[int] = mapped_column(default=0)  # paid deliveries since the last free one
    address_id: Mapped[int | None]  # of private_values; an erasure takes both
    resumes_on: Mapped[date | None]  # of a paused one
    paused_because: Mapped[str] = mapped_column(sa.String(40), default="")
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[str] = mapped_column(sa.String(40), default="")


class Cycle(Base):
    """One delivery of a subscription, from its first reminder to its end. At most one of a subscription is open."""

    __tablename__ = "subscription_cycles"
    __table_args__ = (
        sa.UniqueConstraint("subscription_id", "number"),
        sa.Index(None, "member_id"),
        sa.Index(None, "order_no", unique=True),
        sa.Index(
            "uq_subscription_cycles_open",
            "subscription_id",
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        ),
        sa.Index(
            "ix_subscription_cycles_reminding",
            "remind_on",
            sqlite_where=sa.text("remind_on IS NOT NULL"),
            postgresql_where=sa.text("remind_on IS NOT NULL"),
        ),
        sa.Index(
            "ix_subscription_cycles_announced",
            "due_on",
            sqlite_where=sa.text("status = 'announced'"),
            postgresql_where=sa.text("status = 'announced'"),
        ),
        sa.Index("ix_subscription_cycles_due_on", "due_on"),
        sa.CheckConstraint("(status IN ('announced', 'ordered')) = (closed_at IS NULL)", name="open_or_closed"),
        sa.CheckConstraint(
            "status NOT IN ('ordered', 'paid', 'unpaid', 'refunded') OR ordered_at IS NOT NULL", name="ordered_first"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    subscription_id: Mapped[int] = mapped_column(sa.ForeignKey("subscriptions.id"))
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"))
    number: Mapped[int]
    due_on: Mapped[date]
    status: Mapped[CycleStatus]
    terms_id: Mapped[int] = mapped_column(sa.ForeignKey("subscription_terms.id"))  # fixed with the first reminder
    quantity: Mapped[int]
    price_fen: Mapped[int]  # of all of it; 0 of a free one
    is_gift: Mapped[bool]
    order_no: Mapped[str] = mapped_column(sa.String(24))  # of the order, when there is one
    remind_on: Mapped[date | None]  # when the next reminder is due
    ordered_at: Mapped[datetime | None]
    ordered_by: Mapped[str] = mapped_column(sa.String(20), default="")  # "member" or "default"
    closed_at: Mapped[datetime | None]
    transaction_id: Mapped[str | None] = mapped_column(sa.String(64))  # of its payment, where we were told


class Reminder(Base):
    """One reminder of one delivery: due once, whichever way it goes."""

    __tablename__ = "subscription_reminders"
    __table_args__ = (
        sa.Index(
            "ix_subscription_reminders_open",
            "look_at",
            sqlite_where=sa.text("look_at IS NOT NULL"),
            postgresql_where=sa.text("look_at IS NOT NULL"),
        ),
        sa.Index(None, "remind_on", "status"),
        sa.CheckConstraint("(status IN ('due', 'queued')) = (look_at IS NOT NULL)", name="open_ones_are_looked_at"),
    )

    cycle_id: Mapped[int] = mapped_column(sa.ForeignKey("subscription_cycles.id"), primary_key=True)
    due_on: Mapped[date] = mapped_column(primary_key=True)  # the day it speaks of: a postponed delivery has another
    step: Mapped[str] = mapped_column(sa.String(10), primary_key=True)  # subscription_rules.LADDER, DUNNING
    member_id: Mapped[int] = mapped_column(sa.ForeignKey("members.id"), index=True)
    remind_on: Mapped[date]
    status: Mapped[ReminderStatus]
    way: Mapped[Way | None]
    run_id: Mapped[int | None]  # of the mass send that carries it
    outbox_key: Mapped[str | None] = mapped_column(sa.String(64))
    trail: Mapped[list[Any]]  # ways that were tried before, each {"way": …, "why": …}
    look_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
