-- Several nodes and one leader. Instants are the database's own, in microseconds since 1970: no node's clock
-- decides anything.

ALTER TABLE holdfast.lease
    ADD renewals      bigint NOT NULL DEFAULT 0, -- grows with every change: whoever watches sees that it lives
    ADD renewed_at    bigint NOT NULL DEFAULT 0,
    ADD expires_at    bigint NOT NULL DEFAULT 0, -- 0: not kept by renewing (one node alone)
    ADD ttl           bigint NOT NULL DEFAULT 0, -- microseconds from a renewal to expires_at
    ADD fingerprint   text,                      -- the configuration that was led with last
    ADD approved      text,                      -- another one that may lead next
    ADD handoff_to    text,                      -- until handoff_until nobody else may take it
    ADD handoff_until bigint NOT NULL DEFAULT 0,
    ADD asked_by      text,                      -- who wants another leader, since when, and which one
    ADD asked_at      bigint,
    ADD asked_to      text;

-- Taking it is an update of this row, never an insert.
INSERT INTO holdfast.lease (lease_group, epoch, term, node, acquired_at, released)
VALUES (0, 0, '00000000-0000-0000-0000-000000000000', '', 0, true)
ON CONFLICT (lease_group) DO NOTHING;

-- The nodes, each as it spoke of itself last.
CREATE TABLE holdfast.node (
    id          text    PRIMARY KEY,
    boot        uuid    NOT NULL, -- one process
    host        text    NOT NULL,
    pid         integer NOT NULL,
    api         text    NOT NULL,
    version     text    NOT NULL,
    schema      bigint  NOT NULL, -- the newest migration it knows
    fingerprint text    NOT NULL,
    environment text    NOT NULL,
    promotable  boolean NOT NULL,
    delay_ms    integer NOT NULL, -- it waits so much longer than others before it takes over
    role        text    NOT NULL,
    ready       boolean NOT NULL,
    detail      text    NOT NULL, -- why it is not ready
    started_at  bigint  NOT NULL,
    seen_at     bigint  NOT NULL
) WITH (fillfactor = 50);

-- Every leadership, for the history that operators read.
CREATE TABLE holdfast.leadership (
    epoch       integer NOT NULL,
    term        uuid    PRIMARY KEY,
    node        text    NOT NULL,
    acquired_at bigint  NOT NULL,
    gap         bigint, -- microseconds since the leader before was heard of last
    ended_at    bigint,
    reason      text
);
