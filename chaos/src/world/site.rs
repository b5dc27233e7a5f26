//! What the nodes run: two inbounds, a lane to a partner of its own for each lane of the sender, and an archive that gets
//! every message of the second inbound unchanged.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::names::{Host, INBOUNDS, SINKS};
use crate::record::{Owed, digest};

/// The sink that gets unchanged copies.
pub const ARCHIVE: &str = "archive";

/// The name of a lane's own sink.
pub fn sink(lane: u16) -> String {
    format!("lane{lane:02}")
}

/// Names of all sinks, in the order of their ports.
pub fn sinks(lanes: u16) -> Vec<String> {
    (0..lanes).map(sink).chain([ARCHIVE.to_owned()]).collect()
}

/// The configuration, for so many lanes. `backoff_max` tells one edition from another.
pub fn feed(lanes: u16, backoff_max: &str) -> String {
    let partners = Host::Partners.address();
    let outbound = |name: String, port: u16| {
        format!(
            "outbound(\"{name}\", mllp(host = \"{partners}\", port = {port}, connect_timeout = 1, ack_timeout = 3), \
             retry = retry(backoff = 0.05, backoff_max = {backoff_max}))\n"
        )
    };
    let [even, odd] = INBOUNDS;
    let mut text = format!(
        "inbound(\"IB_EVEN_ADT\", mllp(port = {even}, host = env(\"host\")), router = \"even\")\n\
         inbound(\"IB_ODD_ADT\", mllp(port = {odd}, host = env(\"host\")), router = \"odd\")\n\
         @router(\"even\")\ndef even(msg):\n    return [\"h\" + msg.control_id[6:8]]\n\
         @router(\"odd\")\ndef odd(msg):\n    return [\"h\" + msg.control_id[6:8], \"archive\"]\n\
         @handler(\"archive\")\ndef archive(msg):\n    return send(\"OB_ARCHIVE_ADT\", msg)\n"
    );
    text += &outbound("OB_ARCHIVE_ADT".to_owned(), SINKS + lanes);
    for lane in 0..lanes {
        text += &outbound(format!("OB_LANE{lane:02}_ADT"), SINKS + lane);
        text += &format!(
            "@handler(\"h{lane:02}\")\ndef handle{lane:02}(msg):\n    msg[\"MSH-5\"] = \"LANE{lane:02}\"\n    \
             return send(\"OB_LANE{lane:02}_ADT\", msg)\n"
        );
    }
    text
}

/// The sink that an outbound of [`feed`] delivers to.
pub fn sink_of(outbound: &str) -> Option<String> {
    let name = outbound.strip_prefix("OB_")?.strip_suffix("_ADT")?;
    Some(name.to_lowercase())
}

/// What a message of a lane is owed once it is acknowledged. The edit is made here by hand: a judge that asked the
/// engine's own code would not see its faults.
pub fn owed(lane: u16, body: &[u8]) -> Vec<Owed> {
    let mut owed = vec![Owed {
        sink: sink(lane),
        body: digest(&edited(body, &format!("LANE{lane:02}"))),
    }];
    if lane % 2 == 1 {
        owed.push(Owed {
            sink: ARCHIVE.to_owned(),
            body: digest(body),
        });
    }
    owed
}

/// The message with another MSH-5.
fn edited(body: &[u8], application: &str) -> Vec<u8> {
    // MSH-1 is the separator itself, so MSH-5 comes after the fourth one.
    let mut bars = body
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'|')
        .map(|(at, _)| at);
    let (Some(before), Some(after)) = (bars.nth(3), bars.next()) else {
        return body.to_vec();
    };
    [&body[..=before], application.as_bytes(), &body[after..]].concat()
}

/// Writes the configuration as a repository that others may not change.
///
/// # Errors
/// A file cannot be written.
pub fn write(root: &Path, feed: &str) -> Result<()> {
    for (path, text) in [
        ("config/feed.star", feed),
        ("environments/dev.toml", ""),
        ("holdfast.toml", ""),
    ] {
        let path = root.join(path);
        let folder = path.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(root)) {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_the_edit_for_the_lane_and_the_bytes_themselves_for_the_archive() {
        let body = b"MSH|^~\\&|A|B|OLD|C|20260101||ADT^A01|R000-L03-00000001|P|2.5\rPID|1\r";
        let wanted = b"MSH|^~\\&|A|B|LANE03|C|20260101||ADT^A01|R000-L03-00000001|P|2.5\rPID|1\r";
        let sinks: Vec<(String, String)> = owed(3, body)
            .into_iter()
            .map(|owed| (owed.sink, owed.body))
            .collect();
        assert_eq!(
            sinks,
            [
                ("lane03".to_owned(), digest(wanted)),
                ("archive".to_owned(), digest(body))
            ]
        );
        assert_eq!(owed(2, body).len(), 1);
        assert_eq!(sink_of("OB_LANE03_ADT"), Some(sink(3)));
        assert_eq!(sink_of("OB_ARCHIVE_ADT").as_deref(), Some(ARCHIVE));
    }
}
