-- Version 6: how far a chain is known as a whole, but for what was pruned, here or by
-- whoever told it: without it a hole that pruning left looks like one that nobody filled.
CREATE TABLE whole(
  owner INTEGER PRIMARY KEY REFERENCES peer,
  seq   INTEGER NOT NULL CHECK(seq > 0)) STRICT;
