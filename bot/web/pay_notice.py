"""Payments as the shop's payment service tells them: a signed webhook, taken once however often it comes."""

import hmac
import json
import logging
from datetime import datetime, timedelta
from hashlib import sha256

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import App
from bot.flashsale import payments
from bot.flashsale.payments import Payment
from bot.flashsale.watch import TOPIC
from bot.models.sale import PaymentOutcome
from campaigns import subscription_orders
from crm.base.errors import ShopError

log = logging.getLogger(__name__)

BODY_BYTES = 16 * 1024
FRESH = timedelta(minutes=5)  # a notice older than this is refused: somebody kept it


class Notice(BaseModel, frozen=True, extra="ignore"):
    """One payment. out_trade_no: the claim's number; amounts in fen."""

    transaction_id: str = Field(min_length=1, max_length=64)
    out_trade_no: str = Field(min_length=1, max_length=64)
    paid_fen: int = Field(ge=0, le=10**12)
    paid_at: AwareDatetime


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """hex HMAC-SHA256 of `timestamp.body`."""
    return hmac.digest(key, timestamp.encode() + b"." + body, sha256).hex()


class PayNotices:
    """POST /pay/notify. Everything wrong with a notice is a 4xx that says what; a refusal of ours changes nothing."""

    def __init__(self, app: App, key: bytes) -> None:
        self._app, self._key = app, key

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/pay/notify", self.take)]

    async def take(self, request: web.Request) -> web.Response:
        body = await request.content.read(BODY_BYTES + 1)
        if len(body) > BODY_BYTES:
            return _refuse(413, "too_large")
        now = self._app.clock.now()
        timestamp = request.headers.get("X-Siyu-Timestamp", "")
        told = request.headers.get("X-Siyu-Signature", "")
        if not hmac.compare_digest(told.encode(), signature(self._key, timestamp, body).encode()):
            return _refuse(401, "signature")
        if not _is_fresh(timestamp, now):
            return _refuse(401, "stale")
        try:
            notice = Notice.model_validate_json(body)
        except ValidationError as wrong:
            fields = [".".join(map(str, one["loc"])) for one in wrong.errors()]
            return web.json_response({"error": "invalid", "fields": fields}, status=422)
        payment = Payment(notice.transaction_id, notice.out_trade_no, notice.paid_fen, notice.paid_at)
        try:
            async with self._app.sessions.begin() as session:
                outcome = await _take(session, payment, now=now)
        except ShopError as refusal:
            log.warning("pay.refused", extra={"code": refusal.code, "out_trade_no": notice.out_trade_no})
            return _refuse(refusal.status, refusal.code)
        self._app.peers.tap(TOPIC)
        return web.json_response({"outcome": outcome.value})


async def _take(session: AsyncSession, told: Payment, *, now: datetime) -> PaymentOutcome:
    """What a payment is for shows its number: a delivery of a subscription, or a claim of a sale."""
    if await subscription_orders.find(session, told.no) is None:
        return (await payments.pay(session, told, now=now)).outcome
    await subscription_orders.pay(
        session, told.no, paid_fen=told.paid_fen, paid_at=told.paid_at, transaction_id=told.transaction_id, now=now
    )
    return PaymentOutcome.APPLIED


def _is_fresh(timestamp: str, now: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):
        return False
    return abs(now.timestamp() - int(timestamp)) <= FRESH.total_seconds()


def _refuse(status: int, why: str) -> web.Response:
    return web.Response(text=json.dumps({"error": why}), status=status, content_type="application/json")
