#!/usr/bin/env python3
"""culvert-dht on loopback: a network of eight nodes that know only the first,
every command against it, and the lines a person sees when something is wrong.
Usage: test_culvert_dht.py CULVERT_DHT
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

TOOL = os.path.abspath(sys.argv.pop(1))
PORT = 4000 + os.getpid() % 20000
NODES = 8
SECONDS = 120  # until something counts as never happening, on the slowest machine
HASH = '0123456789abcdef0123456789abcdef01234567'
SEED = '07' * 32
PUBLIC = 'ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c'


def address(i):
    return f'127.{10 + i}.0.1:{PORT}'


def run(*args, timeout=SECONDS):
    return subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=timeout)


def ask(*args):
    """A command with --json against the network; its object."""
    done = run(*args, '--bootstrap', address(0), '--json')
    return json.loads(done.stdout), done.returncode


class Node:
    def __init__(self, i, state=None, bootstrap=True):
        args = [TOOL, 'serve', '--listen', address(i), '--json']
        if i and bootstrap:
            args += ['--bootstrap', address(0)]
        if state:
            args += ['--state', state]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.listening = json.loads(self.process.stdout.readline())

    def wait(self, event):
        for line in self.process.stdout:
            e = json.loads(line)
            if e['event'] == event:
                return e
        raise AssertionError('ended: ' + self.process.stderr.read())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=SECONDS)
        if self.process.returncode:
            raise AssertionError(f'status {self.process.returncode}: {err}')


class Network(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.state = os.path.join(cls.folder.name, 'one')
        begin = time.monotonic()
        cls.nodes = [Node(i, cls.state if i == 1 else None) for i in range(NODES)]
        for n in cls.nodes:
            n.wait('ready')
        cls.took = time.monotonic() - begin

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.stop()
        cls.folder.cleanup()

    def test_ready_soon(self):
        # 60 ms by themselves, and none of the engine's waits; a busy machine takes its share
        self.assertLess(self.took, SECONDS)

    def test_announce_and_find(self):
        out, status = ask('announce', HASH, '7777')
        self.assertEqual((status, out['ok'], out['refused']), (0, True, 0))
        self.assertGreaterEqual(out['stored'], 5)
        out, status = ask('get-peers', HASH)
        self.assertEqual((status, out['peers']), (0, ['127.0.0.1:7777']))
        out, status = ask('scrape', HASH)
        self.assertEqual((status, out['peers']), (0, 1))
        plain = run('get-peers', HASH, '--bootstrap', address(0))
        self.assertEqual(plain.stdout, '127.0.0.1:7777\n')
        done = run('sample', address(3), '--json')
        self.assertEqual(json.loads(done.stdout)['total'], 1)

    def test_ping(self):
        done = run('ping', address(2))
        self.assertEqual(done.stdout, f'{self.nodes[2].listening["id"]} {address(2)}\n')

    def test_find_node(self):
        wanted = self.nodes[5].listening['id']
        out, status = ask('find-node', wanted)
        self.assertEqual((status, out['nodes'][0]), (0, {'id': wanted, 'address': address(5)}))

    def test_table(self):
        everybody, end = {address(i) for i in range(NODES)}, time.monotonic() + SECONDS
        while True:
            out, status = ask('table', '--wait', '1')
            self.assertEqual(status, 0)
            known = {n['address'] for n in out['nodes']}
            if known == everybody or time.monotonic() > end:  # a second may be short for them
                break
        self.assertEqual(known, everybody)

    def test_crawl(self):
        out, status = ask('crawl')
        self.assertEqual((status, out['ok'], out['complete']), (0, True, True))
        self.assertEqual(sorted((n['id'], n['address']) for n in out['nodes']),
                         sorted((n.listening['id'], address(i)) for i, n in enumerate(self.nodes)))
        self.assertEqual(out['answered'], NODES)
        plain = run('crawl', '--bootstrap', address(3))
        self.assertIn(f'{NODES} of ', plain.stdout.splitlines()[-1])

    def test_crawl_that_must_end_early_says_so(self):
        # A contact that is not there keeps it waiting longer than the time it has.
        out, status = ask('crawl', '--bootstrap', '127.99.99.1:9', '--timeout', '0')
        self.assertEqual(out['complete'], False)

    def test_immutable_item(self):
        out, status = ask('put', 'hello')
        self.assertEqual(status, 0)
        got, status = ask('get', out['target'])
        self.assertEqual((status, got['text']), (0, 'hello'))

    def test_mutable_item(self):
        key = os.path.join(self.folder.name, 'key')
        with open(key, 'w') as f:
            f.write(SEED + '\n')
        mutable = ['--key', key, '--salt', 'tool']
        self.assertEqual(ask('put', 'one', *mutable, '--seq', '5')[1], 0)
        got, status = ask('get', '--public-key', PUBLIC, '--salt', 'tool')
        self.assertEqual((status, got['text'], got['seq'], got['key']), (0, 'one', 5, PUBLIC))
        out, status = ask('put', 'old', *mutable, '--seq', '4')
        self.assertEqual((status, out['refused_seq'] > 0), (1, True))
        plain = run('put', 'old', *mutable, '--seq', '4', '--bootstrap', address(0))
        self.assertIn('hold something as new or newer (302)', plain.stderr)
        out, status = ask('put', 'new', *mutable, '--seq', '6', '--cas', '3')
        self.assertEqual((status, out['refused_cas'] > 0), (1, True))
        self.assertEqual(ask('put', 'new', *mutable, '--seq', '6', '--cas', '5')[1], 0)

    def test_pointer(self):
        key = os.path.join(self.folder.name, 'pointer-key')
        with open(key, 'w') as f:
            f.write(SEED + '\n')
        mine = ['--key', key, '--salt', 'latest']
        self.assertEqual(ask('point', HASH, *mine, '--seq', '1')[1], 0)
        self.assertEqual(ask('point', HASH[::-1], *mine, '--seq', '2')[1], 0)
        got, status = ask('get', '--public-key', PUBLIC, '--salt', 'latest')
        self.assertEqual((status, got['points_to'], got['seq']), (0, HASH[::-1], 2))
        plain = run('get', '--public-key', PUBLIC, '--salt', 'latest', '--bootstrap', address(0))
        self.assertEqual(plain.stdout.splitlines()[-1], 'points to ' + HASH[::-1])

    def test_every_command_has_json(self):
        """One object with `ok` on standard output, also when it fails."""
        key = os.path.join(self.folder.name, 'json-key')
        with open(key, 'w') as f:
            f.write(SEED + '\n')
        for args, ok in [(['ping', address(2)], True), (['find-node', HASH], True),
                         (['get-peers', HASH], True), (['scrape', HASH], True),
                         (['announce', HASH, '7'], True), (['put', 'some text'], True),
                         (['put', 'signed', '--key', key, '--salt', 'json'], True),
                         (['point', HASH, '--key', key, '--salt', 'json2'], True),
                         (['get', '--public-key', PUBLIC, '--salt', 'json'], True),
                         (['sample', address(3)], True), (['table', '--wait', '1'], True),
                         (['crawl'], True), (['get', HASH[::-1]], False),
                         (['ping', '127.99.99.1:9'], False)]:
            with self.subTest(args=args[:2]):
                out, status = ask(*args)
                self.assertEqual((out['ok'], status == 0), (ok, ok), out)

    def test_asking_until_somebody_is_found(self):
        wanted = HASH[1:] + 'f'
        waiting = subprocess.Popen([TOOL, 'get-peers', wanted, '--bootstrap', address(0), '--json',
                                    '--wait', '300'], stdout=subprocess.PIPE, text=True)
        time.sleep(2)  # it has asked once, in vain
        self.assertEqual(ask('announce', wanted, '7778')[1], 0)
        out = json.loads(waiting.communicate(timeout=120)[0])
        self.assertEqual(out['peers'], ['127.0.0.1:7778'])

    def test_nothing_there(self):
        done = run('get', HASH[::-1], '--bootstrap', address(0))
        self.assertEqual((done.returncode, done.stderr), (1, 'culvert-dht: no such item\n'))

    def test_state_is_enough_to_come_back(self):
        self.nodes[1].stop()
        self.assertEqual(os.stat(os.path.join(self.state, 'dht.table')).st_mode & 0o777, 0o600)
        again = Node(1, self.state, bootstrap=False)
        self.assertEqual(again.listening['id'], self.nodes[1].listening['id'])
        self.nodes[1] = again
        again.wait('ready')

    def test_port_is_taken(self):
        done = run('serve', '--listen', address(0))
        self.assertEqual(done.returncode, 4)
        self.assertIn(address(0), done.stderr)


class WrongUse(unittest.TestCase):
    # command, status, a part of the line
    ROWS = [
        ([], 2, 'no command'),
        (['fly'], 2, "unknown command 'fly'"),
        (['serve'], 2, '--listen IP:PORT'),
        (['serve', '--listen', 'localhost:1'], 2, "--listen 'localhost:1': give IP:PORT"),
        (['get-peers'], 2, 'an argument is missing'),
        (['get-peers', 'xyz', '-b', '127.1.1.1:1'], 2, "'xyz': give 40 hexadecimal digits"),
        (['get-peers', HASH, HASH, '-b', '127.1.1.1:1'], 2, 'one argument too many'),
        (['announce', HASH, '0', '-b', '127.1.1.1:1'], 2, 'port 0'),
        (['announce', HASH, '70000', '-b', '127.1.1.1:1'], 2, 'a number from 0 to 65535'),
        (['get-peers', HASH], 4, 'no bootstrap node answered (tried 0); pass --bootstrap'),
        (['crawl', '--state', '/nowhere'], 4, 'no bootstrap node answered (tried 0); pass --bootstrap'),
        (['crawl', '-b', '127.99.99.1:9'], 4, 'no bootstrap node answered (tried 1); pass --bootstrap'),
        (['crawl', HASH, '-b', '127.1.1.1:1'], 2, 'one argument too many'),
        (['get-peers', HASH, '-b', '10.1.1.1:1'], 2, '--private'),
        (['get-peers', HASH, '-b', '127.1.1.1:1', '-b', '8.8.8.8:1'], 2, 'loopback only'),
        (['put', 'x', '--seq', '1', '-b', '127.1.1.1:1'], 2, 'need --key'),
        (['put', 'x', '--key', '/no/such', '-b', '127.1.1.1:1'], 2, '/no/such'),
        (['point', HASH, '-b', '127.1.1.1:1'], 2, 'point: say whose pointer it is with --key FILE'),
        (['point', 'x', '--key', '/no/such', '-b', '127.1.1.1:1'], 2, "'x': give 40 hexadecimal digits"),
        (['put', 'x' * 997, '-b', '127.1.1.1:1'], 2, 'at most 996 octets'),
        (['get', '-b', '127.1.1.1:1'], 2, 'give a target, or --public-key'),
        (['ping', '127.99.99.1:9'], 1, 'nobody answered'),
    ]

    def test_lines(self):
        for args, status, part in self.ROWS:
            with self.subTest(args=args[:3]):
                done = run(*args)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(part, done.stderr)

    def test_nobody_answers(self):
        # That it ends within ten seconds is for src/dht/tests/test_network.c, in virtual time.
        done = run('get-peers', HASH, '--bootstrap', '127.99.99.1:9')
        self.assertEqual(done.returncode, 4)
        self.assertEqual(done.stderr, 'culvert-dht: no bootstrap node answered (tried 1); '
                                      'pass --bootstrap IP:PORT\n')

    def test_damaged_state(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 's')
            os.mkdir(path, 0o700)
            with open(os.path.join(path, 'dht.table'), 'wb') as f:
                f.write(b'CVD1 but not really a table of anything')
            os.chmod(os.path.join(path, 'dht.table'), 0o600)
            done = run('table', '--state', path)
            self.assertEqual(done.returncode, 3)
            self.assertIn('dht.table: damaged; remove it to start anew', done.stderr)


if __name__ == '__main__':
    unittest.main()
