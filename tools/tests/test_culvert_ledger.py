#!/usr/bin/env python3
"""culvert-ledger as a person or a script meets it: command, exit status and
the whole line it says; what it shows is checked against a second
implementation of the record format, here. It must leave no trace.

Usage: test_culvert_ledger.py CULVERT_LEDGER MAKE_LEDGER
"""
import csv
import fcntl
import hashlib
import io
import json
import os
import queue
import random
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from xml.etree import ElementTree

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TOOL, MAKE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
NETWORK = b'testnet1'
WALL = int(time.time()) // 86400 * 86400
failed = 0


def expect(ok, what):
    global failed
    if not ok:
        failed += 1
        print('FAIL', what)


def run(*args, tool=TOOL, user=None):
    def become():
        if user is not None and os.getuid() == 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
    p = subprocess.run([tool, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       preexec_fn=become, env=dict(os.environ, HOME='/nowhere', XDG_STATE_HOME=''))
    # A build that counts coverage complains of counts that another user may not write.
    err = ''.join(line for line in p.stderr.splitlines(True) if not line.startswith('profiling:'))
    return p.returncode, p.stdout, err


def value(db, *args):
    status, out, err = run('--db', db, '--json', *args)
    expect(status == 0 and err == '', f'{args}: status {status}, {err!r}')
    return json.loads(out)


# ---- the record format, a second time ----

COLUMNS = ('o.pk, b.seq, b.ver, b.type, b.flags, p.pk, b.peer_seq, b.peer_hash, b.prev, b.given, '
           'b.taken, b.epoch, b.sig, b.hash')
FROM = 'FROM block b JOIN peer o ON o.id = b.owner JOIN peer p ON p.id = b.peer'


def octets(row):
    owner, seq, ver, kind, flags, peer, peer_seq, peer_hash, prev, given, taken, epoch, sig, _ = row
    return (struct.pack('<BB32sQ32sQ32s32sQQIH', ver, kind, owner, seq, peer, peer_seq, peer_hash,
                        prev, given, taken, epoch, flags) + sig)


def check_records(db, network=NETWORK):
    """All half-blocks: 232 octets, hash and signature as documented."""
    rows = sqlite3.connect(db).execute(f'SELECT {COLUMNS} {FROM}').fetchall()
    for row in rows:
        record = octets(row)
        expect(len(record) == 232, 'a record has 232 octets')
        expect(hashlib.blake2b(record, digest_size=32).digest() == row[13], 'hash of a record')
        signed = b'culvert record 1' + network + record[:168]
        try:
            Ed25519PublicKey.from_public_bytes(row[0]).verify(row[12], signed)
        except InvalidSignature:
            expect(False, 'signature of a record')
    return len(rows)


# ---- what it shows ----

def check_values(db):
    n = check_records(db)
    stats = value(db, 'stats')
    me = stats['identity']
    expect(stats['half_blocks'] == n == 60, f'stats: {stats}')
    expect(stats['relays'] == 4 and stats['rows'] == 12 and stats['forks'] == 0, f'stats: {stats}')

    peers = value(db, 'peers')
    expect(len(peers) == 4, 'peers: every relay')
    expect([p['score'] for p in peers] == sorted((p['score'] for p in peers), reverse=True),
           'peers: best first')
    expect(sum(p['given'] for p in peers) == sum(p['taken'] for p in peers) == stats['octets'],
           'peers: what is given is taken')
    expect([p['self'] for p in peers if p['id'] == me] == [True], 'peers: which one is ours')
    expect(value(db, 'peers', '--top', '2') == peers[:2], 'peers --top')
    ppr = value(db, 'peers', '--metric', 'ppr')
    expect(abs(sum(p['score'] for p in ppr) - 1) < 1e-6, 'peers --metric ppr sums up to 1')
    expect(ppr[0]['id'] == me, 'peers --metric ppr: ego first')

    chain = value(db, 'chain', me)
    expect([b['seq'] for b in chain] == list(range(1, 16)), 'chain: ours has no gap')
    expect(all(b['owner'] == me and b['agreed'] for b in chain), 'chain: all agreed')
    expect(value(db, 'chain', me[:8].upper()) == chain, 'chain: by the first digits')

    other = next(p['id'] for p in peers if p['id'] != me)
    pair, back = value(db, 'pair', me, other), value(db, 'pair', other, me)
    expect(pair['a_gave_b'] == back['b_gave_a'] and pair['b_gave_a'] == back['a_gave_b'],
           'pair: the same from both sides')
    expect(pair['half_blocks'] == back['half_blocks'] and len(pair['half_blocks']) == 10,
           'pair: both halves of five epochs')
    smaller = min(max(b['given'] for b in pair['half_blocks'] if b['owner'] == me),
                  max(b['taken'] for b in pair['half_blocks'] if b['owner'] == other))
    expect(pair['a_gave_b'] == smaller, 'pair: the smaller claim')

    for deep in ([], ['--deep']):
        v = value(db, 'verify', *deep)
        expect(v['ok'] and v['half_blocks'] == 60 and v['findings'] == [], f'verify: {v}')
        expect(v['signatures'] == (60 if deep else 0), f'verify {deep}: signatures')
    for command in (['stats'], ['peers'], ['rank'], ['show', me], ['why', other], ['history'], ['chain', me], ['pair', me, other],
                    ['privacy-check'], ['verify']):
        status, out, err = run('--db', db, *command)
        expect(status == 0 and err == '' and out.endswith('\n') and '{' not in out,
               f'{command}: a table for people')
    return me, other


def check_more_values(db, folder, me, other):
    rank = value(db, 'rank')
    expect(len(rank) == 3 and all(set(r) == {'id', 'score'} for r in rank), f'rank: {rank}')
    expect(me not in [r['id'] for r in rank], 'rank: all others')
    expect(rank == [{'id': p['id'], 'score': p['score']} for p in value(db, 'peers') if p['id'] != me],
           'rank: as peers has it')
    expect(value(db, 'rank', '--top', '1') == rank[:1], 'rank --top')
    expect(value(db, 'rank', '--ego', me) == rank, 'rank --ego: the default is whose ledger it is')
    flows = value(db, 'rank', '--metric', 'flow2')
    expect(all(set(r) == {'id', 'in', 'out'} for r in flows), f'flow2: {flows}')

    history = value(db, 'history')
    expect(len(history) > 0 and all(r['because'] and r['was'] != r['is'] for r in history), 'history: rows')
    expect({r['of'] for r in history} == {'score'}, 'history: what a relay without clients and tokens has')
    expect(value(db, 'history', '--top', '2') == history[:2], 'history: --top')
    rows = ','.join(f"({1000 + i}, {WALL}, {kind}, 1, 2, {i + 3}, x'{who * 32}', 7, 8)"
                    for i, (kind, who) in enumerate([(1, 'aa'), (2, 'bb'), (1, 'bb'), (1, 'aa'), (3, 'aa')]))
    numbered = altered(db, folder, 'classes.db', 'INSERT INTO why VALUES ' + rows)
    classes = value(numbered, 'history')
    expect([r.get('account') for r in classes[:5]] == [None, 1000, 1002, None, 1000] and classes[5:] == history,
           f'history: accounts are numbered by their first row, {classes[:5]}')
    expect([r.get('id', '')[:2] for r in classes[:5]] == ['aa', '', '', 'bb', ''], 'history: accounts are not named')
    lines = run('--db', numbered, 'history', '--top', '5')[1].splitlines()
    expect([' '.join(line.split()[1:4]) for line in lines[1:3]] == ['account no. 1000', 'account no. 1002'] and
           [('aaaa' in line, 'bbbb' in line) for line in lines] ==
           [(True, False), (False, False), (False, False), (False, True), (False, False)], f'history: {lines}')
    why = value(db, 'why', other)
    score = next(r['score'] for r in rank if r['id'] == other)
    expect(why['score'] == score == why['hits'] / why['walks'], f'why: the score of rank, {why}')
    expect(sum(w['walks'] for w in why['ways']) == why['hits'], 'why: each walk had one way')
    pair = value(db, 'pair', me, other)
    expect(why['took_from_ego'] == pair['a_gave_b'] and why['gave_ego'] == pair['b_gave_a'], 'why: rows')

    show = value(db, 'show', other)
    expect(show['id'] == show['key'] == other and show['half_blocks'] == 15, f'show: {show}')
    peer = next(p for p in value(db, 'peers') if p['id'] == other)
    expect((show['given'], show['taken']) == (peer['given'], peer['taken']), 'show: as peers has it')

    for b in value(db, 'chain', me)[:3]:
        block = value(db, 'block', b['hash'][:16])
        record = bytes.fromhex(block['octets'])
        expect(hashlib.blake2b(record, digest_size=32).hexdigest() == b['hash'], 'block: its octets')
        expect(b.items() <= block.items(), 'block: as chain has it')
    expect(value(db, 'forks') == [], 'forks: none')
    p = value(db, 'privacy-check')
    expect(p == {'ok': True, 'half_blocks': 60, 'found': 0, 'findings': []}, f'privacy-check: {p}')

    same = os.path.join(folder, 'same.db')
    shutil.copy(db, same)
    expect(value(db, 'diff', same)['same'], 'diff: the same')
    less = altered(db, folder, 'less.db', "DELETE FROM block WHERE seq = 15; DELETE FROM edge WHERE giver = 1")
    status, out, err = run('--db', db, '--json', 'diff', less)
    d = json.loads(out)
    expect(status == 1 and d['only_first'] == 7 and d['only_second'] == d['different'] == 0,
           f'diff: 4 half-blocks and 3 rows less: {d}')
    status, out, err = run('--db', less, '--json', 'diff', db)
    expect(status == 1 and json.loads(out)['only_second'] == 7, 'diff: the other way round')
    one = altered(db, folder, 'one.db', 'DELETE FROM edge WHERE giver = 2 AND taker = 1')
    d = json.loads(run('--db', db, '--json', 'diff', one)[1])
    expect((d['only_first'], d['only_second'], d['different']) == (1, 0, 0), f'diff: one row less: {d}')
    amount = altered(db, folder, 'amount.db', 'UPDATE edge SET bytes = bytes + 1 WHERE giver = 2')
    expect(json.loads(run('--db', db, '--json', 'diff', amount)[1])['different'] == 3, 'diff: rows')


def check_privacy(db, folder, me, other):
    """Each kind of offender is found, by its name, and by nothing else."""
    key = f"x'{me}'"
    rows = [
        ('time finer than a day', 'UPDATE peer SET first_seen = 86401 WHERE id = 1'),
        ('time finer than a day', f'INSERT INTO account VALUES(randomblob(32), 1, 1, {WALL} + 1, 0, 2)'),
        ('accounts kept too long', 'INSERT INTO account VALUES(randomblob(32), 1, 1, 86400, 0, 2)'),
        ("a client known by its relay's key", f'INSERT INTO account VALUES({key}, 1, 1, {WALL}, 0, 2)'),
        ('a column or table that no node needs', 'ALTER TABLE block ADD COLUMN role INTEGER'),
        ('a column or table that no node needs', 'CREATE TABLE circuit(id INTEGER)'),
        ('flags or content that no node writes', 'UPDATE block SET flags = 2 WHERE seq = 5'),
    ]
    for i, (kind, sql) in enumerate(rows):
        path = altered(db, folder, f'tells{i}.db', sql)
        status, out, err = run('--db', path, '--json', 'privacy-check')
        found = {f['kind'] for f in json.loads(out)['findings']}
        expect(status == 1 and found == {kind}, f'{kind}: status {status}, found {found} {err}')
        expect(run('--db', path, 'privacy-check')[0] == 1, f'{kind}: for people')


def check_sybil(db, folder):
    """What theory says of each measure, in a graph with honest ways round the attacker."""
    rows = [('ego', 'mallory', 40), ('mallory', 'ego', 90), ('ego', 'ann', 50), ('ann', 'bea', 60),
            ('bea', 'mallory', 20), ('bea', 'ego', 30), ('ann', 'carl', 70), ('carl', 'dora', 10)]
    path, sybil = os.path.join(folder, 'sybil.csv'), os.path.join(folder, 'sybil.db')
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'{a},{b},{n}000000000\n' for a, b, n in rows)
    value(sybil, 'import', '--csv', path)
    before = open(sybil, 'rb').read()
    for shape in ('star', 'cycle', 'clique'):
        for fakes in (1, 30):
            attack = lambda *more: value(sybil, 'simulate-sybil', 'mallory', '--ego', 'ego', '--fakes', str(fakes),
                                         '--shape', shape, *more)
            walk = attack('--exact')
            expect(abs(walk['gain'] - 1) < 1e-9, f'{shape} {fakes}: walks count once, {walk}')
            expect(walk['total_gain'] < 1 / .15 and walk['best_fake'] < walk['after'], f'{shape} {fakes}: {walk}')
            ppr = attack('--metric', 'ppr')
            expect(shape != 'star' or ppr['gain'] > 1.05, f'{shape} {fakes}: PageRank pays, {ppr}')
            expect(ppr['total_gain'] < 1 / .15, f'{shape} {fakes}: but within bounds, {ppr}')
            flow = attack('--metric', 'netflow')
            expect(flow['gain'] == 1 and flow['best_fake'] <= flow['after'], f'{shape} {fakes}: {flow}')
    expect(value(sybil, 'simulate-sybil', 'mallory', '--ego', 'ego', '--metric', 'maxflow')['total_gain'] > 50,
           'max flow: every fake inherits it')
    peers = sorted(value(sybil, 'peers'), key=lambda p: p['given'] + p['taken'])
    for ego, attacker in (([], peers[-2]['id']), (['--ego', 'carl'], peers[-1]['id'])):
        got = value(sybil, 'simulate-sybil', *ego)
        expect((got['attacker'], got['ego']) == (attacker, 'carl' if ego else peers[-1]['id']), f'sybil, of nobody: {got}')
        expect(got == value(sybil, 'simulate-sybil', attacker, *ego), 'sybil: as if it had been named')
    large = value(sybil, 'simulate-sybil', 'mallory', '--ego', 'ego', '--fakes', '1000', '--shape', 'clique')
    expect(abs(large['gain'] - 1) < .05 and large['total_gain'] < 1 / .15, f'clique of a thousand: {large}')
    expect(open(sybil, 'rb').read() == before, 'simulated only')


def check_prune_now(folder):
    """Without an epoch: what a node removes, 32 epochs behind the newest row."""
    rows, db = os.path.join(folder, 'weeks.csv'), os.path.join(folder, 'weeks.db')
    with open(rows, 'w', encoding='utf-8') as f:
        f.writelines(f'a,b,1000,{week * 604800}\n' for week in range(40))
    value(db, 'import', '--csv', rows)
    left = []
    for before in ([], ['--before', '7'], ['--before', '8']):
        copy = os.path.join(folder, 'weeks-copy.db')
        shutil.copy(db, copy)
        left.append((value(copy, 'prune', *before)['removed'], run('--db', copy, 'export')[1]))
    expect(0 < left[0][0] < left[2][0] and left[0] == left[1], f'prune: {[n for n, _ in left]} removed')
    # Two who sign a row of an epoch to come have nothing removed that a node would keep.
    ahead, last = os.path.join(folder, 'ahead.db'), 2**32 - 1
    now = int(time.time()) // 604800
    with open(rows, 'w', encoding='utf-8') as f:
        f.writelines(f'a,b,1000,{week * 604800}\n' for week in range(now - 40, now + 1))
        f.write(f'c,d,1000,{last * 604800}\n')
    value(ahead, 'import', '--csv', rows)
    removed = []
    for before in ([], ['--before', str(now - 32)], ['--before', str(now - 31)], ['--before', str(last)]):
        shutil.copy(ahead, copy)
        removed.append(value(copy, 'prune', *before)['removed'])
    # Should a week end meanwhile, it is one more.
    expect(removed[0] in removed[1:3] and removed[2] < removed[3], f'prune: a row of the future, {removed}')


def check_prune(db, folder, me):
    """Agreed rows stay and stay provable; what is ours stays; heads stay."""
    path = os.path.join(folder, 'pruned.db')
    shutil.copy(db, path)
    last = value(db, 'stats')['last_epoch']
    expect(value(path, 'prune', '--before', '0') == {'removed': 0, 'left': 60}, 'prune: nothing so old')
    rows, rank = value(path, 'export')['rows'], value(path, 'rank')
    expect(run('--db', path, 'prune', '--before', str(last + 1)) ==
           (2, '', f'culvert-ledger: prune: --before {last + 1} is in the future of this file: its newest '
            f'half-block is of epoch {last}; name that epoch or an earlier one\n'), 'prune: the future')
    got = value(path, 'prune', '--before', str(last))
    # Three relays besides ours: three pairs, of four older epochs all but the newest, two halves each.
    expect(got == {'removed': 18, 'left': 42}, f'prune: {got}')
    expect(value(path, 'export')['rows'] == rows and value(path, 'rank') == rank, 'prune: rows stay')
    expect(value(path, 'verify', '--deep')['ok'], 'prune: rows stay provable')
    expect(value(path, 'chain', me) == value(db, 'chain', me), 'prune: ours stays')
    for peer in value(db, 'peers'):
        expect(value(path, 'show', peer['id'])['last_seq'] == value(db, 'show', peer['id'])['last_seq'], 'heads')
    expect(value(path, 'prune', '--before', str(last))['removed'] == 0, 'prune: once is enough')
    value(path, 'import', '--ndjson', os.path.join(folder, 'a.ndjson'))
    expect(run('--db', path, 'export')[1] == run('--db', db, 'export')[1], 'prune: they can come back')
    weights = []
    for file in (path, db):
        reader = sqlite3.connect(file)
        weights.append(reader.execute('SELECT g.pk, t.pk, bytes, recent, e.epoch FROM edge e JOIN peer g '
                                      'ON g.id = giver JOIN peer t ON t.id = taker ORDER BY 1, 2').fetchall())
        reader.close()
    expect(weights[0] == weights[1], 'prune: what comes back is not counted, or aged, again')
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute('PRAGMA journal_mode=WAL')
    writer.execute('BEGIN IMMEDIATE')
    status, out, err = run('--db', path, 'prune', '--before', str(last))
    expect((status, err) == (3, f'culvert-ledger: {path}: in use; stop the node first\n'), f'prune: {err}')
    writer.execute('ROLLBACK')
    writer.close()
    # A node that runs but writes nothing at the moment holds its state folder.
    state = os.path.join(folder, 'state')
    os.mkdir(state, 0o700)
    path = os.path.join(state, 'ledger.db')
    shutil.copy(db, path)
    before = open(path, 'rb').read()
    with open(os.path.join(state, 'lock'), 'w') as lock:
        lock.write('4711\n')
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        expect(run('--db', path, 'prune', '--before', str(last)) ==
               (3, '', f'culvert-ledger: {path}: in use by a running node (process 4711); stop it first, '
                'or let it be: it prunes by itself\n'), 'prune: beside a node')
        rows = os.path.join(folder, 'beside.csv')
        with open(rows, 'w', encoding='utf-8') as f:
            f.write('a,b,1\n')
        for target in (path, os.path.join(state, 'new.db')):
            expect(run('--db', target, 'import', '--csv', rows) ==
                   (3, '', f'culvert-ledger: {target}: in use by a running node (process 4711); stop it first, or '
                    'let it be: it gathers what others sign by itself; or import into another file (--db)\n'),
                   'import: beside a node')
        expect(open(path, 'rb').read() == before and sorted(os.listdir(state)) == ['ledger.db', 'lock'],
               'prune, import: nothing is touched beside a node')
        fcntl.flock(lock, fcntl.LOCK_SH)
        expect(run('--db', path, 'prune', '--before', str(last))[0] == 3, 'prune: holds it alone')
    expect(value(path, 'prune', '--before', str(last)) == {'removed': 18, 'left': 42}, 'prune: after the node')
    with open(os.path.join(state, 'lock'), 'rb') as lock:
        held = lock.read()
        expect(held.strip().isdigit() and held != b'4711\n', f'prune: says who holds it, {held}')
    # In a folder that is no node's there may be anything of that name.
    foreign = os.path.join(folder, 'lock')
    for text in ('{"dependencies": {}}\n', '1' * 24):
        with open(foreign, 'w', encoding='utf-8') as f:
            f.write(text)
        value(os.path.join(folder, 'beside.db'), 'import', '--csv', rows)
        expect(open(foreign, encoding='utf-8').read() == text, 'import: another lock is left as it was')
    os.rename(foreign, foreign + '.elsewhere')
    os.symlink('lock.elsewhere', foreign)
    expect(run('--db', os.path.join(folder, 'beside.db'), 'import', '--csv', rows) ==
           (3, '', f'culvert-ledger: {foreign}: cannot be opened: Too many levels of symbolic links\n'),
           'import: a lock that is a link is not followed')
    os.unlink(foreign)


def page_data(page):
    """What a page holds, which must load nothing."""
    expect("default-src 'none'" in page, 'html: its policy')
    for word in ('src=', 'href=', '@import', 'url(', 'https:', 'fetch(', 'XMLHttpRequest'):
        expect(word not in page, f'html: {word}')
    expect(page.count('http:') == page.count('http://www.w3.org/2000/svg') == 1, 'html: a namespace only')
    expect(page.count('<script') == page.count('</script') == 1, 'html: one script')
    start = page.index('const data = ') + len('const data = ')
    return json.JSONDecoder().raw_decode(page[start:])[0]


def check_html(db, folder):
    path = os.path.join(folder, 'page.html')
    expect(run('--db', db, 'html', '-o', path) == (0, '', ''), 'html -o')
    page = open(path, encoding='utf-8').read()
    expect(run('--db', db, 'html')[1] == page, 'html: the same on standard output')
    data = page_data(page)
    relays = {r['id']: r for r in data['listed']}
    peers, stats = value(db, 'peers'), value(db, 'stats')
    expect(len(relays) == 4, f'html: {relays}')
    for name in ('relays', 'half_blocks', 'rows', 'octets', 'forks'):
        expect(data[name] == stats[name], f'html: {name} as in stats')
    ego = data['listed'][data['ego']]['id']
    for p in peers:
        r = relays[p['id']]
        expect((r['score'], r['given'], r['taken']) == (p['score'], p['given'], p['taken']), f'html: {r} {p}')
        expect(sum(way[1] for way in r['ways']) == r['hits'], f'html: ways of {r}')
        why = value(db, 'why', p['id'])
        ways = [[data['listed'].index(relays[w['via']]), w['walks'], w['in'], w['out']] for w in why['ways']]
        expect(p['id'] == ego or r['ways'] == ways, f'html: as why has it, {r} {why}')
        expect((r['hits'], r['gave_ego'], r['took_from_ego']) == (why['hits'], why['gave_ego'], why['took_from_ego']),
               f'html: as why has it, {r} {why}')
    expect(data['degrees'] == [0, 0, 4] and len(data['lorenz']) == 4, f'html: {data["degrees"]}, {data["lorenz"]}')
    sums = {}
    for giver, taker, epoch, octets in data['carried']:
        expect(data['epochs'][0] <= epoch <= data['epochs'][1] and octets > 0, 'html: epochs')
        pair = (data['listed'][giver]['id'], data['listed'][taker]['id'])
        sums[pair] = sums.get(pair, 0) + octets
    rows = {(r['giver'], r['taker']): r['bytes'] for r in value(db, 'export')['rows']}
    expect(sums == rows, 'html: what was carried is in all the row of each pair')
    expect(data['coverage'] == [1] * 8, f'html: everybody is a neighbour, {data["coverage"]}')

    odd, path = os.path.join(folder, 'odd-names.db'), os.path.join(folder, 'odd-names.csv')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('</script><script>alert(1)//,<!--,5\n<!--,c,7\nc,d,8\n')
    value(odd, 'import', '--csv', path)
    data = page_data(run('--db', odd, 'html', '--ego', 'd')[1])
    expect(data['listed'][data['ego']]['id'] == 'd', 'html --ego')
    expect({r['id'] for r in data['listed']} == {'</script><script>alert(1)//', '<!--', 'c', 'd'}, 'html: names')
    expect(data['coverage'] == [.5, 10 / 12] + [1] * 6, f'html: a chain of four, {data["coverage"]}')

    none, path = os.path.join(folder, 'none.db'), os.path.join(folder, 'none.csv')
    open(path, 'w').close()
    value(none, 'import', '--csv', path)
    data = page_data(run('--db', none, 'html')[1])
    expect((data['ego'], data['listed'], data['carried'], data['degrees']) == (-1, [], [], []), f'html: empty {data}')
    expect(run('--db', none, 'html', '--ego', 'abcd') ==
           (6, '', f'culvert-ledger: abcd: no such relay in {none}\n'), 'html --ego of nobody')


# ---- import and export ----

class Relay:
    """Signs half-blocks of its own."""
    def __init__(self, seed):
        self.secret = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.key = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def record(self, peer, seq, prev, given, taken, epoch=100, answer=None):
        kind, answered, peer_hash = (2, *answer) if answer else (1, 0, bytes(32))
        body = struct.pack('<BB32sQ32sQ32s32sQQIH', 1, kind, self.key, seq, peer.key, answered, peer_hash,
                           prev, given, taken, epoch, 0)
        return body + self.secret.sign(b'culvert record 1' + NETWORK + body)


    def succeed(self, heir, epoch=101):
        """The key closes: heir's signature in peer_hash and prev, the owner's over all of it."""
        mark = heir.secret.sign(b'culvert succession 1' + NETWORK + self.key + heir.key + struct.pack('<I', epoch))
        body = struct.pack('<BB32sQ32sQ64sQQIH', 1, 3, self.key, 2**63 - 1, heir.key, 0, mark, 0, 0, epoch, 0)
        return body + self.secret.sign(b'culvert record 1' + NETWORK + body)


def digest(record):
    return hashlib.blake2b(record, digest_size=32).digest()


def ndjson(folder, name, *lines, identity=bytes(32)):
    path = os.path.join(folder, name)
    head = {'culvert_ledger': 1, 'network': NETWORK.hex(), 'identity': identity.hex()}
    with open(path, 'w', encoding='utf-8') as f:
        for line in [head, *lines]:
            f.write((line if isinstance(line, str) else json.dumps(line)) + '\n')
    return path


def check_round_trip(db, folder):
    """Out, in, and out again: the same octets, forks too."""
    first, copy = os.path.join(folder, 'a.ndjson'), os.path.join(folder, 'copy.db')
    expect(run('--db', db, 'export', '-o', first)[0] == 0, 'export')
    got = value(copy, 'import', '--ndjson', first)
    expect(got == {'half_blocks': 60, 'known': 0, 'forks': 0, 'refused': 0}, f'import: {got}')
    text = open(first, encoding='utf-8').read()
    expect(run('--db', copy, 'export')[1] == text, 'export of the import: the same octets')
    expect(value(copy, 'verify', '--deep')['signatures'] == 60, 'the import verifies')
    expect(value(copy, 'import', '--ndjson', first)['known'] == 60, 'once more changes nothing')
    expect(value(copy, 'rank') == value(db, 'rank'), 'the import ranks alike')
    shuffled = os.path.join(folder, 'shuffled.ndjson')
    lines = text.splitlines()
    with open(shuffled, 'w', encoding='utf-8') as f:
        f.write('\n'.join([lines[0], *reversed(lines[1:])]) + '\n')
    other = os.path.join(folder, 'shuffled.db')
    value(other, 'import', '--ndjson', shuffled)
    expect(run('--db', other, 'export')[1] == text, 'in any order')
    for name in ('csv', 'json', 'dot', 'graphml'):
        status, out, err = run('--db', db, 'export', '--format', name)
        expect(status == 0 and run('--db', copy, 'export', '--format', name)[1] == out, f'export {name}')
    rows = list(csv.DictReader(io.StringIO(run('--db', db, 'export', '--format', 'csv')[1])))
    expect(len(rows) == 12 and sum(int(r['bytes']) for r in rows) == value(db, 'stats')['octets'], 'csv')
    whole = value(db, 'export')
    expect(len(whole['records']) == 60 and len(whole['rows']) == 12, 'export --json')
    xml = ElementTree.fromstring(run('--db', db, 'export', '--format', 'graphml')[1])
    expect(len(xml.findall('.//{*}edge')) == 12 and len(xml.findall('.//{*}node')) == 4, 'graphml')


def check_forks(folder):
    """Contradictions become proofs, wherever they come from, and stay."""
    a, b = Relay(1), Relay(2)
    one = a.record(b, 1, bytes(32), 4096, 0)
    answer = b.record(a, 1, bytes(32), 0, 4096, answer=(1, digest(one)))
    twin = a.record(b, 1, bytes(32), 8192, 0)
    fallen = a.record(b, 2, digest(one), 1024, 0)
    after = a.record(b, 2, digest(one), 8192, 0)
    record = lambda r: {'record': r.hex()}
    for name, bad, kind in (('twin', twin, 'two versions'), ('fallen', fallen, 'claim falls')):
        db = os.path.join(folder, name + '.db')
        path = ndjson(folder, name + '.ndjson', record(one), record(answer), record(bad), record(after))
        status, out, err = run('--db', db, '--json', 'import', '--ndjson', path)
        expect(status == 1 and json.loads(out) == {'half_blocks': 2, 'known': 0, 'forks': 1, 'refused': 2},
               f'{name}: {status} {out} {err}')
        forks = value(db, 'forks')
        expect([f['kind'] for f in forks] == [kind] and forks[0]['owner'] == a.key.hex(), f'{name}: {forks}')
        expect(forks[0]['banned_until'] > WALL, f'{name}: banned')
        expect(value(db, 'verify', '--deep')['forks'] == 1, f'{name}: the proof verifies')
        expect(value(db, 'rank', '--ego', b.key.hex())[0]['score'] == 0, f'{name}: no score')
        expect(value(db, 'why', a.key.hex(), '--ego', b.key.hex())['forger'], f'{name}: why')
        out = run('--db', db, 'export')[1]
        again = os.path.join(folder, name + '-again.db')
        path = os.path.join(folder, name + '-again.ndjson')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(out)
        value(again, 'import', '--ndjson', path)
        expect(run('--db', again, 'export')[1] == out, f'{name}: the proof goes on to the octet')
        late = ndjson(folder, 'late.ndjson', record(after))
        got = run('--db', again, '--json', 'import', '--ndjson', late)
        expect(got[0] == 1 and json.loads(got[1])['refused'] == 1, f'{name}: nothing more of the forger')

    # An older agreement that somebody brings later lowers nothing.
    two = a.record(b, 2, digest(one), 16384, 0, epoch=101)
    newer = b.record(a, 2, digest(answer), 0, 16384, epoch=101, answer=(2, digest(two)))
    db = os.path.join(folder, 'older.db')
    for records in ((two, newer), (one, answer)):
        value(db, 'import', '--ndjson', ndjson(folder, 'older.ndjson', *map(record, records)))
        expect(value(db, 'pair', a.key.hex(), b.key.hex())['a_gave_b'] == 16384, 'never lower')

    # What a node of the network may not write.
    odd = os.path.join(folder, 'odd.db')
    r = [a.record(b, 1, bytes(32), 4097, 0)]
    r.append(a.record(b, 2, digest(r[0]), 8193, 0))
    r.append(a.record(b, 3, digest(r[1]), 16385, 0, epoch=101))
    value(odd, 'import', '--ndjson', ndjson(folder, 'odd.ndjson', *map(record, r)))
    found = json.loads(run('--db', odd, '--json', 'privacy-check')[1])['findings']
    expect([f['kind'] for f in found] == ['odd amount', 'several releases in an epoch'], f'odd: {found}')


def check_planted_rows(db, folder):
    """Rows that a node never writes, in chains with many partners and between two who take
    turns; and clean ledgers, of which half-blocks are missing in every way."""
    relays = sorted((Relay(100 + i) for i in range(42)), key=lambda r: r.key)
    low, high, partners = relays[0], relays[1], relays[2:]
    files = iter(range(1000))

    def chain(owner, rows, epoch=100):
        """rows: (peer, by how much both claims rise, epoch, answer to)"""
        claims, prev, ret = {}, bytes(32), []
        for seq, (peer, amount, epoch, answer) in enumerate(rows, 1):
            claims[peer] = claims.get(peer, 0) + amount
            ret.append(owner.record(peer, seq, prev, claims[peer], claims[peer], epoch, answer))
            prev = digest(ret[-1])
        return ret

    def findings(records, change=None):
        name = os.path.join(folder, f'rows{next(files)}')
        got = value(name + '.db', 'import', '--ndjson',
                    ndjson(folder, os.path.basename(name) + '.ndjson', *({'record': r.hex()} for r in records)))
        expect(got['half_blocks'] == len(records), f'planted: {got}')
        path = altered(name + '.db', folder, os.path.basename(name) + '-changed.db', change) if change else name + '.db'
        status, out, err = run('--db', path, '--json', 'privacy-check')
        found = json.loads(out)['findings']
        expect(status == (1 if found else 0), f'planted: status {status} {err}')
        return sorted((f['kind'], f['about']) for f in found)

    def said(kind, *rows):
        return sorted((kind, f'{owner.key.hex()} {seq}') for owner, seq in rows)

    # An amount as it was counted, behind releases to forty others: those are no releases to this one.
    many = [(p, 1 << 20, 100, None) for p in partners]
    a = chain(low, [*many, (high, 987654321, 100, None)])
    b = chain(high, [*many, (low, 987654321, 100, (41, digest(a[-1])))])
    expect(findings(a + b) == said('odd amount', (low, 41), (high, 41)), 'an odd amount behind forty partners')
    # What is missing could be of this pair: thirty releases, and whoever looks cannot know.
    bits = bin(987654321).count('1')
    expect(findings(a[bits - 1:] + b[bits - 1:]) == [], 'as many are missing as there are bits')
    expect(findings(a[bits - 2:] + b[bits - 1:]) == said('odd amount', (low, 41)), 'one fewer')

    # Circuit by circuit, both proposing in turn; each half-block is a power of two.
    for settled in (2, 6):
        a, b, claim = [], [], 0
        for i in range(settled):
            claim += 4096 << i
            (owner, mine), (peer, theirs) = ((low, a), (high, b))[::1 if i % 2 == 0 else -1]
            mine.append(owner.record(peer, i + 1, digest(mine[-1]) if mine else bytes(32), claim, claim))
            theirs.append(peer.record(owner, i + 1, digest(theirs[-1]) if theirs else bytes(32), claim, claim,
                                      answer=(i + 1, digest(mine[-1]))))
        want = [(low, settled)] + ([(high, settled)] if settled > 2 else [])
        expect(findings(a + b) == said('several releases in an epoch', *want), f'{settled} settlements in an epoch')

    # Both asked at once: the higher key's proposal stays without an answer, its agreement raises nothing.
    a = chain(low, [(high, 8192, 100, None), (high, 4096, 101, None)])
    b = chain(high, [(low, 8192, 100, None)])
    b.append(high.record(low, 2, digest(b[0]), 8192, 8192, answer=(1, digest(a[0]))))
    b.append(high.record(low, 3, digest(b[1]), 12288, 12288, 101, (2, digest(a[1]))))
    expect(findings(a + b) == [], 'a crossing is none')

    # What cannot be read may have been a release, too.
    a = chain(low, [(high, 4096, 99, None), (high, 8192, 100, None), (high, 16384, 101, None)])
    expect(findings(a, 'UPDATE block SET flags = 2 WHERE seq = 2') ==
           [('flags or content that no node writes', 'seq 2')], 'damage hides a release')

    # A ledger that nodes wrote, however little of it came: no false alarm.
    dice = random.Random(1)
    for i in range(20):
        keep = dice.randrange(5, 95)
        gone = altered(db, folder, f'partial{i}.db', 'DELETE FROM block WHERE abs(random()) % 100 >= ' + str(keep)
                       if i % 2 else f'DELETE FROM block WHERE seq <= {keep % 15} OR owner % 4 = {i % 4}')
        expect(value(gone, 'privacy-check')['found'] == 0, f'partial ledger {i}')
    pruned = os.path.join(folder, 'clean-pruned.db')
    shutil.copy(db, pruned)
    expect(value(pruned, 'prune', '--before', str(value(db, 'stats')['last_epoch']))['removed'] > 0, 'pruned')
    expect(value(pruned, 'privacy-check')['found'] == 0, 'pruned ledger')


def check_csv(folder):
    db, path = os.path.join(folder, 'csv.db'), os.path.join(folder, 'rows.csv')

    def write(text):
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path
    write('giver,taker,bytes,time\r\n"Müller, ""Ltd""",b,100,0\nb,"Müller, ""Ltd""",7,0\n'
          '\nb,c,5,1700000000\n"Müller, ""Ltd""",b,1,1700000000.5\nc,d,0\n')
    got = value(db, 'import', '--csv', path)
    expect(got['half_blocks'] == 6, f'csv: {got}')
    ids = sorted(p['id'] for p in value(db, 'peers'))
    expect(ids == ['Müller, "Ltd"', 'b', 'c', 'd'], f'csv: ids come back as given, {ids}')
    rows = {(r['giver'], r['taker']): r['bytes'] for r in value(db, 'export')['rows']}
    expect(rows == {('Müller, "Ltd"', 'b'): 101, ('b', 'Müller, "Ltd"'): 7, ('b', 'c'): 5}, f'csv: {rows}')
    expect(value(db, 'verify', '--deep')['ok'], 'csv: signed')
    expect(check_records(db, network=hashlib.blake2b(b'culvert-ledger import', digest_size=8).digest()) == 6,
           'csv: half-blocks as documented')
    out = run('--db', db, 'export', '--format', 'csv')[1]
    again = os.path.join(folder, 'csv-again.db')
    write(out)
    value(again, 'import', '--csv', path)
    expect(run('--db', again, 'export', '--format', 'csv')[1] == out, 'csv: out, in, out')
    nd = os.path.join(folder, 'csv.ndjson')
    run('--db', db, 'export', '-o', nd)
    copy = os.path.join(folder, 'csv-copy.db')
    value(copy, 'import', '--ndjson', nd)
    expect(run('--db', copy, 'export')[1] == open(nd, encoding='utf-8').read(), 'csv: names travel along')
    write('c,b,3\n')
    value(db, 'import', '--csv', path)
    expect(value(db, 'pair', 'c', 'b')['a_gave_b'] == 3 and value(db, 'pair', 'c', 'b')['b_gave_a'] == 5,
           'csv: a second file continues the first')

    # Without time the file's order, with it the first row's of a pair in a week, whatever the pairs.
    for name, text, want in (
            ('order', 'a,b,1\nc,d,1\nb,d,1\nb,c,1\nb,a,1\n', {'b': 'adc', 'd': 'cb', 'a': 'b', 'c': 'db'}),
            ('times', 'b,c,1,5\na,b,1,9\nd,b,1,3\nb,a,1,604800\na,b,1,1\n', {'b': 'adca'})):
        ordered = os.path.join(folder, name + '.db')
        value(ordered, 'import', '--csv', write(text))
        for who, peers in want.items():
            chain = value(ordered, 'chain', who)
            chain = chain['half_blocks'] if isinstance(chain, dict) else chain
            got = ''.join(b['peer'] for b in sorted(chain, key=lambda b: b['seq']))
            expect(got == peers, f'csv, {name}: the chain of {who} is {got}, not {peers}')

    # What some programs begin a file with is no part of its first identifier; a header is the first row.
    for name, text in (('mark', b'\xef\xbb\xbfa,b,1\nb,a,1\n'), ('mark, quote', b'\xef\xbb\xbf"a",b,1\nb,a,1\n'),
                       ('mark, header', b'\xef\xbb\xbf"giver",taker,bytes\na,b,1\nb,a,1\n'),
                       ('blank, header', b'\n\r\ngiver,taker,bytes,time\na,b,1\nb,a,1\n')):
        marked = os.path.join(folder, name + '.db')
        value(marked, 'import', '--csv', write(text))
        expect(sorted(p['id'] for p in value(marked, 'peers')) == ['a', 'b'], f'csv: {name}')

    # Any identifiers: line breaks in quotes, what no terminal and no XML likes.
    odd = ['two\nlines', 'two\r\nlines', 'two\rlines', '\r', '\r\n', '\n\r', 'a\r\n\r\n', '"\r\n"', 'esc\x1b[2J', 'esc\x9b2J', 'esc\u241b', '\ufffe', '<&>"\'', 'a"b', ' x ', 'عربي', '\x7f', 'tab\there',
           'a"\nb', '"\n"', '\n""']
    write('giver,taker,bytes\n' + ''.join('"' + i.replace('"', '""') + f'",hub,{n + 1}\n' for n, i in enumerate(odd))
          + 'last"one,hub,77\n')
    strange = os.path.join(folder, 'strange.db')
    value(strange, 'import', '--csv', path)
    odd.append('last"one')
    expect(value(strange, 'export')['relays'] == value(other_ends(path, strange), 'export')['relays'],
           'csv: the line ends of a file are not those of its identifiers')
    ids = {p['id'] for p in value(strange, 'peers')}
    expect(ids == {*odd, 'hub'}, f'csv: odd ids come back, {ids}')
    run('--db', strange, 'export', '--format', 'csv', '-o', path)  # as it is: text would lose line ends
    back = os.path.join(folder, 'strange-again.db')
    value(back, 'import', '--csv', path)
    expect({p['id'] for p in value(back, 'peers')} == ids, 'csv: odd ids, out and in')
    check_tables(strange, folder, odd)
    graphml = ElementTree.fromstring(run('--db', strange, 'export', '--format', 'graphml')[1])
    nodes = [n.get('id') for n in graphml.iter('{http://graphml.graphdrawing.org/xmlns}node')]
    expect(len(set(nodes)) >= len(odd) and {'two\nlines', '<&>"\''} <= set(nodes) and not any('\x1b' in n for n in nodes),
           f'graphml: {nodes}')

    before = open(db, 'rb').read()
    nothing = '; nothing was imported'
    rows = [
        ('a,b\n', '1: 2 fields; give giver,taker,bytes[,time]'),
        ('a,b,1\na,b,x\n', "2: bytes 'x': not a whole number"),
        ('a,b,1.5\n', "1: bytes '1.5': not a whole number"),
        ('a,b,\n', "1: bytes '': not a whole number"),
        ('giver,taker,bytes\na,b,bytes\n', "2: bytes 'bytes': not a whole number"),
        ('a,b,-1\n', "1: bytes '-1': not a whole number"),
        ('a,b,99999999999999999999\n', "1: bytes '99999999999999999999': too large"),
        ('a,b,1,monday\n', "1: time 'monday': not a whole number"),
        ('a,b,1,2,3\n', '1: more than four fields; give giver,taker,bytes[,time]'),
        ('a,a,1\n', "1: 'a' gives to itself"),
        (',b,1\n', '1: an empty identifier'),
        ('a' * 256 + ',b,1\n', '1: an identifier of 256 octets; at most 255 are allowed'),
        (b'\xff,b,1\n', '1: an identifier that is not UTF-8'),
        ('"a,b,1\n', '1: a quote that is not closed'),
        ('a,b,1\nb,"c,1\nd,e,2\n', '2: a quote that is not closed'),
        ('a,"b\nc",1\na,b,x\n', "3: bytes 'x': not a whole number"),
        ('"' + 'a\n' * 100000, '1: a quote that is not closed'),
        ('"a"x,b,1\n', '1: text after a closing quote'),
        (b'a,b\x00,1\n', '1: a NUL octet; this is not a text file'),
        ('a,b,4611686018427387903\na,b,1\n', '2: what two relays gave each other adds up to more than '
         '2^62 octets'),
    ]
    for text, line in rows:
        status, out, err = run('--db', db, 'import', '--csv', write(text))
        expect((status, out, err) == (7, '', f'culvert-ledger: {path}:{line}{nothing}\n'), f'{line}: {status} {err}')
        expect(open(db, 'rb').read() == before, f'{line}: the ledger is as it was')
        absent = os.path.join(folder, 'absent.db')
        status, out, err = run('--db', absent, 'import', '--csv', path)
        expect(status == 7 and not os.path.exists(absent), f'{line}: no ledger is made')


def other_ends(path, db):
    """A ledger of the same rows, whose last octets are others."""
    with open(path, newline='', encoding='utf-8') as f:
        rows = list(csv.reader(f))
    with open(path, 'w', newline='', encoding='utf-8') as f:
        csv.writer(f, lineterminator='\r\n', quoting=csv.QUOTE_ALL).writerows(rows)
    value(db + '2', 'import', '--csv', path)
    return db + '2'


def check_tables(db, folder, odd):
    """What a relay is called obeys no terminal, whatever the command."""
    reasons = altered(db, folder, 'reasons.db', "INSERT INTO why SELECT n.peer, 0, 2, 6, 1, 2, p.pk, 1, 1 FROM name n "
                      'JOIN peer p ON p.id = n.peer')
    less = altered(db, folder, 'fewer.db', 'DELETE FROM edge')
    worst = ['two\r\nlines', 'esc\x1b[2J', 'esc\x9b2J']
    two = '\x1b\x9b'.join(odd[:2])
    for command in (['peers'], ['rank'], ['rank', '--metric', 'flow2'], ['history'], ['privacy-check'], ['diff', less],
                    ['why', 'hub'], ['simulate-sybil'], ['show', two],
                    *([*c, i] for c in (['show'], ['chain'], ['why'], ['pair', 'hub']) for i in worst)):
        status, out, err = run('--db', reasons, *command)
        expect(command[-1] == two or out, f'{command}: nothing is told')
        found = {c for c in (out + err).replace('\n', '') if ord(c) < 32 or 127 <= ord(c) < 160}
        expect(not found, f'{command}: {found} in a table')
    # Nor does what somebody's file calls its tables.
    tables = altered(db, folder, 'odd-tables.db', 'CREATE TABLE "a\x1b[2J\x9b" (p INTEGER REFERENCES peer(id)); '
                     'INSERT INTO "a\x1b[2J\x9b" VALUES(4711)')
    for command in ('verify', 'privacy-check'):
        status, out, _ = run('--db', tables, command)
        expect(status == 1 and 'a?[2J??' in out, f'{command}: a table with an odd name, {out!r}')
    expect(len(run('--db', reasons, 'history')[1].splitlines()) == len(odd) + 1, 'history: a line each')


def check_huge(folder):
    """What all relays gave together may be more than fits: it stops there."""
    most, path, db = 2**62 - 1, os.path.join(folder, 'huge.csv'), os.path.join(folder, 'huge.db')
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'hub,{i},{most}\n' for i in range(5))
        f.write(f'9,hub,{most}\n8,hub,{most}\n8,9,5\n')
    value(db, 'import', '--csv', path)
    expect(value(db, 'stats')['octets'] == 2**63 - 1, 'huge: stats')
    for hub in (value(db, 'show', 'hub'), next(p for p in value(db, 'peers') if p['id'] == 'hub')):
        expect((hub['given'], hub['taken']) == (2**63 - 1, 2 * most), f'huge: {hub}')
    expect([value(db, 'show', i)['given'] for i in '890'] == [most + 5, most, 0], 'huge: what fits is exact')
    data = page_data(run('--db', db, 'html')[1])
    expect(data['octets'] == 2**63 - 1 and data['listed'][data['ego']]['id'] == 'hub', f'huge: {data["octets"]}')
    for metric in ('flow2', 'maxflow'):
        flows = {r['id']: (r['in'], r['out']) for r in value(db, 'rank', '--metric', metric, '--ego', '8')}
        expect(flows == {'hub': (0, most + 5), '9': (0, 5),
                         **{str(i): (0, most) for i in range(5)}}, f'huge: {metric} {flows}')
    expect(value(db, 'verify', '--deep')['ok'], 'huge: verify')
    # One octet more is more, also where a double has no room for it.
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'{i},ego,{2**60 + i}\n' for i in range(1, 9))
        f.writelines(f'ego,{i},{2**60 + i}\n{i},ego,{2**61 + 3}\n' for i in (10, 11, 12))
    close = os.path.join(folder, 'close.db')
    value(close, 'import', '--csv', path)
    for metric, want in (('flow2', '8 7 6 5 4 3 2 1'), ('maxflow', '8 7 6 5 4 3 2 1'), ('netflow', '8 7 6 5 4 3 2 1')):
        for command in ('rank', 'peers'):
            got = ' '.join(r['id'] for r in value(close, command, '--metric', metric, '--ego', 'ego'))
            expect(want in got, f'huge: {command} by {metric}, {got}')
    got = [r['id'] for r in value(close, 'rank', '--metric', 'flow2', '--ego', 'ego')]
    expect([i for i in got if int(i) > 9] == ['10', '11', '12'], f'huge: by differences, {got}')


def check_ndjson_lines(db, folder):
    a, b = Relay(3), Relay(4)
    good = a.record(b, 1, bytes(32), 4096, 0)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    two = a.record(b, 2, digest(good), 4096, 0)
    nothing = '; nothing was imported'
    rows = [
        ('{"record":"00"}', '3: record: not 232 octets in hexadecimal'),
        ({'record': forged.hex()}, "3: record: the signature is not its owner's, or of another network"),
        ({'record': 'ff' * 232}, '3: record: version not supported'),
        ({'fork': [good.hex()]}, '3: fork: not two times 232 octets in hexadecimal'),
        ({'fork': [good.hex(), two.hex()]}, '3: fork: proves nothing (argument out of range)'),
        ({'fork': [good.hex(), forged.hex()]}, '3: fork: proves nothing (authentication failed)'),
        ('{', '3: not a JSON object'),
        ('[]', '3: not a JSON object'),
        ('{"x":"\0"}', '3: a NUL octet; this is not a text file'),
        ('{"x":1}', '3: neither record, fork nor id'),
        ({'id': '', 'key': '00' * 32}, '3: id and key: not a name and 32 octets in hexadecimal'),
    ]
    made = os.path.join(folder, 'lines.db')
    for line, says in rows:
        path = ndjson(folder, 'lines.ndjson', {'record': good.hex()}, line)
        status, out, err = run('--db', made, 'import', '--ndjson', path)
        expect((status, out, err) == (7, '', f'culvert-ledger: {path}:{says}{nothing}\n'), f'{says}: {status} {err}')
        expect(not [n for n in os.listdir(folder) if n.startswith('lines.db')], f'{says}: no ledger is made')
    path = os.path.join(folder, 'lines.ndjson')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('{"culvert_ledger":2}\n')
    status, out, err = run('--db', made, 'import', '--ndjson', path)
    expect((status, err) == (7, f'culvert-ledger: {path}:1: not an export; make one with culvert-ledger export '
                             f'--format ndjson{nothing}\n'), err)
    foreign = os.path.join(folder, 'csv.csv')
    with open(foreign, 'w', encoding='utf-8') as f:
        f.write('a,b,1\n')
    status, out, err = run('--db', db, 'import', '--csv', foreign)
    expect((status, err) == (4, f'culvert-ledger: {db}: the ledger of another network; import into a new file '
                             '(--db)\n'), f'{status} {err}')


class Watch:
    """A `watch` that runs, and what it reads of the file."""

    def __init__(self, db):
        self.process = subprocess.Popen([TOOL, '--db', db, '--json', 'watch'], stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=lambda: [*map(self.lines.put, self.process.stdout)])
        self.reader.start()

    def about(self, name, field):
        with open(f'/proc/{self.process.pid}/{name}', encoding='utf-8') as f:
            return int(next(line for line in f if line.startswith(field)).split()[1])

    def read(self):
        return self.about('io', 'rchar:')

    def looks(self, n):
        """Waits until it looked n times more: it goes to sleep after each."""
        before, limit = self.about('status', 'voluntary_ctxt_switches:'), time.monotonic() + 120
        while self.about('status', 'voluntary_ctxt_switches:') < before + n and time.monotonic() < limit:
            time.sleep(.05)

    def told(self, seconds=120):
        """The hash of the next half-block that it tells, or None."""
        try:
            return bytes.fromhex(json.loads(self.lines.get(timeout=seconds))['hash'])
        except queue.Empty:
            return None

    def end(self):
        """How much it told that nobody asked for."""
        self.process.terminate()
        self.process.wait()
        self.reader.join()
        return self.lines.qsize()


def check_watch(folder):
    """What is added while it looks is told, and nothing else; what it costs follows from that."""
    a, b, c = Relay(5), Relay(6), Relay(7)
    db, other = os.path.join(folder, 'watched.db'), os.path.join(folder, 'other.db')
    chain, answers = [a.record(b, 1, bytes(32), 4096, 0)], []
    for seq in range(2, 3000):
        chain.append(a.record(b, seq, digest(chain[-1]), 4096 * seq, 0, epoch=100 + seq // 30))
    for seq in range(1, 100):
        answers.append(b.record(a, seq, digest(answers[-1]) if answers else bytes(32), 0, 4096 * seq,
                                epoch=100 + seq // 30, answer=(seq, digest(chain[seq - 1]))))

    def add(path, *records):
        value(path, 'import', '--ndjson', ndjson(folder, 'w.ndjson', *({'record': r.hex()} for r in records)))

    add(db, *chain[:2000], *answers)
    w, at = Watch(db), 2000
    while at < 2120:  # it may not have looked for the first time yet
        add(db, chain[at])
        at += 1
        got = w.told(1)
        if got:
            break
    while got and got != digest(chain[at - 1]):
        got = w.told()
    expect(got is not None, 'watch: a new half-block')
    w.looks(2)
    before = w.read()
    w.looks(2)
    expect(w.read() == before, 'watch: nothing changed, nothing is read')

    def tells(record, what, put=lambda record: add(db, record)):
        """It tells this half-block next, for a small part of what the file has."""
        before = w.read()
        put(record)
        expect(w.told() == digest(record), f'watch: {what}')
        expect(4 * (w.read() - before) < os.path.getsize(db), f'watch: {what}: {w.read() - before} octets read')

    tells(chain[at], 'one more')
    # A proof is no half-block, and the chain goes on behind it.
    two = [c.record(b, 9, bytes([1] * 32), n, 0).hex() for n in (5, 6)]
    value(db, 'import', '--ndjson', ndjson(folder, 'w.ndjson', {'fork': two}))
    tells(chain[at + 1], 'behind a fork')
    # What is pruned is not told again, and hides nothing new.
    got = value(db, 'prune', '--before', str(value(db, 'stats')['last_epoch']))
    expect(got['removed'] > 50, f'watch: {got}')
    tells(chain[at + 2], 'behind what was pruned')
    # Another file in its place: what it has more is told.
    first = c.record(b, 1, bytes(32), 0, 4096)
    add(other, *chain[:at + 4], *answers, first)
    os.replace(other, db)
    expect({w.told(), w.told()} == {digest(chain[at + 3]), digest(first)}, 'watch: another file')
    # What a node that runs has committed stands beside the file.
    keeps = sqlite3.connect(db)
    keeps.execute('PRAGMA journal_mode=WAL')

    def put(record):
        _, kind, _, seq, peer, _, peer_hash, prev, given, taken, epoch, _ = struct.unpack('<BB32sQ32sQ32s32sQQIH',
                                                                                        record[:168])
        keeps.execute('INSERT INTO block VALUES((SELECT id FROM peer WHERE pk = ?), ?, 1, ?, 0, (SELECT id FROM '
                      'peer WHERE pk = ?), 0, ?, ?, ?, ?, ?, ?, ?)',
                      (a.key, seq, kind, peer, peer_hash, prev, digest(record), given, taken, epoch, record[168:]))
        keeps.commit()

    for i in range(4, 6):
        size = os.path.getsize(db)
        tells(chain[at + i], 'beside the file', put)
        expect(os.path.getsize(db) == size and os.path.getsize(db + '-wal') > 0, 'watch: it is beside the file')
    keeps.close()
    w.looks(2)
    expect(w.end() == 0, 'watch: nothing twice')
    with open('/dev/full', 'w', encoding='utf-8') as full:
        p = subprocess.Popen([TOOL, '--db', db, 'watch'], stdout=full, stderr=subprocess.PIPE, text=True)
        for record in chain[at + 6:at + 200]:  # until it has looked twice
            add(db, record)
            try:
                p.wait(1)
                break
            except subprocess.TimeoutExpired:
                pass
        p.kill()
        expect((p.returncode, p.stderr.read()) == (3, 'culvert-ledger: the output cannot be written\n'),
               f'watch > /dev/full: {p.returncode}')
        p.wait()
    status, out, err = run('--db', db, 'watch', '--seconds', '1')
    expect((status, out, err) == (0, '', ''), 'watch: nothing new, nothing told')


# ---- what is wrong ----

def altered(db, folder, name, sql=None, harm=None):
    path = os.path.join(folder, name)
    shutil.copy(db, path)
    if sql:
        c = sqlite3.connect(path)
        c.execute('PRAGMA foreign_keys=OFF')
        c.executescript(sql)
        c.commit()
        c.close()
    if harm:
        harm(path)
    return path


def check_findings(db, folder, me):
    """Each kind of damage is found, and by --deep alone only what takes it."""
    def forge(path):
        # Another amount with a hash that fits: only the signature tells.
        c = sqlite3.connect(path)
        row = list(c.execute(f'SELECT {COLUMNS} {FROM} ORDER BY b.owner DESC, b.seq DESC').fetchone())
        row[12] = bytes([row[12][0] ^ 1]) + row[12][1:]
        digest = hashlib.blake2b(octets(row), digest_size=32).digest()
        c.execute('UPDATE block SET sig = ?, hash = ? WHERE hash = ?', (row[12], digest, row[13]))
        # Its answer, if it has one, still names the old hash.
        c.execute('UPDATE block SET peer_hash = ? WHERE peer_hash = ?', (digest, row[13]))
        c.commit()
        c.close()
    mine = f"(SELECT id FROM peer WHERE hex(pk) = upper('{me}'))"
    rows = [
        ('content', 'UPDATE block SET given = given + 1 WHERE seq = 3', None, False),
        ('content', 'UPDATE block SET type = 3 - type WHERE seq = 2', None, False),
        ('gap in our own chain', f'DELETE FROM block WHERE owner = {mine} AND seq = 4', None, False),
        ('agreed row missing or different', 'UPDATE edge SET bytes = bytes * 2', None, False),
        ('agreed row missing or different', 'DELETE FROM edge WHERE giver = 1', None, False),
        ('row nobody agreed to', 'DELETE FROM block WHERE type = 2', None, False),
        ('relay missing', 'DELETE FROM peer WHERE id = 2', None, False),
        ('fork proof', 'INSERT INTO fork VALUES(1, 1, zeroblob(232), zeroblob(232))', None, False),
        ('signature', None, forge, True),
    ]
    for i, (check, sql, harm, deep_only) in enumerate(rows):
        path = altered(db, folder, f'wrong{i}.db', sql, harm)
        for deep in ([], ['--deep']):
            status, out, err = run('--db', path, '--json', 'verify', *deep)
            found = {f['check'] for f in json.loads(out)['findings']}
            if deep_only and not deep:
                expect(check not in found, f'{check}: found without --deep')
            else:
                expect(status == 1 and err == '' and check in found,
                       f'{check} {deep}: status {status}, found {found}')


def check_lines(db, folder, me):
    """Command, status, and the whole line."""
    def overwrite(at, data):
        def harm(path):
            with open(path, 'r+b') as f:
                f.seek(at)
                f.write(data)
        return harm
    newer = altered(db, folder, 'newer.db', 'PRAGMA user_version = 7')
    foreign = altered(db, folder, 'foreign.db', 'PRAGMA application_id = 7')
    letter = altered(db, folder, 'letter.db', harm=overwrite(0, b'Dear Sir or Madam, ' * 100))
    headless = altered(db, folder, 'headless.db', 'DROP TABLE meta')
    nobody = altered(db, folder, 'nobody.db', "DELETE FROM meta WHERE name = 'identity'")
    tables = altered(db, folder, 'tables.db', 'DROP TABLE fork')
    empty = os.path.join(folder, 'empty.db')
    with open(empty, 'w', encoding='utf-8'):
        pass
    twin = sqlite3.connect(db).execute('SELECT lower(hex(pk)) FROM peer WHERE id = 1').fetchone()[0]
    twins = altered(db, folder, 'twins.db',
                    f"INSERT INTO peer(pk, first_seen) VALUES(x'{twin[:4]}{'00' * 30}', 0)")
    missing = os.path.join(folder, 'missing.db')
    linked = os.path.join(folder, 'linked')
    os.symlink(db, linked)
    before = open(db, 'rb').read()
    hint = ('Try `culvert-ledger --help\' or `culvert-ledger --usage\' for more information.\n')
    rows = [
        (['--db', missing, 'stats'], 3, f'{missing}: no such file; name a ledger with --db'),
        (['--db', folder, 'stats'], 3, f'{folder}: not a file; name a ledger with --db'),
        (['--db', letter, 'stats'], 4, f'{letter}: not a database; name a ledger with --db'),
        (['--db', empty, 'stats'], 4, f'{empty}: not a culvert ledger; name one with --db'),
        (['--db', foreign, 'peers'], 4, f'{foreign}: not a culvert ledger; name one with --db'),
        (['--db', newer, 'verify'], 5,
         f'{newer}: written by a newer version of culvert (schema 7, this one knows up to 6); '
         "use that version's culvert-ledger"),
        (['--db', headless, 'stats'], 4,
         f'{headless}: damaged (no such table: meta); restore a backup'),
        (['--db', nobody, 'stats'], 4,
         f'{nobody}: damaged (it does not say whose ledger it is); restore a backup'),
        (['--db', tables, 'stats'], 4, f'{tables}: damaged (no such table: fork); restore a backup'),
        (['--db', db, 'chain', 'ffffffff'], 6, f'ffffffff: no such relay in {db}'),
        (['--db', db, 'chain', 'abc'], 2,
         "abc: not a relay's key; give 4 to 64 hexadecimal digits"),
        (['--db', db, 'chain', 'xyzw'], 2,
         "xyzw: not a relay's key; give 4 to 64 hexadecimal digits"),
        (['--db', db, 'pair', me, 'ffffffff'], 6, f'ffffffff: no such relay in {db}'),
        (['--db', twins, 'chain', twin[:4]], 6,
         f'{twin[:4]}: several relays begin so in {twins}; give more digits'),
        (['--db', db, 'chain'], 2, 'chain: takes 1 relay, not 0; see --help'),
        (['--db', db, 'pair', me], 2, 'pair: takes 2 relays, not 1; see --help'),
        (['--db', db, 'stats', me], 2, 'stats: takes 0 relays, not 1; see --help'),
        (['--db', db, 'dance'], 2, 'dance: no such command; see --help'),
        (['stats'], 3, '/nowhere/.local/state/culvert/ledger.db: no such file; name a ledger with --db'),
        (['--db', db, 'pair', me, me, me], 2, f'{me}: too many arguments\n' + hint[:-1]),
        (['--db', db, 'peers', '--metric', 'luck'], 2, '--metric luck: give walk, ppr, ppr-difference, '
         'netflow, flow2, maxflow or bartercast\n' + hint[:-1]),
        (['--db', db, 'rank', '--hops', 'all'], 2, '--hops all: give a number from 0 on\n' + hint[:-1]),
        (['--db', db, 'rank', '--hops', '3'], 2, '--hops 3: walk has no bound; it is for maxflow and netflow'),
        (['--db', db, 'rank', '--metric', 'flow2', '--hops', '3'], 2,
         '--hops 3: flow2 has two; maxflow and netflow have any number'),
        (['--db', db, 'why', me, '--metric', 'ppr'], 2, 'why: explains the score that a node uses, walk; '
         'rank --metric ppr has the numbers of that one'),
        (['--db', db, 'simulate-sybil', me, '--shape', 'clique', '--fakes', '2001'], 2,
         '--fakes 2001: a clique has 2000 at most, as each signs with each'),
        (['--db', db, 'rank', '--ego', 'ffffffff'], 6, f'ffffffff: no such relay in {db}'),
        (['--db', db, 'block', 'xyz'], 2, 'xyz: not a hash; give 4 to 64 hexadecimal digits'),
        (['--db', db, 'block', 'ffffffffff'], 6, f'ffffffffff: no such half-block in {db}'),
        (['--db', db, 'block'], 2, 'block: takes 1 hash, not 0; see --help'),
        (['--db', db, 'export', '--format', 'xls'], 2,
         '--format xls: give csv, json, ndjson, dot or graphml'),
        (['--db', db, 'export', '-o', folder], 3, f'{folder}: cannot be written (EISDIR)'),
        *((['--db', db, command, '-o', name], 2, f'{name}: is the ledger itself; name another file with --output')
          for command in ('export', 'html') for name in (db, linked)),
        (['--db', db, 'simulate-sybil', me], 2, f'{me}: cannot attack itself; name another --ego'),
        (['--db', db, 'simulate-sybil', me, '--shape', 'torus'], 2,
         '--shape torus: give star, cycle or clique'),
        (['--db', db, 'simulate-sybil', me, '--fakes', '0'], 2,
         '--fakes 0: give a number from 1 on\n' + hint[:-1]),
        (['--db', db, 'simulate-sybil', me, me], 2, 'simulate-sybil: takes 1 relay, not 2; see --help'),
        (['--db', missing, 'prune', '--before', '1'], 3,
         f'{missing}: no such file; name a ledger with --db'),
        (['--db', db, 'diff', missing], 3, f'{missing}: no such file; name a ledger with --db'),
        (['--db', db, 'import'], 2, 'import: give either --csv FILE or --ndjson FILE'),
        (['--db', db, 'import', '--csv', missing], 3,
         f'{missing}: no such file; name a file or - for standard input'),
        (['--db', db, 'peers', '--top', '0'], 2, '--top 0: give a number from 1 on\n' + hint[:-1]),
        (['--db', db, 'peers', '--top', '3x'], 2, '--top 3x: give a number from 1 on\n' + hint[:-1]),
        (['--db', db, 'peers', '--top', '-3'], 2, '--top -3: give a number from 1 on\n' + hint[:-1]),
        (['--db', db, 'peers', '--top', '4294967296'], 2, '--top 4294967296: give at most 4294967295\n' + hint[:-1]),
        (['--db', db, 'peers', '--seed', '1' * 30], 2,
         f'--seed {"1" * 30}: give at most 18446744073709551615\n' + hint[:-1]),
        (['--db', db, 'simulate-sybil', me, '--fakes', '1000001'], 2,
         '--fakes 1000001: give at most 1000000\n' + hint[:-1]),
        (['--db', db, 'diff'], 2, 'diff: takes 1 file, not 0; see --help'),
        (['--db', db, 'history', me], 2, 'history: takes 0 arguments, not 1; see --help'),
        ([], 2, 'give a command: stats, peers, rank, show, chain, block, pair, verify, forks, '
         'why, history, simulate-sybil, html, diff, export, import, prune, watch or privacy-check\n' + hint[:-1]),
    ]
    for args, want, line in rows:
        status, out, err = run(*args)
        line = 'culvert-ledger: ' + line + '\n'
        expect(status == want, f'{args}: status {status}, not {want}')
        expect(out == '', f'{args}: standard output {out[:80]!r}')
        expect(err == line, f'{args}:\n  says {err!r}\n  not  {line!r}')
    expect(open(db, 'rb').read() == before, 'the ledger is as it was')
    torn = altered(db, folder, 'torn.db', harm=overwrite(8192, b'\7' * 8192))
    for command in ('stats', 'peers', 'verify'):
        status, out, err = run('--db', torn, command)
        expect(status in (1, 4) and err.count('\n') <= 1, f'torn, {command}: {status} {err!r}')
    for command in ([], ['stats'], ['rank'], ['chain'], ['import'], ['verify']):
        status, out, err = run(*command, '--help')
        expect(status == 0 and 'Exit status' in out and err == '', f'{command} --help')


# ---- pipes ----

COMMANDS = ['stats', 'peers', 'show', 'chain', 'block', 'pair', 'verify', 'forks', 'rank', 'why', 'history', 'simulate-sybil',
            'privacy-check', 'diff', 'export', 'import', 'watch', 'prune', 'html']


def check_commands():
    """Whoever forgets the command is told all there are, and so does --help."""
    described = run('--help')[1].split('Commands:')[1].split('PK, A, B')[0]
    expect(sorted(line.split()[0] for line in described.splitlines() if line.startswith('  ')) == sorted(COMMANDS), 'the commands of --help')
    told = run()[2].split('give a command: ')[1].split('\n')[0].replace(' or ', ', ').split(', ')
    expect(sorted(told) == sorted(COMMANDS), f'the commands that there are: {told}')


def check_pipes(folder):
    """Who reads the first line only ends it without a word; who cannot take it is told so."""
    path, db = os.path.join(folder, 'pipe.csv'), os.path.join(folder, 'pipe.db')
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'relay {i},relay {i % 1000 + 1},{i + 1}\n' for i in range(1, 1001))
    value(db, 'import', '--csv', path)
    for command in (['privacy-check'], ['export'], ['export', '--format', 'graphml']):
        whole = run('--db', db, *command)[1]
        size = len(whole.encode())
        expect(size > 1 << 14, f'{command}: {size} octets are too few to fill a pipe')
        for ignored, want in ((False, {-signal.SIGPIPE}), (True, {3})):
            # A pipe of one page, so that nothing depends on who is faster.
            ours, theirs = os.pipe()
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
            handler = signal.SIG_IGN if ignored else signal.SIG_DFL
            p = subprocess.Popen([TOOL, '--db', db, *command], stdout=theirs, stderr=subprocess.PIPE, text=True,
                                 restore_signals=False, preexec_fn=lambda h=handler: signal.signal(signal.SIGPIPE, h))
            os.close(theirs)
            first = b''
            while b'\n' not in first:
                first += os.read(ours, 100)
            os.close(ours)
            err = p.communicate()[1]
            expect(whole.startswith(first.decode()) and p.returncode in want, f'{command} | head: {p.returncode} {err!r}')
            expect(err == ('culvert-ledger: the output cannot be written\n' if ignored else ''), f'{command} | head: {err!r}')
        with open('/dev/full', 'w', encoding='utf-8') as full:
            p = subprocess.run([TOOL, '--db', db, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        expect((p.returncode, p.stderr) == (3, 'culvert-ledger: the output cannot be written\n'), f'{command} > /dev/full')


# ---- output and what is made, whole or not at all ----

def check_output(db, folder):
    """-o is whole or as it was; what is no file of ours is written as it is; nothing else is left."""
    place = os.path.join(folder, 'output')
    os.mkdir(place)
    path, kept = os.path.join(place, 'out.csv'), os.path.join(place, 'kept')
    wrong = altered(db, folder, 'negative.db', 'PRAGMA ignore_check_constraints=ON; UPDATE edge SET bytes = -1 '
                    'WHERE giver = (SELECT id FROM peer ORDER BY pk DESC LIMIT 1)')
    whole = run('--db', db, 'export', '--format', 'csv')[1]
    command = ['export', '--format', 'csv', '-o']
    expect(run('--db', wrong, *command, path) ==
           (4, '', f'culvert-ledger: {wrong}: damaged (an agreed row); restore a backup\n') and
           os.listdir(place) == [], f'-o of a damaged ledger: {os.listdir(place)}')
    before = os.umask(0o027)
    expect(run('--db', db, *command, path) == (0, '', '') and open(path, encoding='utf-8').read() == whole, '-o')
    os.umask(before)
    expect(stat.S_IMODE(os.stat(path).st_mode) == 0o640, f'-o: rights {os.stat(path).st_mode:o}')
    os.chmod(path, 0o604)
    run('--db', wrong, *command, path)
    expect(open(path, encoding='utf-8').read() == whole and os.listdir(place) == ['out.csv'], '-o: as it was')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('x' * 100000)
    expect(run('--db', db, *command, path)[0] == 0 and open(path, encoding='utf-8').read() == whole and
           stat.S_IMODE(os.stat(path).st_mode) == 0o604, '-o: in the place of the old one')
    # Several names, a link: what the others name is written.
    os.link(path, kept)
    os.symlink('out.csv', os.path.join(place, 'link'))
    for name in (kept, os.path.join(place, 'link')):
        os.truncate(path, 3)
        expect(run('--db', db, *command, name)[0] == 0 and open(path, encoding='utf-8').read() == whole, f'-o {name}')
    expect(os.path.samefile(path, kept) and os.path.islink(os.path.join(place, 'link')), '-o: names stay')
    expect(run('--db', db, *command, '/dev/stdout') == (0, whole, ''), '-o /dev/stdout')
    with open(path, 'w+', encoding='utf-8') as f:
        subprocess.run([TOOL, '--db', db, *command, '/dev/stdout'], stdout=f, check=True)
        expect(f.seek(0) == 0 and f.read() == whole, '-o /dev/stdout > FILE')
    expect(run('--db', db, *command, '/dev/full') ==
           (3, '', 'culvert-ledger: /dev/full: cannot be written whole; is the disk full?\n'), '-o /dev/full')
    expect(sorted(os.listdir(place)) == ['kept', 'link', 'out.csv'], f'-o: {os.listdir(place)}')
    fifo = os.path.join(place, 'fifo')
    os.mkfifo(fifo)
    p = subprocess.Popen([TOOL, '--db', db, *command, fifo])
    with open(fifo, encoding='utf-8') as f:
        expect(f.read() == whole and p.wait() == 0 and stat.S_ISFIFO(os.stat(fifo).st_mode), '-o to a pipe')


def check_interrupted(folder):
    """Who interrupts an import into a new file has none."""
    place = os.path.join(folder, 'interrupted')
    os.mkdir(place)
    db = os.path.join(place, 'new.db')
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever runs this in the background has signals ignored, and so would the tool.
        p = subprocess.Popen([TOOL, '--db', db, 'import', '--ndjson', '-'], stdin=subprocess.PIPE,
                             preexec_fn=lambda end=end: signal.signal(end, signal.SIG_DFL))
        p.stdin.write((json.dumps({'culvert_ledger': 1, 'network': NETWORK.hex(), 'identity': '00' * 32}) +
                       '\n').encode())
        p.stdin.flush()  # what follows never comes
        while not os.path.exists(db) and p.poll() is None:
            time.sleep(.01)
        p.send_signal(end)
        expect(p.wait() == -end and os.listdir(place) == [], f'import, {end}: {p.returncode} {os.listdir(place)}')
        p.stdin.close()


# ---- and it leaves no trace ----

def snapshot(folder):
    return {name: open(os.path.join(folder, name), 'rb').read() for name in sorted(os.listdir(folder))}


def check_read_only(db, folder):
    closed = os.path.join(folder, 'closed')
    os.mkdir(closed)
    # Spaces, quotes, percent and question marks are ordinary in a name.
    path = os.path.join(closed, "my led'ger 100%? #1.db")
    shutil.copy(db, path)
    tool = os.path.join(folder, 'culvert-ledger')
    shutil.copy(TOOL, tool)
    before = snapshot(closed)
    for command in (['stats'], ['peers'], ['verify', '--deep']):
        status, _, err = run('--db', path, *command)
        expect(status == 0, f'{command}: {err}')
    expect(snapshot(closed) == before, 'looking changed the folder')

    os.chmod(path, 0o444)
    os.chmod(closed, 0o555)
    status, out, err = run('--db', path, '--json', 'stats', tool=tool, user=65534)
    expect(status == 0 and json.loads(out)['half_blocks'] == 60,
           f'a folder that cannot be written: {status} {err}')
    if os.getuid() == 0:
        rows = os.path.join(folder, 'closed.csv')
        with open(rows, 'w', encoding='utf-8') as f:
            f.write('a,b,1\n')
        os.chmod(rows, 0o644)
        for target in (path, os.path.join(closed, 'new.db')):
            got = run('--db', target, 'import', '--csv', rows, tool=tool, user=65534)
            expect(got == (3, '', f'culvert-ledger: {target}: cannot be written: Permission denied\n'), f'import: {got}')
        os.chmod(path, 0o666)
        got = run('--db', path, 'prune', tool=tool, user=65534)
        expect(got == (3, '', f'culvert-ledger: {path}: cannot be written: Permission denied\n'), f'prune: {got}')
    os.chmod(closed, 0o755)
    expect(snapshot(closed) == before, 'looking changed the folder')

    os.chmod(path, 0o000)
    if os.getuid() == 0:
        status, out, err = run('--db', path, 'stats', tool=tool, user=65534)
        expect(status == 3 and err == f'culvert-ledger: {path}: cannot be read; name a ledger '
               'with --db\n', f'unreadable: {status} {err!r}')
    os.chmod(path, 0o644)

    # While the node writes: its committed rows are seen, its others are not.
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute('PRAGMA journal_mode=WAL')
    writer.execute("INSERT INTO peer(pk, first_seen) VALUES(zeroblob(32), 0)")
    writer.execute('BEGIN IMMEDIATE')
    writer.execute("INSERT INTO peer(pk, first_seen) VALUES(randomblob(32), 0)")
    expect(value(path, 'stats')['relays'] == 5, 'beside a writer')
    expect(run('--db', path, 'stats', tool=tool, user=65534)[0] == 0, 'beside a writer, by somebody else')
    link = os.path.join(folder, 'link.db')
    os.symlink(path, link)
    expect(value(link, 'stats')['relays'] == 5, 'beside a writer, by a link to the file')
    for end in ('-wal', '-shm'):  # a node that runs would lose what it committed
        at = open(path + '-wal', 'rb').read()
        expect(run('--db', link, 'export', '-o', path + end) ==
               (2, '', f'culvert-ledger: {path + end}: is the ledger itself; name another file with --output\n'),
               f'export -o {end}')
        expect(open(path + '-wal', 'rb').read() == at, f'export -o {end}: it is as it was')
    crashed = os.path.join(folder, 'crashed')
    os.mkdir(crashed)
    copy = os.path.join(crashed, 'ledger.db')
    for end in ('', '-wal'):
        shutil.copy(path + end, copy + end)
        os.chmod(copy + end, 0o644)
    writer.execute('ROLLBACK')
    writer.close()
    if os.getuid() == 0:
        os.chmod(crashed, 0o555)
        status, out, err = run('--db', copy, 'stats', tool=tool, user=65534)
        expect((status, out, err) == (3, '', f'culvert-ledger: {copy}: a node that did not end left changes beside it '
                                      '(-wal), and reading them takes the right to write in its folder; copy both files '
                                      'to a folder of yours\n'), f'crashed: {status} {err!r}')
    expect(value(copy, 'stats')['relays'] == 5, 'what a node that crashed had committed')


def check_successions(folder):
    """Another implementation's successions: taken, shown, ranked as one relay, proven when there are two."""
    a, b, c, heir, other = (Relay(seed) for seed in range(31, 36))
    one = a.record(b, 1, bytes(32), 5000, 700)
    two = b.record(a, 1, bytes(32), 700, 5000, answer=(1, digest(one)))
    three = b.record(c, 2, digest(two), 80, 900)
    four = c.record(b, 1, bytes(32), 900, 80, answer=(2, digest(three)))
    end = a.succeed(heir)
    db = os.path.join(folder, 'heir.db')
    lines = [{'record': r.hex()} for r in (one, two, three, four, end)]
    path = ndjson(folder, 'heir.ndjson', *lines, identity=c.key)
    got = value(db, 'import', '--ndjson', path)
    expect((got['half_blocks'], got['forks'], got['refused']) == (5, 0, 0), f'successions: import {got}')
    old, new = value(db, 'show', a.key.hex()), value(db, 'show', heir.key.hex())
    expect(old['successor'] == [{'id': heir.key.hex(), 'epoch': 101}] and old['successor_of'] == [], f'show {old}')
    expect(new['successor_of'] == [{'id': a.key.hex(), 'epoch': 101}] and new['successor'] == [], f'show {new}')
    expect(old['last_seq'] == 1 and new['last_seq'] == 0, 'show: the newest half-block')
    expect('its place takes' in run('--db', db, 'show', a.key.hex())[1], 'show: for people')
    expect('closed from epoch 101 on' in run('--db', db, 'chain', a.key.hex())[1], 'chain: for people')
    expect(value(db, 'chain', a.key.hex())[-1]['type'] == 'succession', 'chain')
    for deep in ([], ['--deep']):
        v = value(db, 'verify', *deep)
        expect(v['ok'] and v['half_blocks'] == 5, f'successions: verify {v}')
    expect(value(db, 'stats')['successions'] == 1, 'stats')
    score = {r['id']: r['score'] for r in value(db, 'rank', '--exact')}
    expect(score.get(a.key.hex(), 0) == 0 and score[heir.key.hex()] > .1, f'rank: the heir stands for both {score}')
    out = run('--db', db, 'export')[1]
    again = os.path.join(folder, 'heir2.db')
    copy = os.path.join(folder, 'heir2.ndjson')
    open(copy, 'w', encoding='utf-8').write(out)
    value(again, 'import', '--ndjson', copy)
    expect(run('--db', again, 'export')[1] == out, 'successions: export, import, export')

    late = a.record(c, 2, digest(one), 1, 1, epoch=101)
    for name, line, kind in (('late', late, 'signed after it was closed'), ('second', a.succeed(other), 'two successors')):
        forked = os.path.join(folder, name + '.db')
        shutil.copy(db, forked)
        more = ndjson(folder, name + '.ndjson', {'record': line.hex()}, identity=c.key)
        status, text, _ = run('--db', forked, '--json', 'import', '--ndjson', more)
        expect(status == 1 and json.loads(text)['forks'] == 1, f'{name}: {text}')
        expect([f['kind'] for f in value(forked, 'forks')] == [kind], f'{name}: kind of fork')
        score = {r['id']: r['score'] for r in value(forked, 'rank', '--exact')}
        expect(score.get(heir.key.hex(), 0) == 0, f'{name}: nothing is carried over')
    signed = bytearray(end)
    signed[90] ^= 1
    status, _, err = run('--db', again, 'import', '--ndjson', ndjson(folder, 'bad.ndjson', {'record': signed.hex()}))
    expect(status == 7 and 'signature' in err, f"an heir that did not sign: {status} {err}")
    # A file in which both stand, as no node writes it.
    both = altered(db, folder, 'both.db', "UPDATE block SET epoch = 99 WHERE type = 3")
    found = {f['check'] for f in json.loads(run('--db', both, '--json', 'verify')[1])['findings']}
    expect('content' in found, f'verify: {found}')


def check_small(folder):
    """On everybody's network nothing below 64 MiB is released; elsewhere it may be."""
    world = hashlib.blake2b(b'culvert', digest_size=8).digest()
    a, b = Relay(41), Relay(42)
    for octets, kinds in ((1 << 25, {'small amount'}), (1 << 27, set())):
        body = a.record(b, 1, bytes(32), octets, octets)[:168]
        record = body + a.secret.sign(b'culvert record 1' + world + body)
        path = os.path.join(folder, f'small{octets}.ndjson')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(json.dumps({'culvert_ledger': 1, 'network': world.hex(), 'identity': a.key.hex()}) + '\n')
            f.write(json.dumps({'record': record.hex()}) + '\n')
        db = os.path.join(folder, f'small{octets}.db')
        value(db, 'import', '--ndjson', path)
        status, out, _ = run('--db', db, '--json', 'privacy-check')
        found = {f['kind'] for f in json.loads(out)['findings']}
        expect((found, status) == (kinds, 1 if kinds else 0), f'{octets}: {found} {status}')


def main():
    with tempfile.TemporaryDirectory(prefix='culvert-test-') as folder:
        os.chmod(folder, stat.S_IRWXU | 0o055)
        db = os.path.join(folder, 'ledger.db')
        subprocess.run([MAKE, db], check=True)
        os.chmod(db, 0o644)
        me, other = check_values(db)
        check_more_values(db, folder, me, other)
        check_privacy(db, folder, me, other)
        check_round_trip(db, folder)
        check_sybil(db, folder)
        check_html(db, folder)
        check_prune(db, folder, me)
        check_prune_now(folder)
        check_forks(folder)
        check_successions(folder)
        check_small(folder)
        check_planted_rows(db, folder)
        check_csv(folder)
        check_huge(folder)
        check_ndjson_lines(db, folder)
        check_watch(folder)
        check_findings(db, folder, me)
        check_lines(db, folder, me)
        check_commands()
        check_pipes(folder)
        check_output(db, folder)
        check_interrupted(folder)
        check_read_only(db, folder)
    sys.exit(failed != 0)


main()
