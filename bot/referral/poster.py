"""The poster of a member: who invites, what there is, and the code to scan. A PNG for a phone's screen.

Chinese needs a font of the system's. Without one the poster says less: the picture, the code to scan and the letters
of the invite code, which every font has.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import segno
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

WIDTH, HEIGHT = 750, 1200
INK, SOFT, RED, CREAM, WHITE = "#2b2118", "#8a6d4f", "#b3261e", "#fff6e9", "#ffffff"
AVATAR, CODE = 132, 320
MARGIN = 60
MOST_PIXELS = 4096 * 4096  # of an avatar: a small file may claim to be a huge picture
FONTS = (  # where systems keep a font with Chinese, the usual first
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/wenquanyi/wqy-microhei/wqy-microhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/STHeiti Medium.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)
SC = 2  # which face of Noto's collection is the simplified Chinese one

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Poster:
    """What one shows."""

    shop: str
    title: str
    name: str  # of who invites
    lines: Sequence[str]  # what newcomers get
    url: str  # in the code to scan
    invite_code: str
    avatar: bytes = b""


def find_font(chosen: Path | None = None) -> str | None:
    """The file of a font that has Chinese; None: there is none here."""
    places = [str(chosen)] if chosen is not None else list(FONTS)
    return next((place for place in places if Path(place).is_file()), None)


def draw(poster: Poster, font_file: str | None) -> bytes:
    """The picture as PNG. Takes some 60 ms of a core: not in the loop."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), CREAM)
    brush = ImageDraw.Draw(picture)
    brush.rectangle((0, 0, WIDTH, 250), fill=RED)
    speaks = font_file is not None
    if speaks:
        brush.text((WIDTH / 2, 78), poster.shop, font=typeface(font_file, 30), fill="#f7d9c9", anchor="mm")
        title, font = _fitting(brush, poster.title, font_file, 50, WIDTH - 2 * MARGIN)
        brush.text((WIDTH / 2, 140), title, font=font, fill=WHITE, anchor="mm")
    brush.rounded_rectangle((30, 200, WIDTH - 30, HEIGHT - 60), 32, fill=WHITE)
    _face(picture, brush, poster, font_file)
    if speaks:
        _words(brush, poster, font_file)
    _code(picture, brush, poster, font_file)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=False)
    return out.getvalue()


def _words(brush: ImageDraw.ImageDraw, poster: Poster, font_file: str | None) -> None:
    said, font = _fitting(brush, f"{poster.name} 邀请您", font_file, 36, WIDTH - 3 * MARGIN)
    brush.text((WIDTH / 2, 378), said, font=font, fill=INK, anchor="mm")
    below = 448
    for told in poster.lines[:3]:
        line, font = _fitting(brush, told, font_file, 32, WIDTH - 3 * MARGIN)
        half = brush.textlength(line, font=font) / 2 + 26
        pill = (WIDTH / 2 - half, below - 28, WIDTH / 2 + half, below + 28)
        brush.rounded_rectangle(pill, 28, fill="#fdeee4")
        brush.text((WIDTH / 2, below), line, font=font, fill=RED, anchor="mm")
        below += 74


def _face(picture: Image.Image, brush: ImageDraw.ImageDraw, poster: Poster, font_file: str | None) -> None:
    left, top = (WIDTH - AVATAR) // 2, 212
    ring = (left - 6, top - 6, left + AVATAR + 6, top + AVATAR + 6)
    brush.ellipse(ring, fill=WHITE)
    if (face := _read(poster.avatar)) is not None:
        mask = Image.new("L", (AVATAR * 4, AVATAR * 4), 0)
        ImageDraw.Draw(mask).ellipse((0, 0, AVATAR * 4, AVATAR * 4), fill=255)
        picture.paste(face, (left, top), mask.resize((AVATAR, AVATAR), Image.Resampling.LANCZOS))
        return
    brush.ellipse((left, top, left + AVATAR, top + AVATAR), fill="#f0e3d2")
    initial = poster.name.strip()[:1] or "友"
    if font_file is not None:
        middle = (WIDTH / 2, top + AVATAR / 2)
        brush.text(middle, initial, font=typeface(font_file, 64), fill="#8a5a2b", anchor="mm")


def _read(avatar: bytes) -> Image.Image | None:
    """The avatar as a square, or nothing where it is none."""
    if not avatar:
        return None
    try:
        with Image.open(io.BytesIO(avatar), formats=("JPEG", "PNG", "WEBP", "GIF")) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return None
            return opened.convert("RGB").resize((AVATAR, AVATAR), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None


def _code(picture: Image.Image, brush: ImageDraw.ImageDraw, poster: Poster, font_file: str | None) -> None:
    made = segno.make(poster.url, error="m", micro=False)
    scale = CODE // made.symbol_size(border=2)[0]
    drawn = io.BytesIO()
    made.save(drawn, kind="png", scale=max(1, scale), border=2, dark=INK)
    with Image.open(drawn) as opened:
        square = opened.convert("RGB")
    top = 690
    picture.paste(square, ((WIDTH - square.width) // 2, top))
    below = top + square.height + 34
    if font_file is not None:
        brush.text((WIDTH / 2, below), "长按识别，领新人礼", font=typeface(font_file, 30), fill=INK, anchor="mm")
        said = f"邀请码 {poster.invite_code}"
        brush.text((WIDTH / 2, below + 48), said, font=typeface(font_file, 26), fill=SOFT, anchor="mm")
    else:
        brush.text((WIDTH / 2, below + 10), poster.invite_code, font=typeface(None, 40), fill=INK, anchor="mm")


def _fitting(brush: ImageDraw.ImageDraw, text: str, font_file: str | None, size: int, width: float) -> tuple[str, Font]:
    """The text in the largest size that fits a line; below two thirds of it the end is cut instead."""
    text = " ".join(text.split())  # a line break in a name is none here
    for smaller in range(size, size * 2 // 3 - 1, -2):
        if brush.textlength(text, font=typeface(font_file, smaller)) <= width:
            return text, typeface(font_file, smaller)
    font = typeface(font_file, size * 2 // 3)
    while len(text) > 1 and brush.textlength(f"{text}…", font=font) > width:
        text = text[:-1]
    return f"{text}…", font


@lru_cache(maxsize=32)
def typeface(file: str | None, size: int) -> Font:
    if file is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(file, size, index=SC if "NotoSansCJK" in file else 0)
