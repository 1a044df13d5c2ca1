#!/usr/bin/env python3
"""Rankings of culvert-ledger against networkx: random graphs become CSV files,
ledgers are made of them, and each measure is computed a second time.

Usage: test_ledger_rank.py CULVERT_LEDGER
"""
import csv
import json
import math
import os
import random
import subprocess
import sys
import tempfile

import networkx as nx

TOOL = os.path.abspath(sys.argv[1])
ALPHA = 0.85
WEIGHT_MAX = 1 << 43  # of a pair in walks and PageRank
failed = 0


def expect(ok, what):
    global failed
    if not ok:
        failed += 1
        print('FAIL', what)


def tool(*args):
    p = subprocess.run([TOOL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    expect(p.returncode == 0 and p.stderr == '', f'{args}: {p.returncode} {p.stderr}')
    return p.stdout


# ---- graphs ----

def make(seed):
    """Directed, weighted, with relays that only give or only take, and some apart."""
    rng = random.Random(seed)
    kinds = [
        nx.gnm_random_graph(24, 60, seed=seed, directed=True),
        nx.DiGraph(nx.scale_free_graph(40, seed=seed)),
        nx.barabasi_albert_graph(30, 2, seed=seed).to_directed(),
        nx.path_graph(9, create_using=nx.DiGraph),
    ]
    bare = kinds[seed % len(kinds)]
    g = nx.DiGraph()
    names = [f'relay {i}' if i % 3 else f'"{i}", näive' for i in range(bare.number_of_nodes())]
    for a, b in bare.edges():
        if a != b:
            most = 5 if seed % 5 == 0 else 1 << rng.choice([8, 30, 44])
            g.add_edge(names[a], names[b], bytes=rng.randint(1, most))
    return g


def write(g, path, rng):
    """Each edge as one row or as two that add up, in any order."""
    rows = []
    for a, b, octets in g.edges(data='bytes'):
        part = rng.randint(0, octets)
        rows += [(a, b, octets)] if rng.random() < .5 else [(a, b, part), (a, b, octets - part)]
    rng.shuffle(rows)
    with open(path, 'w', newline='', encoding='utf-8') as f:
        writer = csv.writer(f)
        if rng.random() < .5:
            writer.writerow(['giver', 'taker', 'bytes'])
        writer.writerows(rows)


# ---- the measures, a second time ----

def within(g, source, sink, hops):
    """Rows on chains of at most `hops` rows."""
    if not hops:
        return g
    there = nx.single_source_shortest_path_length(g, source)
    back = nx.single_source_shortest_path_length(g.reverse(copy=False), sink)
    h = nx.DiGraph()
    h.add_nodes_from([source, sink])
    h.add_edges_from((a, b, d) for a, b, d in g.edges(data=True)
                     if a in there and b in back and there[a] + 1 + back[b] <= hops)
    return h


def flow(g, source, sink, hops, caps=None):
    h = within(g, source, sink, hops)
    if caps is None:
        return nx.maximum_flow_value(h, source, sink, capacity='bytes')
    split = nx.DiGraph()
    for v in h:
        if v == sink:
            split.add_edge((v, 0), (v, 1))  # no capacity: unlimited
        else:
            split.add_edge((v, 0), (v, 1), bytes=caps[v])
    split.add_edges_from(((a, 1), (b, 0), d) for a, b, d in h.edges(data=True))
    return nx.maximum_flow_value(split, (source, 0), (sink, 0), capacity='bytes')


def both_ways(g):
    u = nx.DiGraph()
    for a, b, octets in g.edges(data='bytes'):
        for x, y in ((a, b), (b, a)):
            old = u[x][y]['bytes'] if u.has_edge(x, y) else 0
            u.add_edge(x, y, bytes=old + octets)
    return u


def capped(g):
    h = g.copy()
    for _, _, d in h.edges(data=True):
        d['bytes'] = min(d['bytes'], WEIGHT_MAX)
    return h


def pagerank(g, ego, nodes):
    g = capped(g)
    g.add_nodes_from(nodes)
    only = {ego: 1}
    return nx.pagerank(g, ALPHA, personalization=only, dangling=only, weight='bytes', tol=1e-13,
                       max_iter=5000)


def first_visits(u, ego):
    """Chance that a walk from ego comes by each: it swallows the walk."""
    total = {v: sum(d['bytes'] for _, _, d in u.edges(v, data=True)) for v in u}
    chance = {}
    for t in u:
        h = dict.fromkeys(u, 0.0)
        for _ in range(200):
            h = {v: ALPHA * sum(d['bytes'] / total[v] * (1 if w == t else h[w])
                                for _, w, d in u.edges(v, data=True)) for v in u}
        chance[t] = h[ego]
    return chance


# ---- comparison ----

def rank(db, ego, metric, *more):
    rows = json.loads(tool('--db', db, 'rank', '--json', '--ego', ego, '--metric', metric, *more))
    return {r['id']: r for r in rows}, rows


def check_flows(g, db, ego):
    others = [v for v in g if v != ego]
    for metric, hops, more in (('flow2', 2, []), ('maxflow', 0, []), ('maxflow', 3, ['--hops', '3'])):
        got, rows = rank(db, ego, metric, *more)
        net = [r['in'] - r['out'] for r in rows]
        expect(net == sorted(net, reverse=True), f'{db} {metric} {hops}: best first, who gave more than it took')
        expect(set(got) == set(others), f'{metric}: everybody but ego')
        for v in others:
            want = {'id': v, 'in': flow(g, v, ego, hops), 'out': flow(g, ego, v, hops)}
            expect(got[v] == want, f'{db} {metric} {hops}: {got[v]}, not {want}')
    for hops in (0, 3):
        got, _ = rank(db, ego, 'netflow', '--hops', str(hops))
        caps = {v: max(flow(g, v, ego, hops) - flow(g, ego, v, hops), 0) for v in others}
        for v in others:
            want = flow(g, v, ego, hops, caps) if caps[v] else 0
            expect(got[v]['score'] == want, f'{db} netflow {hops} of {v}: {got[v]}, not {want}')
    got, rows = rank(db, ego, 'bartercast')
    expect([r['score'] for r in rows] == sorted((r['score'] for r in rows), reverse=True), 'best first')
    for v in others:
        net = (flow(g, v, ego, 2) - flow(g, ego, v, 2)) / 1024
        want = math.atan(net / 30000) / (math.pi / 2)
        expect(math.isclose(got[v]['score'], want, rel_tol=1e-9, abs_tol=1e-15), f'{db} bartercast')


def check_walks(g, db, ego):
    u = capped(both_ways(g))
    close = lambda a, b: math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-8)
    both = pagerank(u, ego, g)
    takers, givers = pagerank(g, ego, g), pagerank(g.reverse(), ego, g)
    ppr, difference = rank(db, ego, 'ppr')[0], rank(db, ego, 'ppr-difference')[0]
    chances = first_visits(u, ego)
    exact, sampled = rank(db, ego, 'walk', '--exact')[0], rank(db, ego, 'walk')[0]
    for v in g:
        if v == ego:
            continue
        expect(close(ppr[v]['score'], both[v]), f'{db} ppr of {v}: {ppr[v]}, not {both[v]}')
        want = givers[v] - takers[v]
        expect(close(difference[v]['score'], want), f'{db} ppr-difference of {v}')
        expect(close(exact[v]['score'], chances[v]), f'{db} walk --exact of {v}')
        noise = 6 * math.sqrt(chances[v] * (1 - chances[v]) / 100000) + 1e-5
        expect(abs(sampled[v]['score'] - chances[v]) < noise, f'{db} walk of {v}')
    again = rank(db, ego, 'walk')[1]
    expect(again == rank(db, ego, 'walk')[1], 'the same seed, the same ranking')
    expect(again != rank(db, ego, 'walk', '--seed', '2')[1], 'another seed, another')


def main():
    with tempfile.TemporaryDirectory(prefix='culvert-test-') as folder:
        for seed in range(8):
            g = make(seed)
            rng = random.Random(seed + 100)
            path, db = os.path.join(folder, f'{seed}.csv'), os.path.join(folder, f'{seed}.db')
            write(g, path, rng)
            tool('--db', db, 'import', '--csv', path)
            ego = rng.choice(sorted(g))
            check_flows(g, db, ego)
            check_walks(g, db, ego)
    print(f'{failed} failed')
    sys.exit(failed != 0)


main()
