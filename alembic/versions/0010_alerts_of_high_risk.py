"""alerts of users rated high are marked; what an alert is closed with is checked"""

from collections.abc import Sequence

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECKS = {
    "outcome_known": "outcome IN ('true_positive', 'false_positive', 'inconclusive')",
    "closed_with_outcome": "(status = 'closed') = (outcome IS NOT NULL)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        # No release has closed an alert, but somebody may have done so in the database.
        op.execute("""
            DO $$
            DECLARE
                since bigint := 0;
                upto bigint;
            BEGIN
                LOOP
                    SELECT max(user_id) INTO upto
                    FROM (SELECT user_id FROM users WHERE user_id > since ORDER BY user_id LIMIT 1000) AS stretch;
                    EXIT WHEN upto IS NULL;
                    UPDATE alerts SET outcome = 'inconclusive'
                    WHERE user_id > since AND user_id <= upto AND status = 'closed' AND outcome IS NULL;
                    UPDATE alerts SET high_risk = true FROM users
                    WHERE users.user_id > since AND users.user_id <= upto AND users.risk = 'high'
                        AND alerts.user_id = users.user_id AND NOT high_risk;
                    COMMIT;
                    since := upto;
                END LOOP;
            END $$
        """)
    for name, condition in CHECKS.items():
        op.execute(f"ALTER TABLE alerts ADD CONSTRAINT ck_alerts_{name} CHECK ({condition}) NOT VALID")


def downgrade() -> None:
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_alerts_{name}"), "alerts")
