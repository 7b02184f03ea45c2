"""`siyu webhooks …` from a terminal: added with a secret shown once, tried, looked at, sent again."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from bot.cli import cli

run = CliRunner()


class Till(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"got it")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Till)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _settings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apps = {"main": {"agent_id": 1, "secret": "test"}}
    known = {"SIYU_DATABASE_URL": database_url, "SIYU_CORP_ID": "ww1", "SIYU_APPS": json.dumps(apps)}
    more = {"SIYU_DATA_KEY": "a" * 43 + "=", "SIYU_WEBHOOKS__PRIVATE": "true", "COLUMNS": "200"}
    for name, value in {**known, **more}.items():
        monkeypatch.setenv(name, value)


def said(*arguments: str, code: int = 0) -> str:
    ended = run.invoke(cli, ["webhooks", *arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def test_a_webhook_is_added_tried_and_removed(url: str) -> None:
    assert "还没有 webhook" in said("list")
    made = said("add", "erp", url, "--event", "OrderPaid")
    assert made.split()[-1].startswith("whsec_")
    listed = said("list")
    assert "erp" in listed and "OrderPaid" in listed and "正常" in listed and "whsec_" not in listed
    assert said("test", "erp").startswith("200 ")
    assert "Ping 收下了" in said("log", "erp") and "got it" in said("log", "erp")
    assert "1 件马上重发" in said("replay", "erp", "--delivery", "1")
    assert "打开了" in said("enable", "erp")
    assert "删掉了" in said("remove", "erp")
    assert "没有叫“erp”" in said("log", "erp", code=2)


def test_what_cannot_be_done_is_a_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "没有事件" in said("add", "erp", url, "--event", "Nothing", code=2)
    assert "说明要重发哪些" in said("replay", "erp", code=2)
    monkeypatch.setenv("SIYU_WEBHOOKS__PRIVATE", "false")
    assert "https" in said("add", "erp", url, code=2)
    assert "内网" in said("add", "erp", "https://10.0.0.1/", code=2)
