//! Searching: the numbers of the messages of one segment that something is said of, and what is noted of a segment
//! when it is sealed. `@P1 <= message < @P2`, at most `@P3`, newest first.

pub(crate) const BY_TIME: &str = "SELECT TOP (@P3) id FROM {s}message
 WHERE id >= @P1 AND id < @P2 AND received_at >= @P4 AND received_at < @P5 ORDER BY id DESC";

/// In a sealed segment: any of the entries in `@P4`. Each is looked for by itself, newest first.
pub(crate) const BY_ENTRIES: &str = "SELECT TOP (@P3) k.message
 FROM OPENJSON(@P4) WITH (entry nvarchar(170) '$') AS a
 JOIN {s}key AS k ON k.entry = {entry} COLLATE Latin1_General_BIN2
 WHERE k.message >= @P1 AND k.message < @P2 ORDER BY k.message DESC";

/// In one whose keys are not sorted yet.
pub(crate) const BY_KEY_OPEN: &str = "SELECT TOP (@P3) id FROM {s}message WHERE id >= @P1 AND id < @P2
   AND CHARINDEX(NCHAR(127) + @P4 + NCHAR(127), NCHAR(127) + keys + NCHAR(127)) > 0 ORDER BY id DESC";

pub(crate) const BY_CONTROL_ID_OPEN: &str =
    "SELECT TOP (@P3) id FROM {s}message WHERE id >= @P1 AND id < @P2 AND control_id = @P4 ORDER BY id DESC";

/// `@P4` an inbound or 0, `@P5` how the type begins or nothing, `@P6` and `@P7` received between.
pub(crate) const BY_SCAN: &str = "SELECT TOP (@P3) id FROM {s}message
 WHERE id >= @P1 AND id < @P2 AND (@P4 = 0 OR inbound = @P4) AND (@P5 = N'' OR CHARINDEX(@P5, kind) = 1)
   AND received_at >= @P6 AND received_at < @P7 ORDER BY id DESC";

pub(crate) const BY_DESTINATION: &str = "SELECT TOP (@P3) message FROM {s}outbound
 WHERE destination = @P4 AND message >= @P1 AND message < @P2 ORDER BY message DESC";

pub(crate) const BY_DISPOSITION: &str = "SELECT TOP (@P3) message FROM {s}disposition
 WHERE disposition = @P4 AND message >= @P1 AND message < @P2 ORDER BY message DESC";

pub(crate) const UNDISPOSED: &str = "SELECT TOP (@P3) m.id FROM {s}message AS m WHERE m.id >= @P1 AND m.id < @P2
   AND NOT EXISTS (SELECT 1 FROM {s}disposition AS d WHERE d.message = m.id) ORDER BY m.id DESC OPTION (LOOP JOIN)";

/// What messages are found by, in the order of the table's index. A key begins with a small letter; nothing else does.
pub(crate) const FILL_KEYS: &str = "INSERT INTO {s}key (entry, message)
 SELECT f.entry, f.message FROM (
     SELECT CAST(e.value AS nvarchar(170)) COLLATE Latin1_General_BIN2 AS entry, m.id AS message
     FROM {s}message AS m CROSS APPLY STRING_SPLIT(m.keys, NCHAR(127)) AS e WHERE m.keys IS NOT NULL
     UNION ALL
     SELECT CAST(N'#' + LEFT(m.control_id, 150) AS nvarchar(170)) COLLATE Latin1_General_BIN2, m.id
     FROM {s}message AS m WHERE m.control_id IS NOT NULL
     UNION ALL
     SELECT CAST(N'@' + CAST(m.inbound AS nvarchar(11)) + N'|' + LEFT(COALESCE(m.kind, N''), 150) AS nvarchar(170))
         COLLATE Latin1_General_BIN2, m.id
     FROM {s}message AS m) AS f
 ORDER BY f.entry, f.message";

pub(crate) const EMPTY_KEYS: &str = "TRUNCATE TABLE {s}key";

pub(crate) const ENDS: &str = "SELECT COALESCE(MIN(id), 0), COALESCE(MAX(id), 0) FROM {s}message";

/// `@P1` the first message, `@P2` numbers in a block. Types that differ by spaces at their ends only are counted apart.
pub(crate) const SHARES: &str =
    "SELECT (id - @P1) / @P2, inbound, MIN(COALESCE(kind, N'')), COUNT_BIG(*), MIN(id),
     MIN(received_at), MAX(received_at)
 FROM {s}message GROUP BY (id - @P1) / @P2, inbound, COALESCE(kind, N''), DATALENGTH(kind)";

pub(crate) const BY_DESTINATIONS: &str =
    "SELECT destination, COUNT_BIG(*) FROM {s}outbound GROUP BY destination";

pub(crate) const BY_DISPOSITIONS: &str =
    "SELECT disposition, COUNT_BIG(*) FROM {s}disposition GROUP BY disposition";

/// Whether no row holds a body.
pub(crate) const IS_BARE: &str = "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM {s}message WHERE enc <> 2)
     OR EXISTS (SELECT 1 FROM {s}outbound WHERE (body IS NOT NULL AND enc <> 2) OR partition_key IS NOT NULL)
     OR EXISTS (SELECT 1 FROM {s}outcome WHERE reply IS NOT NULL AND enc <> 2) THEN 0 ELSE 1 END AS bit)";

pub(crate) const PROFILES: &str =
    "SELECT number, profile FROM holdfast.segment WHERE profile IS NOT NULL AND dropped_at IS NULL";
