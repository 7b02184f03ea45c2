"""The simulator's pages: the phone, the staff client and the console, from files that need nothing from outside."""

import mimetypes
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

HERE: Final = Path(__file__).parent
PAGES: Final = {"/": "home.html", "/phone": "phone.html", "/staff": "staff.html"}

# All that may be served, listed once: a name that is not in the table cannot reach the disk.
STATIC_FILES: Final = {
    path.relative_to(HERE / "static").as_posix(): path for path in (HERE / "static").rglob("*") if path.is_file()
}

# Scripts and styles come from here alone. Pictures and framed pages are what the shop sent: they may be anywhere.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data: http: https:",
        "media-src 'self' http: https:",
        "frame-src 'self' http: https:",
        "object-src 'none'",
        "base-uri 'none'",
    ]
)


def add_pages(app: web.Application) -> None:
    """Add GET /, /phone, /staff and the files they load under /sim/static/."""
    for address, template in PAGES.items():
        app.router.add_get(address, page(HERE / "templates" / template))
    app.router.add_get("/sim/static/{name:.+}", static_file)


def page(template: Path) -> Handler:
    """A handler that answers with one page. Pages hold no data: scripts ask for it and write it as text nodes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return serve(template, {"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    return answer


async def static_file(request: web.Request) -> web.StreamResponse:
    path = STATIC_FILES.get(request.match_info["name"])
    if path is None:
        raise web.HTTPNotFound(text="没有这个文件")
    return serve(path, {})


def serve(path: Path, headers: dict[str, str]) -> web.FileResponse:
    """A file that the browser asks about again each time, so that a new version shows at once."""
    return web.FileResponse(path, headers={"Content-Type": content_type(path), "Cache-Control": "no-cache", **headers})


def content_type(path: Path) -> str:
    """The type by the file's ending. JavaScript is named here because some systems' tables call it text/plain."""
    if path.suffix == ".js":
        return "text/javascript; charset=utf-8"
    guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
