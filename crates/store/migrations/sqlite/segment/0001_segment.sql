-- One segment: rows are appended, never changed, never deleted; the file goes as a whole.
--
-- Every row carries a number (`id`) from the leader's one counter; tables read by lane are keyed by
-- it, tables read by what they belong to are clustered by that. While a segment is open only
-- `routed_message` and `outbound_message` are true secondary indexes on the hot path; the others
-- below belong to tables that hold exceptions. Sealing adds the rest (see seal.rs).

CREATE TABLE segment (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    store     BLOB    NOT NULL,
    number    INTEGER NOT NULL,
    first_row INTEGER NOT NULL
) STRICT;

-- Claim and fence: a transaction compares the term here under the write lock.
CREATE TABLE shard (
    shard INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    term  BLOB    NOT NULL
) STRICT;

CREATE TABLE message (
    id          INTEGER PRIMARY KEY,
    epoch       INTEGER NOT NULL,
    inbound     INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    control_id  TEXT,
    kind        TEXT,
    source      TEXT,
    parent      INTEGER,
    keys        TEXT, -- search keys, name=value, U+001F between them
    enc         INTEGER NOT NULL, -- how the body is packed; 0 = not
    body        BLOB    NOT NULL,
    CONSTRAINT parent_is_older CHECK (parent < id)
) STRICT;

CREATE TABLE routed (
    id       INTEGER PRIMARY KEY,
    epoch    INTEGER NOT NULL,
    message  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    handlers BLOB    NOT NULL, -- name numbers, 4 bytes each, little-endian
    CONSTRAINT message_is_older CHECK (message < id)
) STRICT;
CREATE INDEX routed_message ON routed (message);

CREATE TABLE handled (
    message INTEGER NOT NULL,
    handler INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    epoch   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    result  INTEGER NOT NULL,
    PRIMARY KEY (message, handler, id),
    CONSTRAINT message_is_older CHECK (message < id)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbound (
    id            INTEGER PRIMARY KEY,
    epoch         INTEGER NOT NULL,
    message       INTEGER NOT NULL,
    handler       INTEGER NOT NULL,
    destination   INTEGER NOT NULL,
    priority      INTEGER NOT NULL,
    partition_key TEXT,
    at            INTEGER NOT NULL,
    enc           INTEGER NOT NULL,
    body          BLOB, -- NULL: the message's own bytes, unchanged
    CONSTRAINT message_is_older CHECK (message < id)
) STRICT;
CREATE INDEX outbound_message ON outbound (message, handler);

CREATE TABLE outcome (
    send     INTEGER NOT NULL,
    id       INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    message  INTEGER NOT NULL,
    result   INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    enc      INTEGER NOT NULL,
    reply    BLOB,
    PRIMARY KEY (send, id),
    CONSTRAINT send_is_older CHECK (send < id),
    CONSTRAINT message_is_older CHECK (message < send)
) STRICT, WITHOUT ROWID;

CREATE TABLE disposition (
    message     INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    disposition INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (message, id),
    CONSTRAINT message_is_older CHECK (message < id)
) STRICT, WITHOUT ROWID;
-- Messages put back to the start: found without reading the table.
CREATE INDEX disposition_received ON disposition (message) WHERE disposition = 0;

CREATE TABLE dead_letter (
    id      INTEGER PRIMARY KEY,
    epoch   INTEGER NOT NULL,
    message INTEGER NOT NULL,
    stage   INTEGER NOT NULL,
    at_name INTEGER NOT NULL,
    send    INTEGER,
    at      INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    CONSTRAINT message_is_older CHECK (message < id)
) STRICT;
CREATE INDEX dead_letter_message ON dead_letter (message);

CREATE TABLE resolved (
    dead_letter INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    how         INTEGER NOT NULL,
    actor       TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (dead_letter, id),
    CONSTRAINT dead_letter_is_older CHECK (dead_letter < id)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    epoch   INTEGER NOT NULL,
    message INTEGER NOT NULL,
    send    INTEGER,
    kind    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    detail  TEXT    NOT NULL,
    actor   TEXT,
    CONSTRAINT message_is_older CHECK (message < id)
) STRICT;
CREATE INDEX event_message ON event (message);

-- The search keys of the messages, one row each: filled when the segment is sealed.
CREATE TABLE key (
    entry   TEXT    NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (entry, message)
) STRICT, WITHOUT ROWID;
