//! The questions that reading asks of one segment. A list of numbers comes first and joins row by row along an index, however
//! few or many the server expects: segments have no statistics worth the name while they are open.

use crate::server::{integrity, tables};

pub(crate) const ROUTED_ALL: &str = "SELECT TOP (@P3) r.id, r.message, r.at, r.handlers FROM {s}routed AS r
 WHERE r.id > @P1 AND r.id <= @P2 AND r.handlers <> ','
   AND NOT EXISTS (SELECT 1 FROM {s}disposition AS d WHERE d.message = r.message AND d.id > r.id AND d.disposition > 1)
 ORDER BY r.id OPTION (LOOP JOIN)";

/// 0 or the smallest number stand for a field of the filter that is not set.
pub(crate) const LIST_LETTERS: &str = "SELECT TOP (@P2) id, message, stage, at_name, send, at, reason
 FROM {s}dead_letter WHERE id > @P1 AND (@P3 = -1 OR stage = @P3) AND (@P4 = 0 OR at_name = @P4)
   AND (@P5 = 0 OR message = @P5) AND at >= @P6 AND at < @P7 ORDER BY id";

pub(crate) const COUNT_DELIVERED: &str =
    "SELECT COUNT_BIG(DISTINCT send) FROM {s}outcome WHERE result = 1 AND send >= @P1";

pub(crate) const TABLES: tables::Sql = tables::Sql {
    message_ids: "SELECT TOP (@P3) id FROM {s}message WHERE id > @P1 AND id <= @P2 ORDER BY id",
    arrivals: "SELECT m.id, m.inbound, m.received_at
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}message AS m ON m.id = a.n ORDER BY m.id OPTION (LOOP JOIN, FORCE ORDER)",
    works: "SELECT m.id, m.inbound, m.received_at, m.enc, m.body
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}message AS m ON m.id = a.n OPTION (LOOP JOIN, FORCE ORDER)",
    line: "SELECT id, inbound, received_at, control_id, kind, source, parent,
 CAST(DATALENGTH(body) AS bigint), enc, body FROM {s}message WHERE id = @P1",
    // The range stands twice, or the second table would be read from its beginning.
    unended: "SELECT TOP (@P3) m.id FROM {s}message AS m WHERE m.id > @P1 AND m.id <= @P2
   AND NOT EXISTS (SELECT 1 FROM {s}disposition AS d
                   WHERE d.message = m.id AND d.message > @P1 AND d.message <= @P2 AND d.disposition > 1)
 ORDER BY m.id OPTION (MERGE JOIN)",
    reopened: "SELECT DISTINCT message FROM {s}disposition
 WHERE disposition <= 1 AND message > @P1 AND message <= @P2 ORDER BY message",
    dispositions_between: "SELECT message, disposition FROM {s}disposition WHERE message >= @P1 AND message <= @P2 ORDER BY message, id",
    standings: "SELECT d.message, d.id, d.disposition
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a CROSS APPLY (
     SELECT TOP (1) n.message, n.id, n.disposition FROM {s}disposition AS n WHERE n.message = a.n ORDER BY n.id DESC) AS d
 OPTION (LOOP JOIN)",
    story: "SELECT at, disposition FROM {s}disposition WHERE message = @P1 ORDER BY id",
    put_back: "SELECT DISTINCT message FROM {s}put_back WHERE message > @P1 AND message <= @P2 ORDER BY message",
    newest_routed: "SELECT r.message, MAX(r.id) FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 JOIN {s}routed AS r ON r.message = a.n GROUP BY r.message OPTION (LOOP JOIN, FORCE ORDER)",
    routed: "SELECT r.id, r.message, r.at, r.handlers FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 JOIN {s}routed AS r ON r.message = a.n ORDER BY r.id OPTION (LOOP JOIN, FORCE ORDER)",
    handled: "SELECT h.id, h.message, h.handler, h.at, h.result
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}handled AS h ON h.message = a.n ORDER BY h.id OPTION (LOOP JOIN, FORCE ORDER)",
    sends: "SELECT o.id, o.message, o.handler, o.destination, o.priority, o.partition_key, o.at
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}outbound AS o ON o.message = a.n ORDER BY o.id OPTION (LOOP JOIN, FORCE ORDER)",
    answers: "SELECT h.message, h.handler, h.id FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 JOIN {s}handled AS h ON h.message = a.n
 UNION ALL SELECT o.message, o.handler, o.id FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 JOIN {s}outbound AS o ON o.message = a.n OPTION (LOOP JOIN, FORCE ORDER)",
    outcomes: "SELECT o.send, o.at, o.result, o.attempts
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a CROSS APPLY (
     SELECT TOP (1) n.send, n.at, n.result, n.attempts FROM {s}outcome AS n WHERE n.send = a.n ORDER BY n.id DESC) AS o
 OPTION (LOOP JOIN)",
    reply: "SELECT TOP (1) enc, reply FROM {s}outcome WHERE send = @P1 ORDER BY id DESC",
    failed_attempts: "SELECT e.send, CAST(COUNT(*) AS int)
 FROM OPENJSON(@P1) WITH (message bigint '$[0]', send bigint '$[1]') AS a
 JOIN {s}event AS e ON e.message = a.message AND e.send = a.send
 WHERE e.kind = @P2 GROUP BY e.send OPTION (LOOP JOIN, FORCE ORDER)",
    send_bodies: "SELECT o.id, o.message, o.enc, o.body,
 CAST(CASE WHEN o.body IS NULL THEN 0 ELSE 1 END AS bit)
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}outbound AS o ON o.id = a.n OPTION (LOOP JOIN, FORCE ORDER)",
    letters: "SELECT d.id, d.message, d.stage, d.at_name, d.send, d.at, d.reason
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}dead_letter AS d ON d.message = a.n ORDER BY d.id
 OPTION (LOOP JOIN, FORCE ORDER)",
    resolved: "SELECT r.dead_letter, r.at
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a CROSS APPLY (
     SELECT TOP (1) n.dead_letter, n.at FROM {s}resolved AS n WHERE n.dead_letter = a.n ORDER BY n.id DESC) AS r
 OPTION (LOOP JOIN)",
    events: "SELECT id, at, send, kind, detail, actor FROM {s}event WHERE message = @P1 ORDER BY id",
    unrouted: "SELECT TOP (@P4) m.id FROM {s}message AS m
 WHERE m.id > @P1 AND m.id <= @P2 AND (@P3 = 0 OR m.inbound = @P3)
   AND NOT EXISTS (SELECT 1 FROM {s}routed AS r WHERE r.message = m.id)
   AND NOT EXISTS (SELECT 1 FROM {s}disposition AS d WHERE d.message = m.id AND d.disposition > 0)
 ORDER BY m.id OPTION (LOOP JOIN)",
    routed_of: "SELECT TOP (@P4) r.id, r.message, r.at, r.handlers FROM {s}routed AS r
 WHERE r.id > @P1 AND r.id <= @P2 AND CHARINDEX(',' + CAST(@P3 AS varchar(11)) + ',', r.handlers) > 0
   AND NOT EXISTS (SELECT 1 FROM {s}disposition AS d WHERE d.message = r.message AND d.id > r.id AND d.disposition > 1)
   AND NOT EXISTS (SELECT 1 FROM {s}handled AS h WHERE h.message = r.message AND h.handler = @P3 AND h.id > r.id)
   AND NOT EXISTS (SELECT 1 FROM {s}outbound AS o WHERE o.message = r.message AND o.handler = @P3 AND o.id > r.id)
 ORDER BY r.id OPTION (LOOP JOIN)",
    send_candidates: "SELECT TOP (@P4) o.id, o.message, o.priority, o.partition_key
 FROM {s}outbound AS o WHERE o.id > @P1 AND o.id <= @P2 AND (@P3 = 0 OR o.destination = @P3)
   AND NOT EXISTS (SELECT 1 FROM {s}outcome AS e WHERE e.send = o.id)
 ORDER BY o.id OPTION (LOOP JOIN)",
    profiles: "SELECT number, profile FROM holdfast.segment WHERE profile IS NOT NULL AND dropped_at IS NULL",
    lines: "SELECT m.id, m.inbound, m.received_at, m.control_id, m.kind, m.source, m.parent,
 CAST(DATALENGTH(m.body) AS bigint), m.enc, SUBSTRING(m.body, 1, 18)
 FROM OPENJSON(@P1) WITH (n bigint '$') AS a JOIN {s}message AS m ON m.id = a.n OPTION (LOOP JOIN, FORCE ORDER)",
    count_sends: "SELECT COUNT_BIG(*) FROM {s}outbound",
    with_bodies: "SELECT id FROM {s}message WHERE enc <> 2
 UNION SELECT message FROM {s}outbound WHERE (body IS NOT NULL AND enc <> 2) OR partition_key IS NOT NULL
 UNION SELECT message FROM {s}outcome WHERE reply IS NOT NULL AND enc <> 2 ORDER BY 1",
    foreign_messages: "SELECT message FROM {s}routed WHERE message < @P1
 UNION SELECT message FROM {s}handled WHERE message < @P1
 UNION SELECT message FROM {s}outbound WHERE message < @P1
 UNION SELECT message FROM {s}outcome WHERE message < @P1
 UNION SELECT message FROM {s}disposition WHERE message < @P1
 UNION SELECT message FROM {s}dead_letter WHERE message < @P1
 UNION SELECT message FROM {s}event WHERE message < @P1 ORDER BY 1",
    foreign_delivered: "SELECT DISTINCT send FROM {s}outcome WHERE send < @P1 AND result = 1 ORDER BY send",
    foreign_letters: "SELECT DISTINCT dead_letter FROM {s}resolved WHERE dead_letter < @P1 ORDER BY dead_letter",
    existing_messages: "SELECT m.id FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 JOIN {s}message AS m ON m.id = a.n OPTION (LOOP JOIN, FORCE ORDER)",
    existing_sends: "SELECT o.id FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 JOIN {s}outbound AS o ON o.id = a.n OPTION (LOOP JOIN, FORCE ORDER)",
    existing_letters: "SELECT d.id FROM OPENJSON(@P1) WITH (n bigint '$') AS a
 JOIN {s}dead_letter AS d ON d.id = a.n OPTION (LOOP JOIN, FORCE ORDER)",
};

pub(crate) const CHECKING: integrity::Sql = integrity::Sql {
    // Counting a column that is never NULL would read the smallest index, and no more.
    read_all: &[
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', body)) FROM {s}message WHERE enc = 0",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', handlers)) FROM {s}routed",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', CAST(at AS varbinary(8)))) FROM {s}handled",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', body)) FROM {s}outbound WHERE enc = 0",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', reply)) FROM {s}outcome WHERE enc = 0",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', CAST(at AS varbinary(8)))) FROM {s}disposition",
        "SELECT COUNT_BIG(id) FROM {s}put_back",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', reason)) FROM {s}dead_letter",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', actor)) FROM {s}resolved",
        "SELECT COUNT_BIG(HASHBYTES('SHA2_256', detail)) FROM {s}event",
        "SELECT COUNT_BIG(entry) FROM {s}key",
    ],
    packed_bodies: [
        "SELECT id, id, enc, body FROM (SELECT id, enc, body,
     SUM(CAST(DATALENGTH(body) AS bigint)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - DATALENGTH(body) AS before
     FROM (SELECT TOP (256) id, enc, body FROM {s}message WHERE id > @P1 AND id > @P2 AND enc <> 0 ORDER BY id) AS next
 ) AS sized WHERE before < 4194304 ORDER BY id",
        "SELECT id, id, enc, body FROM (SELECT id, enc, body,
     SUM(COALESCE(CAST(DATALENGTH(body) AS bigint), 0)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING)
         - COALESCE(DATALENGTH(body), 0) AS before
     FROM (SELECT TOP (256) id, enc, body FROM {s}outbound WHERE id > @P1 AND id > @P2 AND enc <> 0 ORDER BY id) AS next
 ) AS sized WHERE before < 4194304 ORDER BY id",
        "SELECT send, id, enc, reply FROM (SELECT send, id, enc, reply,
     SUM(COALESCE(CAST(DATALENGTH(reply) AS bigint), 0)) OVER (ORDER BY send, id ROWS UNBOUNDED PRECEDING)
         - COALESCE(DATALENGTH(reply), 0) AS before
     FROM (SELECT TOP (256) send, id, enc, reply FROM {s}outcome
         WHERE (send > @P1 OR (send = @P1 AND id > @P2)) AND enc <> 0 ORDER BY send, id) AS next
 ) AS sized WHERE before < 4194304 ORDER BY send, id",
    ],
    strays: "SELECT COUNT_BIG(*) FROM (
     SELECT id FROM {s}message UNION ALL SELECT id FROM {s}routed UNION ALL SELECT id FROM {s}handled
     UNION ALL SELECT id FROM {s}outbound UNION ALL SELECT id FROM {s}outcome
     UNION ALL SELECT id FROM {s}disposition UNION ALL SELECT id FROM {s}dead_letter
     UNION ALL SELECT id FROM {s}resolved UNION ALL SELECT id FROM {s}event) AS numbered
 WHERE id < @P1 OR id >= @P2",
    orphans: "SELECT COUNT_BIG(*) FROM {s}outcome AS o WHERE o.send >= @P1
   AND NOT EXISTS (SELECT 1 FROM {s}outbound AS s WHERE s.id = o.send AND s.message = o.message)",
};
