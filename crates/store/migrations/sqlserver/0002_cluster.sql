-- Several nodes and one leader. Instants are the database's own, in microseconds since 1970: no node's clock
-- decides anything.

ALTER TABLE holdfast.lease ADD renewals bigint NOT NULL DEFAULT 0; -- grows with every change: whoever watches sees that it lives
ALTER TABLE holdfast.lease ADD renewed_at bigint NOT NULL DEFAULT 0;
ALTER TABLE holdfast.lease ADD expires_at bigint NOT NULL DEFAULT 0; -- 0: not kept by renewing (one node alone)
ALTER TABLE holdfast.lease ADD ttl bigint NOT NULL DEFAULT 0; -- microseconds from a renewal to expires_at
-- The configuration that was led with last, and another one that may lead next.
ALTER TABLE holdfast.lease ADD fingerprint nvarchar(200) COLLATE Latin1_General_BIN2 NULL;
ALTER TABLE holdfast.lease ADD approved nvarchar(200) COLLATE Latin1_General_BIN2 NULL;
-- Until handoff_until nobody else may take it.
ALTER TABLE holdfast.lease ADD handoff_to nvarchar(128) COLLATE Latin1_General_BIN2 NULL;
ALTER TABLE holdfast.lease ADD handoff_until bigint NOT NULL DEFAULT 0;
-- Who wants another leader, since when, and which one.
ALTER TABLE holdfast.lease ADD asked_by nvarchar(400) NULL;
ALTER TABLE holdfast.lease ADD asked_at bigint NULL;
ALTER TABLE holdfast.lease ADD asked_to nvarchar(128) COLLATE Latin1_General_BIN2 NULL;
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
