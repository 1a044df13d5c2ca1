#!/usr/bin/env python3
"""culvert-ledger as a person or a script meets it: command, exit status and
the whole line it says; what it shows is checked against a second
implementation of the record format, here. It must leave no trace.

Usage: test_culvert_ledger.py CULVERT_LEDGER MAKE_LEDGER
"""
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOOL, MAKE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
NETWORK = b'testnet1'
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
    return p.returncode, p.stdout, p.stderr


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


def check_records(db):
    """All half-blocks: 232 octets, hash and signature as documented."""
    rows = sqlite3.connect(db).execute(f'SELECT {COLUMNS} {FROM}').fetchall()
    for row in rows:
        record = octets(row)
        expect(len(record) == 232, 'a record has 232 octets')
        expect(hashlib.blake2b(record, digest_size=32).digest() == row[13], 'hash of a record')
        signed = b'culvert record 1' + NETWORK + record[:168]
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
    for command in (['stats'], ['peers'], ['chain', me], ['pair', me, other], ['verify']):
        status, out, err = run('--db', db, *command)
        expect(status == 0 and err == '' and out.endswith('\n') and '{' not in out,
               f'{command}: a table for people')
    return me, other


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
    hint = ('Try `culvert-ledger --help\' or `culvert-ledger --usage\' for more information.\n')
    rows = [
        (['--db', missing, 'stats'], 3, f'{missing}: no such file; name a ledger with --db'),
        (['--db', folder, 'stats'], 3, f'{folder}: not a file; name a ledger with --db'),
        (['--db', letter, 'stats'], 4, f'{letter}: not a database; name a ledger with --db'),
        (['--db', empty, 'stats'], 4, f'{empty}: not a culvert ledger; name one with --db'),
        (['--db', foreign, 'peers'], 4, f'{foreign}: not a culvert ledger; name one with --db'),
        (['--db', newer, 'verify'], 5,
         f'{newer}: written by a newer version of culvert (schema 7, this one knows up to 1); '
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
        (['--db', db, 'chain'], 2, 'chain: takes 1 relays, not 0; see --help'),
        (['--db', db, 'pair', me], 2, 'pair: takes 2 relays, not 1; see --help'),
        (['--db', db, 'stats', me], 2, 'stats: takes 0 relays, not 1; see --help'),
        (['--db', db, 'dance'], 2, 'dance: no such command; give stats, peers, chain, pair or verify'),
        (['stats'], 3, '/nowhere/.local/state/culvert/ledger.db: no such file; name a ledger with --db'),
        (['--db', db, 'pair', me, me, me], 2, f'{me}: too many arguments\n' + hint[:-1]),
        (['--db', db, 'peers', '--metric', 'luck'], 2, '--metric luck: give walk or ppr\n' + hint[:-1]),
        (['--db', db, 'peers', '--top', '0'], 2, '--top 0: give a number from 1 on\n' + hint[:-1]),
        (['--db', db, 'peers', '--top', '3x'], 2, '--top 3x: give a number from 1 on\n' + hint[:-1]),
        ([], 2, 'give a command: stats, peers, chain, pair or verify\n' + hint[:-1]),
    ]
    for args, want, line in rows:
        status, out, err = run(*args)
        line = 'culvert-ledger: ' + line + '\n'
        expect(status == want, f'{args}: status {status}, not {want}')
        expect(out == '', f'{args}: standard output {out[:80]!r}')
        expect(err == line, f'{args}:\n  says {err!r}\n  not  {line!r}')
    torn = altered(db, folder, 'torn.db', harm=overwrite(8192, b'\7' * 8192))
    for command in ('stats', 'peers', 'verify'):
        status, out, err = run('--db', torn, command)
        expect(status in (1, 4) and err.count('\n') <= 1, f'torn, {command}: {status} {err!r}')
    for command in ([], ['stats'], ['peers'], ['chain'], ['pair'], ['verify']):
        status, out, err = run(*command, '--help')
        expect(status == 0 and 'Exit status' in out and err == '', f'{command} --help')


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
    writer.execute('ROLLBACK')
    writer.close()


def main():
    with tempfile.TemporaryDirectory(prefix='culvert-test-') as folder:
        os.chmod(folder, stat.S_IRWXU | 0o055)
        db = os.path.join(folder, 'ledger.db')
        subprocess.run([MAKE, db], check=True)
        os.chmod(db, 0o644)
        me, _ = check_values(db)
        check_findings(db, folder, me)
        check_lines(db, folder, me)
        check_read_only(db, folder)
    sys.exit(failed != 0)


main()
