-- An event again and again, each time with another of the values for `Authorization` in a file. Arguments: the file, and
-- how many milliseconds each connection waits before a request.

function init(args)
   values = {}
   for line in io.lines(args[1]) do
      values[#values + 1] = line
   end
   pause, sent = tonumber(args[2]), 0
   wrk.method, wrk.body = "POST", '{"type": "deposit", "amount": "1.00", "user_id": 1, "time": 1}'
   wrk.headers["Content-Type"] = "application/json"
end

function request()
   sent = sent + 1
   wrk.headers["Authorization"] = values[1 + sent % #values]
   return wrk.format()
end

function delay()
   return pause
end

-- As in wrk.lua, but what is refused is what should be: `errors` counts all else.
function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "errors": %d}\n', summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99),
      summary.requests - e.status + e.connect + e.read + e.write + e.timeout))
end
