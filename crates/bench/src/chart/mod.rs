//! The chart of a measurement, as an SVG that stands alone: rates, backlog and latencies over time, and for each
//! phase its rate and where a message's time went.

mod draw;
mod timeline;

use crate::course::Second;
use draw::{Canvas, Frame, Scale, figure};

pub use timeline::Timeline;

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// The heading.
    pub title: String,
    /// The line below it: the question.
    pub subtitle: String,
    /// The line below that: date, machine, store.
    pub place: String,
    /// The measurement second by second.
    pub seconds: Vec<Second>,
    /// Where phases begin: a second, and a name.
    pub marks: Vec<(f64, String)>,
    /// The phases.
    pub bars: Vec<Bar>,
}

/// One phase.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// What it is called.
    pub name: String,
    /// Messages a second, from the first byte to the last delivery.
    pub rate: f64,
    /// What the database could append at best, in messages a second, where that was measured.
    pub ceiling: Option<f64>,
    /// The steps of a message's way, in their order, with the mean time in milliseconds.
    pub stages: Vec<(String, f64)>,
}

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 190.0;
const PANEL: f64 = 170.0;
const ROW: f64 = 22.0;

/// Colours that the colour-blind tell apart (Okabe and Ito).
const BLUE: &str = "#0072b2";
const ORANGE: &str = "#e69f00";
const GREEN: &str = "#009e73";
const RED: &str = "#d55e00";
const PURPLE: &str = "#cc79a7";
const SKY: &str = "#56b4e9";

/// Waits are pale, commits blue, work in the colour of its stage.
fn colour(stage: &str) -> &'static str {
    match stage {
        "receive" => "#f0e442",
        "accept_commit" => BLUE,
        "route_wait" => "#d9d9d9",
        "route" => ORANGE,
        "route_commit" => "#3b93c9",
        "transform_wait" => "#bdbdbd",
        "transform" => GREEN,
        "transform_commit" => SKY,
        "send_wait" => "#969696",
        "send" => PURPLE,
        "outcome_commit" => "#a6d3ee",
        _ => "#000000",
    }
}

impl Chart {
    /// The SVG's text.
    pub fn svg(&self) -> String {
        let mut canvas = Canvas::new(WIDTH);
        canvas.text(LEFT, 28.0, 18.0, "start", "#111", &self.title);
        canvas.text(LEFT, 48.0, 13.0, "start", "#111", &self.subtitle);
        canvas.text(LEFT, 66.0, 12.0, "start", "#555", &self.place);
        let mut top = 150.0;
        if !self.seconds.is_empty() {
            self.marks(&mut canvas, top - 28.0, top + 3.0 * (PANEL + 54.0) - 54.0);
            self.rates(&mut canvas, top);
            top += PANEL + 54.0;
            self.backlog(&mut canvas, top);
            top += PANEL + 54.0;
            self.latencies(&mut canvas, top);
            top += PANEL + 78.0;
        }
        top = self.speeds(&mut canvas, top);
        top = self.stages(&mut canvas, top + 54.0);
        canvas.finish(top + 24.0)
    }

    fn frame(&self, top: f64, title: &str, upwards: Scale) -> Frame {
        Frame {
            left: LEFT,
            right: WIDTH - RIGHT,
            top,
            bottom: top + PANEL,
            title: title.to_owned(),
            across: Scale::exact(self.seconds.len() as f64),
            upwards,
        }
    }

    fn marks(&self, canvas: &mut Canvas, top: f64, bottom: f64) {
        let frame = self.frame(top, "", Scale::linear(1.0));
        for (index, (second, name)) in self.marks.iter().enumerate() {
            let x = frame.x(*second);
            let row = if index % 2 == 0 { 0.0 } else { 13.0 }; // neighbours' names do not run into each other
            canvas.line((x, top - 12.0), (x, bottom), "#999", "4 3");
            canvas.text(x + 3.0, top - 14.0 + row, 11.0, "start", "#333", name);
        }
    }

    fn lines(&self, canvas: &mut Canvas, frame: &Frame, lines: &[Line]) {
        frame.draw(canvas, "seconds");
        for (index, (name, colour, value)) in lines.iter().enumerate() {
            let points = self.seconds.iter().enumerate();
            let points = points.map(|(second, of)| (second as f64 + 0.5, value(of)));
            // On a logarithmic axis nothing has no place: the line breaks there.
            canvas.path(frame, points, colour);
            let y = frame.top + 12.0 + 18.0 * index as f64;
            canvas.rect((frame.right + 14.0, y - 6.0), (16.0, 4.0), colour, "");
            canvas.text(frame.right + 36.0, y, 12.0, "start", "#333", name);
        }
    }

    fn top_of(&self, value: impl Fn(&Second) -> f64) -> f64 {
        self.seconds.iter().map(value).fold(0.0, f64::max)
    }

    fn rates(&self, canvas: &mut Canvas, top: f64) {
        let most = self.top_of(|of| of.acknowledged.max(of.delivered) as f64);
        let frame = self.frame(top, "messages a second", Scale::linear(most));
        let lines: [Line; 2] = [
            ("acknowledged", BLUE, |of| of.acknowledged as f64),
            ("delivered", RED, |of| of.delivered as f64),
        ];
        self.lines(canvas, &frame, &lines);
    }

    fn backlog(&self, canvas: &mut Canvas, top: f64) {
        let most = self.top_of(|of| of.backlog as f64);
        let frame = self.frame(top, "deliveries owed", Scale::linear(most));
        self.lines(canvas, &frame, &[("backlog", ORANGE, |of| of.backlog as f64)]);
    }

    fn latencies(&self, canvas: &mut Canvas, top: f64) {
        let lines: [Line; 4] = [
            ("answer p50", SKY, |of| of.answer_p50_ms),
            ("answer p99", BLUE, |of| of.answer_p99_ms),
            ("delivery p50", ORANGE, |of| of.delivery_p50_ms),
            ("delivery p99", RED, |of| of.delivery_p99_ms),
        ];
        let all = self
            .seconds
            .iter()
            .flat_map(|of| lines.iter().map(|(_, _, value)| value(of)));
        let (least, most) = all
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, 0.0_f64), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let frame = self.frame(
            top,
            "milliseconds since the intended send",
            Scale::log(least, most),
        );
        self.lines(canvas, &frame, &lines);
    }

    /// One bar a phase; a tick where the database's ceiling is, when that is not far out.
    fn speeds(&self, canvas: &mut Canvas, top: f64) -> f64 {
        let rates = self.bars.iter().map(|bar| bar.rate);
        let most = rates.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let heading = "Messages a second, from the first byte to the last delivery";
        self.rows(canvas, top, heading, |canvas, bar, left, width, y| {
            let length = width * bar.rate / most;
            canvas.rect((left, y), (length, ROW - 7.0), BLUE, "");
            let mut label = format!("{}/s", figure(bar.rate));
            if let Some(ceiling) = bar.ceiling.filter(|ceiling| *ceiling > 0.0) {
                let share = 100.0 * bar.rate / ceiling;
                label.push_str(&format!(" · {} % of {}/s", figure(share), figure(ceiling)));
            }
            label
        })
    }

    /// One full bar a phase, parted by stage.
    fn stages(&self, canvas: &mut Canvas, top: f64) -> f64 {
        let heading = "Where a message's time goes: mean share of each stage (waits are grey, commits blue)";
        let bottom = self.rows(canvas, top, heading, |canvas, bar, left, width, y| {
            let total: f64 = bar.stages.iter().map(|(_, ms)| ms).sum();
            let mut x = left;
            for (stage, ms) in bar.stages.iter().filter(|(_, ms)| *ms > 0.0) {
                let length = width * ms / total;
                let share = 100.0 * ms / total;
                let hint = format!("{}: {ms:.3} ms, {share:.1} %", stage.replace('_', " "));
                canvas.rect((x, y), (length, ROW - 7.0), colour(stage), &hint);
                x += length;
            }
            format!("{} ms in all", figure(total))
        });
        self.legend(canvas, bottom + 16.0)
    }

    fn legend(&self, canvas: &mut Canvas, top: f64) -> f64 {
        let Some(bar) = self.bars.iter().max_by_key(|bar| bar.stages.len()) else {
            return top;
        };
        let (mut x, mut y) = (LEFT, top);
        for (stage, _) in &bar.stages {
            canvas.rect((x, y - 9.0), (11.0, 11.0), colour(stage), "");
            canvas.text(x + 16.0, y, 12.0, "start", "#333", &stage.replace('_', " "));
            x += 134.0;
            if x > WIDTH - RIGHT {
                (x, y) = (LEFT, y + 19.0);
            }
        }
        y
    }

    /// A heading and a row for each phase, drawn by `row`, which gives the text to its right; the lower end.
    fn rows(
        &self,
        canvas: &mut Canvas,
        top: f64,
        heading: &str,
        row: impl Fn(&mut Canvas, &Bar, f64, f64, f64) -> String,
    ) -> f64 {
        let longest = self.bars.iter().map(|bar| bar.name.chars().count()).max();
        let left = LEFT + 7.0 * longest.unwrap_or(0) as f64 - 60.0;
        let left = left.max(LEFT);
        let width = WIDTH - RIGHT - 40.0 - left;
        canvas.text(LEFT - 70.0, top, 13.0, "start", "#111", heading);
        let mut y = top + 12.0;
        for bar in &self.bars {
            canvas.text(left - 8.0, y + 12.0, 12.0, "end", "#333", &bar.name);
            let label = row(canvas, bar, left, width, y);
            canvas.text(left + width + 8.0, y + 12.0, 12.0, "start", "#333", &label);
            y += ROW;
        }
        y
    }
}

/// A legend, a colour, and the value of a second.
type Line = (&'static str, &'static str, fn(&Second) -> f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_names_its_phases_axes_and_stages_and_holds_no_broken_number() {
        let second = |acknowledged, delivered| Second {
            acknowledged,
            delivered,
            backlog: 7,
            answer_p50_ms: 0.5,
            answer_p99_ms: 12.0,
            ..Second::default()
        };
        let bar = |name: &str, stages: &[(&str, f64)]| Bar {
            name: name.to_owned(),
            rate: 1234.0,
            ceiling: Some(5000.0),
            stages: stages
                .iter()
                .map(|(name, ms)| ((*name).to_owned(), *ms))
                .collect(),
        };
        let chart = Chart {
            title: "fan-out <1 & 2>".to_owned(),
            subtitle: "why".to_owned(),
            place: "here".to_owned(),
            seconds: vec![second(100, 0), second(0, 100)],
            marks: vec![(0.0, "warm-up".to_owned())],
            bars: vec![
                bar("to 1", &[("route", 0.25), ("send_wait", 0.75)]),
                bar("nothing", &[]),
            ],
        };
        let text = chart.svg();
        for part in [
            "fan-out &lt;1 &amp; 2&gt;",
            "messages a second",
            "deliveries owed",
            "milliseconds",
            "seconds",
            "warm-up",
            "to 1",
            "1,234/s · 25 % of 5,000/s",
            "send wait: 0.750 ms, 75.0 %",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        for empty in [
            Chart::default(),
            Chart {
                bars: vec![Bar::default()],
                ..Chart::default()
            },
        ] {
            let text = empty.svg();
            assert!(text.ends_with("</svg>\n") && !text.contains("NaN"), "{text}");
        }
    }
}
