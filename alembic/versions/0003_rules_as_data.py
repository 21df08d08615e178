"""rule versions, user settings, running counts and sums, shadow alerts"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MONEY = sa.Numeric(38, 2)

# The parameters of the rules before they could be set, as JSON.
PARAMETERS = {
    1100: '{"threshold": "100.00"}',
    30: '{"count": 3}',
    300: '{"count": 3}',
    123: '{"threshold": "200.00", "window": 30}',
    500: '{"count": 5, "window": 60}',
}


def _created_at() -> sa.Column[object]:
    return sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "rule_versions",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("parameters", postgresql.JSONB, nullable=False),
        sa.Column("by_risk", postgresql.JSONB, nullable=False),
        sa.Column("author", sa.Text),
        sa.Column("note", sa.Text),
        _created_at(),
        sa.CheckConstraint("status IN ('active', 'shadow', 'off')", name=op.f("ck_rule_versions_status_known")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rule_versions")),
        sa.UniqueConstraint("code", "version", name=op.f("uq_rule_versions_code_version")),
    )
    op.create_table(
        "user_settings",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("risk", sa.Text, nullable=False),
        sa.Column("overrides", postgresql.JSONB, nullable=False),
        sa.Column("author", sa.Text),
        sa.Column("note", sa.Text),
        _created_at(),
        sa.CheckConstraint("risk IN ('low', 'normal', 'high')", name=op.f("ck_user_settings_risk_known")),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_user_settings_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "version", name=op.f("pk_user_settings")),
    )
    op.add_column("users", sa.Column("overrides", postgresql.JSONB, server_default=sa.text("'{}'"), nullable=False))
    op.add_column("users", sa.Column("settings_version", sa.BigInteger, server_default=sa.text("0"), nullable=False))
    op.add_column("alerts", sa.Column("shadow", sa.Boolean, server_default=sa.false(), nullable=False))
    _index_alerts("NOT shadow")
    op.create_index(
        "ix_alerts_shadow", "alerts", ["time", "user_id", "seq", "code"], postgresql_where=sa.text("shadow")
    )
    for column in ("rules_number", "settings_version", "ordinal"):
        op.add_column("user_actions", sa.Column(column, sa.BigInteger))
    op.add_column("user_actions", sa.Column("running_total", MONEY))
    _fill()
    for column in ("rules_number", "settings_version", "ordinal", "running_total"):
        op.alter_column("user_actions", column, nullable=False)
    op.drop_column("user_actions", "risk")
    op.drop_column("user_actions", "rules")


def _index_alerts(where: str | None) -> None:
    # The lists of alerts use these indexes; they are rebuilt for the alerts that match `where`.
    for columns in (["time", "user_id", "seq", "code"], ["user_id", "time", "seq", "code"]):
        name = op.f("ix_alerts_" + "_".join(columns))
        op.drop_index(name, "alerts")
        op.create_index(name, "alerts", columns, postgresql_where=sa.text(where) if where else None)


def _fill() -> None:
    # Until now a rating could only be set when a user was made, so all of the user's actions were judged by it.
    op.execute("UPDATE users SET settings_version = 1 WHERE risk <> 'normal'")
    op.execute("""
        INSERT INTO user_settings (user_id, version, risk, overrides, created_at)
        SELECT user_id, 1, risk, overrides, created_at FROM users WHERE settings_version = 1
    """)
    # Each set of active rules that judged anything becomes a state of all rules, in order of appearance. Every state
    # is written out whole (one change per rule), so that one number identifies one set.
    connection = op.get_bind()
    sets = connection.execute(
        sa.text("SELECT rules, min(created_at) FROM user_actions GROUP BY rules ORDER BY 2, 1")
    ).all()
    number = 0
    for version, (active, begun) in enumerate(sets, start=1):
        for code, parameters in PARAMETERS.items():
            number += 1
            connection.execute(
                sa.text("""
                    INSERT INTO rule_versions (number, code, version, status, parameters, by_risk, created_at)
                    VALUES (:number, :code, :version, :status, CAST(:parameters AS jsonb), '{}', :begun)
                """),
                {
                    "number": number,
                    "code": code,
                    "version": version,
                    "status": "active" if code in active else "off",
                    "parameters": parameters,
                    "begun": begun,
                },
            )
        connection.execute(
            sa.text("UPDATE user_actions SET rules_number = :number WHERE rules = :active"),
            {"number": number, "active": active},
        )
    # So far evidence said version 1 whatever the set was; each set is now a version of all five rules.
    op.execute("""
        UPDATE alerts AS l SET evidence = jsonb_set(l.evidence, '{rule_version}', to_jsonb(a.rules_number / 5))
        FROM user_actions AS a WHERE (a.user_id, a.seq) = (l.user_id, l.seq)
    """)
    op.execute("""
        UPDATE user_actions AS a SET settings_version = n.settings_version, ordinal = n.ordinal, running_total = n.total
        FROM (
            SELECT a.user_id, a.seq, u.settings_version, row_number() OVER stretch AS ordinal,
                sum(a.amount) OVER stretch AS total
            FROM user_actions AS a JOIN users AS u USING (user_id)
            WINDOW stretch AS (PARTITION BY a.user_id, a.type ORDER BY a.time, a.seq)
        ) AS n WHERE n.user_id = a.user_id AND n.seq = a.seq
    """)


def downgrade() -> None:
    op.add_column("user_actions", sa.Column("risk", sa.Text))
    op.add_column("user_actions", sa.Column("rules", postgresql.ARRAY(sa.Integer)))
    # Rules and parameters that older releases do not know are lost.
    op.execute("""
        UPDATE user_actions AS a SET
            risk = coalesce((SELECT s.risk FROM user_settings AS s
                             WHERE s.user_id = a.user_id AND s.version = a.settings_version), 'normal'),
            rules = (SELECT coalesce(array_agg(l.code ORDER BY array_position('{1100,30,300,123,500}', l.code)), '{}')
                     FROM (SELECT DISTINCT ON (code) code, status FROM rule_versions AS v
                           WHERE v.number <= a.rules_number ORDER BY code, number DESC) AS l
                     WHERE l.status = 'active' AND l.code IN (1100, 30, 300, 123, 500))
    """)
    op.alter_column("user_actions", "risk", nullable=False)
    op.alter_column("user_actions", "rules", nullable=False)
    for column in ("running_total", "ordinal", "settings_version", "rules_number"):
        op.drop_column("user_actions", column)
    op.execute("UPDATE alerts SET evidence = jsonb_set(evidence, '{rule_version}', '1')")
    op.execute("DELETE FROM alerts WHERE shadow OR code NOT IN (1100, 30, 300, 123, 500)")
    op.drop_index("ix_alerts_shadow", "alerts")
    _index_alerts(None)
    op.drop_column("alerts", "shadow")
    op.drop_column("users", "settings_version")
    op.drop_column("users", "overrides")
    op.drop_table("user_settings")
    op.drop_table("rule_versions")
