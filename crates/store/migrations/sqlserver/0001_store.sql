-- The store's own schema: what is rare, small and shared by all segments. The stages of messages lie in
-- segments, plain tables made ahead and dropped whole (segment.sql); nothing here is written by a handoff.
--
-- Text that is looked for or compared is NVARCHAR under a binary collation: that is what the driver sends, so an index
-- is used as it is, and no database's collation decides what is equal.

-- The lease row. Keyed, so that lanes may belong to lease groups later; group 0 is all there is now.
CREATE TABLE holdfast.lease (
    lease_group int              NOT NULL PRIMARY KEY,
    epoch       int              NOT NULL,
    term        uniqueidentifier NOT NULL,
    node        nvarchar(128)    COLLATE Latin1_General_BIN2 NOT NULL,
    acquired_at bigint           NOT NULL,
    released    bit              NOT NULL
);

-- Claim and fence in one: every handoff locks its shard's row and compares term and session under that
-- lock. The row is locked, never updated, by handoffs; acquiring leadership rewrites it, and so does a
-- leader that connects anew (a statement of its lost connection can then claim nothing any more).
CREATE TABLE holdfast.shard (
    shard   smallint         NOT NULL PRIMARY KEY,
    epoch   int              NOT NULL,
    term    uniqueidentifier NOT NULL, -- all zeros: nobody leads
    session uniqueidentifier NOT NULL
);
INSERT INTO holdfast.shard (shard, epoch, term, session)
VALUES (0, 0, '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000');

CREATE TABLE holdfast.name (
    id   int           NOT NULL PRIMARY KEY,
    kind smallint      NOT NULL,
    name nvarchar(400) COLLATE Latin1_General_BIN2 NOT NULL,
    UNIQUE (kind, name)
);

-- What operators want of connections; the newest row of a connection wins.
CREATE TABLE holdfast.desired (
    id         bigint        NOT NULL IDENTITY(1, 1) PRIMARY KEY,
    epoch      int           NOT NULL,
    connection int           NOT NULL,
    desired    smallint      NOT NULL,
    actor      nvarchar(max) NOT NULL,
    at         bigint        NOT NULL
);

CREATE TABLE holdfast.segment (
    number           int           NOT NULL PRIMARY KEY,
    made_at          bigint        NOT NULL,
    first_row        bigint        NULL, -- no row in it has a smaller number; NULL: made ahead, not written to yet
    opened_at        bigint        NULL,
    sealed_at        bigint        NULL, -- no row is added any more, its indexes are built
    oldest_reference bigint        NULL, -- the smallest number that a sealed segment's rows refer to
    drained_at       bigint        NULL, -- nothing in it was open at that time
    dropped_at       bigint        NULL, -- its tables are gone
    profile          nvarchar(max) NULL  -- what a sealed segment holds, as JSON: for searches
);
