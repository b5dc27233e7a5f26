//! How a receiving partner is told to misbehave; shared by `receive` and `load`.

use std::time::Duration;

use bench::sink::{Behaviour, Fault, Misdeed, When};

use super::values;

/// Faults on purpose.
#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "Manners of the receiver (WHEN is always, every:10, first:3, each:2 or 10%)")]
pub(crate) struct Manners {
    /// Wait before each answer.
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    delay: Option<Duration>,
    /// Refuse: AE, AR, CE or CR, and when, as in AE:10% or AR:first:3. Can be repeated.
    #[arg(long, value_name = "CODE[:WHEN]", value_parser = values::nak)]
    nak: Vec<Fault>,
    /// Close the connection instead of answering.
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    drop: Option<When>,
    /// Stop answering on the connection, and keep it open.
    #[arg(long, value_name = "WHEN", value_parser = values::when, num_args = 0..=1, default_missing_value = "always")]
    hang: Option<When>,
    /// Leave the message unanswered, and go on.
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    silent: Option<When>,
    /// Answer with something that is not HL7.
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    garbage: Option<When>,
    /// Acknowledge another message.
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    wrong_id: Option<When>,
    /// Close the connection in the middle of the answer.
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    cut_short: Option<When>,
    /// Answer twice.
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    twice: Option<When>,
    /// What chance is drawn from; the same seed gives the same faults.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    fault_seed: u64,
}

impl Manners {
    /// The behaviour asked for; where several faults have their turn, the graver one wins.
    pub(crate) fn behaviour(&self) -> Behaviour {
        let graver = [
            (self.drop, Misdeed::Drop),
            (self.hang, Misdeed::Hang),
            (self.cut_short, Misdeed::CutShort),
            (self.silent, Misdeed::Silence),
            (self.garbage, Misdeed::Garbage),
            (self.wrong_id, Misdeed::WrongId),
            (self.twice, Misdeed::Twice),
        ];
        let graver = graver
            .into_iter()
            .filter_map(|(when, what)| Some(Fault { what, when: when? }));
        Behaviour {
            delay: self.delay.unwrap_or_default(),
            faults: graver.chain(self.nak.iter().copied()).collect(),
            seed: self.fault_seed,
        }
    }
}
