-- Version 3: priority tokens. Weeks are UTC day number / 7.

-- To whom this guard issued a batch, and for which request.
CREATE TABLE issued(
  week     INTEGER NOT NULL,
  identity BLOB NOT NULL CHECK(length(identity) = 32),
  request  BLOB NOT NULL CHECK(length(request) = 32),
  PRIMARY KEY(week, identity)) STRICT, WITHOUT ROWID;

-- Tokens of this guard that were shown and are worth nothing any more.
CREATE TABLE spent(
  week  INTEGER NOT NULL,
  token BLOB NOT NULL CHECK(length(token) = 32),
  PRIMARY KEY(week, token)) STRICT, WITHOUT ROWID;

-- Private, never exported: batches of our own, with the secrets to show them.
CREATE TABLE purse(
  issuer   BLOB NOT NULL CHECK(length(issuer) = 32),
  week     INTEGER NOT NULL,
  remains  INTEGER NOT NULL CHECK(remains >= 0),
  had      INTEGER NOT NULL CHECK(had BETWEEN 0 AND 1),
  seed     BLOB NOT NULL CHECK(length(seed) = 32),
  key      BLOB NOT NULL CHECK(length(key) = 32),
  from_at  INTEGER NOT NULL CHECK(from_at >= 0),
  output   BLOB NOT NULL CHECK(length(output) = 1024),
  PRIMARY KEY(issuer, week)) STRICT, WITHOUT ROWID;
