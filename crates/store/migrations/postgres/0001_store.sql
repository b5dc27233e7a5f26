-- The store's own schema: what is rare, small and shared by all segments. The stages of messages lie in
-- segments, plain tables made ahead and dropped whole (segment.sql); nothing here is written by a handoff.

-- The lease row. Keyed, so that lanes may belong to lease groups later; group 0 is all there is now.
CREATE TABLE holdfast.lease (
    lease_group integer PRIMARY KEY,
    epoch       integer NOT NULL,
    term        uuid    NOT NULL,
    node        text    NOT NULL,
    acquired_at bigint  NOT NULL,
    released    boolean NOT NULL
);

-- Claim and fence in one: every handoff locks its shard's row and compares term and session under that
-- lock. The row is locked, never updated, by handoffs; acquiring leadership rewrites it, and so does a
-- leader that connects anew (a statement of its lost connection can then claim nothing any more).
CREATE TABLE holdfast.shard (
    shard   smallint PRIMARY KEY,
    epoch   integer  NOT NULL,
    term    uuid     NOT NULL, -- all zeros: nobody leads
    session uuid     NOT NULL
) WITH (fillfactor = 10);
INSERT INTO holdfast.shard (shard, epoch, term, session)
VALUES (0, 0, '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000');

CREATE TABLE holdfast.name (
    id   integer  PRIMARY KEY,
    kind smallint NOT NULL,
    name text     NOT NULL,
    UNIQUE (kind, name)
);

-- What operators want of connections; the newest row of a connection wins.
CREATE TABLE holdfast.desired (
    id         bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch      integer  NOT NULL,
    connection integer  NOT NULL,
    desired    smallint NOT NULL,
    actor      text     NOT NULL,
    at         bigint   NOT NULL
);

CREATE TABLE holdfast.segment (
    number           integer PRIMARY KEY,
    made_at          bigint  NOT NULL,
    first_row        bigint,  -- no row in it has a smaller number; NULL: made ahead, not written to yet
    opened_at        bigint,
    sealed_at        bigint,  -- no row is added any more, its indexes are built
    oldest_reference bigint,  -- the smallest number that a sealed segment's rows refer to
    drained_at       bigint,  -- nothing in it was open at that time
    dropped_at       bigint,  -- its tables are gone
    profile          text     -- what a sealed segment holds, as JSON: for searches
);
