-- One segment: rows are appended, never changed, never deleted; the tables go as a whole. {s} stands for
-- the segment's prefix. Applied once for each segment, when it is made ahead.
--
-- Every row carries a number (id) from the leader's one counter. While a segment is open it has only the
-- indexes that the pipeline itself reads by; sealing adds those of the listings (seal.rs). Autovacuum stays
-- away: there are no dead rows, and it would read and write every page a second time. Bodies are not
-- compressed by the database (enc says how the engine compressed them; 0 = not).

CREATE TABLE {s}message (
    id          bigint   PRIMARY KEY,
    inbound     integer  NOT NULL,
    received_at bigint   NOT NULL,
    at          bigint   NOT NULL,
    control_id  text     COLLATE "C",
    kind        text     COLLATE "C",
    source      text,
    parent      bigint,
    keys        text     COLLATE "C", -- search keys, name=value, U+001F between them
    enc         smallint NOT NULL DEFAULT 0,
    body        bytea    NOT NULL,
    CONSTRAINT parent_is_older CHECK (parent < id)
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
ALTER TABLE {s}message ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE {s}routed (
    id       bigint    PRIMARY KEY,
    message  bigint    NOT NULL,
    at       bigint    NOT NULL,
    handlers integer[] NOT NULL,
    CONSTRAINT message_is_older CHECK (message < id)
) WITH (autovacuum_enabled = off);
CREATE INDEX ON {s}routed (message);

CREATE TABLE {s}handled (
    message bigint   NOT NULL,
    handler integer  NOT NULL,
    id      bigint   NOT NULL,
    at      bigint   NOT NULL,
    result  smallint NOT NULL,
    PRIMARY KEY (message, handler, id),
    CONSTRAINT message_is_older CHECK (message < id)
) WITH (autovacuum_enabled = off);

CREATE TABLE {s}outbound (
    id            bigint   PRIMARY KEY,
    message       bigint   NOT NULL,
    handler       integer  NOT NULL,
    destination   integer  NOT NULL,
    priority      integer  NOT NULL,
    partition_key text,
    at            bigint   NOT NULL,
    enc           smallint NOT NULL DEFAULT 0,
    body          bytea, -- NULL: the message's own bytes, unchanged
    CONSTRAINT message_is_older CHECK (message < id)
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
ALTER TABLE {s}outbound ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX ON {s}outbound (message);

CREATE TABLE {s}outcome (
    send     bigint   NOT NULL,
    id       bigint   NOT NULL,
    message  bigint   NOT NULL,
    result   smallint NOT NULL,
    attempts integer  NOT NULL,
    at       bigint   NOT NULL,
    enc      smallint NOT NULL DEFAULT 0,
    reply    bytea,
    PRIMARY KEY (send, id),
    CONSTRAINT send_is_older CHECK (send < id),
    CONSTRAINT message_is_older CHECK (message < send)
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
ALTER TABLE {s}outcome ALTER COLUMN reply SET STORAGE EXTERNAL;

CREATE TABLE {s}disposition (
    message     bigint   NOT NULL,
    id          bigint   NOT NULL,
    disposition smallint NOT NULL,
    at          bigint   NOT NULL,
    PRIMARY KEY (message, id),
    CONSTRAINT message_is_older CHECK (message < id)
) WITH (autovacuum_enabled = off);
-- Messages put back to the start: found without reading the table.
CREATE INDEX ON {s}disposition (message) WHERE disposition = 0;

CREATE TABLE {s}dead_letter (
    id      bigint   PRIMARY KEY,
    message bigint   NOT NULL,
    stage   smallint NOT NULL,
    at_name integer  NOT NULL,
    send    bigint,
    at      bigint   NOT NULL,
    reason  text     NOT NULL,
    CONSTRAINT message_is_older CHECK (message < id)
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
CREATE INDEX ON {s}dead_letter (message);

CREATE TABLE {s}resolved (
    dead_letter bigint   NOT NULL,
    id          bigint   NOT NULL,
    how         smallint NOT NULL,
    actor       text     NOT NULL,
    at          bigint   NOT NULL,
    PRIMARY KEY (dead_letter, id),
    CONSTRAINT dead_letter_is_older CHECK (dead_letter < id)
) WITH (autovacuum_enabled = off);

CREATE TABLE {s}event (
    id      bigint   PRIMARY KEY,
    message bigint   NOT NULL,
    send    bigint,
    kind    smallint NOT NULL,
    at      bigint   NOT NULL,
    detail  text     NOT NULL,
    actor   text,
    CONSTRAINT message_is_older CHECK (message < id)
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
CREATE INDEX ON {s}event (message);

-- The search keys of the messages, one row each: filled when the segment is sealed.
CREATE TABLE {s}key (
    entry   text   COLLATE "C" NOT NULL,
    message bigint NOT NULL
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
