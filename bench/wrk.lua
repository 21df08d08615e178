-- Distinct events for `POST /event`. Arguments: the event time to start at (seconds), the number of users, the mean
-- number of seconds between two events of a user, the number of wrk threads, and "event_id" to give every event an id.
-- Each wrk thread has its own users and a clock that never goes back, so no event is late on purpose; but two
-- connections may still swap events of one user, as real clients do.

local made = 0

function setup(thread)
   thread:set("id", made)
   made = made + 1
end

function init(args)
   start, gap, threads = tonumber(args[1]), tonumber(args[3]), tonumber(args[4])
   own_users = math.floor(tonumber(args[2]) / threads)
   with_id = args[5] == "event_id"
   sent = 0
   math.randomseed(start + id)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
end

function request()
   local user = 1 + id + threads * math.random(0, own_users - 1)
   local time = start + math.floor(sent * gap / own_users)
   local kind = math.random() < 0.7 and "deposit" or "withdraw"
   local cents = math.random(100, 5000)
   local key = with_id and string.format(', "event_id": "%d-%d-%d"', start, id, sent) or ""
   sent = sent + 1
   return wrk.format(nil, nil, nil, string.format(
      '{"type": "%s", "amount": "%d.%02d", "user_id": %d, "time": %d%s}',
      kind, math.floor(cents / 100), cents % 100, user, time, key))
end

-- One line of JSON for bench/measurement.py; times in microseconds, `errors` counts failed answers and connections.
function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "errors": %d}\n', summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
