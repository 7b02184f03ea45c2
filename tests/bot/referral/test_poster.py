"""Posters: a picture for a phone, with what it shows where it should be, whatever is missing."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot.referral import poster
from bot.referral.poster import HEIGHT, WIDTH, Poster

SHOWN = Poster(
    "毛球小铺", "邀请好友一起养猫", "陈晓", ["加入就送：100 积分"], "https://a.example/h5/r/ABCD2345?p=1", "ABCD2345"
)


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.size) == ("PNG", (WIDTH, HEIGHT))
    return picture.convert("RGB")


def picture_of(colour: str, size: tuple[int, int] = (50, 80)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


def dark_in(picture: Image.Image, box: tuple[int, int, int, int]) -> int:
    return sum(1 for pixel in picture.crop(box).convert("L").tobytes() if pixel < 90)


def test_the_code_to_scan_is_on_it_with_a_font_and_without() -> None:
    for font in (poster.find_font(), None):
        picture = opened(poster.draw(SHOWN, font))
        assert dark_in(picture, (220, 690, 530, 1000)) > 20_000


def test_another_link_is_another_picture() -> None:
    assert poster.draw(SHOWN, None) != poster.draw(replace(SHOWN, url="https://a.example/h5/r/ZZZZ2345?p=1"), None)


def test_the_avatar_is_round_and_in_its_place() -> None:
    picture = opened(poster.draw(replace(SHOWN, avatar=picture_of("#0000ff")), None))
    middle = picture.getpixel((WIDTH // 2, 278))
    assert isinstance(middle, tuple) and middle[2] > 200 and middle[0] < 60
    corner = picture.getpixel((WIDTH // 2 - 64, 214))
    assert isinstance(corner, tuple) and min(corner) > 200


@pytest.mark.parametrize(
    "avatar",
    [
        b"",
        b"not a picture",
        picture_of("red")[:200],
        picture_of("red", (5000, 5000)),
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    ],
    ids=["none", "words", "cut off", "too many pixels", "broken"],
)
def test_an_avatar_that_cannot_be_read_is_left_out(avatar: bytes) -> None:
    assert poster.draw(replace(SHOWN, avatar=avatar), None) == poster.draw(SHOWN, None)


def test_words_that_do_not_fit_are_cut_and_odd_ones_are_drawn() -> None:
    long = replace(SHOWN, title="很长" * 40, name="名" * 60, lines=["送" * 90] * 9, shop="店" * 50)
    opened(poster.draw(long, poster.find_font()))
    opened(poster.draw(replace(SHOWN, name="😺\n\t", lines=[], title="🎁"), poster.find_font()))


def test_a_font_is_the_chosen_one_or_one_of_the_systems(tmp_path: Path) -> None:
    assert poster.find_font(tmp_path / "gone.ttf") is None
    (tmp_path / "a.ttf").touch()
    assert poster.find_font(tmp_path / "a.ttf") == str(tmp_path / "a.ttf")
