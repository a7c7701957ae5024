-- Wireshark dissector for distlink (PROTOCOL.md), version 2. Erlang messages go to
-- the stock "erldp" dissector, once all of their segments have been seen.
--
--     tshark -X lua_script:distlink.lua -r capture.pcap
--     wireshark -X lua_script:distlink.lua, or put it into the plugin folder
--
-- Sealed packets (pre-shared keys) show their header only.

local distlink = Proto("distlink", "distlink transport")
local erldp = Dissector.get("erldp")

local types = { [1] = "INIT", [2] = "RETRY", [3] = "ACCEPT", [4] = "REFUSE", [5] = "DATA", [6] = "RESET" }
local codes = {
  [0] = "closed by the application", [1] = "version", [2] = "no resources", [3] = "protocol violation",
  [4] = "peer not heard", [5] = "no progress", [6] = "message too long", [7] = "reset by peer",
  [8] = "set-up timed out", [9] = "security",
}
local securities = { [0] = "none", [1] = "pre-shared key", [2] = "certificate" }
local frame_names = {
  [0] = "PAD", [1] = "PING", [2] = "ACK", [3] = "CLOSE", [4] = "CHALLENGE", [5] = "RESPONSE",
}

local f = {
  version = ProtoField.uint8("distlink.version", "Version", base.DEC, nil, 0xf0),
  type = ProtoField.uint8("distlink.type", "Type", base.DEC, types, 0x0f),
  length = ProtoField.uint16("distlink.length", "Length"),
  dest = ProtoField.uint64("distlink.dest", "Destination id", base.HEX),
  source = ProtoField.uint64("distlink.source", "Source id", base.HEX),
  max = ProtoField.uint16("distlink.max_datagram", "Maximum datagram"),
  security = ProtoField.uint8("distlink.security", "Security", base.DEC, securities),
  suites = ProtoField.uint8("distlink.suites", "Suites", base.HEX),
  window = ProtoField.uint32("distlink.window", "Window"),
  delay = ProtoField.uint32("distlink.ack_delay", "Acknowledgement delay (us)"),
  caps = ProtoField.uint32("distlink.capabilities", "Capabilities", base.HEX),
  public = ProtoField.bytes("distlink.public", "Public key"),
  key_id = ProtoField.string("distlink.key_id", "Key id"),
  token = ProtoField.bytes("distlink.token", "Token"),
  proof = ProtoField.bytes("distlink.proof", "Binder or tag"),
  lane = ProtoField.uint8("distlink.lane", "Lane", base.DEC, nil, 0xc0),
  number = ProtoField.uint64("distlink.number", "Packet number"),
  sealed = ProtoField.bytes("distlink.sealed", "Sealed frames"),
  frame = ProtoField.string("distlink.frame", "Frame"),
  acked_lane = ProtoField.uint8("distlink.ack.lane", "Lane", base.DEC, nil, 0xc0),
  largest = ProtoField.uint64("distlink.ack.largest", "Largest"),
  limit = ProtoField.uint64("distlink.ack.limit", "Limit"),
  range = ProtoField.string("distlink.ack.range", "Range"),
  code = ProtoField.uint8("distlink.code", "Code", base.DEC, codes),
  text = ProtoField.string("distlink.text", "Text"),
  challenge = ProtoField.bytes("distlink.challenge", "Challenge"),
  stream = ProtoField.uint32("distlink.stream", "Stream"),
  offset = ProtoField.uint64("distlink.offset", "Offset"),
  first = ProtoField.bool("distlink.first", "First segment"),
  last = ProtoField.bool("distlink.last", "Last segment"),
  order = ProtoField.uint64("distlink.order", "Order"),
  fence = ProtoField.uint64("distlink.fence", "Fence"),
  data = ProtoField.bytes("distlink.data", "Data"),
}
distlink.fields = f
local malformed = ProtoExpert.new("distlink.malformed", "Malformed distlink", expert.group.MALFORMED, expert.severity.ERROR)
distlink.experts = { malformed }

-- What a capture has told: connections with keys, segments, and what follows from
-- the first look at each packet.
local sealed_ids, pieces, messages

function distlink.init()
  sealed_ids, pieces, messages = {}, {}, {}
end

-- assemble takes a segment and returns a whole message, if this one ends it.
local function assemble(id, stream, offset, first, last, octets)
  local key = id .. "/" .. stream
  local s = pieces[key] or { open = nil, at = 0, parts = {}, wait = {} }
  pieces[key] = s
  local out = nil
  s.wait[offset] = { first = first, last = last, octets = octets }
  local p = s.wait[s.at]
  if not p and first and not s.open then -- the capture began later than the stream
    s.at, p = offset, s.wait[offset]
  end
  while p do
    s.wait[s.at] = nil
    if p.first then
      s.parts = {}
      s.open = true
    end
    s.parts[#s.parts + 1] = p.octets
    s.at = s.at + #p.octets + (p.last and 1 or 0)
    if p.last then
      out = out or {}
      out[#out + 1] = table.concat(s.parts)
      s.open = false
    end
    p = s.wait[s.at]
  end
  return out
end

-- hand gives a message to erldp, with the length that TCP has before it.
local function hand(message, stream, pinfo, root)
  if #message == 0 then return end -- a tick
  local shake = stream == 0 and string.find("nNsra", string.sub(message, 1, 1), 1, true)
  local n = #message
  local head = shake and string.char(math.floor(n / 256) % 256, n % 256)
    or string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
  local bytes = ByteArray.new(head .. message, true)
  erldp:call(bytes:tvb("distlink message"), pinfo, root)
end

local function segment(kind, buf, at, limit, id, pinfo, tree, root, index)
  local first, last, fenced = bit.band(kind, 1) ~= 0, bit.band(kind, 2) ~= 0, bit.band(kind, 4) ~= 0
  local head = 15 + (first and 8 or 0) + (first and fenced and 8 or 0)
  if at + head > limit then return nil end
  local n = buf(at + 13, 2):uint()
  if at + head + n > limit then return nil end
  local stream = buf(at + 1, 4):uint()
  local t = tree:add(f.frame, buf(at, head + n), "SEGMENT")
  t:set_text(string.format("SEGMENT stream %d, %d octets%s%s", stream, n, first and ", first" or "", last and ", last" or ""))
  t:add(f.stream, buf(at + 1, 4))
  t:add(f.offset, buf(at + 5, 8))
  t:add(f.first, buf(at, 1), first)
  t:add(f.last, buf(at, 1), last)
  if first then t:add(f.order, buf(at + 15, 8)) end
  if first and fenced then t:add(f.fence, buf(at + 23, 8)) end
  local octets = ""
  if n > 0 then
    t:add(f.data, buf(at + head, n))
    octets = buf:raw(at + head, n)
  end
  local seen = pinfo.number .. "/" .. index
  if not pinfo.visited then
    messages[seen] = assemble(id, stream, buf(at + 5, 8):uint64():tonumber(), first, last, octets)
  end
  for _, m in ipairs(messages[seen] or {}) do hand(m, stream, pinfo, root) end
  return at + head + n
end

-- in_lane is a packet number without the lane above it.
local function in_lane(range) return range:uint64():lshift(2):rshift(2) end

local function ack(buf, at, limit, tree)
  if at + 22 > limit then return nil end
  local count = buf(at + 21, 1):uint()
  if at + 22 + 8 * count > limit then return nil end
  local t = tree:add(f.frame, buf(at, 22 + 8 * count), "ACK")
  t:add(f.acked_lane, buf(at + 1, 1))
  t:add(f.largest, buf(at + 1, 8), in_lane(buf(at + 1, 8)))
  t:add(f.delay, buf(at + 9, 4))
  t:add(f.limit, buf(at + 13, 8))
  local low = nil
  for i = 0, count - 1 do
    local r = buf(at + 22 + 8 * i, 8)
    local gap, run = r(0, 4):uint(), r(4, 4):uint()
    local high = low and low - gap - 1 or in_lane(buf(at + 1, 8)):tonumber()
    low = high - run + 1
    t:add(f.range, r, string.format("%d-%d", low, high))
  end
  return at + 22 + 8 * count
end

local function frame(buf, at, limit, id, pinfo, tree, root, index)
  local kind = buf(at, 1):uint()
  if kind >= 0x10 and kind <= 0x17 then return segment(kind, buf, at, limit, id, pinfo, tree, root, index) end
  if kind == 2 then return ack(buf, at, limit, tree) end
  local name = frame_names[kind]
  if name == "PAD" then
    tree:add(f.frame, buf(at, limit - at), "PAD")
    return limit
  elseif name == "PING" then
    tree:add(f.frame, buf(at, 1), "PING")
    return at + 1
  elseif name == "CLOSE" and at + 3 <= limit and at + 3 + buf(at + 2, 1):uint() <= limit then
    local n = buf(at + 2, 1):uint()
    local t = tree:add(f.frame, buf(at, 3 + n), "CLOSE")
    t:add(f.code, buf(at + 1, 1))
    if n > 0 then t:add(f.text, buf(at + 3, n)) end
    return at + 3 + n
  elseif name and kind >= 4 and at + 9 <= limit then
    tree:add(f.frame, buf(at, 9), name):add(f.challenge, buf(at + 1, 8))
    return at + 9
  end
  return nil
end

-- params returns where they end, the source id and the security, or nil.
local function params(buf, at, limit, tree)
  if at + 24 > limit then return nil end
  tree:add(f.source, buf(at, 8))
  tree:add(f.max, buf(at + 8, 2))
  tree:add(f.security, buf(at + 10, 1))
  tree:add(f.suites, buf(at + 11, 1))
  tree:add(f.window, buf(at + 12, 4))
  tree:add(f.delay, buf(at + 16, 4))
  tree:add(f.caps, buf(at + 20, 4))
  local source, security = tostring(buf(at, 8):uint64()), buf(at + 10, 1):uint()
  at = at + 24
  if security ~= 0 then
    if at + 33 > limit or at + 33 + buf(at + 32, 1):uint() > limit then return nil end
    local n = buf(at + 32, 1):uint()
    tree:add(f.public, buf(at, 32))
    if n > 0 then tree:add(f.key_id, buf(at + 33, n)) end
    at = at + 33 + n
  end
  return at, source, security
end

local function token(buf, at, limit, tree)
  if at + 1 > limit or at + 1 + buf(at, 1):uint() > limit then return nil end
  local n = buf(at, 1):uint()
  if n > 0 then tree:add(f.token, buf(at + 1, n)) end
  return at + 1 + n
end

-- body returns false where the packet is malformed.
local function body(kind, buf, at, limit, id, pinfo, tree, root)
  if kind == 1 or kind == 3 then
    local next, source, security = params(buf, at, limit, tree)
    if not next then return false end
    if kind == 3 and security ~= 0 then sealed_ids[source], sealed_ids[id] = true, true end
    if kind == 1 and not token(buf, next, limit, tree) then return false end
    if security ~= 0 then tree:add(f.proof, buf(limit - 16, 16)) end
  elseif kind == 2 then
    return token(buf, at, limit, tree) ~= nil
  elseif kind == 4 then
    if at + 2 > limit then return false end
    tree:add(f.code, buf(at, 1))
    local n = buf(at + 1, 1):uint()
    if n > 0 and at + 2 + n <= limit then tree:add(f.text, buf(at + 2, n)) end
  elseif kind == 5 then
    if at + 8 > limit then return false end
    tree:add(f.lane, buf(at, 1))
    tree:add(f.number, buf(at, 8), in_lane(buf(at, 8)))
    at = at + 8
    if sealed_ids[id] then
      tree:add(f.sealed, buf(at, limit - at))
      return true
    end
    local index = 0
    while at and at < limit do
      index = index + 1
      at = frame(buf, at, limit, id, pinfo, tree, root, at .. "." .. index)
    end
    return at ~= nil
  elseif kind == 6 then
    if at + 16 > limit then return false end
    tree:add(f.dest, buf(at, 8))
    tree:add(f.lane, buf(at + 8, 1))
    tree:add(f.number, buf(at + 8, 8), in_lane(buf(at + 8, 8)))
  end
  return types[kind] ~= nil
end

local function ours(buf)
  return buf:len() >= 12 and buf(0, 1):uint() == 0xDA and bit.rshift(buf(1, 1):uint(), 4) == 2
    and buf(2, 2):uint() >= 12 and buf(2, 2):uint() <= buf:len() and types[bit.band(buf(1, 1):uint(), 15)] ~= nil
end

function distlink.dissector(buf, pinfo, root)
  local at, names = 0, {}
  while at + 12 <= buf:len() do
    local n = buf(at + 2, 2):uint()
    if buf(at, 1):uint() ~= 0xDA or n < 12 or at + n > buf:len() then
      root:add(distlink, buf(at)):add_proto_expert_info(malformed)
      break
    end
    local kind = bit.band(buf(at + 1, 1):uint(), 15)
    names[#names + 1] = types[kind] or "?"
    local tree = root:add(distlink, buf(at, n))
    tree:append_text(", " .. names[#names])
    tree:add(f.version, buf(at + 1, 1))
    tree:add(f.type, buf(at + 1, 1))
    tree:add(f.length, buf(at + 2, 2))
    tree:add(f.dest, buf(at + 4, 8))
    local id = tostring(buf(at + 4, 8):uint64())
    if not body(kind, buf, at + 12, at + n, id, pinfo, tree, root) then tree:add_proto_expert_info(malformed) end
    at = at + n
  end
  pinfo.cols.protocol = "distlink"
  pinfo.cols.info = table.concat(names, ", ")
  return buf:len()
end

distlink:register_heuristic("udp", function(buf, pinfo, root)
  if not ours(buf) then return false end
  distlink.dissector(buf, pinfo, root)
  return true
end)
