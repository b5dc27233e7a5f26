-- The control file: what is rare, small and shared by all segments. Nothing of a message's life is
-- written here, so that every handoff touches one file only.

CREATE TABLE store (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    id    BLOB    NOT NULL, -- random; segments of another store are refused
    clean INTEGER NOT NULL  -- 1 after an orderly close
) STRICT;

-- The lease row. Keyed, so that lanes may belong to lease groups later; group 0 is all there is now.
CREATE TABLE lease (
    lease_group INTEGER PRIMARY KEY,
    epoch       INTEGER NOT NULL,
    term        BLOB    NOT NULL,
    node        TEXT    NOT NULL,
    acquired_at INTEGER NOT NULL,
    released    INTEGER NOT NULL
) STRICT;

CREATE TABLE name (
    id   INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    name TEXT    NOT NULL,
    UNIQUE (kind, name)
) STRICT;

-- What operators want of connections; the newest row of a connection wins.
CREATE TABLE desired (
    id         INTEGER PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    connection INTEGER NOT NULL,
    desired    INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

CREATE TABLE segment (
    number           INTEGER PRIMARY KEY,
    first_row        INTEGER NOT NULL, -- no row in it has a smaller number
    opened_at        INTEGER NOT NULL,
    sealed_at        INTEGER,          -- no row is added any more, its indexes are built
    oldest_reference INTEGER,          -- the smallest number that a sealed segment's rows refer to
    drained_at       INTEGER,          -- nothing in it was open at that time
    dropped_at       INTEGER,          -- its file is gone, or about to go
    profile          TEXT              -- what a sealed segment holds, as JSON: for searches
) STRICT;
