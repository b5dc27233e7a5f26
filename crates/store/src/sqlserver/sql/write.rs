//! What a handoff executes.

use crate::server::lease;

/// The claim of a grouped commit, before its inserts. `@P1` epoch, `@P2` term, `@P3` session, `@P4` when. The row is
/// read under a lock that lasts until the commit, never as a version; one that somebody else has locked is passed by.
pub(crate) const APPEND_BEGIN: &str = "BEGIN TRANSACTION;
 DECLARE @own int;
 SELECT @own = COUNT(*) FROM holdfast.shard WITH (UPDLOCK, ROWLOCK, READPAST, READCOMMITTEDLOCK)
     WHERE shard = 0 AND epoch = @P1 AND term = @P2 AND session = @P3;
 IF @own = 1
 BEGIN";

/// The same where hints are ignored (Babelfish): a change of the row locks it.
pub(crate) const APPEND_BEGIN_WITHOUT_HINTS: &str = "BEGIN TRANSACTION;
 DECLARE @own int;
 UPDATE holdfast.shard SET session = @P3 WHERE shard = 0 AND epoch = @P1 AND term = @P2 AND session = @P3;
 SET @own = @@ROWCOUNT;
 IF @own = 1
 BEGIN";

/// The end of a grouped commit. `@P4` stands in it for commits that carry nothing.
pub(crate) const APPEND_END: &str = "
 SET @own = CASE WHEN @P4 IS NULL THEN 0 ELSE 1 END;
 END;
 COMMIT TRANSACTION;
 SELECT @own;";

/// What is appended to one group of tables; `?` stands for the next value: rows as a JSON array of arrays, and, where
/// there are bodies, all of them as one value of which each row says where its own lies. A text stands in braces: see
/// `text`.
pub(crate) const APPENDS: [&str; 7] = [
    "
 INSERT INTO {s}message (id, inbound, received_at, at, control_id, kind, source, parent, keys, enc, body)
 SELECT id, inbound, received_at, @P4, {control_id}, {kind}, {source}, parent, {keys}, enc, SUBSTRING(?, place, size)
 FROM OPENJSON(?) WITH (id bigint '$[0]', inbound int '$[1]', received_at bigint '$[2]', control_id nvarchar(max) '$[3]',
     kind nvarchar(max) '$[4]', source nvarchar(max) '$[5]', parent bigint '$[6]', keys nvarchar(max) '$[7]',
     enc smallint '$[8]', place int '$[9]', size int '$[10]');",
    "
 INSERT INTO {s}routed (id, message, at, handlers) SELECT id, message, @P4, handlers
 FROM OPENJSON(?) WITH (id bigint '$[0]', message bigint '$[1]', handlers varchar(max) '$[2]');",
    "
 INSERT INTO {s}outbound (id, message, handler, destination, priority, partition_key, at, enc, body)
 SELECT id, message, handler, destination, priority, {partition_key}, @P4, enc, SUBSTRING(?, place, size)
 FROM OPENJSON(?) WITH (id bigint '$[0]', message bigint '$[1]', handler int '$[2]', destination int '$[3]',
     priority int '$[4]', partition_key nvarchar(max) '$[5]', enc smallint '$[6]', place int '$[7]', size int '$[8]');",
    "
 INSERT INTO {s}outcome (send, id, message, result, attempts, at, enc, reply)
 SELECT send, id, message, result, attempts, @P4, enc, SUBSTRING(?, place, size)
 FROM OPENJSON(?) WITH (send bigint '$[0]', id bigint '$[1]', message bigint '$[2]', result smallint '$[3]',
     attempts int '$[4]', enc smallint '$[5]', place int '$[6]', size int '$[7]');",
    "
 INSERT INTO {s}disposition (message, id, disposition, at) SELECT message, id, disposition, @P4
 FROM OPENJSON(?) WITH (message bigint '$[0]', id bigint '$[1]', disposition smallint '$[2]');",
    "
 INSERT INTO {s}handled (message, handler, id, at, result) SELECT message, handler, id, @P4, result
 FROM OPENJSON(?) WITH (message bigint '$[0]', handler int '$[1]', id bigint '$[2]', result smallint '$[3]');
 INSERT INTO {s}dead_letter (id, message, stage, at_name, send, at, reason)
 SELECT id, message, stage, at_name, send, @P4, {reason}
 FROM OPENJSON(?) WITH (id bigint '$[0]', message bigint '$[1]', stage smallint '$[2]', at_name int '$[3]',
     send bigint '$[4]', reason nvarchar(max) '$[5]');
 INSERT INTO {s}resolved (dead_letter, id, how, actor, at) SELECT dead_letter, id, how, {actor}, @P4
 FROM OPENJSON(?) WITH (dead_letter bigint '$[0]', id bigint '$[1]', how smallint '$[2]', actor nvarchar(max) '$[3]');
 INSERT INTO {s}event (id, message, send, kind, at, detail, actor) SELECT id, message, send, kind, @P4, {detail}, {actor}
 FROM OPENJSON(?) WITH (id bigint '$[0]', message bigint '$[1]', send bigint '$[2]', kind smallint '$[3]',
     detail nvarchar(max) '$[4]', actor nvarchar(max) '$[5]');",
    "
 INSERT INTO {s}put_back (message, id) SELECT message, id
 FROM OPENJSON(?) WITH (message bigint '$[0]', id bigint '$[1]');",
];

/// `CLAIM`, and, in the same transaction and after it, whether the row `@P4` of a table is there.
pub(crate) const TAKE_AND_PROBE: &str = "BEGIN TRANSACTION;
 DECLARE @own int;
 UPDATE holdfast.shard SET session = @P3 WHERE shard = 0 AND epoch = @P1 AND term = @P2;
 SET @own = @@ROWCOUNT;
 DECLARE @found int;
 SELECT @found = COUNT(*) FROM {s}{table} WITH (READCOMMITTEDLOCK) WHERE id = @P4;
 COMMIT TRANSACTION;
 SELECT @own, @found";

pub(crate) const LEASE: lease::Sql = lease::Sql {
    claim: "UPDATE holdfast.shard SET session = @P3 OUTPUT inserted.shard
 WHERE shard = 0 AND epoch = @P1 AND term = @P2",
    holds: "SELECT shard FROM holdfast.shard WITH (UPDLOCK, ROWLOCK, REPEATABLEREAD)
 WHERE shard = 0 AND epoch = @P1 AND term = @P2 AND session = @P3",
    leads: "SELECT lease_group FROM holdfast.lease
 WHERE lease_group = 0 AND epoch = @P1 AND term = @P2 AND released = 0",
};
