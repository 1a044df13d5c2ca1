-- Version 5: successions (record.h), half-blocks of type 3. Their rows need no new
-- column; programs that do not know the type must not read the file.
CREATE INDEX block_heir ON block(owner) WHERE type = 3;
