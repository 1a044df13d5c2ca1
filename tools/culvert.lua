-- Plain PPSPP (RFC 7574) for Wireshark and tshark: every message, every protocol option,
-- every chunk addressing method.
--
--   wireshark -X lua_script:tools/culvert.lua
--   tshark -X lua_script:tools/culvert.lua -r capture.pcap
--
-- Messages carry no lengths: how long a chunk specification, a hash, a signature or a chunk
-- is stands in the handshake of the channel. A channel is recognised by its HANDSHAKE; what
-- that said is kept per (address, port, channel ID) and per frame. Where the handshake was
-- not captured, use "Decode As": then the defaults of the RFC are assumed (32-bit chunk
-- ranges, SHA-256, 1024 octets), and a note says so.
--
-- Datagrams of culvert's tunnels are ciphertext of 1232 octets; "Decode As" culvert_cell
-- names them, and there is nothing more to see.

local ppspp = Proto("ppspp", "Peer-to-Peer Streaming Peer Protocol")

local MESSAGES = {
  [0] = "HANDSHAKE", "DATA", "ACK", "HAVE", "INTEGRITY", "PEX_RESv4", "PEX_REQ",
  "SIGNED_INTEGRITY", "REQUEST", "CANCEL", "CHOKE", "UNCHOKE", "PEX_RESv6", "PEX_REScert",
  "PEX_CONTACT (culvert)",
}
local OPTIONS = {
  [0] = "Version", "Minimum Version", "Swarm Identifier", "Content Integrity Protection Method",
  "Merkle Hash Tree Function", "Live Signature Algorithm", "Chunk Addressing Method",
  "Live Discard Window", "Supported Messages", "Chunk Size", [255] = "End Option",
}
local INTEGRITY = { [0] = "No integrity protection", "Merkle Hash Tree", "Sign All", "Unified Merkle Tree" }
local HASHES = { [0] = "SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512" }
local HASH_SIZE = { [0] = 20, 28, 32, 48, 64 }
local ALGORITHMS = { [5] = "RSASHA1", [8] = "RSASHA256", [13] = "ECDSAP256SHA256",
                     [14] = "ECDSAP384SHA384", [15] = "ED25519", [16] = "ED448" }
local SIGNATURE_SIZE = { [13] = 64, [14] = 96, [15] = 64, [16] = 114 }
local METHODS = { [0] = "32-bit bins", "64-bit byte ranges", "32-bit chunk ranges", "64-bit bins",
                  "64-bit chunk ranges" }
local INTEGER = { [0] = 4, 8, 4, 8, 8 } -- octets of one number of a chunk specification
local BINS = { [0] = true, [3] = true }

local f = {
  channel = ProtoField.uint32("ppspp.channel", "Destination channel ID", base.HEX),
  keepalive = ProtoField.bool("ppspp.keepalive", "Keepalive"),
  type = ProtoField.uint8("ppspp.type", "Message type", base.DEC, MESSAGES),
  source = ProtoField.uint32("ppspp.source_channel", "Source channel ID", base.HEX),
  closing = ProtoField.bool("ppspp.closing", "Closes the channel"),
  option = ProtoField.uint8("ppspp.option", "Protocol option", base.DEC, OPTIONS),
  version = ProtoField.uint8("ppspp.version", "Version"),
  minimum = ProtoField.uint8("ppspp.minimum_version", "Minimum version"),
  swarm = ProtoField.bytes("ppspp.swarm", "Swarm ID"),
  integrity = ProtoField.uint8("ppspp.integrity", "Content integrity protection method", base.DEC, INTEGRITY),
  hash_function = ProtoField.uint8("ppspp.hash_function", "Merkle hash function", base.DEC, HASHES),
  algorithm = ProtoField.uint8("ppspp.algorithm", "Live signature algorithm", base.DEC, ALGORITHMS),
  addressing = ProtoField.uint8("ppspp.addressing", "Chunk addressing method", base.DEC, METHODS),
  window = ProtoField.uint64("ppspp.discard_window", "Live discard window"),
  supported = ProtoField.bytes("ppspp.supported", "Supported messages"),
  chunk_size = ProtoField.uint32("ppspp.chunk_size", "Chunk size"),
  bin = ProtoField.uint64("ppspp.bin", "Bin"),
  first = ProtoField.uint64("ppspp.start", "Start"),
  last = ProtoField.uint64("ppspp.end", "End (inclusive)"),
  stamp = ProtoField.uint64("ppspp.timestamp", "Timestamp (microseconds)"),
  delay = ProtoField.uint64("ppspp.delay", "One-way delay sample (microseconds)"),
  ntp = ProtoField.uint64("ppspp.ntp", "NTP timestamp", base.HEX),
  hash = ProtoField.bytes("ppspp.hash", "Hash"),
  signature = ProtoField.bytes("ppspp.signature", "Signature"),
  data = ProtoField.bytes("ppspp.data", "Chunk"),
  ipv4 = ProtoField.ipv4("ppspp.pex.ipv4", "Peer address"),
  ipv6 = ProtoField.ipv6("ppspp.pex.ipv6", "Peer address"),
  port = ProtoField.uint16("ppspp.pex.port", "Peer port"),
  certificate = ProtoField.bytes("ppspp.pex.certificate", "Membership certificate"),
  period = ProtoField.uint32("ppspp.pex.period", "Period of the contact"),
  contact = ProtoField.bytes("ppspp.pex.contact", "Contact"),
}
local list = {}
for _, field in pairs(f) do list[#list + 1] = field end
ppspp.fields = list

local cut = ProtoExpert.new("ppspp.cut", "the datagram ends inside a message", expert.group.MALFORMED, expert.severity.ERROR)
local unknown = ProtoExpert.new("ppspp.unknown", "cannot be skipped: nothing says how long it is", expert.group.UNDECODED, expert.severity.WARN)
local assumed = ProtoExpert.new("ppspp.assumed", "handshake not captured: defaults of RFC 7574 assumed", expert.group.ASSUMPTION, expert.severity.NOTE)
local disorder = ProtoExpert.new("ppspp.disorder", "options are not in ascending order", expert.group.PROTOCOL, expert.severity.WARN)
local misplaced = ProtoExpert.new("ppspp.misplaced", "HANDSHAKE is not the first message", expert.group.PROTOCOL, expert.severity.WARN)
ppspp.experts = { cut, unknown, assumed, disorder, misplaced }

-- What the handshakes said: by "address:port:channel" of the side that owns the channel, and
-- by frame, because a channel ID may be used again later in the capture.
local channels, frames = {}, {}
function ppspp.init() channels, frames = {}, {} end

local DEFAULTS = { integrity = 1, hash = 2, addressing = 2, chunk_size = 1024 }

local function key(address, port, channel) return tostring(address) .. ":" .. port .. ":" .. channel end

-- A cursor that raises what it misses; caught once per datagram.
local function cursor(tvb)
  local c = { at = 0, tvb = tvb }
  function c.left() return tvb:len() - c.at end
  function c.take(n)
    if n > c.left() then error({ cut = true }, 0) end
    local range = tvb:range(c.at, n)
    c.at = c.at + n
    return range
  end
  return c
end

local function signature_size(p)
  if not p.swarm then return nil end
  local algorithm = p.swarm:get_index(0)
  if algorithm ~= 5 and algorithm ~= 8 then return SIGNATURE_SIZE[algorithm] end
  -- RFC 3110: length of the exponent (one octet, or zero and two), exponent, modulus
  if p.swarm:len() < 4 then return nil end
  local length, head = p.swarm:get_index(1), 2
  if length == 0 then length, head = p.swarm:get_index(2) * 256 + p.swarm:get_index(3), 4 end
  local size = p.swarm:len() - head - length
  return size > 0 and size or nil
end

-- Section 7. Fills `p` and returns how many options there were.
local function options(c, tree, p)
  local count, before = 0, -1
  while true do
    local code = c.take(1)
    local o = code:uint()
    local item = tree:add(f.option, code)
    if o == 255 then return count end
    if o <= before then item:add_proto_expert_info(disorder) end
    count, before = count + 1, o
    local simple = { [0] = "version", "minimum", nil, "integrity", "hash_function", "algorithm", "addressing" }
    if o == 2 then
      local size = c.take(2):uint()
      local value = c.take(size)
      if size > 0 then
        p.swarm = value:bytes()
        item:add(f.swarm, value)
      end
    elseif o == 7 then
      if not INTEGER[p.addressing] then error({ unknown = item }, 0) end
      local value = c.take(INTEGER[p.addressing])
      item:add(f.window, value, value:uint64())
    elseif o == 8 then
      local value = c.take(c.take(1):uint())
      if value:len() > 0 then
        item:add(f.supported, value)
        p.contacts = value:len() > 1 and bit.band(value:bytes():get_index(1), 2) ~= 0
      end
    elseif o == 9 then
      local value = c.take(4)
      p.chunk_size = value:uint()
      item:add(f.chunk_size, value)
    elseif simple[o] then
      local value = c.take(1)
      item:add(f[simple[o]], value)
      if o == 3 then p.integrity = value:uint() end
      if o == 4 then p.hash = value:uint() end
      if o == 6 then p.addressing = value:uint() end
    else
      error({ unknown = item }, 0)
    end
  end
end

-- Section 4: the specification as it stands, and for bins the chunks under it.
local function specification(c, tree, p)
  local size = INTEGER[p.addressing]
  if not size then error({ unknown = tree }, 0) end
  local one = c.take(size)
  local first = one:uint64()
  local last
  if BINS[p.addressing] then
    tree:add(f.bin, one, first)
    local all = size == 4 and UInt64(0xffffffff) or UInt64(0xffffffff, 0xffffffff)
    if first == all then return "nothing" end
    local width = UInt64(1)
    while first:band(width) ~= UInt64(0) do width = width:lshift(1) end
    first = (first - (width - 1)):rshift(1)
    last = first + (width - 1)
    tree:add(f.first, one, first):set_generated()
    tree:add(f.last, one, last):set_generated()
  else
    local two = c.take(size)
    last = two:uint64()
    tree:add(f.first, one, first)
    tree:add(f.last, two, last)
  end
  return first == last and tostring(first) or tostring(first) .. "-" .. tostring(last)
end

local function message(c, tree, p, pinfo, position)
  local begin = c.at
  local code = c.take(1)
  local t = code:uint()
  local item = tree:add(f.type, code)
  local name, what = MESSAGES[t], nil
  if not name or (t == 14 and not p.contacts) then error({ unknown = item }, 0) end
  if t == 0 then
    if position > 1 then item:add_proto_expert_info(misplaced) end
    local source = c.take(4)
    item:add(f.source, source)
    local said = { integrity = p.integrity, hash = p.hash, addressing = p.addressing,
                   chunk_size = p.chunk_size, swarm = p.swarm }
    local count = options(c, item, said)
    if source:uint() == 0 then
      item:add(f.closing, source, true):set_generated()
      name = "HANDSHAKE (close)"
    else
      for k, v in pairs(said) do p[k] = v end
      channels[key(pinfo.src, pinfo.src_port, source:uint())] = said
    end
    if count == 0 and source:uint() ~= 0 then item:add_proto_expert_info(unknown) end
  elseif t == 5 or t == 12 then
    if t == 5 then item:add(f.ipv4, c.take(4)) else item:add(f.ipv6, c.take(16)) end
    item:add(f.port, c.take(2))
  elseif t == 13 or t == 14 then
    local size = c.take(2):uint()
    local value = c.take(size)
    if t == 14 and size >= 4 then
      item:add(f.period, value(0, 4))
      if size > 4 then item:add(f.contact, value(4)) end
    elseif t == 13 and size > 0 then
      item:add(f.certificate, value)
    end
  elseif t ~= 6 and t ~= 10 and t ~= 11 then
    what = specification(c, item, p)
    if t == 1 then
      local stamp = c.take(8)
      item:add(f.stamp, stamp, stamp:uint64())
      local size = c.left()
      if p.chunk_size ~= 0xffffffff then size = math.min(size, p.chunk_size) end
      if size > 0 then item:add(f.data, c.take(size)) end
    elseif t == 2 then
      local delay = c.take(8)
      item:add(f.delay, delay, delay:uint64())
    elseif t == 4 then
      local size = HASH_SIZE[p.hash]
      if not size then error({ unknown = item }, 0) end
      item:add(f.hash, c.take(size))
    elseif t == 7 then
      local ntp = c.take(8)
      item:add(f.ntp, ntp, ntp:uint64())
      local size = signature_size(p)
      if not size then error({ unknown = item }, 0) end
      item:add(f.signature, c.take(size))
    end
  end
  item:set_len(c.at - begin)
  if what then item:append_text(" " .. what) end
  return what and name .. " " .. what or name
end

local function dissect(tvb, pinfo, root, p, guess)
  pinfo.cols.protocol = "PPSPP"
  local tree = root:add(ppspp, tvb())
  local c = cursor(tvb)
  local names, problem = {}, nil
  tree:add(f.channel, c.take(4))
  if guess then tree:add_proto_expert_info(assumed) end
  if c.left() == 0 then
    tree:add(f.keepalive, tvb(0, 4), true):set_generated()
    names[1] = "Keepalive"
  end
  while c.left() > 0 and not problem do
    local ok, result = pcall(message, c, tree, p, pinfo, #names + 1)
    if ok then
      names[#names + 1] = result
    elseif type(result) == "table" then
      problem = result
    else
      error(result, 0) -- a fault of this script, to be seen
    end
  end
  if problem then
    (problem.unknown or tree):add_proto_expert_info(problem.unknown and unknown or cut)
    names[#names + 1] = problem.unknown and "[unknown]" or "[cut]"
  end
  pinfo.cols.info = table.concat(names, ", ")
end

-- The parameters of a datagram: of the channel it is addressed to, which the addressee's
-- HANDSHAKE named. A first datagram brings them along.
local function parameters(tvb, pinfo)
  if frames[pinfo.number] then return frames[pinfo.number] end
  local channel = tvb(0, 4):uint()
  local p = channel ~= 0 and channels[key(pinfo.dst, pinfo.dst_port, channel)] or nil
  if channel == 0 and tvb:len() >= 10 and tvb(4, 1):uint() == 0
     and (tvb(9, 1):uint() == 0 or tvb(9, 1):uint() == 255) then
    p = {}
    for k, v in pairs(DEFAULTS) do p[k] = v end
  end
  if p then
    local copy = {}
    for k, v in pairs(p) do copy[k] = v end
    frames[pinfo.number] = copy
    return copy
  end
end

function ppspp.dissector(tvb, pinfo, root)
  if tvb:len() < 4 then return 0 end
  local p, guess = parameters(tvb, pinfo), false
  if not p then
    p, guess = {}, true
    for k, v in pairs(DEFAULTS) do p[k] = v end
  end
  local mine = {}
  for k, v in pairs(p) do mine[k] = v end
  dissect(tvb, pinfo, root, mine, guess)
  return tvb:len()
end

-- A datagram is PPSPP when it opens a channel (ID 0, HANDSHAKE, option 0 with a version) or
-- belongs to one that was opened.
local function heuristic(tvb, pinfo, root)
  if tvb:len() < 4 then return false end
  local known = parameters(tvb, pinfo)
  if not known then return false end
  if tvb(0, 4):uint() == 0 and tvb(9, 1):uint() == 0 and (tvb:len() < 12 or tvb(10, 1):uint() == 0) then
    frames[pinfo.number] = nil
    return false
  end
  ppspp.dissector(tvb, pinfo, root)
  return true
end
ppspp:register_heuristic("udp", heuristic)
DissectorTable.get("udp.port"):add_for_decode_as(ppspp)

local cell = Proto("culvert_cell", "culvert tunnel datagram")
local sealed = ProtoField.bytes("culvert_cell.sealed", "Ciphertext")
cell.fields = { sealed }
function cell.dissector(tvb, pinfo, root)
  if tvb:len() ~= 1232 then return 0 end
  pinfo.cols.protocol = "culvert"
  pinfo.cols.info = "tunnel datagram"
  root:add(cell, tvb()):add(sealed, tvb())
  return tvb:len()
end
DissectorTable.get("udp.port"):add_for_decode_as(cell)
