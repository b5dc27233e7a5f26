//! The sending side: one message at a time on one socket, delivered when the partner says so.
//!
//! AA and CA deliver, AE and CE are tried again, AR and CR are final. CA counts as delivered also where
//! MSH-16 asked for an application answer: the partner has taken the message, and an application answer
//! that follows on this socket is dropped. After a time-out or any trouble the socket is closed, so a
//! late answer cannot meet the next message.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use formats::hl7::peek;
use formats::mllp;
use model::Body;
use tokio::time::timeout;

use super::link::{Answer, Link, Trouble, Want};
use super::settings::Outbound;
use crate::contract::{DeliverError, Delivered, Delivery, FailureClass, Sink};

pub(crate) struct MllpSink {
    settings: Arc<Outbound>,
    /// Taken out for the time of a delivery: one that is dropped half way takes its socket along.
    link: Option<Link>,
}

impl MllpSink {
    pub(crate) fn new(settings: Outbound) -> MllpSink {
        MllpSink {
            settings: Arc::new(settings),
            link: None,
        }
    }

    /// An open socket: the one at hand if it is still alive, else a new one.
    async fn link(&mut self, connection: &str) -> Result<Link, DeliverError> {
        if let Some(mut link) = self.link.take() {
            if let Some(late) = link.refresh() {
                note_late(connection, late);
                return Ok(link);
            }
            tracing::debug!(connection, "partner closed the idle socket, connecting again");
        }
        let Outbound {
            host,
            port,
            connect_timeout,
            ..
        } = &*self.settings;
        match timeout(*connect_timeout, Link::open(&self.settings)).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(retry(format!(
                "cannot connect to {host}:{port}: {error}; {}",
                advice(&error)
            ))),
            Err(_) => Err(retry(format!(
                "cannot connect to {host}:{port}: no answer within {connect_timeout:?}; check the address, the network and firewalls on the way"
            ))),
        }
    }

    async fn exchange(
        &self,
        link: &mut Link,
        body: &[u8],
        want: &Want<'_>,
    ) -> Result<Option<Answer>, Trouble> {
        link.send(body).await?;
        if !self.settings.expect_ack {
            return Ok(None);
        }
        link.answer(want).await.map(Some)
    }

    fn timed_out(&self, link: &Link) -> String {
        let Outbound {
            host,
            port,
            ack_timeout,
            ..
        } = &*self.settings;
        let came = match (link.others, link.came) {
            (0, 0) => "nothing came".to_owned(),
            (0, bytes) => format!("{bytes} bytes came that are no complete answer"),
            (1, _) => "one answer came, for another message".to_owned(),
            (others, _) => format!("{others} answers came, for other messages"),
        };
        format!("no answer from {host}:{port} within {ack_timeout:?}: {came}; the socket is closed")
    }
}

#[async_trait]
impl Sink for MllpSink {
    async fn deliver(&mut self, delivery: &Delivery) -> Result<Delivered, DeliverError> {
        if mllp::breaks_framing(&delivery.body) {
            return Err(DeliverError {
                class: FailureClass::Internal,
                text: "the message holds a framing byte (VT or FS) and cannot be sent by MLLP; encode or remove it in the handler".to_owned(),
                reply: None,
            });
        }
        let id = sent_id(&delivery.body).filter(|_| self.settings.match_reply);
        let want = id.as_deref().map_or(Want::Any, Want::For);
        let mut link = self.link(&delivery.connection).await?;
        let exchange = timeout(
            self.settings.ack_timeout,
            self.exchange(&mut link, &delivery.body, &want),
        )
        .await;
        note_late(&delivery.connection, link.others);
        match exchange {
            Ok(Ok(answer)) => {
                if self.settings.persistent {
                    self.link = Some(link);
                } else {
                    link.close().await;
                }
                answer.map_or_else(|| Ok(Delivered::default()), outcome)
            }
            Ok(Err(trouble)) => {
                let Outbound { host, port, .. } = &*self.settings;
                Err(retry(format!("{host}:{port}: {trouble}")))
            }
            Err(_) => Err(retry(self.timed_out(&link))),
        }
    }

    fn another(&self) -> Box<dyn Sink> {
        Box::new(MllpSink {
            settings: Arc::clone(&self.settings),
            link: None,
        })
    }

    async fn close(&mut self) {
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }
}

/// MSH-10 of what is sent. Without one (no HL7) the next answer is taken as it comes.
fn sent_id(body: &[u8]) -> Option<String> {
    let header = peek(body).ok()?;
    // As the partner's MSA-2 is read: the bytes, not the characters that MSH-18 makes of them.
    let id = String::from_utf8_lossy(header.field(10)).trim().to_owned();
    (!id.is_empty()).then_some(id)
}

/// The partner's own words stay in the reply: they may name a patient.
fn outcome(answer: Answer) -> Result<Delivered, DeliverError> {
    let code = answer.reply.code;
    let reply = Some(Body::from(answer.raw));
    if code.is_accept() {
        return Ok(Delivered { reply });
    }
    let class = if code.is_reject() {
        FailureClass::Reject
    } else {
        FailureClass::Retry
    };
    let then = if code.is_reject() {
        "it refuses the message for good"
    } else {
        "it may take it later"
    };
    Err(DeliverError {
        class,
        text: format!("the partner answered {code}: {then}"),
        reply,
    })
}

fn note_late(connection: &str, late: usize) {
    if late > 0 {
        metrics::counter!("holdfast_late_replies_total", "name" => connection.to_owned())
            .increment(late as u64);
        tracing::warn!(connection, late, "answers to earlier messages passed over");
    }
}

fn retry(text: String) -> DeliverError {
    DeliverError {
        class: FailureClass::Retry,
        text,
        reply: None,
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there: start the partner, or correct host and port"
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no way leads there: check the network and the address"
        }
        io::ErrorKind::TimedOut => "check the address, the network and firewalls on the way",
        _ => "check that the name can be resolved and the address is right",
    }
}
