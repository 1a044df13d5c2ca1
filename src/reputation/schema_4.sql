-- Version 4: why classes of accounts, scores of relays and our own tokens changed
-- (why.h). Private, never exported; `day` is a midnight, the newest rows are kept.
CREATE TABLE why(
  id     INTEGER PRIMARY KEY,
  day    INTEGER NOT NULL,
  kind   INTEGER NOT NULL CHECK(kind BETWEEN 1 AND 3),
  cause  INTEGER NOT NULL,
  was    INTEGER NOT NULL,
  became INTEGER NOT NULL,
  who    BLOB NOT NULL CHECK(length(who) = 32),
  given  INTEGER NOT NULL CHECK(given >= 0),
  taken  INTEGER NOT NULL CHECK(taken >= 0)) STRICT;
