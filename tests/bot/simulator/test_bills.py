"""Money at the simulator: listed for who asks, in pages that may run short, and nobody is told."""

from tests.bot.simulator.conftest import ANN, Corp


async def asked(corp: Corp, **more: object) -> dict:
    now = int(corp.simulator.clock.now().timestamp())
    return await corp.call("externalpay/get_bill_list", {"begin_time": now - 3600, "end_time": now, **more})


async def test_pages_run_short_and_the_last_has_no_cursor(corp: Corp) -> None:
    for userid in ("mei", "qiang", "mei", "qiang", "mei"):
        told = await corp.do("bills", userid=userid, customer=ANN, fee=100, remark="定金")
        assert told["transaction_id"].startswith("42")
    corp.world.corp.apps[1000002].visible = {"mei"}
    first = await asked(corp, limit=2)
    last = await asked(corp, limit=2, cursor=(await asked(corp, limit=2, cursor=first["next_cursor"]))["next_cursor"])
    assert [len(one["bill_list"]) for one in (first, last)] == [1, 1]
    assert "next_cursor" not in last
    (bill,) = first["bill_list"]
    assert (bill["external_userid"], bill["payee_userid"], bill["total_fee"]) == (ANN, "mei", 100)
    assert (bill["trade_state"], bill["bill_type"], bill["remark"]) == (1, 0, "定金")
    assert len((await asked(corp, payee_userid="mei"))["bill_list"]) == 3


async def test_what_went_back_is_told_with_the_payment(corp: Corp) -> None:
    no = (await corp.do("bills", userid="mei", fee=100))["transaction_id"]
    await corp.do(f"bills/{no}/refund", fee=40)
    (bill,) = (await asked(corp))["bill_list"]
    assert (bill["trade_state"], bill["total_refund_fee"]) == (3, 40)
    assert bill["refund_list"][0]["refund_status"] == 2
    assert "60" in (await corp.do(f"bills/{no}/refund", fee=61))["error"]
    assert (await corp.look("bills"))["bills"][0]["refunded"] == 40
    assert "没有这笔收款" in (await corp.do("bills/4200/refund"))["error"]


async def test_what_cannot_be_meant_is_refused(corp: Corp) -> None:
    now = int(corp.simulator.clock.now().timestamp())
    for wrong in (
        {"begin_time": now - 32 * 24 * 3600},
        {"begin_time": now},
        {"begin_time": "yesterday"},
        {"limit": 1001},
        {"cursor": "x"},
    ):
        assert (await asked(corp, **wrong))["errcode"] == 40058
    corp.world.bills.licensed = set()
    refused = await asked(corp)
    assert (refused["errcode"], refused["bill_list"]) == (48002, [])
    assert "金额" in (await corp.do("bills", userid="mei", fee=0))["error"]
