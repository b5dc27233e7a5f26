//! Lines, texts and axes.

use std::fmt::Write as _;

/// The SVG as it grows.
pub(super) struct Canvas {
    width: f64,
    body: String,
}

impl Canvas {
    pub(super) fn new(width: f64) -> Canvas {
        Canvas {
            width,
            body: String::new(),
        }
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}"); // writing to a String cannot fail
    }

    pub(super) fn text(&mut self, x: f64, y: f64, size: f64, anchor: &str, colour: &str, text: &str) {
        let text = escaped(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, dashes: &str) {
        self.put(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A filled rectangle; `hint` shows when a pointer rests on it.
    pub(super) fn rect(&mut self, at: (f64, f64), size: (f64, f64), colour: &str, hint: &str) {
        let (width, height) = (size.0.max(0.0), size.1);
        let hint = escaped(hint);
        self.put(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"><title>{hint}</title></rect>",
            at.0, at.1
        ));
    }

    /// A line through points in the frame's units; it breaks where a value has no place on the axis.
    pub(super) fn path(&mut self, frame: &Frame, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
        let mut path = String::new();
        let mut pen_up = true;
        for (x, value) in points {
            let Some(place) = frame.upwards.place(value) else {
                pen_up = true;
                continue;
            };
            let y = frame.bottom - place * (frame.bottom - frame.top);
            let step = if pen_up { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {y:.1}", frame.x(x));
            if pen_up {
                path.push_str("h0.1"); // a point without neighbours shows as a dot
            }
            pen_up = false;
        }
        self.put(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>"
        ));
    }

    pub(super) fn finish(self, height: f64) -> String {
        let width = self.width;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"Helvetica, Arial, sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// An axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scale {
    Linear {
        most: f64,
        step: f64,
    },
    /// Powers of ten.
    Log {
        from: i32,
        to: i32,
    },
}

impl Scale {
    /// From 0 to the tick at or above `most`.
    pub(super) fn linear(most: f64) -> Scale {
        let most = if most > 0.0 { most } else { 1.0 };
        let rough = most / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power);
        let step = step
            .into_iter()
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(rough);
        Scale::Linear {
            most: (most / step - 0.001).ceil() * step,
            step,
        }
    }

    /// From 0 to `most` itself.
    pub(super) fn exact(most: f64) -> Scale {
        match Scale::linear(most) {
            Scale::Linear { step, .. } if most > 0.0 => Scale::Linear { most, step },
            scale => scale,
        }
    }

    pub(super) fn log(least: f64, most: f64) -> Scale {
        if most <= 0.0 {
            return Scale::Log { from: 0, to: 1 };
        }
        let from = least.log10().floor() as i32;
        let to = (most.log10().ceil() as i32).max(from + 1);
        Scale::Log { from, to }
    }

    /// Where a value stands, from 0 to 1.
    fn place(self, value: f64) -> Option<f64> {
        match self {
            Scale::Linear { most, .. } => Some((value / most).clamp(0.0, 1.0)),
            Scale::Log { from, to } => {
                let place = (value.log10() - f64::from(from)) / f64::from(to - from);
                (value > 0.0).then(|| place.clamp(0.0, 1.0))
            }
        }
    }

    fn ticks(self) -> Vec<f64> {
        match self {
            Scale::Linear { most, step } => {
                let count = (most / step + 0.001) as u32;
                (0..=count).map(|tick| f64::from(tick) * step).collect()
            }
            Scale::Log { from, to } => (from..=to).map(|power| 10_f64.powi(power)).collect(),
        }
    }
}

/// A panel with two axes.
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) title: String,
    pub(super) across: Scale,
    pub(super) upwards: Scale,
}

impl Frame {
    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.across.place(value).unwrap_or(0.0) * (self.right - self.left)
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, across: &str) {
        for tick in self.upwards.ticks() {
            let place = self.upwards.place(tick).unwrap_or(0.0);
            let y = self.bottom - place * (self.bottom - self.top);
            canvas.line((self.left, y), (self.right, y), "#e4e4e4", "");
            canvas.text(self.left - 7.0, y + 4.0, 11.0, "end", "#555", &figure(tick));
        }
        for tick in self.across.ticks() {
            let x = self.x(tick);
            canvas.line((x, self.bottom), (x, self.bottom + 4.0), "#555", "");
            canvas.text(x, self.bottom + 16.0, 11.0, "middle", "#555", &figure(tick));
        }
        canvas.line((self.left, self.bottom), (self.right, self.bottom), "#555", "");
        canvas.line((self.left, self.top), (self.left, self.bottom), "#555", "");
        let middle = f64::midpoint(self.left, self.right);
        canvas.text(middle, self.bottom + 31.0, 11.0, "middle", "#555", across);
        canvas.text(self.left, self.top - 9.0, 13.0, "start", "#111", &self.title);
    }
}

/// A number for people: thousands apart, and no more digits than say something.
pub(super) fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 10.0 || size == 0.0 => 0,
        size if size >= 1.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if let Some((whole, rest)) = text.split_once('.') {
        let rest = rest.trim_end_matches('0');
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{whole}{point}{rest}");
    }
    let mut apart = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index) % 3 == 0 {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_easily() {
        for (value, text) in [
            (0.0, "0"),
            (0.01, "0.01"),
            (0.5, "0.5"),
            (2.0, "2"),
            (2.54, "2.5"),
            (34.2, "34"),
            (1_000.0, "1,000"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn ticks_are_round_and_cover_the_axis() {
        assert_eq!(
            Scale::linear(23_000.0).ticks(),
            [0.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0]
        );
        assert_eq!(Scale::linear(0.0).ticks().len(), 6);
        assert_eq!(Scale::log(0.3, 20.0).ticks(), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(Scale::log(0.3, 20.0).place(0.0), None);
    }
}
