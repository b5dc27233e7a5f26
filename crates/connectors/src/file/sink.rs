//! The running file outbound: one file per send, whole and durable before it counts as delivered.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::disk;
use super::name::Values;
use super::settings::Outbound;
use crate::contract::{DeliverError, Delivered, Delivery, FailureClass, Sink};

pub(crate) struct FileSink {
    settings: Arc<Outbound>,
}

impl FileSink {
    pub(crate) fn new(settings: Outbound) -> FileSink {
        FileSink {
            settings: Arc::new(settings),
        }
    }

    fn name(&self, delivery: &Delivery) -> String {
        let control_id = formats::hl7::peek(&delivery.body)
            .map(|header| header.control_id().into_owned())
            .unwrap_or_default();
        self.settings.pattern.fill(&Values {
            send: &delivery.send.to_string(),
            message: &delivery.message.to_string(),
            control_id: &control_id,
            connection: &delivery.connection,
        })
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn deliver(&mut self, delivery: &Delivery) -> Result<Delivered, DeliverError> {
        let name = self.name(delivery);
        let directory = self.settings.directory.clone();
        // Each attempt writes to a place of its own: one that was given up may still be writing.
        let temporary = directory.join(format!(".{name}.{}.tmp", delivery.attempt));
        let path = directory.join(&name);
        let bytes = delivery.body.bytes().clone();
        let written = spawn_blocking(move || disk::write_whole(&temporary, &path, &bytes)).await;
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                metrics::counter!("holdfast_files_written_total", "name" => delivery.connection.to_string())
                    .increment(1);
                Ok(Delivered::default())
            }
            Err(error) => Err(self.failure(&name, error)),
        }
    }

    fn another(&self) -> Box<dyn Sink> {
        Box::new(FileSink {
            settings: Arc::clone(&self.settings),
        })
    }
}

impl FileSink {
    fn failure(&self, name: &str, error: io::Error) -> DeliverError {
        let class = match error.kind() {
            io::ErrorKind::InvalidFilename => FailureClass::Internal,
            _ => FailureClass::Retry,
        };
        let directory = self.settings.directory.display();
        let text = format!(
            "cannot write {name} into {directory}: {error}; {}",
            disk::advice(&error)
        );
        DeliverError {
            class,
            text,
            reply: None,
        }
    }
}
