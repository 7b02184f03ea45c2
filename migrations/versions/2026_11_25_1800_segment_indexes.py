"""Answer two questions of a segment from an index alone: who is a contact now, and who bought when.

Why: over a million members each look from the index into the table cost as much as the look into the index itself.
Live: two indexes are made anew, writers of contacts and orders wait meanwhile. Down: the narrow ones come back.
"""

from alembic import op

revision = "0018_segment_indexes"
down_revision = "0017_campaigns"
branch_labels = None
depends_on = None

CONTACTS = ("ix_contacts_member_id", "ix_contacts_member_id_ended_at")
ORDERS = ("ix_orders_member_id_paid_at", "ix_orders_member_id_paid_at_paid_fen_refunded_fen")


def upgrade() -> None:
    op.drop_index(CONTACTS[0], "contacts")
    op.create_index(CONTACTS[1], "contacts", ["member_id", "ended_at"])
    op.drop_index(ORDERS[0], "orders")
    op.create_index(ORDERS[1], "orders", ["member_id", "paid_at", "paid_fen", "refunded_fen"])


def downgrade() -> None:
    op.drop_index(ORDERS[1], "orders")
    op.create_index(ORDERS[0], "orders", ["member_id", "paid_at"])
    op.drop_index(CONTACTS[1], "contacts")
    op.create_index(CONTACTS[0], "contacts", ["member_id"])
