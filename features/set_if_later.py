"""Setting a shopper's row only if it is later than the stored one, in one step within the online store.

Choice: a script of one key, that leaves the rule to the store: Feast reads the stored time stamp, decides and writes,
and whoever sleeps in between writes over a later row.

Knows nothing of connections, nor of what the fields mean.
"""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from features.offline import utc

# KEYS: a shopper's hash. ARGV: field of the time stamp, time stamp, then fields and values.
# A time stamp is a message of varints: tag 8 is seconds, tag 16 nanoseconds. Numbers are exact up to 2^53; a negative
# one, ten bytes in two's complement, is taken from its complement.
SET_IF_LATER = """
local function varint(text, at)
  local sum, complement, scale, first = 0, 0, 1, at
  while true do
    local byte = string.byte(text, at)
    sum, complement = sum + byte % 128 * scale, complement + (127 - byte % 128) * scale
    at, scale = at + 1, scale * 128
    if byte < 128 then break end
    if at - first == 9 then return -complement - 1, at + 1 end
  end
  return sum, at
end
local function parts(text)
  local found, at = {[8] = 0, [16] = 0}, 1
  while at <= #text do
    local tag = string.byte(text, at)
    found[tag], at = varint(text, at + 1)
  end
  return found[8], found[16]
end
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored then
  local seconds, nanos = parts(stored)
  local new_seconds, new_nanos = parts(ARGV[2])
  if new_seconds < seconds or new_seconds == seconds and new_nanos <= nanos then return 0 end
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""
"""The script; answers 1 if it has set the fields, else 0."""


def stamp_bytes(instant: datetime) -> bytes:
    """An aware instant as Feast stores it.

    Raises:
        ValueError: if `instant` carries no time zone.
    """
    stamp = Timestamp()
    stamp.FromDatetime(utc(instant))
    return stamp.SerializeToString()
