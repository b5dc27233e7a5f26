-- What operators asked of a node that does not lead, for the leader to carry out. Rows live for a day. Instants are the
-- database's own, in microseconds since 1970.
CREATE TABLE holdfast.command (
    id       uniqueidentifier NOT NULL PRIMARY KEY,
    node     nvarchar(128)    NOT NULL, -- which took it
    actor    nvarchar(max)    NOT NULL,
    path     nvarchar(max)    NOT NULL, -- of the API, such as /api/v1/connections/OB_LAB/hold
    body     nvarchar(max)    NOT NULL, -- JSON
    asked_at bigint           NOT NULL,
    begun_at bigint           NULL,     -- a leader took it up, once; NULL: nobody did
    epoch    int              NULL,     -- its leadership; NULL though begun: withdrawn before anybody did
    ended_at bigint           NULL,
    status   int              NULL,     -- of HTTP
    answer   nvarchar(max)    NULL      -- JSON
);
CREATE INDEX command_open ON holdfast.command (begun_at, asked_at);
