"""`python -m benchmarks [--quick] [--json]`: all of them, one after the other."""

import argparse

from benchmarks import callbacks, campaigns, crm, flashsale, flashsale_http, memory, pages, report, roundtrip

ALL = (callbacks, roundtrip, memory, crm, campaigns, flashsale, flashsale_http, pages)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--quick", action="store_true", help="each within a minute, with wider error")
    options.add_argument("--json", action="store_true", help="one JSON object a line instead of tables")
    chosen = options.parse_args()
    for benchmark in ALL:
        report.show(benchmark.measure(chosen.quick), as_json=chosen.json)


if __name__ == "__main__":
    main()
