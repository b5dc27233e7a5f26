//! A partner that speaks MLLP byte by byte, so that tests can also speak it wrongly. The load generator
//! of `bench` is the well-behaved one.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::PATIENCE;

/// What comes back on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// One frame, without its framing.
    Frame(Vec<u8>),
    /// The partner closed.
    Closed,
}

impl Heard {
    /// The acknowledgement code and the control id it names, as `AA` and `MSG1`.
    pub fn acknowledgement(&self) -> Result<(String, String)> {
        let Heard::Frame(frame) = self else {
            bail!("the connection was closed without an answer")
        };
        let text = String::from_utf8_lossy(frame);
        let msa = text
            .split('\r')
            .find(|line| line.starts_with("MSA"))
            .context("an answer without MSA")?;
        let fields: Vec<&str> = msa.split('|').collect();
        Ok((
            fields.get(1).unwrap_or(&"").to_string(),
            fields.get(2).unwrap_or(&"").to_string(),
        ))
    }
}

/// One connection.
pub struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// Connects to `127.0.0.1:port`.
    pub async fn connect(port: u16) -> Result<Line> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .with_context(|| format!("connecting to port {port}"))?;
        stream.set_nodelay(true)?;
        Ok(Line {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("sending")
    }

    /// Sends one framed message.
    pub async fn send(&mut self, body: &[u8]) -> Result<()> {
        self.raw(&frame(body)).await
    }

    /// Says that nothing more will come.
    pub async fn finish(&mut self) -> Result<()> {
        self.stream.shutdown().await.context("closing the sending side")
    }

    /// Waits for the next frame or the close.
    pub async fn hear(&mut self) -> Result<Heard> {
        tokio::time::timeout(PATIENCE, self.next())
            .await
            .context("the partner neither answered nor closed")?
    }

    /// Whether nothing comes for as long as `quiet`.
    pub async fn silent(&mut self, quiet: Duration) -> bool {
        tokio::time::timeout(quiet, self.next()).await.is_err()
    }

    /// Sends one message and waits for its acknowledgement: code and control id.
    pub async fn ask(&mut self, body: &[u8]) -> Result<(String, String)> {
        self.send(body).await?;
        self.hear().await?.acknowledgement()
    }

    async fn next(&mut self) -> Result<Heard> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == [0x1c, 0x0d]) {
                let mut frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                frame.truncate(end);
                let start = frame
                    .iter()
                    .position(|byte| *byte == 0x0b)
                    .context("a frame without its start")?;
                return Ok(Heard::Frame(frame.split_off(start + 1)));
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(Heard::Closed),
                Ok(_) => {}
                // A reset is a close, said rudely: unread bytes of ours were in its buffer.
                Err(fault) if fault.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(Heard::Closed);
                }
                Err(fault) => return Err(fault).context("receiving"),
            }
        }
    }
}

/// A message in its frame.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(body.len() + 3);
    framed.push(0x0b);
    framed.extend_from_slice(body);
    framed.extend_from_slice(&[0x1c, 0x0d]);
    framed
}

/// A small ADT with a control id: synthetic, well formed.
pub fn adt(control_id: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|SENDER|HOSPITAL|HOLDFAST|HOLDFAST|20260101120000||ADT^A01^ADT_A01|{control_id}|P|2.5.1\r\
         EVN|A01|20260101120000\r\
         PID|1||T000001^^^HOSPITAL^MR||TESTPATIENT^ALPHA||19800101|F\r\
         PV1|1|I|WARD^1^A\r"
    )
    .into_bytes()
}
