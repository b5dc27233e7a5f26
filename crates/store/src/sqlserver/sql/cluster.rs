//! The lease row, the nodes and their commands. Instants are the server's, in microseconds since 1970. A server reads
//! its clock once, when a statement begins: where a statement may have waited for a lock, a lease is taken to end earlier
//! than it would by the clock after the wait, never later.

use crate::server::{board, orders};

/// A number for the server that answers: another one after a failover to another replica.
macro_rules! server {
    () => {
        "(CHECKSUM(CAST(SERVERPROPERTY('ServerName') AS nvarchar(128))) & 2147483647)"
    };
}

macro_rules! now {
    () => {
        "DATEDIFF_BIG(MICROSECOND, '1970-01-01', SYSUTCDATETIME())"
    };
}

/// Takes leadership for one node alone, unless a cluster's lease is running: `@P1` term, `@P2` node, `@P3` when,
/// `@P4` session. One row, the new epoch; none when it may not be taken.
pub(crate) const ACQUIRE_ALONE: &str = concat!(
    "BEGIN TRANSACTION;
 DECLARE @epoch int;
 UPDATE holdfast.lease SET epoch = epoch + 1, term = @P1, node = @P2, acquired_at = @P3, released = 0,
     renewals = renewals + 1, expires_at = 0
 WHERE lease_group = 0 AND (released = 1 OR expires_at < ",
    now!(),
    ");
 SELECT @epoch = epoch FROM holdfast.lease WHERE lease_group = 0 AND term = @P1;
 IF @epoch IS NOT NULL
     UPDATE holdfast.shard SET epoch = @epoch, term = @P1, session = @P4;
 COMMIT TRANSACTION;
 SELECT epoch FROM holdfast.lease WHERE lease_group = 0 AND term = @P1"
);

/// `@P1` epoch, `@P2` term.
pub(crate) const RELEASE_ALONE: &str = "BEGIN TRANSACTION;
 DECLARE @released int;
 UPDATE holdfast.lease SET released = 1, renewals = renewals + 1 WHERE lease_group = 0 AND epoch = @P1 AND term = @P2;
 SET @released = @@ROWCOUNT;
 IF @released = 1
     UPDATE holdfast.shard SET term = '00000000-0000-0000-0000-000000000000',
         session = '00000000-0000-0000-0000-000000000000' WHERE epoch = @P1 AND term = @P2;
 COMMIT TRANSACTION";

/// `@P1` how long a lease lasts, `@P2` how long a hand-over is kept at most.
pub(crate) const LOOK: &str = concat!(
    "SELECT l.epoch, l.term, l.renewals, ",
    server!(),
    ", l.node, l.released,
     CAST(CASE WHEN l.expires_at < c.now OR l.expires_at > c.now + CASE WHEN l.ttl > @P1 THEN l.ttl ELSE @P1 END
         THEN 1 ELSE 0 END AS bit),
     l.expires_at - c.now,
     CASE WHEN l.handoff_until > c.now AND l.handoff_until <= c.now + @P2 THEN l.handoff_to END,
     l.fingerprint, l.approved, l.ttl, l.asked_by, l.asked_to, c.now - l.asked_at
 FROM holdfast.lease AS l CROSS JOIN (SELECT ",
    now!(),
    " AS now) AS c WHERE l.lease_group = 0"
);

/// Takes the lease as it was seen. `@P1` to `@P3` what was seen: epoch, term, renewals; `@P4` the new term, `@P5` node,
/// `@P6` configuration, `@P7` how long it lasts, `@P8` how long a hand-over is kept at most, `@P9` the server or 0,
/// `@P10` session. The row is locked before the clock is read. One row, the new epoch; none when it may not be taken.
pub(crate) const ACQUIRE: &str = concat!(
    "BEGIN TRANSACTION;
 DECLARE @heard bigint, @now bigint, @epoch int;
 SELECT @heard = renewed_at FROM holdfast.lease WITH (UPDLOCK, ROWLOCK, REPEATABLEREAD) WHERE lease_group = 0;
 SET @now = ",
    now!(),
    ";
 UPDATE holdfast.lease SET epoch = epoch + 1, term = @P4, node = @P5, released = 0, acquired_at = @now,
     renewals = renewals + 1, renewed_at = @now, expires_at = @now + @P7, ttl = @P7, fingerprint = @P6, approved = NULL,
     handoff_to = NULL, handoff_until = 0, asked_by = NULL, asked_to = NULL, asked_at = NULL
 WHERE lease_group = 0 AND epoch = @P1 AND term = @P2 AND renewals = @P3 AND (@P9 = 0 OR ",
    server!(),
    " = @P9)
     AND (released = 1 OR expires_at < @now OR expires_at > @now + CASE WHEN ttl > @P7 THEN ttl ELSE @P7 END)
     AND (handoff_to IS NULL OR handoff_to = @P5 OR handoff_until < @now OR handoff_until > @now + @P8);
 SELECT @epoch = epoch FROM holdfast.lease WHERE lease_group = 0 AND term = @P4;
 IF @epoch IS NOT NULL
 BEGIN
     UPDATE holdfast.shard SET epoch = @epoch, term = @P4, session = @P10;
     UPDATE holdfast.leadership SET ended_at = @heard, reason = N'its lease ran out'
     WHERE ended_at IS NULL AND epoch < @epoch;
     INSERT INTO holdfast.leadership (epoch, term, node, acquired_at, gap)
     VALUES (@epoch, @P4, @P5, @now, CASE WHEN @heard > 0 THEN @now - @heard END);
 END;
 COMMIT TRANSACTION;
 SELECT epoch FROM holdfast.lease WHERE lease_group = 0 AND term = @P4"
);

/// `@P1` epoch, `@P2` term, `@P3` for whom or nothing, `@P4` for how long, `@P5` why.
pub(crate) const RELEASE: &str = concat!(
    "BEGIN TRANSACTION;
 DECLARE @released int;
 UPDATE holdfast.lease SET released = 1, renewals = renewals + 1, expires_at = 0, asked_by = NULL, asked_to = NULL,
     asked_at = NULL, handoff_to = NULLIF(@P3, N''), handoff_until = ",
    now!(),
    " + @P4
 WHERE lease_group = 0 AND epoch = @P1 AND term = @P2;
 SET @released = @@ROWCOUNT;
 IF @released = 1
 BEGIN
     UPDATE holdfast.shard SET term = '00000000-0000-0000-0000-000000000000',
         session = '00000000-0000-0000-0000-000000000000' WHERE epoch = @P1 AND term = @P2;
     UPDATE holdfast.leadership SET ended_at = ",
    now!(),
    ", reason = @P5 WHERE term = @P2;
 END;
 COMMIT TRANSACTION"
);

pub(crate) const BOARD: board::Sql = board::Sql {
    renew: concat!(
        "UPDATE holdfast.lease SET renewals = renewals + 1, renewed_at = ",
        now!(),
        ", expires_at = ",
        now!(),
        " + @P3 OUTPUT inserted.asked_by, inserted.asked_to, ",
        now!(),
        " - inserted.asked_at
 WHERE lease_group = 0 AND epoch = @P1 AND term = @P2 AND released = 0"
    ),
    beat: concat!(
        "BEGIN TRANSACTION;
 DECLARE @now bigint, @there int, @written int;
 SET @written = 0;
 SELECT @there = COUNT(*) FROM holdfast.node WITH (UPDLOCK, HOLDLOCK) WHERE id = @P1;
 SET @now = ",
        now!(),
        ";
 IF @there = 0
 BEGIN
     INSERT INTO holdfast.node (id, boot, host, pid, api, version, [schema], fingerprint, environment, promotable,
         delay_ms, role, ready, detail, started_at, seen_at)
     VALUES (@P1, @P2, @P3, @P4, @P5, @P6, @P7, @P8, @P9, @P10, @P11, @P12, @P13, @P14, @now, @now);
     SET @written = 1;
 END
 ELSE
 BEGIN
     UPDATE holdfast.node SET started_at = CASE WHEN boot = @P2 THEN started_at ELSE @now END, boot = @P2, host = @P3,
         pid = @P4, api = @P5, version = @P6, [schema] = @P7, fingerprint = @P8, environment = @P9, promotable = @P10,
         delay_ms = @P11, role = @P12, ready = @P13, detail = @P14, seen_at = @now
     WHERE id = @P1 AND (boot = @P2 OR ABS(@now - seen_at) > @P15 OR role = N'left');
     SET @written = @@ROWCOUNT;
 END;
 COMMIT TRANSACTION;
 SELECT @written"
    ),
    members: concat!(
        "SELECT id, boot, host, pid, api, version, fingerprint, environment, promotable, delay_ms, role, ready, detail, ABS(",
        now!(),
        " - seen_at), ",
        now!(),
        " - started_at, [schema] FROM holdfast.node ORDER BY id"
    ),
    history: "SELECT TOP (@P1) epoch, node, acquired_at, gap, ended_at, reason
 FROM holdfast.leadership ORDER BY acquired_at DESC, epoch DESC",
    ask: concat!(
        "UPDATE holdfast.lease SET asked_by = @P1, asked_to = NULLIF(@P2, N''), asked_at = ",
        now!(),
        " OUTPUT inserted.epoch
 WHERE lease_group = 0 AND released = 0 AND expires_at > ",
        now!(),
        " AND (@P2 = N'' OR node <> @P2)"
    ),
    approve: "UPDATE holdfast.lease SET approved = @P1 WHERE lease_group = 0",
};

pub(crate) const ORDERS: orders::Sql = orders::Sql {
    tidy: concat!("DELETE FROM holdfast.command WHERE asked_at < ", now!(), " - @P1"),
    give: concat!(
        "INSERT INTO holdfast.command (id, node, actor, path, body, asked_at) SELECT @P1, @P2, @P3, @P4, @P5, ",
        now!(),
        " WHERE NOT EXISTS (SELECT 1 FROM holdfast.command WITH (UPDLOCK, HOLDLOCK) WHERE id = @P1)"
    ),
    progress: "SELECT CAST(CASE WHEN begun_at IS NULL THEN 0 ELSE 1 END AS bit),
 CAST(CASE WHEN epoch IS NULL THEN 0 ELSE 1 END AS bit), status, answer FROM holdfast.command WHERE id = @P1",
    withdraw: concat!(
        "UPDATE holdfast.command SET begun_at = COALESCE(begun_at, ",
        now!(),
        "), ended_at = COALESCE(ended_at, ",
        now!(),
        ") OUTPUT inserted.node WHERE id = @P1 AND epoch IS NULL"
    ),
    // The lease row is read under a lock for as long as the statement takes.
    take_up: concat!(
        "UPDATE c SET begun_at = ",
        now!(),
        ", epoch = @P1 OUTPUT inserted.id, inserted.node, inserted.actor, inserted.path, inserted.body, inserted.asked_at
 FROM holdfast.command AS c WHERE c.id IN (
     SELECT TOP (@P3) o.id FROM holdfast.command AS o WITH (UPDLOCK, ROWLOCK, READPAST, READCOMMITTEDLOCK)
     WHERE o.begun_at IS NULL AND o.asked_at > ",
        now!(),
        " - @P4
       AND EXISTS (SELECT 1 FROM holdfast.lease AS l WITH (REPEATABLEREAD)
           WHERE l.lease_group = 0 AND l.epoch = @P1 AND l.term = @P2 AND l.released = 0)
     ORDER BY o.asked_at)
   AND c.begun_at IS NULL"
    ),
    answer: concat!(
        "UPDATE holdfast.command SET ended_at = ",
        now!(),
        ", status = @P2, answer = @P3 WHERE id = @P1 AND ended_at IS NULL"
    ),
};
