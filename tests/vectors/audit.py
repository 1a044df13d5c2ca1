#!/usr/bin/env python3
"""Every key derivation, hash and signature in src/tunnel has a vector that a second
implementation produced: by its label, or where it has none, by its source file.
Whoever adds one adds its vector and a line here.

Usage: audit.py ROOT
"""
import pathlib
import re
import sys

# label: "file section vector", or why there is none
LABELS = {
    'link mac': 'tunnel.hex link mac',
    'link header': 'tunnel.hex link header',
    'link control': 'tunnel.hex link control',
    'forward key': 'tunnel.hex layer forward_key',
    'forward mask': 'tunnel.hex layer mask',
    'forward filler': 'tunnel.hex layer filler',
    'forward salt': 'tunnel.hex layer forward_salt',
    'forward start': 'tunnel.hex layer starts',
    'backward origin': 'tunnel.hex layer origin',
    'backward transit': 'tunnel.hex layer transit',
    'backward salt': 'tunnel.hex layer backward_salt',
    'backward start': 'tunnel.hex layer starts',
    'binding': 'tunnel.hex layer binding',
    'ratchet': 'tunnel.hex epochs epoch3',
    'culvert hop v1': 'tunnel.hex handshake flight2',
    'culvert hop v1 parameters': 'tunnel.hex handshake flight1',
    'confirm': 'tunnel.hex handshake flight2',
    'parameters': 'tunnel.hex handshake flight2',
    'culvert ': 'tunnel.hex linkhs flight1',
    'link mac1': 'tunnel.hex linkhs flight1',
    'link mask': 'tunnel.hex linkhs flight1',
    'link cookie': 'tunnel.hex linkhs cookie',
    'culvert link': 'tunnel.hex linkhs flight1',
    'flight 2 mask': 'tunnel.hex linkhs flight2',
    'culvert cookie': 'tunnel.hex linkhs cookie',
    'culvert link continue': 'tunnel.hex derivations continue',
    'guard account': 'tunnel.hex derivations account',
    'culvert link auth v1': 'tunnel.hex signatures auth',
    'culvert intro 1': 'tunnel.hex signatures intro',
    'culvert describe mac': 'tunnel.hex describe question',
    'culvert describe mask': 'tunnel.hex describe question',
    'culvert describe box': 'tunnel.hex describe answer',
    'culvert descriptor 1': 'tunnel.hex descriptor descriptor',
    'culvert relay': 'tunnel.hex descriptor dhtkey',
    'culvert hs v1': 'hidden.txt swarm s',
    'offset': 'hidden.txt swarm offset',
    'seal': 'hidden.txt swarm seal',
    'psk': 'hidden.txt swarm psk',
    'slot': 'hidden.txt swarm slot7',
    'culvert e2e v1': 'hidden.txt e2e flight1',
    'culvert keyring': 'never leaves the node: its own file',
    'link': 'never leaves the node: secrets of a day from its seed',
    'onion': 'never leaves the node: secrets of a day from its seed',
}

# file: how often it calls the hash, and which vectors hold what carries no label there
CALLS = {
    'cell.c': (3, []),
    'cookie.c': (2, ['tunnel.hex linkhs again']),
    'describe.c': (5, ['tunnel.hex describe question', 'tunnel.hex describe answer']),
    'descriptor.c': (4, ['tunnel.hex descriptor digest', 'tunnel.hex descriptor network',
                         'tunnel.hex descriptor buckets']),
    'directory.c': (1, ['tunnel.hex derivations bucket']),
    'epoch.c': (1, []),
    'guard.c': (2, []),   # a checksum in the node's own file
    'handshake.c': (5, []),
    'hop.c': (1, []),     # under a key that no other process knows
    'keyring.c': (2, []), # the node's own file
    'layer.c': (1, []),
    'link.c': (1, []),
    'linkhs.c': (4, ['tunnel.hex linkhs flight1', 'tunnel.hex linkhs version2']),
    'ratchet.c': (1, []),
    'slot.c': (5, []),
    'stamp.c': (2, ['hidden.txt stamp stamp']),
}


def vectors(root):
    found = set()
    for name in ('tunnel.hex', 'hidden.txt'):
        section = None
        for line in (root / 'tests/vectors' / name).read_text().splitlines():
            if line.startswith('# '):
                section = line[2:].split()[0]
            else:
                found.add(f'{name} {section} {line.split()[0]}')
    return found


def labels(text):
    text = re.sub(r'/\*.*?\*/', '', text, flags=re.S)
    for call in re.findall(r'(?:CV_BLAKE2B|cv_ed25519_sign|cv_ed25519_verify|secret_of|'
                           r'cv_wr_bytes|memcpy|label\w*\[\] =)[^;]*;', text):
        if call.startswith(('cv_wr_bytes', 'memcpy')) and '"culvert' not in call:
            continue
        yield from re.findall(r'"([^"]+)"', call)
    for table in re.findall(r'\bkeys\[\] = \{(.*?)\};', text, flags=re.S):
        yield from re.findall(r'"([^"]+)"', table)


def main():
    root = pathlib.Path(sys.argv[1])
    known, seen, wrong = vectors(root), set(), []
    for path in sorted((root / 'src/tunnel').glob('*.c')):
        text = path.read_text()
        calls = len(re.findall(r'\bCV_BLAKE2B\(', text))
        wanted, others = CALLS.get(path.name, (0, []))
        if calls != wanted:
            wrong.append(f'{path.name}: {calls} hashes, audit.py knows of {wanted}')
        wrong += [f'{path.name}: no vector "{name}"' for name in others if name not in known]
        seen.update(labels(text))
    for label in sorted(seen - set(LABELS)):
        wrong.append(f'"{label}": no vector is named for it in audit.py')
    for label in sorted(set(LABELS) - seen):
        wrong.append(f'"{label}": not in src/tunnel any more')
    for label, where in LABELS.items():
        if not where.startswith('never') and where not in known:
            wrong.append(f'"{label}": no vector "{where}"')
    print('\n'.join(wrong) or f'{len(LABELS)} labels, {len(known)} vectors')
    sys.exit(bool(wrong))


main()
