-- Version 6: how far a chain is known as a whole, but for what was pruned here: without it a
-- hole that pruning left looks like one that nobody filled.
CREATE TABLE whole(
  owner INTEGER PRIMARY KEY REFERENCES peer,
  seq   INTEGER NOT NULL CHECK(seq > 0)) STRICT;
-- What was pruned before that removed also the newest of a pair: as 'pruned' in meta was
-- then, and the newest row. Never changed again.
CREATE TABLE pruned_5(
  before BLOB NOT NULL,
  newest INTEGER NOT NULL) STRICT;
INSERT INTO pruned_5 SELECT value, (SELECT ifnull(max(epoch), 0) FROM edge)
  FROM meta WHERE name = 'pruned';
