"""What Redis does for one request, by its own clock: all windows are looked at and counted, or none is, at once.

A window is a list: its total, and then its slices from the oldest on, each as ``start:requests`` in microseconds.
It goes by itself when nothing in it counts any longer.
"""

from __future__ import annotations

TAKE = """
local counts = ARGV[1] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fits = true
local used, first = {}, {}

local function read(slice)
  local start, requests = string.match(slice, '(%d+):(%d+)')
  return tonumber(start), tonumber(requests)
end

for i, key in ipairs(KEYS) do
  local limit, hold = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i + 1])
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
for i, key in ipairs(KEYS) do
  local length, hold = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
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
"""KEYS: the windows. ARGV: whether to count (1 or 0), then each window's limit, length of a slice, and hold.

Answers whether it fits, the time, and for each window its requests and how many microseconds until the next one goes.
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
