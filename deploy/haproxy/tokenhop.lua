-- HAProxy (2.6 or later) asks tokenhop's authz listener what to send with a request, and refuses what it refuses.
--
--   global
--     lua-load /etc/haproxy/tokenhop.lua
--   backend agent2
--     http-request lua.tokenhop 127.0.0.1:8083 agent2.example.com
--     http-request deny deny_status 503 unless { var(txn.tokenhop) -m str permitted }
--
-- The action's first word is the address of a listener with "mode": "authz", "original": "x-original"; the second is
-- the destination's host, and its port where that is not the scheme's. Both are the configuration's: nothing that a
-- client sends, Host included, says what is asked about.
--
-- The rule after it is needed. HAProxy goes on with a request whose Lua action has failed or has run out of time;
-- what the client sent as Authorization is gone by then, but only txn.tokenhop says that there was an answer.
--
-- A question bears the client's Authorization, Proxy-Authorization and trace context, and the fields that are named,
-- with commas between, by a variable that the configuration sets before:
--     http-request set-var(txn.tokenhop_fields) str(x-user-token)
-- Those that bear subject tokens (subject.name), or X-Forwarded-Client-Cert, which HAProxy must have set itself. None
-- of them goes on but by tokenhop's answer, the trace context excepted.
local usual = { "authorization", "proxy-authorization" }
local trace = { "traceparent", "tracestate" }

-- Longer than tokenhop's own timeouts.exchange, so that its answer is the one that is heard. HAProxy asks up to four
-- times, of which tokenhop makes one exchange.
local TIMEOUT_MS = 12000

-- Of an answer: what belongs to it, and not to the request that it is about.
local of_the_answer = {
  ["cache-control"] = true, ["connection"] = true, ["content-length"] = true, ["content-type"] = true, ["date"] = true,
  ["keep-alive"] = true, ["proxy-status"] = true, ["server"] = true, ["transfer-encoding"] = true, ["via"] = true,
  ["x-envoy-auth-headers-to-remove"] = true,
}
local of_the_connection = { ["connection"] = true, ["content-length"] = true, ["keep-alive"] = true,
  ["transfer-encoding"] = true }

local UNAVAILABLE = '{"type":"about:blank","title":"Service Unavailable","status":503,' ..
  '"detail":"nobody can say what to send with this request","code":"exchange_unavailable"}'

-- HAProxy numbers the values of a field from 0.
local function in_order(values)
  local list, at = {}, 0
  while values ~= nil and values[at] ~= nil do
    list[#list + 1], at = values[at], at + 1
  end
  return list
end

local function names_asked(txn)
  local names = { table.unpack(usual) }
  for name in (txn:get_var("txn.tokenhop_fields") or ""):gmatch("[^,%s]+") do names[#names + 1] = name:lower() end
  return names
end

local function copy(names, from, to)
  for _, name in ipairs(names) do
    local values = in_order(from[name])
    if #values > 0 then to[name] = values end -- also when there are several: tokenhop refuses that
  end
end

local function refuse(txn, status, reason, fields, body)
  txn:done(txn:reply({ status = status, reason = reason, headers = fields, body = body }))
end

local function refuse_unanswered(txn)
  refuse(txn, 503, "Service Unavailable", {
    ["content-type"] = { "application/problem+json" }, ["cache-control"] = { "no-store" }, ["retry-after"] = { "1" },
    ["proxy-status"] = { "haproxy; error=destination_unavailable" },
  }, UNAVAILABLE)
end

local function pass_refusal_on(txn, answer)
  local fields = {}
  for name, values in pairs(answer.headers) do
    if not of_the_connection[name] then fields[name] = in_order(values) end
  end
  refuse(txn, answer.status, answer.reason, fields, answer.body)
end

-- tokenhop names itself in what it answers (RFC 9209); anything else is HAProxy's own, about a tokenhop that cannot
-- be reached, has broken off, or answers too late, or somebody else's.
local function told(answer)
  return in_order(answer.headers["proxy-status"])[1] or ""
end

local function is_refusal(answer)
  return answer.status >= 400 and told(answer):find("^tokenhop;") ~= nil
end

local function is_permission(answer)
  return answer.status == 200 and told(answer) == "tokenhop"
end

local function permit(txn, answer)
  for _, value in ipairs(in_order(answer.headers["x-envoy-auth-headers-to-remove"])) do
    for name in value:gmatch("[^,%s]+") do txn.http:req_del_header(name) end
  end
  for name, values in pairs(answer.headers) do
    if not of_the_answer[name] then
      txn.http:req_del_header(name)
      for _, value in ipairs(in_order(values)) do txn.http:req_add_header(name, value) end
    end
  end
  txn:set_var("txn.tokenhop", "permitted")
end

local function ask(txn, address, host)
  local sent, asked = txn.http:req_get_headers(), names_asked(txn)
  local question = {
    ["host"] = { "tokenhop" },
    ["x-original-host"] = { host },
    ["x-original-uri"] = { txn.sf:pathq() },
    ["x-original-method"] = { txn.sf:method() },
  }
  copy(asked, sent, question)
  copy(trace, sent, question)
  -- First of all: whatever becomes of the question, these have been taken from the request.
  for _, name in ipairs(asked) do txn.http:req_del_header(name) end
  txn:set_var("txn.tokenhop", "asked")
  return core.httpclient():get({ url = "http://" .. address .. "/", headers = question, timeout = TIMEOUT_MS })
end

core.register_action("tokenhop", { "http-req" }, function(txn, address, host)
  local answer = ask(txn, address, host)
  if answer ~= nil and answer.headers ~= nil and is_permission(answer) then
    permit(txn, answer)
  elseif answer ~= nil and answer.headers ~= nil and is_refusal(answer) then
    pass_refusal_on(txn, answer)
  else
    refuse_unanswered(txn)
  end
end, 2)
