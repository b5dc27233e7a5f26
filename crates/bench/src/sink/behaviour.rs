//! How a partner treats what it gets, as data: faults on purpose, in an order that a seed repeats.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A partner's manners. The default answers AA to everything, at once.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Time before each answer; messages of one connection wait in line.
    pub delay: Duration,
    /// The first fault whose turn it is decides.
    pub faults: Vec<Fault>,
    /// What chance is drawn from.
    pub seed: u64,
}

impl Behaviour {
    /// A partner that takes its time.
    pub fn slow(delay: Duration) -> Behaviour {
        Behaviour {
            delay,
            ..Behaviour::default()
        }
    }

    /// A partner with one fault.
    pub fn faulty(what: Misdeed, when: When) -> Behaviour {
        Behaviour {
            faults: vec![Fault { what, when }],
            ..Behaviour::default()
        }
    }
}

/// A misdeed and its turn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fault {
    /// What it does.
    pub what: Misdeed,
    /// When it does it.
    pub when: When,
}

/// What a partner can do wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misdeed {
    /// Answers with this code: AE, AR, CE or CR.
    Nak(NakCode),
    /// Closes the connection instead of answering.
    Drop,
    /// Stops answering on this connection, and keeps it open.
    Hang,
    /// Leaves this one message unanswered.
    Silence,
    /// Answers with a frame that is not HL7.
    Garbage,
    /// Acknowledges a message that it was not sent.
    WrongId,
    /// Closes the connection half way through its answer.
    CutShort,
    /// Answers twice.
    Twice,
}

/// A refusal, MSA-1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "HL7 table 0008 names them")]
pub enum NakCode {
    Ae,
    Ar,
    Ce,
    Cr,
}

/// When a fault has its turn. Messages count from 1 on each port, over all its connections.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum When {
    /// Every time.
    Always,
    /// Every *n*th message.
    Every(u64),
    /// The first *n* messages.
    First(u64),
    /// The first *n* attempts at each message.
    FirstOfEach(u32),
    /// By chance, from 0 (never) to 1 (always).
    Chance(f64),
}

/// A port's own state of its behaviour.
#[derive(Debug)]
pub(super) struct Turns {
    behaviour: Behaviour,
    rng: SmallRng,
    seen: u64,
    attempts: HashMap<Vec<u8>, u32>,
}

impl Turns {
    pub(super) fn new(behaviour: Behaviour, port: usize) -> Turns {
        let rng = SmallRng::seed_from_u64(behaviour.seed.wrapping_add(port as u64));
        Turns {
            behaviour,
            rng,
            seen: 0,
            attempts: HashMap::new(),
        }
    }

    pub(super) fn delay(&self) -> Duration {
        self.behaviour.delay
    }

    /// What to do with the next message; `None` is to accept it.
    pub(super) fn next(&mut self, control_id: &[u8]) -> Option<Misdeed> {
        self.seen += 1;
        let (seen, rng, attempts) = (self.seen, &mut self.rng, &mut self.attempts);
        let mut its_turn = |fault: &&Fault| match fault.when {
            When::Always => true,
            When::Every(n) => n > 0 && seen.is_multiple_of(n),
            When::First(n) => seen <= n,
            When::Chance(chance) => rng.random::<f64>() < chance,
            When::FirstOfEach(n) => {
                let attempt = attempts.entry(control_id.to_vec()).or_default();
                *attempt = attempt.saturating_add(1);
                *attempt <= n
            }
        };
        self.behaviour
            .faults
            .iter()
            .find(&mut its_turn)
            .map(|fault| fault.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(when: When, ids: &[&str]) -> Vec<bool> {
        let mut turns = Turns::new(Behaviour::faulty(Misdeed::Drop, when), 0);
        ids.iter().map(|id| turns.next(id.as_bytes()).is_some()).collect()
    }

    #[test]
    fn faults_take_their_turns() {
        let ids = ["a", "a", "b", "a", "b"];
        for (when, expected) in [
            (When::Always, [true; 5]),
            (When::Every(2), [false, true, false, true, false]),
            (When::First(2), [true, true, false, false, false]),
            (When::FirstOfEach(1), [true, false, true, false, false]),
            (When::Chance(0.0), [false; 5]),
            (When::Chance(1.0), [true; 5]),
            (When::Every(0), [false; 5]),
        ] {
            assert_eq!(turns(when, &ids), expected, "{when:?}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let ids = ["x"; 64];
        assert_eq!(turns(When::Chance(0.5), &ids), turns(When::Chance(0.5), &ids));
    }
}
