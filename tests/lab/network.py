"""Network namespaces: one host a node, a /16 apart, behind one router, every
link captured at the router's side, with IPv4 or IPv6 addresses. Needs root; fails, never
skips, without."""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import subprocess
import tempfile
import time


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.decode().strip()}")
    return done.stdout.decode()


CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def within(space):
    """This thread is in the namespace: what it opens there stays there."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{space}", os.O_RDONLY)
    try:
        if libc.setns(other, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {space}")
        yield
    finally:
        if libc.setns(own, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot go back")
        os.close(own)
        os.close(other)


def backlog_drops():
    """Datagrams that this machine took from no card, virtual ones too, for want of room."""
    lines = pathlib.Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


class Host:
    def __init__(self, network, name, number):
        self.network, self.name = network, name
        self.space = f"{network.prefix}-{name}"
        if network.six:  # a /32 each
            self.address, self.gateway, self.bits = f"2a{number:02x}:5::2", f"2a{number:02x}:5::1", 64
        else:  # looks public, is nowhere
            self.address, self.gateway, self.bits = f"45.{number}.7.2", f"45.{number}.7.1", 24
        self.link = f"cv{network.tag}{number}"

    def at(self, port):
        return f"[{self.address}]:{port}" if self.network.six else f"{self.address}:{port}"

    def command(self, *args):
        return ["ip", "netns", "exec", self.space, *map(str, args)]


class Network:
    """The router's namespace, the hosts', and a capture a link."""

    def __init__(self, folder, prefix="culvert-lab", six=False):
        self.folder = pathlib.Path(folder)
        self.six = six
        self.prefix = prefix
        self.tag = format(hash(prefix) & 0xff, "02x")
        self.router = f"{prefix}-router"
        self.hosts = {}
        self.captures = []

    def __enter__(self):
        # Two of one prefix on a machine would remove each other's: the second waits.
        self.lock = open(pathlib.Path(tempfile.gettempdir()) / f"{self.prefix}.lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.remove()
        run("ip", "netns", "add", self.router)
        self.inside(self.router, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1" if self.six
                    else "net.ipv4.ip_forward=1")
        self.inside(self.router, "ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, failed, *_):
        if failed:  # say that, not what else is missing because of it
            for _, _, process in self.captures:
                process.kill()
                process.wait()
        else:
            self.stop_captures()
        self.remove()
        self.lock.close()

    def inside(self, space, *command):
        return run("ip", "netns", "exec", space, *command)

    def remove(self):
        spaces = run("ip", "netns", "list").split("\n")
        for line in spaces:
            name = line.split(" ")[0]
            if name.startswith(f"{self.prefix}-"):
                run("ip", "netns", "delete", name)

    def add(self, name, number):
        host = Host(self, name, number)
        run("ip", "netns", "add", host.space)
        for space in () if self.six else (host.space, self.router):
            # Neighbour discovery of IPv6 would be traffic that is not ours.
            self.inside(space, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                        "net.ipv6.conf.default.disable_ipv6=1")
        run("ip", "link", "add", host.link, "netns", self.router, "type", "veth", "peer", "name",
            "eth0", "netns", host.space)
        # No waiting for others with the same address, there are none.
        more = ["nodad"] if self.six else []
        self.inside(self.router, "ip", "address", "add", f"{host.gateway}/{host.bits}", "dev",
                    host.link, *more)
        self.inside(self.router, "ip", "link", "set", host.link, "up")
        self.inside(host.space, "ip", "address", "add", f"{host.address}/{host.bits}", "dev", "eth0",
                    *more)
        self.inside(host.space, "ip", "link", "set", "eth0", "up")
        self.inside(host.space, "ip", "link", "set", "lo", "up")
        self.route(host)
        # One capture must see what the wire would: no segments joined by the card.
        off = [w for card in ("gso", "tso", "gro", "tx-udp-segmentation") for w in (card, "off")]
        self.inside(host.space, "ethtool", "-K", "eth0", *off)
        self.inside(self.router, "ethtool", "-K", host.link, *off)
        self.hosts[name] = host
        return host

    def route(self, host):
        self.inside(host.space, "ip", *(["-6"] if self.six else []), "route", "replace", "default",
                    "via", host.gateway)

    def cut(self, name, up=False):
        host = self.hosts[name]
        self.inside(self.router, "ip", "link", "set", host.link, "up" if up else "down")
        if up and self.six:  # an interface that goes down loses them
            self.inside(self.router, "ip", "address", "replace", f"{host.gateway}/{host.bits}", "dev",
                        host.link, "nodad")

    def start_captures(self, part, names=None, octets=0):
        """Of all hosts or of those named; whole packets or their first octets."""
        for host in self.hosts.values() if names is None else [self.hosts[n] for n in names]:
            path = self.folder / f"{part}-{host.name}.pcap"
            path.unlink(missing_ok=True)  # or an older capture's would look like a start
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.router, "tcpdump", "-i", host.link, "-w", str(path),
                 "-U", "-s", str(octets), "-B", "65536", "--immediate-mode", "-Z", "root"],
                stderr=subprocess.PIPE)
            self.captures.append((host, path, process))
        for _, path, process in self.captures:
            limit = time.monotonic() + 60
            while not path.exists() or path.stat().st_size < 24:
                if time.monotonic() > limit or process.poll() is not None:
                    process.kill()
                    raise RuntimeError(f"no capture at {path}: {process.communicate()[1].decode()}")
                time.sleep(0.02)

    def stop_captures(self, read=lambda path: list(read_pcap(path))):
        """Name of each host to the packets its link carried, or to what `read` makes of a file."""
        # What tcpdump has not read when it is told to end is lost: wait until
        # it has had nothing more to write for a while.
        sizes, limit = None, time.monotonic() + 10
        while time.monotonic() < limit:
            time.sleep(0.3)
            before, sizes = sizes, [path.stat().st_size for _, path, _ in self.captures]
            if sizes == before:
                break
        result = {}
        for host, path, process in self.captures:
            process.terminate()
            _, err = process.communicate()
            lost = [line for line in err.decode().split("\n") if "dropped by kernel" in line]
            if lost and not lost[0].startswith("0 "):
                raise RuntimeError(f"the capture at {host.name} is not whole: {lost[0]}")
            result[host.name] = read(path)
        self.captures = []
        return result


class Packet:
    __slots__ = ("time", "kind", "source", "target", "sport", "dport", "payload", "ttl", "dont",
                 "tos", "size")


def dotted(octets):
    return ".".join(str(o) for o in octets)


def read_pcap(path):
    data = path.read_bytes()
    magic = struct.unpack_from("<I", data)[0]
    fraction = 1e-9 if magic == 0xA1B23C4D else 1e-6
    at = 24
    while at + 16 <= len(data):
        seconds, part, length, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16:at + 16 + length]
        at += 16 + length
        yield parse(frame, seconds + part * fraction)


def parse(frame, when):
    p = Packet()
    p.time = when
    p.kind, p.payload = "other", frame
    p.source = p.target = ""
    p.sport = p.dport = p.ttl = p.tos = p.size = 0
    p.dont = False
    ethertype = struct.unpack_from(">H", frame, 12)[0]
    if ethertype == 0x86DD:
        return parse_six(p, frame[14:])
    if ethertype == 0x0806:
        p.kind = "arp"
    elif ethertype == 0x0800:
        head = frame[14:]
        size = (head[0] & 15) * 4
        total = struct.unpack_from(">H", head, 2)[0]
        p.tos, p.ttl = head[1], head[8]
        p.dont = bool(head[6] & 0x40)
        p.source, p.target = dotted(head[12:16]), dotted(head[16:20])
        body = head[size:total]
        p.payload = body
        if head[9] == 17:
            p.kind = "udp"
            p.sport, p.dport, size = struct.unpack_from(">HHH", body)
            p.payload, p.size = body[8:], size - 8
        elif head[9] == 1:
            p.kind = "icmp"
    return p


def parse_six(p, head):
    word, length, following, p.ttl = struct.unpack_from(">IHBB", head)
    p.tos = word >> 20 & 0xff
    p.dont = True  # nobody on the way splits it
    p.source = socket.inet_ntop(socket.AF_INET6, head[8:24])
    p.target = socket.inet_ntop(socket.AF_INET6, head[24:40])
    p.payload = body = head[40:40 + length]
    if following == 17:
        p.kind = "udp"
        p.sport, p.dport, size = struct.unpack_from(">HHH", body)
        p.payload, p.size = body[8:], size - 8
    elif following == 58:  # neighbours and routers are asked for as ARP asks; the rest as ICMP says
        p.kind = "arp" if 133 <= body[0] <= 137 else "icmp"
    elif following == 0 and len(body) > 8 and body[8] == 143:
        p.kind = "arp"  # who listens to which group
    return p
