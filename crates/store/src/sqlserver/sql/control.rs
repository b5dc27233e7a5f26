//! What is rare and small: session, server, schema, names, what operators want.

use crate::server::control;

/// Options of every session. Indexes on expressions and filters need the first ones, whoever made them.
pub(crate) const SESSION: &str = "SET ANSI_NULLS ON; SET ANSI_PADDING ON; SET ANSI_WARNINGS ON; SET ARITHABORT ON;
 SET CONCAT_NULL_YIELDS_NULL ON; SET QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT OFF; SET IMPLICIT_TRANSACTIONS OFF;
 SET NOCOUNT ON; SET XACT_ABORT ON; SET TEXTSIZE 2147483647; SET TRANSACTION ISOLATION LEVEL READ COMMITTED;";

/// Which server and session this is. In a second row, where there is a schema, the number of the newest leadership.
pub(crate) const STANDING: &str = "SELECT CAST(@@SPID AS int), CAST(@@VERSION AS nvarchar(400)),
 CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(60)), CAST(SERVERPROPERTY('EngineEdition') AS int);
 IF OBJECT_ID(N'holdfast.lease') IS NOT NULL SELECT epoch FROM holdfast.lease WHERE lease_group = 0";

/// Whether a stand-in only follows another one. It calls its database writable even then.
pub(crate) const STAND_IN_FOLLOWS: &str = "SELECT CAST(pg_catalog.pg_is_in_recovery() AS int)";

/// What decides whether a commit on this database is what it should be. By name, since on Azure SQL Database `DB_ID()` is
/// not the number that `sys.databases` has; and there (edition 5) the service keeps the copies, and shows no replicas.
pub(crate) const DURABILITY: &str = "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(60)),
 CAST(compatibility_level AS int), CAST(is_read_committed_snapshot_on AS int), CAST(delayed_durability AS int),
 CAST(CASE WHEN replica_id IS NULL OR CAST(SERVERPROPERTY('EngineEdition') AS int) = 5 THEN 0 ELSE 1 END AS int),
 CAST(is_auto_close_on AS int) FROM sys.databases WHERE name = DB_NAME()";

/// The isolation level that the session really has: 2 = read committed.
pub(crate) const ISOLATION: &str =
    "SELECT CAST(transaction_isolation_level AS int) FROM sys.dm_exec_sessions WHERE session_id = @@SPID";

/// Other replicas of this database's availability group, and how many a commit waits for.
pub(crate) const REPLICAS: &str = "SELECT CAST(COUNT(*) AS int),
 CAST(COALESCE(SUM(CASE WHEN r.availability_mode = 1 THEN 1 ELSE 0 END), 0) AS int)
 FROM sys.availability_replicas AS r
 WHERE r.group_id IN (SELECT o.group_id FROM sys.databases AS d
     JOIN sys.availability_replicas AS o ON o.replica_id = d.replica_id WHERE d.name = DB_NAME())
   AND r.replica_id NOT IN (SELECT d.replica_id FROM sys.databases AS d
     WHERE d.name = DB_NAME() AND d.replica_id IS NOT NULL)";

/// Waits for its turn to make or change tables; the turn lasts until the transaction ends. Negative: it did not come.
pub(crate) const LOCK: &str = "DECLARE @turn int;
 EXEC @turn = sp_getapplock @Resource = N'holdfast.schema', @LockMode = N'Exclusive', @LockOwner = N'Transaction',
     @LockTimeout = 60000;
 SELECT @turn";

/// Whether the schema is there, and may be made.
pub(crate) const SCHEMA_THERE: &str =
    "SELECT CAST(COUNT(*) AS int) FROM sys.schemas WHERE name = N'holdfast'";

pub(crate) const MAKE_SCHEMA: &str = "CREATE SCHEMA holdfast";

/// Whether there is a table `@P1` in it.
pub(crate) const TABLE_THERE: &str = "SELECT CAST(COUNT(*) AS int) FROM sys.tables AS t
 JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE s.name = N'holdfast' AND t.name = @P1";

pub(crate) const LEDGER: &str = "CREATE TABLE holdfast.migration (
     version    bigint        NOT NULL PRIMARY KEY,
     name       nvarchar(200) NOT NULL,
     checksum   nvarchar(100) NOT NULL,
     applied_at bigint        NOT NULL,
     works_from bigint        NULL)";

pub(crate) const RECORDED: &str = "SELECT version, checksum, works_from FROM holdfast.migration";

pub(crate) const RECORD: &str =
    "INSERT INTO holdfast.migration (version, name, checksum, applied_at, works_from)
 VALUES (@P1, @P2, @P3, @P4, @P5)";

/// Nodes that run and know less of the schema than `@P1`; `@P2` = this node, `@P3` microseconds.
pub(crate) const SHUT_OUT: &str = "SELECT id, version, [schema] FROM holdfast.node
 WHERE [schema] < @P1 AND id <> @P2 AND role <> N'left'
   AND seen_at > DATEDIFF_BIG(MICROSECOND, '1970-01-01', SYSUTCDATETIME()) - @P3 ORDER BY id";

/// Adds a name, one at a time over all sessions: numbers are given without gaps.
pub(crate) const ADD_NAME: &str = "INSERT INTO holdfast.name (id, kind, name)
 SELECT COALESCE(MAX(id), 0) + 1, @P1, @P2 FROM holdfast.name WITH (TABLOCKX, HOLDLOCK)
 HAVING NOT EXISTS (SELECT 1 FROM holdfast.name WITH (TABLOCKX, HOLDLOCK) WHERE kind = @P1 AND name = @P2)";

/// Lets others see the term under which this session writes: 4 bytes, most significant first.
pub(crate) const SHOW_TERM: &str = "DECLARE @term varbinary(128);
 SET @term = CAST(@P1 AS varbinary(4)); SET CONTEXT_INFO @term";

/// Writing sessions of this database that show an older term than `@P1`. Needs VIEW SERVER STATE.
pub(crate) const OLDER_SESSIONS: &str = "SELECT CAST(session_id AS int) FROM sys.dm_exec_sessions
 WHERE database_id = DB_ID() AND session_id <> @@SPID AND program_name LIKE N'holdfast-writer %'
   AND CAST(SUBSTRING(context_info, 1, 4) AS int) < @P1";

/// Whether the session `@P1` is a writing one of this database.
pub(crate) const WRITING_SESSION: &str = "SELECT CAST(session_id AS int) FROM sys.dm_exec_sessions
 WHERE session_id = @P1 AND database_id = DB_ID() AND program_name LIKE N'holdfast-writer %'";

pub(crate) const CONTROL: control::Sql = control::Sql {
    leader: "SELECT epoch, term, node, acquired_at, released FROM holdfast.lease WHERE lease_group = 0 AND epoch > 0",
    names: "SELECT id, kind, name FROM holdfast.name ORDER BY id",
    desired: "SELECT d.connection FROM holdfast.desired AS d
 WHERE d.desired <> 0 AND d.id = (SELECT MAX(n.id) FROM holdfast.desired AS n WHERE n.connection = d.connection)
 ORDER BY d.connection",
    set_desired: "BEGIN TRANSACTION;
 DECLARE @own int;
 SELECT @own = COUNT(*) FROM holdfast.shard WITH (UPDLOCK, ROWLOCK, REPEATABLEREAD)
     WHERE shard = 0 AND epoch = @P1 AND term = @P2;
 IF @own = 1
     INSERT INTO holdfast.desired (epoch, connection, desired, actor, at) VALUES (@P1, @P3, @P4, @P5, @P6);
 COMMIT TRANSACTION;
 SELECT @own",
};
