//! The picture of a rehearsal: how many acknowledgements came in each slot of time, where the leader changed, and the
//! longest silence at each change.

use super::draw::{Canvas, Frame, Scale};
use super::{BLUE, LEFT, ORANGE, PANEL, RED, RIGHT, WIDTH};

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The heading.
    pub title: String,
    /// The line below it.
    pub subtitle: String,
    /// Acknowledgements in each slot of time.
    pub slots: Vec<u64>,
    /// How long a slot is, in seconds.
    pub slot_s: f64,
    /// What was done, and when, in seconds.
    pub marks: Vec<(f64, String)>,
    /// Silences: from and to, in seconds.
    pub silences: Vec<(f64, f64)>,
}

impl Timeline {
    /// The SVG's text.
    pub fn svg(&self) -> String {
        let mut canvas = Canvas::new(WIDTH);
        canvas.text(LEFT, 28.0, 18.0, "start", "#111", &self.title);
        canvas.text(LEFT, 48.0, 13.0, "start", "#111", &self.subtitle);
        let top = 110.0;
        let most = self.slots.iter().copied().max().unwrap_or(0) as f64 / self.slot_s;
        let frame = Frame {
            left: LEFT,
            right: WIDTH - RIGHT / 4.0,
            top,
            bottom: top + 1.6 * PANEL,
            title: "acknowledgements a second".to_owned(),
            across: Scale::exact(self.slots.len() as f64 * self.slot_s),
            upwards: Scale::linear(most),
        };
        frame.draw(&mut canvas, "seconds");
        for (from, to) in &self.silences {
            let (left, right) = (frame.x(*from), frame.x(*to));
            let hint = format!("{:.0} ms without an acknowledgement", (to - from) * 1000.0);
            canvas.rect((left, top), (right - left, frame.bottom - top), "#f7d9c8", &hint);
            canvas.text(
                right + 4.0,
                top + 14.0,
                12.0,
                "start",
                RED,
                &format!("{:.0} ms", (to - from) * 1000.0),
            );
        }
        let points = self.slots.iter().enumerate();
        let points =
            points.map(|(slot, count)| ((slot as f64 + 0.5) * self.slot_s, *count as f64 / self.slot_s));
        canvas.path(&frame, points, BLUE);
        for (index, (at, what)) in self.marks.iter().enumerate() {
            let x = frame.x(*at);
            let row = if index % 2 == 0 { 0.0 } else { 14.0 };
            canvas.line((x, top - 8.0), (x, frame.bottom), ORANGE, "4 3");
            canvas.text(x + 3.0, top - 12.0 - row, 11.0, "start", "#555", what);
        }
        canvas.finish(frame.bottom + 52.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_drawn_with_its_length() {
        let timeline = Timeline {
            title: "switchover".to_owned(),
            slots: vec![5, 5, 0, 0, 5],
            slot_s: 0.1,
            marks: vec![(0.2, "round 1".to_owned())],
            silences: vec![(0.2, 0.4)],
            ..Timeline::default()
        };
        let svg = timeline.svg();
        assert!(
            svg.contains("200 ms") && svg.contains("round 1") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
    }
}
