#!/usr/bin/python3
"""culvert-dht and libtorrent in one network, both ways, IPv4 and IPv6.

Runs in a network namespace of its own (needs root) with public-looking
addresses, one a node and /16s apart, so that BEP 42 and the rules about
addresses are in force. The only bootstrap node of everybody is ours. Fails when
it cannot make its namespace; it never skips.
Usage: test_libtorrent.py CULVERT_DHT
"""
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
import warnings

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)


def apart():
    """Runs all of it in a namespace of its own. In that process is nothing of ours but Python, so that
    a crash of it is one of libtorrent's module: that is said, and all of it is run again."""
    for left in (2, 1, 0):
        status = subprocess.call(['unshare', '--net', sys.executable, *sys.argv])
        if -status not in CRASHES or not left:
            sys.exit(128 - status if status < 0 else status)
        print(f'libtorrent crashed here ({signal.Signals(-status).name}), no program of ours: once more',
              file=sys.stderr, flush=True)


if os.environ.get('CULVERT_INTEROP_NETNS') != 'inside':
    os.environ['CULVERT_INTEROP_NETNS'] = 'inside'
    apart()

import libtorrent as lt  # Debian: python3-libtorrent

TOOL = os.path.abspath(sys.argv.pop(1))
OURS, THEIRS = 8, 8
PORT = 6881
SECONDS = 120  # until something counts as never happening, on the slowest machine
SEED = bytes([7]) * 32
PUBLIC = bytes.fromhex('ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c')


def expanded(seed):
    """The 64-octet form of a secret key that libtorrent signs with."""
    h = bytearray(hashlib.sha512(seed).digest())
    h[0] &= 248
    h[31] = h[31] & 63 | 64
    return bytes(h)


def ip4(i):
    return f'{80 + i // 8}.{10 + i % 8 * 20}.7.9'


def ip6(i):
    return f'2a01:{0x100 + i:x}::9'


class Family:
    def __init__(self, six):
        self.six = six

    def ip(self, i):
        return ip6(i) if self.six else ip4(i)

    def address(self, i):
        return f'[{self.ip(i)}]:{PORT}' if self.six else f'{self.ip(i)}:{PORT}'


def set_up_addresses():
    def ip(*args):
        subprocess.run(['ip', *args], check=True)
    ip('link', 'set', 'lo', 'up')
    for i in range(2 * (OURS + THEIRS)):
        ip('address', 'add', ip4(i) + '/32', 'dev', 'lo')
        ip('-6', 'address', 'add', ip6(i) + '/128', 'dev', 'lo', 'nodad')


class Ours:
    def __init__(self, family, i, bootstrap=None):
        # When libtorrent crashes nobody else would end it.
        args = ['setpriv', '--pdeathsig', 'KILL', TOOL, 'serve', '--json', '--listen', family.address(i)]
        if bootstrap:
            args += ['--bootstrap', bootstrap]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        self.id = json.loads(self.process.stdout.readline())['id']

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=SECONDS)
        return self.process.returncode


def their_session(family, i, knows):
    """Node i, a libtorrent session that knows node `knows` and nobody else."""
    category = lt.alert.category_t
    s = lt.session({
        'listen_interfaces': family.address(i),
        'dht_bootstrap_nodes': '',
        'enable_dht': True, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
        'alert_mask': category.dht_notification | category.dht_operation_notification,
        'dht_block_ratelimit': 1000, 'dht_upload_rate_limit': 1000000,
        'dht_sample_infohashes_interval': 1,
    })
    s.add_dht_node((family.ip(knows), PORT))
    return s


class Interop:
    """The tests; each family is a network of its own."""
    six = False

    @classmethod
    def begin(cls):
        cls.family = Family(cls.six)
        contact = cls.family.address(0)
        cls.ours = [Ours(cls.family, i, contact if i else None) for i in range(OURS)]
        cls.theirs = [their_session(cls.family, i, 0) for i in range(OURS, OURS + THEIRS)]

    @classmethod
    def setUpClass(cls):
        cls.wait(lambda: all(cls.good(s) >= 4 for s in cls.theirs), SECONDS,
                 lambda: f'libtorrent nodes know {[cls.good(s) for s in cls.theirs]}')

    @classmethod
    def end(cls):
        cls.theirs.clear()
        status = [n.stop() for n in cls.ours]
        assert status == [0] * len(status), status

    @staticmethod
    def good(session):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return session.status().dht_nodes

    @staticmethod
    def wait(condition, seconds, what=lambda: 'it did not happen'):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(what())
            time.sleep(0.1)

    def alerts(self, session, kind, ask, done, seconds=SECONDS):
        """Asks, again every few seconds, until `done(alert)` is true of one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ask()
            again = time.monotonic() + 5
            while time.monotonic() < again:
                time.sleep(0.1)  # wait_for_alert() of its Python module can crash: it looks at moved memory
                for a in session.pop_alerts():
                    if isinstance(a, kind) and done(a):
                        return a
        self.fail(f'no {kind.__name__} as wished for')

    def tool(self, *args, retry=SECONDS):
        """A command against the network with --json; repeated until it works."""
        end = time.monotonic() + retry
        while True:
            p = subprocess.run([TOOL, *args, '--listen', self.client, '--bootstrap',
                                self.family.address(1), '--json'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=180)
            if p.returncode == 0 or time.monotonic() > end:
                return json.loads(p.stdout), p.stderr
            time.sleep(1)

    @property
    def client(self):
        ip = self.family.ip(OURS + THEIRS + 1)
        return f'[{ip}]:0' if self.six else f'{ip}:0'

    @staticmethod
    def hash(text):
        return hashlib.sha1(text.encode()).hexdigest()

    # --- everybody finds everybody ---

    def test_ours_answer_theirs(self):
        for i in (OURS, OURS + THEIRS - 1):
            out, err = self.tool('ping', self.family.address(i))
            self.assertTrue(out['ok'], err)

    def test_theirs_are_in_our_table(self):
        their_addresses = {self.family.address(i) for i in range(OURS, OURS + THEIRS)}
        def known():
            out, _ = self.tool('table', '--wait', '3')
            return len(their_addresses & {n['address'] for n in out.get('nodes', [])})
        self.wait(lambda: known() >= THEIRS // 2, SECONDS)

    def test_ours_are_in_a_third_of_their_tables(self):
        mine = {self.family.ip(i) for i in range(OURS)}
        length, kind = (18, socket.AF_INET6) if self.six else (6, socket.AF_INET)
        def holding():
            count = 0
            for s in self.theirs:
                nodes = s.save_state(lt.save_state_flags_t.save_dht_state)[b'dht state'][b'nodes']
                ips = {socket.inet_ntop(kind, n[:-2]) for n in nodes if len(n) == length}
                count += bool(ips & mine)
            return count
        self.wait(lambda: holding() * 3 >= THEIRS, SECONDS, lambda: f'only {holding()} hold one of ours')

    # --- peers ---

    def test_they_announce_we_find(self):
        key = self.hash('theirs')
        # The binding cannot make the flags that dht_announce() takes: a torrent
        # announces itself.
        torrent = lt.parse_magnet_uri('magnet:?xt=urn:btih:' + key)
        torrent.save_path = '/nonexistent'
        handle = self.theirs[2].add_torrent(torrent)
        def found():
            handle.force_dht_announce()
            out, _ = self.tool('get-peers', key, retry=0)
            return self.family.address(OURS + 2) in out.get('peers', [])
        self.wait(found, SECONDS)

    def test_we_announce_they_find(self):
        key = self.hash('ours')
        out, err = self.tool('announce', key, '7002')
        self.assertGreaterEqual(out['stored'], 4, err)
        target = lt.sha1_hash(bytes.fromhex(key))
        self.alerts(self.theirs[5], lt.dht_get_peers_reply_alert,
                    lambda: self.theirs[5].dht_get_peers(target),
                    lambda a: any(p[1] == 7002 for p in a.peers()))

    # --- items ---

    def test_they_put_we_get_immutable(self):
        target = self.theirs[1].dht_put_immutable_item(b'from libtorrent')
        def got():
            out, _ = self.tool('get', str(target), retry=0)
            return out.get('text') == 'from libtorrent'
        self.wait(got, SECONDS)

    def test_we_put_they_get_immutable(self):
        out, err = self.tool('put', 'from culvert')
        self.assertGreaterEqual(out['stored'], 4, err)
        target = lt.sha1_hash(bytes.fromhex(out['target']))
        self.alerts(self.theirs[4], lt.dht_immutable_item_alert,
                    lambda: self.theirs[4].dht_get_immutable_item(target),
                    lambda a: b'from culvert' in lt.bencode(a.item)
                    if not isinstance(a.item, dict) else a.item.get('value') in
                    (b'from culvert', 'from culvert'))

    def test_they_put_we_get_mutable(self):
        s = self.theirs[3]
        s.dht_put_mutable_item(expanded(SEED), PUBLIC, b'moving', b'lt')
        def got():
            out, _ = self.tool('get', '--public-key', PUBLIC.hex(), '--salt', 'lt', retry=0)
            return out.get('text') == 'moving'
        self.wait(got, SECONDS)

    def test_we_put_they_get_mutable(self):
        key = '/proc/self/fd/0'
        end = time.monotonic() + SECONDS
        while True:
            p = subprocess.run([TOOL, 'put', 'moved', '--key', key, '--salt', 'cv', '--seq', '9',
                                '--listen', self.client, '--bootstrap', self.family.address(2),
                                '--json'], input=SEED.hex(), stdout=subprocess.PIPE, text=True,
                               timeout=180)
            if p.returncode == 0 or time.monotonic() > end:
                break
        self.assertGreaterEqual(json.loads(p.stdout)['stored'], 4)
        a = self.alerts(self.theirs[6], lt.dht_mutable_item_alert,
                        lambda: self.theirs[6].dht_get_mutable_item(PUBLIC, b'cv'),
                        lambda a: a.seq == 9)
        self.assertEqual(bytes(a.key), PUBLIC)

    # --- samples ---

    def test_they_sample_ours(self):
        # Some of ours are among the closest to one of these keys.
        for i in range(4):
            self.tool('announce', self.hash(f'sampled {i}'), '7003')
        s, at = self.theirs[0], iter(range(10 ** 6))
        def ask():
            for _ in range(OURS):
                ends = (self.family.ip(next(at) % OURS), PORT)
                s.dht_sample_infohashes(ends, lt.sha1_hash(bytes(20)))
        self.alerts(s, lt.dht_sample_infohashes_alert, ask, lambda a: a.num_samples > 0)

    def test_we_sample_theirs(self):
        for i in range(4):
            self.tool('announce', self.hash(f'sampled too {i}'), '7004')
        def sampled():
            for i in range(OURS, OURS + THEIRS):
                out, _ = self.tool('sample', self.family.address(i), retry=0)
                if out.get('samples'):
                    return True
            return False
        self.wait(sampled, SECONDS)

    # --- newcomers; last, because they are gone afterwards ---

    def test_z_a_fresh_one_of_theirs_that_knows_only_ours(self):
        i = OURS + THEIRS + 3
        s = their_session(self.family, i, 4)
        self.wait(lambda: self.good(s) >= 4, SECONDS, lambda: f'knows {self.good(s)}')

    def test_z_a_fresh_one_of_ours_that_knows_only_theirs(self):
        n = Ours(self.family, OURS + THEIRS + 4, self.family.address(OURS + 1))
        try:
            for line in n.process.stdout:
                if json.loads(line)['event'] == 'ready':
                    break
        finally:
            self.assertEqual(n.stop(), 0)


class IPv4(Interop, unittest.TestCase):
    six = False


class IPv6(Interop, unittest.TestCase):
    six = True


def setUpModule():
    set_up_addresses()
    for network in (IPv4, IPv6):
        network.begin()


def tearDownModule():
    for network in (IPv4, IPv6):
        network.end()


if __name__ == '__main__':
    unittest.main(verbosity=2)
