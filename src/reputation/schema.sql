-- The ledger's database, version 1. Later versions add a file each; what is
-- here never changes (store_sqlite.c runs what a file has not had yet).
-- Amounts are octets, times Unix seconds, epochs Unix time / epoch length.

-- Whose ledger it is: 'network' (8 octets), 'identity' (32 octets). 'clean': it was
-- closed. 'pruned': half-blocks of epochs before this one (4 octets, the highest first)
-- may be gone that were counted.
CREATE TABLE meta(
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- Relays. banned: until when its links are refused, 0 = not.
CREATE TABLE peer(
  id         INTEGER PRIMARY KEY,
  pk         BLOB NOT NULL UNIQUE CHECK(length(pk) = 32),
  first_seen INTEGER NOT NULL,
  banned     INTEGER NOT NULL DEFAULT 0) STRICT;

-- Half-blocks, public. Enough to rebuild all 232 octets.
CREATE TABLE block(
  owner     INTEGER NOT NULL REFERENCES peer,
  seq       INTEGER NOT NULL CHECK(seq > 0),
  ver       INTEGER NOT NULL,
  type      INTEGER NOT NULL,
  flags     INTEGER NOT NULL,
  peer      INTEGER NOT NULL REFERENCES peer,
  peer_seq  INTEGER NOT NULL,
  peer_hash BLOB NOT NULL CHECK(length(peer_hash) = 32),
  prev      BLOB NOT NULL CHECK(length(prev) = 32),
  hash      BLOB NOT NULL CHECK(length(hash) = 32),
  given     INTEGER NOT NULL CHECK(given >= 0),
  taken     INTEGER NOT NULL CHECK(taken >= 0),
  epoch     INTEGER NOT NULL,
  sig       BLOB NOT NULL CHECK(length(sig) = 64),
  PRIMARY KEY(owner, seq)) STRICT, WITHOUT ROWID;
CREATE INDEX block_pair ON block(peer, owner, seq);
CREATE INDEX block_answer ON block(peer, peer_seq) WHERE type = 2;

-- Agreed by both halves, materialised: the smaller cumulative claim. recent:
-- the same, halved every four epochs, as of epoch.
CREATE TABLE edge(
  giver  INTEGER NOT NULL REFERENCES peer,
  taker  INTEGER NOT NULL REFERENCES peer,
  bytes  INTEGER NOT NULL CHECK(bytes >= 0),
  recent INTEGER NOT NULL CHECK(recent >= 0),
  epoch  INTEGER NOT NULL,
  PRIMARY KEY(giver, taker)) STRICT, WITHOUT ROWID;
CREATE INDEX edge_taker ON edge(taker, giver);

-- Proofs of forgery: two half-blocks that cannot both be honest.
CREATE TABLE fork(
  owner INTEGER NOT NULL REFERENCES peer,
  seq   INTEGER NOT NULL,
  a     BLOB NOT NULL CHECK(length(a) = 232),
  b     BLOB NOT NULL CHECK(length(b) = 232),
  PRIMARY KEY(owner, seq)) STRICT, WITHOUT ROWID;

-- Local only: exact octets with a relay, not yet released. release_at 0: the
-- epoch runs. proposal: seq of our half-block about it, 0 = none yet.
CREATE TABLE link(
  peer        INTEGER NOT NULL REFERENCES peer,
  epoch       INTEGER NOT NULL,
  pending_out INTEGER NOT NULL CHECK(pending_out >= 0),
  pending_in  INTEGER NOT NULL CHECK(pending_in >= 0),
  release_at  INTEGER NOT NULL,
  proposal    INTEGER NOT NULL,
  PRIMARY KEY(peer, epoch)) STRICT, WITHOUT ROWID;

-- Private, never exported, deleted after 30 days: clients of this guard, by
-- the key each made for it alone. last_seen is a day.
CREATE TABLE account(
  client     BLOB PRIMARY KEY CHECK(length(client) = 32),
  given      INTEGER NOT NULL CHECK(given >= 0),
  taken      INTEGER NOT NULL CHECK(taken >= 0),
  last_seen  INTEGER NOT NULL,
  debt_since INTEGER NOT NULL,
  class      INTEGER NOT NULL CHECK(class BETWEEN 0 AND 3)) STRICT, WITHOUT ROWID;
CREATE INDEX account_seen ON account(last_seen);

-- Shares the ranking last gave our neighbours. metric 1: unique-visit walk.
CREATE TABLE score(
  ego    INTEGER NOT NULL REFERENCES peer,
  peer   INTEGER NOT NULL REFERENCES peer,
  metric INTEGER NOT NULL,
  value  REAL NOT NULL,
  gen    INTEGER NOT NULL,
  PRIMARY KEY(ego, metric, peer)) STRICT, WITHOUT ROWID;
