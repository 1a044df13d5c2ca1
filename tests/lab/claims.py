"""What the wires may show. Each claim is a function over the captures that
returns the packets that break it, in words; an empty list means it held.
Each line ends with its reason, a constant: reasons() lists a claim's, and the
leak lab plants a leak for each."""
import ast
import collections
import hashlib
import hmac
import inspect
import ipaddress
import itertools
import socket
import struct

import search

OVERLAY = 1232
SAMPLE = 4  # TUN_CONTACTS_WANTED
QUESTIONS = 12  # to one relay, until one is too many
RELAY_PORT = 7000
SECRET = "the swarm's secret"


class World:
    """What the lab knows and no wire may tell."""

    def __init__(self, network_name, hosts, hidden, relays, swarm_id, marker):
        self.network_id = blake(network_name.encode(), 8)
        self.address = {name: host.address for name, host in hosts.items()}
        self.name = {address: name for name, address in self.address.items()}
        self.hidden = hidden  # viewers and seeders
        self.relays = relays
        self.swarm_id = swarm_id
        self.marker = marker  # stands in every 64 octets of the content
        self.exits = []  # relays that are swarm exits
        self.internet = None  # host that shares swarm_id directly; None: it is a hidden swarm
        self.internet_port = 0  # where it does
        self.first_hops = {}  # hidden host: names of relays, as it tells of its links
        self.dead = {}  # host: when its program had ended for good
        self.cuts = {}  # host: (from, to) while nothing got to it or came from it
        self.ended = {}  # host: when programs of it were killed
        self.gone = []  # who ended before these captures began
        self.phases = []  # (what was done, from, to), while a constant rate is kept
        self.paced = []  # by these
        self.counts = {}  # (relay, other relay): octets (given, taken) as the relay's ledger has them
        self.counted = 0  # when they were read
        self.dropped = {}  # relay: datagrams that found no room in its socket, as its kernel counts
        self.backlog = 0  # and those of all hosts together that came no further than the card
        self.content_keys = content_keys(swarm_id, self.network_id)
        self.member_keys = member_keys(swarm_id, self.network_id)
        self.relay_keys = relay_keys(self.network_id)


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def blake(data, size, key=b""):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


def swarm_secret(swarm_id, network_id):
    """What everything that its members keep from others follows from; and which of its days it is."""
    import time
    s = blake(b"culvert hs v1" + network_id + struct.pack("<H", len(swarm_id)) + swarm_id, 32,
              key=bytes(32))
    offset = struct.unpack("<Q", blake(b"offset", 8, key=s))[0] % 86400
    return s, (int(time.time()) - offset) // 86400


def member_keys(swarm_id, network_id):
    """Name of each key that members of the swarm have in common, and keep, to its octets."""
    s, today = swarm_secret(swarm_id, network_id)
    period = struct.pack("<I", today)
    return {SECRET: s,
            "the key that seals the swarm's slots": blake(b"seal" + period, 32, key=s),
            "the swarm's handshake key": blake(b"psk" + period, 32, key=s)}


def content_keys(swarm_id, network_id):
    """Every DHT key that has to do with the swarm: the id itself and the
    targets of its slot keys, yesterday, today and tomorrow."""
    from nacl.signing import SigningKey
    keys = {swarm_id[:20], hashlib.sha1(swarm_id).digest()}
    s, today = swarm_secret(swarm_id, network_id)
    for period in (today - 1, today, today + 1):
        for j in range(16):
            seed = blake(b"slot" + struct.pack("<IB", period, j), 32, key=s)
            public = SigningKey(seed).verify_key.encode()
            keys.add(public)
            keys.add(hashlib.sha1(public).digest())
    return keys


def relay_keys(network_id):
    """Every key under which relays announce themselves, yesterday, today and tomorrow;
    and those of all relays of the days among which a node that finds nobody looks for
    the right one."""
    import time
    today = int(time.time()) // 86400
    keys = [(day, level, bucket) for day in (today - 1, today, today + 1)
            for level in (0, 4, 8) for bucket in range(1 << level)]
    keys += [(day, 0, 0) for day in range(today - 33, today + 34)]
    return {blake(b"culvert relay" + network_id + struct.pack("<IBH", *key), 20) for key in keys}


# ---- kinds of datagrams

def is_dht(p):
    """By the kind, which every message ends with: one sealed datagram in 65,536 has the first and
    the last octet of one by chance."""
    return p.kind == "udp" and p.payload[:1] == b"d" and \
        p.payload[-7:] in (b"1:y1:qe", b"1:y1:re", b"1:y1:ee")


def is_overlay(p):
    return p.kind == "udp" and len(p.payload) == OVERLAY and not is_dht(p)


def is_question(world, p):
    """A DESCRIBE: its code can be checked by whoever knows the network's id."""
    if not is_overlay(p):
        return False
    return hmac.compare_digest(question_code(world, p.payload), p.payload[36:52])


def question_code(world, payload):
    key = blake(b"culvert describe mac" + world.network_id, 32)
    return blake(payload[:36] + payload[52:128], 16, key=key)


def clear_forms(world):
    """What nothing may hold in clear, and what each is called."""
    return {**search.of_content(world.swarm_id, world.marker),
            "a PPSPP handshake": b"\x00\x01\x01\x01\x02\x00\x20"}


def reasons(claim):
    """What the lines of a claim may end with, from its source: whatever it gives to words(), or
    puts together itself. None ends with another, so that a line has one."""
    found = []
    for call in ast.walk(ast.parse(inspect.getsource(claim))):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        why = call.args[-1]
        if getattr(call.func, "id", "") != "words" and \
                not (getattr(call.func, "attr", "") == "append" and isinstance(why, ast.JoinedStr)):
            continue
        why = why.values[-1] if isinstance(why, ast.JoinedStr) else why
        if not isinstance(why, ast.Constant):
            raise TypeError(f"{claim.__name__}, line {call.lineno}: a reason that ends with no constant")
        found.append(why.value)
    if not found or any(a.endswith(b) for a, b in itertools.permutations(found, 2)):
        raise TypeError(f"{claim.__name__}: its reasons cannot be told apart: {found}")
    return found


def words(world, p, why):
    source = world.name.get(p.source, p.source)
    target = world.name.get(p.target, p.target)
    return f"{source}:{p.sport} -> {target}:{p.dport} {p.kind} {len(p.payload)} octets: {why}"


# ---- the claims

def strangers_never_meet(world, captures):
    """Addresses of viewers and seeders never appear at each other."""
    bad = []
    for name in world.hidden:
        others = {world.address[n] for n in world.hidden if n != name}
        raw = {packed(a): a for a in others}
        for p in captures.get(name, []):
            if p.source in others or p.target in others:
                bad.append(words(world, p, "the other end's address on this wire"))
            elif is_dht(p):
                # A DHT tells of nodes that answer; hidden nodes are read-only.
                bad += [words(world, p, f"of {a} the DHT tells here") for r, a in raw.items()
                        if r in p.payload]
    return bad


def only_first_hops(world, captures):
    """No relay but the first hops receives a handshake or cell of a viewer or
    seeder. The descriptor exchange is told apart by its code: at most a few
    questions to one relay, each with at most one answer of the same size."""
    bad = []
    for name in world.hidden:
        me = world.address[name]
        asked, answered = {}, {}
        for p in captures.get(name, []):
            if not is_overlay(p):
                continue
            other = world.name.get(p.target if p.source == me else p.source, "?")
            if other in world.first_hops.get(name, ()):
                continue
            if other in world.relays and p.time >= world.dead.get(other, float("inf")):
                continue  # received by nobody
            if any(end - 3 < p.time <= end for end in world.ended.get(name, ())):
                continue  # killed before it could tell of this one
            if p.source == me and is_question(world, p):
                asked[other] = asked.get(other, 0) + 1
                if asked[other] > QUESTIONS:
                    bad.append(words(world, p, "more questions than one asks for a descriptor"))
            elif any(begin <= p.time < end for begin, end in world.cuts.get(other, ())):
                continue  # received by nobody
            elif p.source == me:
                bad.append(words(world, p, "a handshake or cell to a relay that is no first hop"))
            else:
                answered[other] = answered.get(other, 0) + 1
                if answered[other] > asked.get(other, 0):
                    bad.append(words(world, p, "more came back than was asked for"))
    return bad


def few_first_hops(world, captures):
    """Whatever dies, no more relays than a client's sample receive a handshake or
    cell from the address of a viewer or seeder."""
    bad = []
    for name in world.hidden:
        met = []
        for p in captures.get(name, []):
            other = world.name.get(p.target)
            if p.source == world.address[name] and other in world.relays and is_overlay(p) \
                    and not is_question(world, p) and other not in met:
                met.append(other)
                if len(met) > SAMPLE:
                    bad.append(words(world, p, f"after {', '.join(met[:-1])}: one relay too many"))
    return bad


def no_content_key(world, captures):
    """No DHT message of a viewer or seeder carries a key of the content."""
    bad = []
    for name in world.hidden:
        for p in captures.get(name, []):
            if is_dht(p) and any(key in p.payload for key in world.content_keys):
                bad.append(words(world, p, "a content key on the node's own wire"))
    return bad


def hidden_ones_only_read(world, captures):
    """Viewers and seeders are no nodes of the DHT: they ask, saying so (BEP 43),
    answer nobody, and neither announce nor put anything."""
    bad = []
    for name in world.hidden:
        me = world.address[name]
        for p in captures.get(name, []):
            if not is_dht(p) or p.source != me:
                continue
            if not p.payload.endswith(b"1:y1:qe"):
                bad.append(words(world, p, "no question"))
            elif b"2:roi1e" not in p.payload:
                bad.append(words(world, p, "a question of one who does not say that it only reads"))
            elif b"1:q13:announce_peer" in p.payload:
                bad.append(words(world, p, "it announces somebody"))
            elif b"1:q3:put" in p.payload:
                bad.append(words(world, p, "it puts something"))
    return bad


def relays_announce_themselves(world, captures):
    """Whoever announces something is a relay, under a relay key and its own port,
    and nobody asks for peers of anything else."""
    bad = []
    for name, packets in captures.items():
        me = world.address[name]
        for p in packets:
            if not is_dht(p) or p.source != me or not p.payload.endswith(b"1:y1:qe"):
                continue
            _, found, rest = p.payload.partition(b"9:info_hash20:")
            through = name in world.exits and world.internet and rest[:20] == world.swarm_id[:20]
            if found and rest[:20] not in world.relay_keys and not through:
                bad.append(words(world, p, "asks or announces under a key that is no relay key"))
            if b"1:q13:announce_peer" not in p.payload:
                continue
            if name not in world.relays:
                bad.append(words(world, p, "announces and is no relay"))
            elif b"4:porti%de" % p.sport not in p.payload:
                bad.append(words(world, p, "announces a port that is not its own"))
    return bad


def nothing_in_clear(world, captures):
    """No swarm id (raw, in hex, in base32 or in a link), PPSPP handshake or content anywhere."""
    forms = clear_forms(world)
    bad = []
    for packets in captures.values():
        for p in packets:
            bad += [words(world, p, f"{what} in clear") for what, form in forms.items()
                    if form in p.payload]
    return bad


def one_size(world, captures):
    """Every datagram that is not the DHT's has 1232 octets, the same TTL, and
    may not be fragmented."""
    bad = []
    for name, packets in captures.items():
        ours = world.address[name]
        for p in packets:
            if p.kind != "udp" or is_dht(p):
                continue
            if len(p.payload) != OVERLAY:
                bad.append(words(world, p, "another size than the overlay's"))
            elif not p.dont:
                bad.append(words(world, p, "may be fragmented"))
            elif p.tos:
                bad.append(words(world, p, "of a class of its own"))
            elif p.source == ours and p.ttl != 64:
                bad.append(words(world, p, "another TTL than the others'"))
    return bad


def nothing_else(world, captures):
    """No DNS, no time service, no update check: nothing but DHT and overlay,
    between the addresses of the lab."""
    bad = []
    for packets in captures.values():
        for p in packets:
            if p.kind == "arp":
                continue
            if p.kind == "icmp":
                # Of a host whose program is gone: its kernel answers for it.
                if p.payload[:1] not in (b"\x03", b"\x01"):  # of IPv4, of IPv6
                    bad.append(words(world, p, "a message that no host's kernel has to send"))
            elif p.kind != "udp":
                bad.append(words(world, p, "no UDP"))
            elif p.source not in world.name:
                bad.append(words(world, p, "of somebody elsewhere"))
            elif p.target not in world.name:
                bad.append(words(world, p, "to somebody elsewhere"))
            elif not is_dht(p) and len(p.payload) != OVERLAY:
                bad.append(words(world, p, "neither DHT nor overlay"))
    return bad


def contacts_come_by_dht(world, captures):
    """Nobody sends to an address before the DHT named it: all a process is
    told is one DHT contact."""
    bad = []
    bootstrap = world.address["bootstrap"]
    for name, packets in captures.items():
        ours = world.address[name]
        known = {bootstrap, ours}
        for p in packets:
            if p.kind != "udp":
                continue
            if p.target == ours:
                known.add(p.source)  # who came to us is no secret to us
                if is_dht(p):
                    known.update(a for a in world.name if packed(a) in p.payload)
                elif p.source in known:
                    known.update(world.address[r] for r in world.relays)  # sealed: relays only
            elif p.source == ours and p.target not in known:
                bad.append(words(world, p, "an address that nobody had named"))
    return bad


# ---- re-seeding

def the_gone_give_nothing(world, captures):
    """What a viewer gets after the first seeder has gone comes from viewers: that one sends
    nothing any more. (Its kernel may say that nobody is there.)"""
    return [words(world, p, "of one who is gone") for name in world.gone
            for p in captures.get(name, [])
            if p.kind == "udp" and p.source == world.address[name]]


RESEEDING_CLAIMS = [the_gone_give_nothing]


# ---- what relays count

IN_FLIGHT = 40  # cells: on their way, and while one end knows already who the other is
CONTROL = 200  # cells that carry no onion: handshakes, circuits, who is there,
CONTROL_A_SECOND = 2  # keepalives, descriptors


def cells(world, packets, until=float("inf")):
    """(from, to) between the ports of two relays: how many."""
    relays = {world.address[r]: r for r in world.relays}
    return collections.Counter(
        (relays[p.source], relays[p.target]) for p in packets
        if p.time < until and is_overlay(p) and p.sport == p.dport == RELAY_PORT
        and p.source in relays and p.target in relays)


def counters_agree(world, captures):
    """What a relay's ledger says that it gave another and took from it are cells that the wire
    carried, all of them but those of no onion, and both ends say the same, but for what is on its
    way or was thrown away by a kernel that says so."""
    bad = []
    wires = {relay: cells(world, captures[relay]) for relay in world.relays}
    before = {relay: cells(world, captures[relay], world.counted) for relay in world.relays}
    first = min(p.time for relay in world.relays for p in captures[relay])
    control = CONTROL + CONTROL_A_SECOND * (world.counted - first)
    for a, b in itertools.permutations(world.relays, 2):
        given = world.counts.get((a, b), (0, 0))[0] // OVERLAY
        taken = world.counts.get((b, a), (0, 0))[1] // OVERLAY
        left, came = (wires[wire][a, b] for wire in (a, b))
        lost = world.dropped.get(b, 0) + world.backlog
        told = f"{a} -> {b}: {left} cells left, {came} came, {given} given, {taken} taken"
        if given > left + world.backlog:
            bad.append(f"{told}: more was given than left")
        if taken > came:
            bad.append(f"{told}: more was taken than came")
        if before[a][a, b] - given > control:
            bad.append(f"{told}: less than the wire carried")
        if given - taken < -IN_FLIGHT:
            bad.append(f"{told}: more was taken than given")
        if given - taken > IN_FLIGHT + lost:
            bad.append(f"{told}: more was given than taken")
    return bad


COUNTED_CLAIMS = [counters_agree]


# ---- constant rate

RATE = 4  # Mbit/s that viewer and seeder keep, by two circuits
NOMINAL = RATE * 1e6 / 8 / OVERLAY  # datagrams a second
WINDOW = 0.5  # seconds


def rate_tells_nothing(world, captures):
    """Reading, pausing and the end of the film do not show on the wires of those who keep a
    constant rate. In each phase and direction there are no more datagrams than the rate
    has, though a third circuit may be on its way to take another's place; what is sent never
    comes in bursts; and when nobody reads there is not much less than when somebody does. Wide
    bounds: a machine that stands still makes less of any rate, and without one pauses are silent
    and a film comes as fast as the machine can."""
    bad = []
    for name in world.paced:
        me = world.address[name]
        for way in ("out", "in"):
            times = [p.time for p in captures.get(name, [])
                     if is_overlay(p) and (p.source if way == "out" else p.target) == me]
            rates = {what: sum(begin <= t < end for t in times) / (end - begin)
                     for what, begin, end in world.phases}
            told = f"{name} {way}, datagrams a second: " + \
                ", ".join(f"{what} {rate:.0f}" for what, rate in rates.items())
            if max(rates.values()) > 1.8 * NOMINAL:
                bad.append(f"{told}: more than the rate")
            if min(rates.values()) <= 0.15 * max(rates.values()):
                bad.append(f"{told}: a pause shows")
            first, last = world.phases[0][1], world.phases[-1][2]
            windows = [0] * (int((last - first) / WINDOW) + 1)
            for t in times:
                if first <= t < last:
                    windows[int((t - first) / WINDOW)] += 1
            # What comes in was also held up by others.
            if way == "out" and max(windows) > 2 * NOMINAL * WINDOW + 40:
                bad.append(f"{told}: {max(windows)} in one burst")
    return bad


PACED_CLAIMS = [rate_tells_nothing]

CLAIMS = [strangers_never_meet, only_first_hops, few_first_hops, no_content_key,
          hidden_ones_only_read, relays_announce_themselves, nothing_in_clear, one_size,
          nothing_else, contacts_come_by_dht]


# ---- a direct swarm, seen through a swarm exit

def is_outside(world, p):
    """Between an exit and the host on the Internet, and no DHT; nor what that host, a node like
    others, says to the relay's port."""
    ends = {world.name.get(p.source): p.sport, world.name.get(p.target): p.dport}
    if p.kind != "udp" or is_dht(p) or world.internet not in ends:
        return False
    return any(name in ends and not (is_overlay(p) and ends[name] == RELAY_PORT)
               for name in world.exits)


def without_outside(world, captures):
    """What must hold of the overlay whatever exits do."""
    return {name: [p for p in packets if not is_outside(world, p)]
            for name, packets in captures.items() if name != world.internet}


def viewer_and_internet_never_meet(world, captures):
    """Neither's address appears on the other's wire, nor in what the DHT says there."""
    bad = []
    for name in world.hidden:
        for here, there in ((name, world.internet), (world.internet, name)):
            address = world.address[there]
            for p in captures.get(here, []):
                if address in (p.source, p.target):
                    bad.append(words(world, p, "the other end's address on this wire"))
                elif is_dht(p) and packed(address) in p.payload:
                    bad.append(words(world, p, "tells of the other end"))
    return bad


def exits_speak_ppspp_only(world, captures):
    """What leaves an exit's network and is neither DHT nor overlay is PPSPP to a public address
    and a port that is no service's: a handshake first, messages of RFC 7574 after it."""
    bad = []
    for name in world.exits:
        me, called = world.address[name], set()
        for p in captures.get(name, []):
            if p.kind != "udp" or is_dht(p) or (is_overlay(p) and not is_outside(world, p)):
                continue
            ours, theirs = (p.sport, p.dport) if p.source == me else (p.dport, p.sport)
            other = p.target if p.source == me else p.source
            call = p.payload[:5] == bytes(5) and 9 < len(p.payload) <= 256
            if ours == RELAY_PORT:
                bad.append(words(world, p, "on the relay's port"))
            elif theirs < 1024:
                bad.append(words(world, p, "to a service"))
            elif not ipaddress.ip_address(other).is_global:
                bad.append(words(world, p, "to no public address"))
            elif p.source == me and call:
                called.add((ours, other, theirs))
            elif (ours, other, theirs) not in called:
                bad.append(words(world, p, "nobody was called"))
            elif len(p.payload) != 4 and p.payload[4:5] > b"\x0d":
                bad.append(words(world, p, "no message of PPSPP"))
    return bad


def only_exits_meet_the_internet(world, captures):
    """Where the host on the Internet shares the film, it sees exits only."""
    bad = []
    allowed = {world.address[name] for name in world.exits}
    me = world.address[world.internet]
    for p in captures.get(world.internet, []):
        other, port = (p.target, p.sport) if p.source == me else (p.source, p.dport)
        if p.kind == "udp" and port == world.internet_port and other not in allowed:
            bad.append(words(world, p, "no swarm exit"))
    return bad


EXIT_CLAIMS = [viewer_and_internet_never_meet, exits_speak_ppspp_only,
               only_exits_meet_the_internet]
