-- The alerts of the contract's five rules with their default values, by window functions: user_id, seq, time, code.
SELECT user_id, seq, time, unnest(array_remove(ARRAY[
    CASE WHEN type = 'withdraw' AND amount > 100 THEN 1100 END,
    CASE WHEN type = 'withdraw' AND before = 'withdraw' AND before_that = 'withdraw' THEN 30 END,
    CASE WHEN type = 'deposit' AND amount > smaller AND smaller > smallest THEN 300 END,
    CASE WHEN type = 'deposit' AND deposited > 200 THEN 123 END,
    CASE WHEN actions > 5 THEN 500 END
], NULL)) AS code
FROM (
    SELECT user_id, seq, time, type, amount,
        lag(type, 1) OVER in_order AS before,
        lag(type, 2) OVER in_order AS before_that,
        lag(amount, 1) OVER of_type AS smaller,
        lag(amount, 2) OVER of_type AS smallest,
        sum(amount) OVER (PARTITION BY user_id, type ORDER BY time RANGE BETWEEN 30 PRECEDING AND CURRENT ROW) AS deposited,
        count(*) OVER (PARTITION BY user_id ORDER BY time RANGE BETWEEN 60 PRECEDING AND CURRENT ROW) AS actions
    FROM user_actions
    WINDOW in_order AS (PARTITION BY user_id ORDER BY time), of_type AS (PARTITION BY user_id, type ORDER BY time)
) AS looked_back
