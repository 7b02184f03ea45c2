"""docs/faq-quality.md: how well the matcher does on sets of labelled questions, and how it decides.

    python -m bot.faq.report SET ... --out docs/faq-quality.md

A set is a folder with kb.jsonl, queries.jsonl, out_of_scope.jsonl and, if any, pairs.jsonl, as `siyu faq eval` reads
them.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.faq.evaluate import evaluate, read
from bot.faq.semantic import local_semantics

HEAD = """# FAQ 的准确度

这一页由命令写成，不手改：`python -m bot.faq.report 数据目录 ... --out docs/faq-quality.md`。
数据是两套带人工标注的公开中文问句，只用来测，不在仓库里；权重只从它们的 `pairs.jsonl` 学，
凡是含有被测问题的句对都先去掉了。

## 怎么决定

1. **读**：全半角、繁简、标点、口头语统一写法，一百来组同义词（`bot/faq/synonyms.py`）按一个词算；
   拼音按知识库里的词还原（youhuiquan → 优惠券）。
2. **找**：字的一元、二元组和读音的倒排索引，先看最少见的，取二三十个候选。
3. **排**：十一个特征的加权和，权重在 `bot/faq/weights.json`（文件里写着由哪条命令得出）。
   一次只学“怎么排对”，并且规定每个特征只能加分或只能减分，换一个领域也站得住。
4. **懂**（语义层，可选）：字面没有十足把握（比知识库自己的问题误答时最高的把握还高）时，
   用 multilingual-e5-small 比意思；
   在数据库事务之外做，超过时限就用字面的结果。三十篇以上的文章有相似问题，或人确认过够多的“同一个意思”，就再学一面“镜片”：
   一个线性变换，把这家店里真正区分问题的那部分放大（`bot/faq/lens.py`，一秒左右，只用这家店自己的话）。
5. **定**：把握 = 得分 + 领先第二名多少（语义层再加意思有多近）。过线就直接答，不过线给三个选项，都不像就承认不会。

线不是写死的。每次发布都用知识库自己的问题重新标定：拿掉一篇文章（连同同一主题的），再拿它的问法来问，
这时答什么都是错的；看把握多高才只有百分之几会被误答。语义层标定时，每一句都用没学过它的那面镜片。
`siyu ask` 会说出“在这个设置下，知识库之外的问题约有百分之几会得到回答”。

## 各项数字

"""
FIGURES = {
    "recall_at_1": "第一名就对",
    "recall_at_3": "前三名里有",
    "mrr": "MRR",
    "right_at_5pct_false": "误答 5 % 时答对",
    "right": "自己标定的线：答对",
    "false_answer": "自己标定的线：误答",
    "offered_right": "没直接答，选项里有对的",
    "threshold": "标定出的线",
    "p50_ms": "一次用时 p50，毫秒",
    "p99_ms": "一次用时 p99，毫秒",
}
TAIL = """
“误答”是知识库里没有答案的问题里得到了回答的比例；“答对”按知识库里有答案的问题算。
“加句对”：`--pairs` 里人说过意思相同的句对拿来学镜片，好比店里写了相似问题；含有被测问题的句对不用。
用时是在测的那台机器上当时的数字，机器忙时偏高；速度另见 `python -m benchmarks.faq`。
数据里的标注有噪声：金融一套约 9 %、口语一套约 2 % 的“错”其实是对的。
"""


def table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for name, words in FIGURES.items():
        cells = (_cell(name, figures[name]) for figures in columns.values())
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(name: str, value: float) -> str:
    return f"{value:.1f}" if name.endswith("_ms") else f"{value:.3f}"


def measure(folders: Sequence[Path], vectors: Path | None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        kb, queries, outside = (folder / f"{name}.jsonl" for name in ("kb", "queries", "out_of_scope"))
        pairs = folder / "pairs.jsonl"
        found[f"{folder.name}，字面"] = evaluate(read(kb, queries, outside))
        semantics = local_semantics(vectors)
        if semantics is None:
            continue
        found[f"{folder.name}，加语义"] = evaluate(read(kb, queries, outside), semantics)
        if pairs.exists():
            found[f"{folder.name}，加语义，加句对"] = evaluate(read(kb, queries, outside, pairs), semantics)
        semantics.close()
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sets", type=Path, nargs="+")
    options.add_argument("--vectors", type=Path, help="where the model's vectors are kept between runs")
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    chosen.out.write_text(HEAD + table(measure(chosen.sets, chosen.vectors)) + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main()
