//! What measurements ask.

/// The server's release, and its process.
pub(crate) const SERVER: &str = "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)), CAST(SERVERPROPERTY('ProcessID') AS int)";

/// Transactions of this database so far, and bytes of its log that were written.
pub(crate) const SERVER_COUNTERS: &str =
    "SELECT SUM(CASE WHEN counter_name = 'Transactions/sec' THEN cntr_value END),
     SUM(CASE WHEN counter_name = 'Log Bytes Flushed/sec' THEN cntr_value END)
 FROM sys.dm_os_performance_counters WHERE object_name LIKE '%:Databases%' AND instance_name = DB_NAME()";

/// What a measurement left behind.
pub(crate) const CEILING_DROP: &str = "
 DROP TABLE IF EXISTS holdfast_ceiling.message; DROP TABLE IF EXISTS holdfast_ceiling.routed;
 DROP TABLE IF EXISTS holdfast_ceiling.outbound; DROP TABLE IF EXISTS holdfast_ceiling.outcome;
 DROP TABLE IF EXISTS holdfast_ceiling.disposition; DROP SCHEMA IF EXISTS holdfast_ceiling;";

/// Where it measures.
pub(crate) const CEILING_SCHEMA: &str = "CREATE SCHEMA holdfast_ceiling";

/// Bare tables for the rows of a message's whole life.
pub(crate) const CEILING_TABLES: &str = "
 CREATE TABLE holdfast_ceiling.message (id bigint NOT NULL PRIMARY KEY, a int NOT NULL, b bigint NOT NULL, c int NOT NULL,
     d nvarchar(200) NOT NULL, e nvarchar(60) NOT NULL, f nvarchar(100) NOT NULL, body varbinary(max) NOT NULL);
 CREATE TABLE holdfast_ceiling.routed (id bigint NOT NULL PRIMARY KEY, a bigint NOT NULL, b bigint NOT NULL,
     c nvarchar(100) NOT NULL);
 CREATE TABLE holdfast_ceiling.outbound (id bigint NOT NULL PRIMARY KEY, a bigint NOT NULL, b int NOT NULL, c int NOT NULL,
     d int NOT NULL, e bigint NOT NULL, body varbinary(max) NOT NULL);
 CREATE TABLE holdfast_ceiling.outcome (id bigint NOT NULL PRIMARY KEY, a bigint NOT NULL, b smallint NOT NULL, c int NOT NULL,
     d bigint NOT NULL, reply varbinary(max) NOT NULL);
 CREATE TABLE holdfast_ceiling.disposition (id bigint NOT NULL PRIMARY KEY, a smallint NOT NULL, b bigint NOT NULL);";
