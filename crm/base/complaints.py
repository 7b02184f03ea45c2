"""What a reader of files and forms complains about, as sentences for the person who wrote them."""

from collections.abc import Mapping
from typing import Any

SENTENCES = {
    "missing": "没有写",
    "extra_forbidden": "没有这个字段，是不是写错了名字？",
    "greater_than_equal": "要不小于 {ge}",
    "greater_than": "要大于 {gt}",
    "less_than_equal": "要不大于 {le}",
    "less_than": "要小于 {lt}",
    "string_type": "要写文字；数字和是非要加引号",
    "string_too_short": "太短：至少 {min_length} 个字",
    "string_too_long": "太长：最多 {max_length} 个字",
    "string_pattern_mismatch": "写法不对，要符合 {pattern}",
    "too_short": "太少：至少 {min_length} 个",
    "too_long": "太多：最多 {max_length} 个",
    "int_type": "要写整数",
    "int_parsing": "要写整数",
    "int_from_float": "要写整数，不要小数",
    "float_type": "要写数字",
    "float_parsing": "要写数字",
    "bool_type": "写 true 或 false",
    "bool_parsing": "写 true 或 false",
    "dict_type": "要写成 名字: 值",
    "model_type": "要写成 名字: 值",
    "model_attributes_type": "要写成 名字: 值",
    "list_type": "要写成一列，每项前面一个 -，或者 [ , ]",
    "tuple_type": "要写成一列，每项前面一个 -，或者 [ , ]",
    "enum": "只能是 {expected} 里的一个",
    "literal_error": "只能是 {expected} 里的一个",
    "union_tag_invalid": "没有 {tag} 这一种，只能是 {expected_tags} 里的一个",
    "union_tag_not_found": "没有写 {discriminator}：它说是哪一种",
    "decimal_max_places": "最多写到小数点后 {decimal_places} 位",
    "recursion_loop": "写成了一个圈",
}
BY_BEGINNING = {  # kinds that come in many
    "datetime_": "要写时间，例如 2026-03-14 10:00:00；这一天或这个钟点可能不存在",
    "date_": "要写日期，例如 2026-03-14；这一天可能不存在",
    "timezone_": "时区写错了",
    "time_delta": "要写多久，例如 30m、2h、7d",
    "time_": "要写钟点，例如 \"10:00\"",
    "decimal_": "要写数字",
    "url_": "要写网址，例如 https://…",
}  # fmt: skip


def sentence(error: Mapping[str, Any]) -> str:
    """One of a ValidationError's errors in words; what a validator of ours raised is in words already."""
    kind = str(error["type"])
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    words = SENTENCES.get(kind) or next((said for begin, said in BY_BEGINNING.items() if kind.startswith(begin)), "")
    if not words:
        return f"写得不对：{error['msg']}"
    facts = dict(error.get("ctx", {}))
    for name in {"expected", "expected_tags"} & facts.keys():
        facts[name] = "、".join(part.strip(" '") for part in str(facts[name]).replace(" or ", ",").split(","))
    return words.format(**facts)
