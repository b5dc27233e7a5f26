//! Checked settings of both directions.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use model::connector::Call;
use model::problem::Problem;

use crate::options::Options;

/// Upper bound of frame and reply sizes: 1 GiB.
const BYTES_MAX: usize = 1 << 30;

/// An MLLP listener.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) max_frame_bytes: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) read_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) allow: Vec<IpNet>,
    pub(crate) pipeline: usize,
}

/// An MLLP client.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connect_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) persistent: bool,
    pub(crate) expect_ack: bool,
    pub(crate) match_reply: bool,
    pub(crate) max_reply_bytes: usize,
    pub(crate) keepalive: Option<Duration>,
}

impl Inbound {
    pub(crate) fn read(call: &Call) -> Result<Inbound, Vec<Problem>> {
        let mut options = Options::of(call);
        let settings = Inbound {
            host: options.text("host"),
            port: options.port("port", true),
            max_frame_bytes: options.number("max_frame_bytes", 64, BYTES_MAX),
            idle_timeout: options.duration_or_off("idle_timeout"),
            read_timeout: options.duration("read_timeout"),
            max_connections: options.number("max_connections", 1, 65_536),
            allow: networks(&mut options),
            pipeline: options.number("pipeline", 1, 4_096),
        };
        options.finish(Some(settings))
    }

    /// Whether this partner may connect. An IPv4 address may come in its IPv6 form.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.allow.is_empty()
            || self
                .allow
                .iter()
                .any(|network| network.contains(&address.to_canonical()))
    }
}

impl Outbound {
    pub(crate) fn read(call: &Call) -> Result<Outbound, Vec<Problem>> {
        let mut options = Options::of(call);
        let settings = Outbound {
            host: options.text("host"),
            port: options.port("port", false),
            connect_timeout: options.duration("connect_timeout"),
            ack_timeout: options.duration("ack_timeout"),
            persistent: options.flag("persistent"),
            expect_ack: options.flag("expect_ack"),
            match_reply: options.flag("match_reply"),
            max_reply_bytes: options.number("max_reply_bytes", 64, BYTES_MAX),
            keepalive: options.duration_or_off("keepalive"),
        };
        options.finish(Some(settings))
    }
}

fn networks(options: &mut Options<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in options.list("allow") {
        match text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        {
            Ok(network) => networks.push(network),
            Err(_) => options.problem(
                format!("`allow` of mllp(): `{text}` is neither an address nor a network"),
                "write addresses such as \"10.1.2.3\" or networks such as \"10.1.0.0/16\"",
            ),
        }
    }
    networks
}
