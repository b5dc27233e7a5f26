-- One segment: rows are appended, never changed, never deleted; the tables go as a whole. {s} stands for
-- the segment's prefix. Applied once for each segment, when it is made ahead. Plain tables, so that it works
-- on every edition.
--
-- Every row carries a number (id) from the leader's one counter. While a segment is open it has only the
-- indexes that the pipeline itself reads by; sealing adds those of the listings (seal.rs). Bodies are not
-- compressed by the database (enc says how the engine compressed them; 0 = not).

CREATE TABLE {s}message (
    id          bigint         NOT NULL PRIMARY KEY,
    inbound     int            NOT NULL,
    received_at bigint         NOT NULL,
    at          bigint         NOT NULL,
    control_id  nvarchar(max)  COLLATE Latin1_General_BIN2 NULL,
    kind        nvarchar(max)  COLLATE Latin1_General_BIN2 NULL,
    source      nvarchar(max)  NULL,
    parent      bigint         NULL,
    keys        nvarchar(max)  COLLATE Latin1_General_BIN2 NULL, -- search keys, name=value, U+007F between them
    enc         smallint       NOT NULL DEFAULT 0,
    body        varbinary(max) NOT NULL,
    CHECK (parent < id)
);

CREATE TABLE {s}routed (
    id       bigint       NOT NULL PRIMARY KEY,
    message  bigint       NOT NULL,
    at       bigint       NOT NULL,
    handlers varchar(max) COLLATE Latin1_General_BIN2 NOT NULL, -- the names' numbers, as ,1,2,
    CHECK (message < id)
);
CREATE INDEX routed_message ON {s}routed (message);

CREATE TABLE {s}handled (
    message bigint   NOT NULL,
    handler int      NOT NULL,
    id      bigint   NOT NULL,
    at      bigint   NOT NULL,
    result  smallint NOT NULL,
    PRIMARY KEY (message, handler, id),
    CHECK (message < id)
);

CREATE TABLE {s}outbound (
    id            bigint         NOT NULL PRIMARY KEY,
    message       bigint         NOT NULL,
    handler       int            NOT NULL,
    destination   int            NOT NULL,
    priority      int            NOT NULL,
    partition_key nvarchar(max)  NULL,
    at            bigint         NOT NULL,
    enc           smallint       NOT NULL DEFAULT 0,
    body          varbinary(max) NULL, -- NULL: the message's own bytes, unchanged
    CHECK (message < id)
);
CREATE INDEX outbound_message ON {s}outbound (message);

CREATE TABLE {s}outcome (
    send     bigint         NOT NULL,
    id       bigint         NOT NULL,
    message  bigint         NOT NULL,
    result   smallint       NOT NULL,
    attempts int            NOT NULL,
    at       bigint         NOT NULL,
    enc      smallint       NOT NULL DEFAULT 0,
    reply    varbinary(max) NULL,
    PRIMARY KEY (send, id),
    CHECK (send < id),
    CHECK (message < send)
);

CREATE TABLE {s}disposition (
    message     bigint   NOT NULL,
    id          bigint   NOT NULL,
    disposition smallint NOT NULL,
    at          bigint   NOT NULL,
    PRIMARY KEY (message, id),
    CHECK (message < id)
);

-- Messages put back to the start: found without reading the table above.
CREATE TABLE {s}put_back (
    message bigint NOT NULL,
    id      bigint NOT NULL,
    PRIMARY KEY (message, id)
);

CREATE TABLE {s}dead_letter (
    id      bigint        NOT NULL PRIMARY KEY,
    message bigint        NOT NULL,
    stage   smallint      NOT NULL,
    at_name int           NOT NULL,
    send    bigint        NULL,
    at      bigint        NOT NULL,
    reason  nvarchar(max) NOT NULL,
    CHECK (message < id)
);
CREATE INDEX dead_letter_message ON {s}dead_letter (message);

CREATE TABLE {s}resolved (
    dead_letter bigint        NOT NULL,
    id          bigint        NOT NULL,
    how         smallint      NOT NULL,
    actor       nvarchar(max) NOT NULL,
    at          bigint        NOT NULL,
    PRIMARY KEY (dead_letter, id),
    CHECK (dead_letter < id)
);

CREATE TABLE {s}event (
    id      bigint        NOT NULL PRIMARY KEY,
    message bigint        NOT NULL,
    send    bigint        NULL,
    kind    smallint      NOT NULL,
    at      bigint        NOT NULL,
    detail  nvarchar(max) NOT NULL,
    actor   nvarchar(max) NULL,
    CHECK (message < id)
);
CREATE INDEX event_message ON {s}event (message);

-- What messages are found by, one row each: search keys, and behind # and @ the beginnings of the control ids
-- and of the types. Filled, in its order, when the segment is sealed.
CREATE TABLE {s}key (
    entry   nvarchar(170) COLLATE Latin1_General_BIN2 NOT NULL,
    message bigint        NOT NULL
);
CREATE CLUSTERED INDEX key_entry ON {s}key (entry, message);
