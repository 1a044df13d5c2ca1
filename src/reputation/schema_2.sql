-- Version 2: what relays were called in data that was imported from elsewhere
-- (culvert-ledger import --csv). A node writes none.
CREATE TABLE name(
  peer INTEGER PRIMARY KEY REFERENCES peer,
  name TEXT NOT NULL UNIQUE CHECK(length(name) > 0)) STRICT;
