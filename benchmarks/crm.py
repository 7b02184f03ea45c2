"""How fast the facts about members are kept: RFM, and beside it whatever else crm does for everybody at once."""

from benchmarks import crm_card, crm_import, crm_rfm, crm_segments
from benchmarks.report import Report, command

PARTS = (crm_import.measure, crm_rfm.measure, crm_segments.measure, crm_card.measure)


def measure(quick: bool) -> Report:
    report = Report("crm")
    for part in PARTS:
        report.rows += part(quick)
    return report


if __name__ == "__main__":
    command(measure, __doc__ or "")
