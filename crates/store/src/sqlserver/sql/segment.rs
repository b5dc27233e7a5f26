//! Segments as tables.

use crate::server::{seal, segment};

/// Something that changes whenever a row of the list does.
pub(crate) const STAMP: &str = "SELECT number,
     OBJECT_ID(N'holdfast.s' + RIGHT(N'000000' + CAST(number AS nvarchar(11)), 6) + N'_message'),
 CAST(CASE WHEN sealed_at IS NULL THEN 0 ELSE 1 END AS int) + CAST(CASE WHEN drained_at IS NULL THEN 0 ELSE 2 END AS int)
 FROM holdfast.segment WHERE opened_at IS NOT NULL AND dropped_at IS NULL ORDER BY number";

pub(crate) const LIST: &str =
    "SELECT number, opened_at, CAST(CASE WHEN sealed_at IS NULL THEN 0 ELSE 1 END AS bit),
 CAST(CASE WHEN JSON_VALUE(profile, '$.bare') = N'true' THEN 1 ELSE 0 END AS bit)
 FROM holdfast.segment WHERE opened_at IS NOT NULL AND dropped_at IS NULL ORDER BY number";

/// Bytes of each table of the schema, by name.
pub(crate) const BYTES: &str = "SELECT t.name, CAST(COALESCE(SUM(a.total_pages), 0) AS bigint) * 8192
 FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id
 JOIN sys.partitions AS p ON p.object_id = t.object_id
 JOIN sys.allocation_units AS a
     ON (a.type IN (1, 3) AND a.container_id = p.hobt_id) OR (a.type = 2 AND a.container_id = p.partition_id)
 WHERE s.name = N'holdfast' GROUP BY t.name";

/// The same where the catalogue does not tell (Babelfish).
pub(crate) const BYTES_OF_STAND_IN: &str = "SELECT t.name,
 CAST(pg_catalog.pg_total_relation_size(CAST(t.object_id AS bigint)) AS bigint)
 FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE s.name = N'holdfast'";

/// The tables of the schema whose names begin so.
pub(crate) const TABLES_LIKE: &str = "SELECT t.name FROM sys.tables AS t
 JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE s.name = N'holdfast' AND t.name LIKE @P1 ORDER BY t.name";

/// (table, what the index is called by, columns): what sealing adds.
pub(crate) const INDEXES: [(&str, &str, &str); 4] = [
    ("outbound", "destination_id", "destination, id"),
    ("outbound", "destination_message", "destination, message"),
    ("disposition", "disposition", "disposition, message"),
    ("dead_letter", "at_name", "at_name, id"),
];

/// Whether a table has an index: `@P1` `holdfast.<table>`, `@P2` the index. A stand-in makes its name longer.
pub(crate) const INDEX_THERE: &str =
    "SELECT CAST(COUNT(*) AS int) FROM sys.indexes WHERE object_id = OBJECT_ID(@P1) AND name LIKE @P2 + N'%'";

/// Sees to it that a term leads until the transaction ends, or undoes all of it with error 50001. The row is read
/// under a lock, never as a version. `@epoch` and `@term` are declared before.
pub(crate) const PROVE: &str = "IF NOT EXISTS (SELECT 1 FROM holdfast.lease WITH (REPEATABLEREAD, ROWLOCK)
     WHERE lease_group = 0 AND epoch = @epoch AND term = @term AND released = 0)
     THROW 50001, N'this term no longer leads', 1;";

/// What has to stay of a segment while it is made anew: messages, dead letters of older segments, and messages whose
/// bodies go, with what stays of them.
pub(crate) const REMAINDER: &str = "CREATE TABLE #stays (id bigint NOT NULL PRIMARY KEY);
 CREATE TABLE #letter (id bigint NOT NULL PRIMARY KEY);
 CREATE TABLE #bare (id bigint NOT NULL PRIMARY KEY, remnant varbinary(8) NULL)";

pub(crate) const STAYS: &str =
    "INSERT INTO #stays (id) SELECT a.n FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 WHERE NOT EXISTS (SELECT 1 FROM #stays AS k WHERE k.id = a.n)";

pub(crate) const LETTERS_STAY: &str =
    "INSERT INTO #letter (id) SELECT a.n FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 WHERE NOT EXISTS (SELECT 1 FROM #letter AS k WHERE k.id = a.n)";

pub(crate) const OWN_LETTERS_STAY: &str = "INSERT INTO #letter (id) SELECT d.id FROM {s}dead_letter AS d
 WHERE d.message IN (SELECT k.id FROM #stays AS k) AND d.id NOT IN (SELECT l.id FROM #letter AS l)";

/// What stays of them lies, eight bytes each, in `@P2`.
pub(crate) const BARE: &str = "INSERT INTO #bare (id, remnant)
 SELECT id, SUBSTRING(@P2, place, 8) FROM OPENJSON(@P1) WITH (id bigint '$[0]', place int '$[1]')";

/// Messages' bodies: how long they are, as stored, and how they begin.
pub(crate) const BODY_SIZES: &str =
    "SELECT m.id, m.enc, CAST(DATALENGTH(m.body) AS bigint), SUBSTRING(m.body, 1, 18)
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}message AS m ON m.id = a.n";

/// What is copied into the tables {n} of a segment made anew. `b.id` is there where a body has to go, and
/// `b.remnant` is what stays of a message's own body.
pub(crate) const COPIES: [&str; 11] = [
    "INSERT INTO {n}message (id, inbound, received_at, at, control_id, kind, source, parent, keys, enc, body)
 SELECT o.id, o.inbound, o.received_at, o.at, o.control_id, o.kind, o.source, o.parent,
     CASE WHEN b.id IS NULL THEN o.keys END, CASE WHEN b.id IS NULL THEN o.enc ELSE 2 END,
     CASE WHEN b.id IS NULL THEN o.body ELSE b.remnant END
 FROM {s}message AS o LEFT JOIN #bare AS b ON b.id = o.id WHERE o.id IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}routed (id, message, at, handlers) SELECT o.id, o.message, o.at, o.handlers
 FROM {s}routed AS o WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}handled (message, handler, id, at, result) SELECT o.message, o.handler, o.id, o.at, o.result
 FROM {s}handled AS o WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}outbound (id, message, handler, destination, priority, partition_key, at, enc, body)
 SELECT o.id, o.message, o.handler, o.destination, o.priority, CASE WHEN b.id IS NULL THEN o.partition_key END, o.at,
     CASE WHEN b.id IS NULL OR o.body IS NULL THEN o.enc ELSE 2 END,
     CASE WHEN b.id IS NULL OR o.body IS NULL THEN o.body ELSE CAST('' AS varbinary(8)) END
 FROM {s}outbound AS o LEFT JOIN #bare AS b ON b.id = o.message WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}outcome (send, id, message, result, attempts, at, enc, reply)
 SELECT o.send, o.id, o.message, o.result, o.attempts, o.at,
     CASE WHEN b.id IS NULL OR o.reply IS NULL THEN o.enc ELSE 2 END,
     CASE WHEN b.id IS NULL OR o.reply IS NULL THEN o.reply ELSE CAST('' AS varbinary(8)) END
 FROM {s}outcome AS o LEFT JOIN #bare AS b ON b.id = o.message WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}disposition (message, id, disposition, at) SELECT o.message, o.id, o.disposition, o.at
 FROM {s}disposition AS o WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}put_back (message, id) SELECT o.message, o.id
 FROM {s}put_back AS o WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}dead_letter (id, message, stage, at_name, send, at, reason)
 SELECT o.id, o.message, o.stage, o.at_name, o.send, o.at, o.reason
 FROM {s}dead_letter AS o WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    "INSERT INTO {n}resolved (dead_letter, id, how, actor, at) SELECT o.dead_letter, o.id, o.how, o.actor, o.at
 FROM {s}resolved AS o WHERE o.dead_letter IN (SELECT k.id FROM #letter AS k)",
    "INSERT INTO {n}event (id, message, send, kind, at, detail, actor)
 SELECT o.id, o.message, o.send, o.kind, o.at, o.detail, o.actor
 FROM {s}event AS o WHERE o.message IN (SELECT k.id FROM #stays AS k)",
    // The keys of messages without bodies are not copied; what they are found by beside them is.
    "INSERT INTO {n}key (entry, message) SELECT o.entry, o.message FROM {s}key AS o
 WHERE o.message IN (SELECT k.id FROM #stays AS k)
   AND (UNICODE(o.entry) < 97 OR o.message NOT IN (SELECT b.id FROM #bare AS b))",
];

pub(crate) const SEGMENTS: segment::Sql = segment::Sql {
    catalog: "SELECT number, first_row, opened_at,
 CAST(CASE WHEN sealed_at IS NULL THEN 0 ELSE 1 END AS bit), CAST(CASE WHEN drained_at IS NULL THEN 0 ELSE 1 END AS bit),
 oldest_reference, CAST(CASE WHEN JSON_VALUE(profile, '$.bare') = N'true' THEN 1 ELSE 0 END AS bit)
 FROM holdfast.segment WHERE opened_at IS NOT NULL AND dropped_at IS NULL ORDER BY number",
    spare: "SELECT TOP (1) number FROM holdfast.segment
 WHERE opened_at IS NULL AND dropped_at IS NULL ORDER BY number",
    make: "INSERT INTO holdfast.segment (number, made_at)
 OUTPUT inserted.number SELECT COALESCE(MAX(number), 0) + 1, @P1 FROM holdfast.segment",
    open_segment: "BEGIN TRANSACTION;
 DECLARE @own int, @opened int;
 SET @opened = 0;
 SELECT @own = COUNT(*) FROM holdfast.shard WITH (UPDLOCK, ROWLOCK, REPEATABLEREAD)
     WHERE shard = 0 AND epoch = @P1 AND term = @P2 AND session = @P3;
 IF @own = 1
 BEGIN
     UPDATE holdfast.segment SET first_row = @P5, opened_at = @P6 WHERE number = @P4 AND opened_at IS NULL;
     SET @opened = @@ROWCOUNT;
 END;
 COMMIT TRANSACTION;
 SELECT @opened",
    open_first: "UPDATE holdfast.segment SET first_row = 1, opened_at = @P2 WHERE number = @P1 AND opened_at IS NULL",
    takes_rows: "SELECT CAST(CASE WHEN sealed_at IS NULL AND dropped_at IS NULL THEN 1 ELSE 0 END AS bit)
 FROM holdfast.segment WHERE number = @P1 AND opened_at IS NOT NULL",
    has_row: "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM {s}{table} WHERE id = @P1) THEN 1 ELSE 0 END AS bit)",
};

pub(crate) const SEALING: seal::Sql = seal::Sql {
    fill_keys: &[
        "TRUNCATE TABLE {s}key",
        // What messages are found by, in the order of the table's index. A key begins with a small letter; nothing else does.
        // What is cut off at 150 units is not cut through a character of two.
        "INSERT INTO {s}key (entry, message)
 SELECT f.entry, f.message FROM (
     SELECT CAST(e.value AS nvarchar(170)) COLLATE Latin1_General_BIN2 AS entry, m.id AS message
     FROM {s}message AS m CROSS APPLY STRING_SPLIT(m.keys, NCHAR(127)) AS e WHERE m.keys IS NOT NULL
     UNION ALL
     SELECT CAST(N'#' + LEFT(m.control_id, 150 - CASE WHEN UNICODE(SUBSTRING(m.control_id, 150, 1)) BETWEEN 55296 AND 56319
         THEN 1 ELSE 0 END) AS nvarchar(170)) COLLATE Latin1_General_BIN2, m.id
     FROM {s}message AS m WHERE m.control_id IS NOT NULL
     UNION ALL
     SELECT CAST(N'@' + CAST(m.inbound AS nvarchar(11)) + N'|' + LEFT(COALESCE(m.kind, N''), 150 - CASE WHEN UNICODE(SUBSTRING(m.kind, 150, 1)) BETWEEN 55296 AND 56319
         THEN 1 ELSE 0 END) AS nvarchar(170))
         COLLATE Latin1_General_BIN2, m.id
     FROM {s}message AS m) AS f
 ORDER BY f.entry, f.message",
    ],
    oldest_reference: "SELECT MIN(refers) FROM (
     SELECT MIN(message) AS refers FROM {s}routed UNION ALL SELECT MIN(message) FROM {s}handled
     UNION ALL SELECT MIN(message) FROM {s}outbound UNION ALL SELECT MIN(send) FROM {s}outcome
     UNION ALL SELECT MIN(message) FROM {s}disposition UNION ALL SELECT MIN(message) FROM {s}dead_letter
     UNION ALL SELECT MIN(message) FROM {s}event UNION ALL SELECT MIN(dead_letter) FROM {s}resolved) AS oldest",
    ends: "SELECT COALESCE(MIN(id), 0), COALESCE(MAX(id), 0) FROM {s}message",
    // Types that differ by spaces at their ends only are counted apart.
    shares: "SELECT (id - @P1) / @P2, inbound, MIN(COALESCE(kind, N'')), COUNT_BIG(*), MIN(id),
     MIN(received_at), MAX(received_at)
 FROM {s}message GROUP BY (id - @P1) / @P2, inbound, COALESCE(kind, N''), DATALENGTH(kind)",
    by_destinations: "SELECT destination, COUNT_BIG(*) FROM {s}outbound GROUP BY destination",
    by_dispositions: "SELECT disposition, COUNT_BIG(*) FROM {s}disposition GROUP BY disposition",
    is_bare: "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM {s}message WHERE enc <> 2)
     OR EXISTS (SELECT 1 FROM {s}outbound WHERE (body IS NOT NULL AND enc <> 2) OR partition_key IS NOT NULL)
     OR EXISTS (SELECT 1 FROM {s}outcome WHERE reply IS NOT NULL AND enc <> 2) THEN 0 ELSE 1 END AS bit)",
    sealed: "UPDATE holdfast.segment SET sealed_at = @P2, oldest_reference = @P3, profile = @P4
 WHERE number = @P1 AND sealed_at IS NULL",
    drained: "UPDATE holdfast.segment SET drained_at = @P2 WHERE number = @P1 AND drained_at IS NULL",
};
