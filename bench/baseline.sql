-- What PostgreSQL alone can do: one event is one transaction, with the user's row locked by the update.
\set user_id random(1, :users)
\set cents random(100, 5000)
BEGIN;
UPDATE baseline.users SET last_seq = last_seq + 1, net = net + :cents / 100.0 WHERE user_id = :user_id
    RETURNING last_seq AS seq \gset
SELECT seq, type, amount, time FROM baseline.user_actions WHERE user_id = :user_id ORDER BY seq DESC LIMIT 20;
INSERT INTO baseline.user_actions (user_id, seq, type, amount, time, alert_codes, risk, rules)
    VALUES (:user_id, :seq, 'deposit', :cents / 100.0, 5 * :seq, '{}', 'normal', '{1100,30,300,123}');
COMMIT;
