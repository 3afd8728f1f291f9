"""What happens to the catalogue at one instant, as scripts in Valkey.

Every script looks first whether an item still has the revision that the caller has read, so that what was made of an
older text never stands beside a newer one. KEYS of all: items, folded, changes, versions, then the vectors of bundles.
"""

_HEAD = """
local function revision(key, id)
  local stored = redis.call('HGET', key, id)
  return stored and string.format('%.0f', cjson.decode(stored).revision) or '0', stored
end
local function changed(id, number)
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[1], '*', 'item_id', id, 'revision', number)
end
local done = {}
"""

# ARGV: length of the stream, then for each item: id, revision it must have (0: none), new revision, JSON, and for each
# bundle a word: '' leaves its vector alone, '-' drops it, else it is the vector. Returns of each whether it is written.
WRITE = (
    _HEAD
    + """
local width = #KEYS
for at = 2, #ARGV, width do
  local id = ARGV[at]
  local matches = revision(KEYS[1], id) == ARGV[at + 1]
  if matches then
    redis.call('HSET', KEYS[1], id, ARGV[at + 3])
    redis.call('HDEL', KEYS[2], id)
    for place = 5, #KEYS do
      local word = ARGV[at + place - 1]
      if word == '-' then redis.call('HDEL', KEYS[place], id)
      elseif word ~= '' then redis.call('HSET', KEYS[place], id, word) end
    end
    changed(id, ARGV[at + 2])
  end
  done[#done + 1] = matches and 1 or 0
end
return done
"""
)

# ARGV: length of the stream, the bundle's version, then for each item: id, revision it must have, vector.
ENCODE = (
    _HEAD
    + """
for at = 3, #ARGV, 3 do
  local matches = revision(KEYS[1], ARGV[at]) == ARGV[at + 1]
  if matches then
    redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 2])
    changed(ARGV[at], ARGV[at + 1])
  end
  done[#done + 1] = matches and 1 or 0
end
redis.call('SADD', KEYS[4], ARGV[2])
return done
"""
)

# ARGV: length of the stream, then for each item: id, revision it must have.
FOLD = (
    _HEAD
    + """
for at = 2, #ARGV, 2 do
  local found, stored = revision(KEYS[1], ARGV[at])
  if stored and found == ARGV[at + 1] then
    redis.call('HSET', KEYS[2], ARGV[at], stored)
    redis.call('HDEL', KEYS[1], ARGV[at])
    for place = 5, #KEYS do redis.call('HDEL', KEYS[place], ARGV[at]) end
    changed(ARGV[at], found)
    done[#done + 1] = 1
  else
    done[#done + 1] = 0
  end
end
return done
"""
)

# ARGV as FOLD, the revision being that of the folded item.
UNFOLD = (
    _HEAD
    + """
for at = 2, #ARGV, 2 do
  local found, stored = revision(KEYS[2], ARGV[at])
  if stored and found == ARGV[at + 1] and redis.call('HEXISTS', KEYS[1], ARGV[at]) == 0 then
    redis.call('HSET', KEYS[1], ARGV[at], stored)
    redis.call('HDEL', KEYS[2], ARGV[at])
    changed(ARGV[at], found)
    done[#done + 1] = 1
  else
    done[#done + 1] = 0
  end
end
return done
"""
)

# KEYS: the lease. ARGV: token, milliseconds.
HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS: the lease. ARGV: token.
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
