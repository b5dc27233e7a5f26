-- Several nodes and one leader. Instants are the database's own, in microseconds since 1970: no node's clock
-- decides anything.

ALTER TABLE holdfast.lease ADD
    renewals      bigint        NOT NULL DEFAULT 0, -- grows with every change: whoever watches sees that it lives
    renewed_at    bigint        NOT NULL DEFAULT 0,
    expires_at    bigint        NOT NULL DEFAULT 0, -- 0: not kept by renewing (one node alone)
    ttl           bigint        NOT NULL DEFAULT 0, -- microseconds from a renewal to expires_at
    fingerprint   nvarchar(200) COLLATE Latin1_General_BIN2 NULL, -- the configuration that was led with last
    approved      nvarchar(200) COLLATE Latin1_General_BIN2 NULL, -- another one that may lead next
    handoff_to    nvarchar(128) COLLATE Latin1_General_BIN2 NULL, -- until handoff_until nobody else may take it
    handoff_until bigint        NOT NULL DEFAULT 0,
    asked_by      nvarchar(400) NULL,               -- who wants another leader, since when, and which one
    asked_at      bigint        NULL,
    asked_to      nvarchar(128) COLLATE Latin1_General_BIN2 NULL;

GO
-- Taking it is an update of this row, never an insert.
INSERT INTO holdfast.lease (lease_group, epoch, term, node, acquired_at, released)
VALUES (0, 0, '00000000-0000-0000-0000-000000000000', N'', 0, 1);

-- The nodes, each as it spoke of itself last.
CREATE TABLE holdfast.node (
    id          nvarchar(128)    COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
    boot        uniqueidentifier NOT NULL, -- one process
    host        nvarchar(400)    NOT NULL,
    pid         int              NOT NULL,
    api         nvarchar(400)    NOT NULL,
    version     nvarchar(100)    NOT NULL,
    [schema]    bigint           NOT NULL, -- the newest migration it knows
    fingerprint nvarchar(200)    COLLATE Latin1_General_BIN2 NOT NULL,
    environment nvarchar(200)    NOT NULL,
    promotable  bit              NOT NULL,
    delay_ms    int              NOT NULL, -- it waits so much longer than others before it takes over
    role        nvarchar(100)    COLLATE Latin1_General_BIN2 NOT NULL,
    ready       bit              NOT NULL,
    detail      nvarchar(max)    NOT NULL, -- why it is not ready
    started_at  bigint           NOT NULL,
    seen_at     bigint           NOT NULL
);

-- Every leadership, for the history that operators read.
CREATE TABLE holdfast.leadership (
    epoch       int              NOT NULL,
    term        uniqueidentifier NOT NULL PRIMARY KEY,
    node        nvarchar(128)    NOT NULL,
    acquired_at bigint           NOT NULL,
    gap         bigint           NULL, -- microseconds since the leader before was heard of last
    ended_at    bigint           NULL,
    reason      nvarchar(max)    NULL
);
