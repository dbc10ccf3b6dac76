"""What Redis does for one request, by its own clock: all windows are looked at and counted, or none is, at once.

A window is a list: its total, and then its slices from the oldest on, each as ``start:requests`` in microseconds.
It goes by itself when nothing in it counts any longer.
"""

from __future__ import annotations

TAKE = """
local counts, windows = ARGV[1] == '1', #KEYS - 1
if redis.call('GET', KEYS[#KEYS]) ~= ARGV[2] then return {-1} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fits = true
local used, first = {}, {}

local function read(slice)
  local start, requests = string.match(slice, '(%d+):(%d+)')
  return tonumber(start), tonumber(requests)
end

for i = 1, windows do
  local key, limit, hold = KEYS[i], tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 2])
  local head = redis.call('LRANGE', key, 0, 1)
  local total, oldest, is_open = tonumber(head[1]) or 0, head[2], false
  while oldest do
    local start, requests = read(oldest)
    if requests > 0 and start + hold > now then
      first[i] = start
      break
    end
    if not is_open then redis.call('LPOP', key) end
    is_open = true
    redis.call('LPOP', key)
    total = total - requests
    oldest = redis.call('LINDEX', key, 0)
  end
  if is_open and first[i] then redis.call('LPUSH', key, total) end
  used[i] = total
  if total >= limit then fits = false end
end

local reply = {fits and 1 or 0, now}
for i = 1, windows do
  local key, length, hold = KEYS[i], tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if counts and fits then
    local start = now - now % length
    local stamp = string.format('%.0f', start)
    used[i] = used[i] + 1
    if not first[i] then
      first[i] = start
      redis.call('RPUSH', key, 1, stamp .. ':1')
    else
      local last, requests = read(redis.call('LINDEX', key, -1))
      if last >= start then
        redis.call('LSET', key, -1, string.format('%.0f:%d', last, requests + 1))
      else
        redis.call('RPUSH', key, stamp .. ':1')
      end
      redis.call('LSET', key, 0, used[i])
    end
    redis.call('PEXPIRE', key, math.ceil(hold / 1000))
  end
  reply[#reply + 1] = used[i]
  reply[#reply + 1] = first[i] and (first[i] + hold - now) or 0
end
return reply
"""
"""KEYS: the windows, and the mark. ARGV: whether to count (1 or 0), the mark, each window's limit, slice and hold.

Answers whether it fits, the time, and for each window its requests and how many microseconds until the next one goes;
-1 alone if Redis has another mark, because it has forgotten what it was told.
"""

MARK = """
local mark = redis.call('GET', KEYS[1])
if not mark then
  local time = redis.call('TIME')
  mark = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[1], mark)
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return mark
"""
"""KEYS: the mark. ARGV: how many milliseconds it stays. Answers the mark: since when Redis forgets nothing."""

CHARGE = """
local key, length, hold = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('LRANGE', key, 1, -1)
local merged, total, last, sum = {}, 0, nil, 0

local function close()
  if sum > 0 then
    merged[#merged + 1] = string.format('%.0f:%d', last, sum)
    total = total + sum
  end
end

local function put(start, requests)
  if start + hold <= now then return end
  if start ~= last then
    close()
    last, sum = start, 0
  end
  sum = sum + requests
end

local k, told = 1, 3
while kept[k] or ARGV[told] do
  local old, requests, new
  if kept[k] then
    old, requests = string.match(kept[k], '(%d+):(%d+)')
    old, requests = tonumber(old), tonumber(requests)
  end
  if ARGV[told] then
    new = now - tonumber(ARGV[told])
    new = new - new % length
  end
  if not new or (old and old <= new) then
    put(old, requests)
    k = k + 1
  else
    put(new, tonumber(ARGV[told + 1]))
    told = told + 2
  end
end
close()

redis.call('DEL', key)
if total > 0 then
  redis.call('RPUSH', key, total)
  for first = 1, #merged, 1000 do
    redis.call('RPUSH', key, unpack(merged, first, math.min(first + 999, #merged)))
  end
  redis.call('PEXPIRE', key, math.ceil(hold / 1000))
end
return total
"""
"""KEYS: a window. ARGV: its length of a slice and hold, then age and number of requests, the oldest first.

Counts requests that were admitted elsewhere, whether they fit or not. Answers how many the window has now.
"""

GIVE_BACK = """
for i, key in ipairs(KEYS) do
  local wanted = tonumber(ARGV[1]) - ARGV[1] % ARGV[i + 1]
  for place = -1, -100, -1 do
    local slice = redis.call('LINDEX', key, place)
    local start, requests = string.match(slice or '', '(%d+):(%d+)')
    start, requests = tonumber(start), tonumber(requests)
    if not start or start < wanted then break end
    if start == wanted then
      if requests > 0 then
        redis.call('LSET', key, place, string.format('%.0f:%d', start, requests - 1))
        redis.call('LSET', key, 0, redis.call('LINDEX', key, 0) - 1)
      end
      break
    end
  end
end
return 1
"""
"""KEYS: the windows. ARGV: the time of the request, then each window's length of a slice.

A request that lies more than 100 slices back goes on to count.
"""
