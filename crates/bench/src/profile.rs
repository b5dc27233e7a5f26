//! The load profiles, as data: which sites, which phases, and what each is there to answer.

use std::time::Duration;

use serde::Serialize;

/// A named series of measurements.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// The question that it answers.
    pub answers: &'static str,
    /// One after another, each on a site and a node of its own.
    pub steps: Vec<Step>,
}

/// One site, and what it goes through.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// What it is called; unique in its profile.
    pub name: String,
    /// The site.
    pub site: Site,
    /// Bytes of a message, about.
    pub size: usize,
    /// One after another, on the same node.
    pub phases: Vec<Phase>,
}

/// What stands between sender and sink.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Site {
    /// Inbounds, each with a router, `fanout` handlers and a strict FIFO outbound for each handler.
    pub lanes: u16,
    /// Handlers, and so deliveries, a message.
    pub fanout: u16,
    /// What each handler does.
    pub handler: Handler,
    /// How long the receiving partner takes for an answer.
    #[serde(serialize_with = "milliseconds", rename = "partner_delay_ms")]
    pub partner_delay: Duration,
}

fn milliseconds<S: serde::Serializer>(time: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(time.as_secs_f64() * 1000.0)
}

/// What a handler does with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Handler {
    /// Sends it on unchanged.
    None,
    /// Edits five fields.
    Edit,
    /// Edits five fields and counts for about a millisecond.
    Slow,
}

/// One stretch of load.
#[derive(Clone, PartialEq, Debug)]
pub struct Phase {
    /// What it is called; unique in its step.
    pub name: &'static str,
    /// How fast.
    pub pace: Pace,
    /// How long.
    pub length: Length,
    /// Whether to wait at its end until everything was delivered.
    pub drains: bool,
}

/// When the next message goes out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As fast as answers come, with so many unanswered messages in each lane.
    Window(u32),
    /// A share of the rate that the first phase reached from end to end, whatever the answers do.
    Share(f64),
    /// So many messages a second, on whatever site, whatever the answers do.
    Rate(f64),
}

/// When a phase ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After so many messages.
    Count(u64),
}

impl Length {
    /// The same, longer or shorter, but at least a fifth of a second or 20 messages.
    pub fn scaled(self, scale: f64) -> Length {
        match self {
            Length::Time(time) => Length::Time(time.mul_f64(scale).max(Duration::from_millis(200))),
            Length::Count(count) => Length::Count(((count as f64 * scale) as u64).max(20)),
        }
    }
}

/// The file of functions that the profiles' sites run, for `config/`.
pub const FUNCTIONS: &str = include_str!("../site/config/lanes.star");

impl Site {
    /// `environments/dev.toml` of this site: `inbound` are its inbounds' ports, `outbound` those of its partners,
    /// `fanout` for each inbound.
    pub fn environment(&self, inbound: &[u16], outbound: &[u16]) -> String {
        let list = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let work = match self.handler {
            Handler::None => "none",
            Handler::Edit => "edit",
            Handler::Slow => "slow",
        };
        format!(
            "inbound_ports = \"{}\"\noutbound_ports = \"{}\"\nwork = \"{work}\"\n",
            list(inbound),
            list(outbound)
        )
    }
}

/// What is named by `--profile`.
pub const NAMES: [&str; 9] = [
    "smoke",
    "baseline",
    "soak",
    "lanes",
    "spread",
    "sizes",
    "fanout",
    "transform",
    "ordered",
];

const SIXTEEN: Site = Site {
    lanes: 16,
    fanout: 1,
    handler: Handler::Edit,
    partner_delay: Duration::ZERO,
};

/// The profile of a name.
pub fn named(name: &str) -> Option<Profile> {
    let (answers, steps) = match name {
        "smoke" => ("does everything work, from the sender to the report?", smoke()),
        "baseline" => (
            "how fast is it, how long do answers take at half of that, and does it recover from a spike?",
            vec![baseline()],
        ),
        "soak" => ("does anything grow, or slow down, in hours?", vec![soak()]),
        "lanes" => ("what do more connections bring, and cost?", lanes()),
        "spread" => (
            "does a message cost the same however many lanes there are?",
            spread(),
        ),
        "sizes" => ("what does a message's size cost?", sizes()),
        "fanout" => ("what does each further destination cost?", fanout()),
        "transform" => ("what does a handler's work cost?", transform()),
        "ordered" => (
            "how fast is one strict FIFO lane, and what does the engine add to a slow partner?",
            ordered(),
        ),
        _ => return None,
    };
    let name = NAMES.into_iter().find(|known| *known == name)?;
    Some(Profile { name, answers, steps })
}

fn phase(name: &'static str, pace: Pace, seconds: u64) -> Phase {
    Phase {
        name,
        pace,
        length: Length::Time(Duration::from_secs(seconds)),
        drains: true,
    }
}

fn step(name: impl Into<String>, site: Site, size: usize, phases: Vec<Phase>) -> Step {
    Step {
        name: name.into(),
        site,
        size,
        phases,
    }
}

fn smoke() -> Vec<Step> {
    let site = Site {
        lanes: 2,
        fanout: 2,
        ..SIXTEEN
    };
    let phases = vec![
        phase("flat out", Pace::Window(4), 1),
        phase("paced", Pace::Share(0.5), 1),
    ];
    vec![step("2 lanes", site, 1024, phases)]
}

fn baseline() -> Step {
    let mut phases = vec![
        phase("warm-up", Pace::Window(8), 10),
        phase("ramp 20 %", Pace::Share(0.2), 10),
        phase("ramp 35 %", Pace::Share(0.35), 10),
        phase("sustained", Pace::Share(0.5), 60),
        phase("spike", Pace::Share(1.5), 10),
        phase("recovery", Pace::Share(0.5), 30),
    ];
    phases[4].drains = false; // recovering from it is the next phase's task
    step("16 lanes", SIXTEEN, 1024, phases)
}

fn soak() -> Step {
    let phases = vec![
        phase("warm-up", Pace::Window(8), 10),
        phase("soak", Pace::Share(0.5), 3600),
    ];
    step("16 lanes", SIXTEEN, 1024, phases)
}

/// Flat out for the rate; at half of that for latencies and stages that are not all backlog.
fn flat_out(window: u32) -> Vec<Phase> {
    let flat_out = phase("flat out", Pace::Window(window), 10);
    vec![flat_out, phase("half", Pace::Share(0.5), 10)]
}

fn lanes() -> Vec<Step> {
    let site = |lanes| Site { lanes, ..SIXTEEN };
    let sweep = [1, 4, 16, 64, 256].into_iter();
    sweep
        .map(|lanes| {
            step(
                format!("{lanes} lane{}", if lanes == 1 { "" } else { "s" }),
                site(lanes),
                1024,
                flat_out(8),
            )
        })
        .collect()
}

/// At one rate, since grouping follows the rate and most of the cost follows grouping.
fn spread() -> Vec<Step> {
    let sweep = [4, 16, 64, 256].into_iter();
    let paced = || {
        vec![
            phase("warm-up", Pace::Window(1), 1),
            phase("500/s", Pace::Rate(500.0), 10),
        ]
    };
    sweep
        .map(|lanes| step(format!("{lanes} lanes"), Site { lanes, ..SIXTEEN }, 1024, paced()))
        .collect()
}

fn sizes() -> Vec<Step> {
    let sweep = [
        (512, "0.5 KB"),
        (1024, "1 KB"),
        (10 * 1024, "10 KB"),
        (100 * 1024, "100 KB"),
    ]
    .into_iter();
    sweep
        .map(|(size, name)| step(name, SIXTEEN, size, flat_out(4)))
        .collect()
}

fn fanout() -> Vec<Step> {
    let site = |fanout| Site {
        lanes: 8,
        fanout,
        ..SIXTEEN
    };
    let sweep = [1, 4, 8].into_iter();
    sweep
        .map(|fanout| step(format!("to {fanout}"), site(fanout), 1024, flat_out(4)))
        .collect()
}

fn transform() -> Vec<Step> {
    let site = |handler| Site { handler, ..SIXTEEN };
    let sweep = [
        (Handler::None, "none"),
        (Handler::Edit, "edit"),
        (Handler::Slow, "slow"),
    ]
    .into_iter();
    sweep
        .map(|(handler, name)| step(name, site(handler), 1024, flat_out(4)))
        .collect()
}

fn ordered() -> Vec<Step> {
    let sweep = [(0, 20_000), (10, 1_000), (50, 200)].into_iter();
    let one = |(delay_ms, count)| {
        let site = Site {
            lanes: 1,
            partner_delay: Duration::from_millis(delay_ms),
            ..SIXTEEN
        };
        let phase = Phase {
            length: Length::Count(count),
            ..phase("one lane", Pace::Window(4), 0)
        };
        step(format!("partner takes {delay_ms} ms"), site, 1024, vec![phase])
    };
    sweep.map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_profile_has_steps_and_phases_of_different_names_and_can_be_paced() {
        for name in NAMES {
            let profile = named(name).unwrap();
            let steps: HashSet<&str> = profile.steps.iter().map(|step| step.name.as_str()).collect();
            assert!(!steps.is_empty() && steps.len() == profile.steps.len(), "{name}");
            for step in &profile.steps {
                let phases: HashSet<&str> = step.phases.iter().map(|phase| phase.name).collect();
                assert_eq!(phases.len(), step.phases.len(), "{name}, {}", step.name);
                // A share needs a rate to be a share of.
                assert!(
                    matches!(step.phases[0].pace, Pace::Window(_)),
                    "{name}, {}",
                    step.name
                );
                assert!(step.phases[0].drains && step.phases.last().is_some_and(|last| last.drains));
            }
        }
        assert_eq!(named("Smoke"), None);
    }

    #[test]
    fn a_scaled_phase_is_never_empty() {
        let time = Length::Time(Duration::from_secs(10));
        assert_eq!(time.scaled(0.5), Length::Time(Duration::from_secs(5)));
        assert_eq!(time.scaled(0.0), Length::Time(Duration::from_millis(200)));
        assert_eq!(Length::Count(100).scaled(0.0), Length::Count(20));
    }
}
