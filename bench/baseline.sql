-- What PostgreSQL alone can do: one event is one transaction, with the user's row locked by the update.
\set user_id random(1, :users)
\set cents random(100, 5000)
BEGIN;
UPDATE baseline.users SET last_seq = last_seq + 1, net = net + :cents / 100.0 WHERE user_id = :user_id
    RETURNING last_seq AS seq \gset
SELECT seq, type, amount, time FROM baseline.user_actions WHERE user_id = :user_id ORDER BY seq DESC LIMIT 20;
INSERT INTO baseline.user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version,
    ordinal, running_total)
    VALUES (:user_id, :seq, 'deposit', :cents / 100.0, 5 * :seq, '{}', 1, 0, :seq, :cents / 100.0);
COMMIT;
