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
