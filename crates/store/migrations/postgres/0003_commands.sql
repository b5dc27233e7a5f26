-- What operators asked of a node that does not lead, for the leader to carry out. Rows live for a day. Instants are the
-- database's own, in microseconds since 1970.
CREATE TABLE holdfast.command (
    id       uuid    PRIMARY KEY,
    node     text    NOT NULL, -- which took it
    actor    text    NOT NULL,
    path     text    NOT NULL, -- of the API, such as /api/v1/connections/OB_LAB/hold
    body     text    NOT NULL, -- JSON
    asked_at bigint  NOT NULL,
    begun_at bigint,           -- a leader took it up, once; NULL: nobody did
    epoch    integer,          -- its leadership; NULL though begun: withdrawn before anybody did
    ended_at bigint,
    status   integer,          -- of HTTP
    answer   text              -- JSON
);
CREATE INDEX command_open ON holdfast.command (asked_at) WHERE begun_at IS NULL;

-- Programs that know the schema at least so far work with it as it is after this step; NULL: only those that know
-- the step.
ALTER TABLE holdfast.migration ADD works_from bigint;
