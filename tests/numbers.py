"""The running counts and sums of stored actions, with what late events have added to them."""

# All columns of the actions, and as `true_ordinal` and `true_total` their true numbers.
NUMBERED_ACTIONS = """
SELECT a.*, a.ordinal + coalesce(o.added_count, 0) AS true_ordinal,
    a.running_total + coalesce(o.added_total, 0) AS true_total
FROM user_actions AS a LEFT JOIN LATERAL (
    SELECT added_count, added_total FROM late_offsets AS o
    WHERE o.user_id = a.user_id AND o.type = a.type AND (o.time, o.seq) <= (a.time, a.seq)
    ORDER BY o.time DESC, o.seq DESC LIMIT 1
) AS o ON true
"""
