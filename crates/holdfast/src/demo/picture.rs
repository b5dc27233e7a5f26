//! The flow, drawn live: redrawn in place on a terminal, a line now and then elsewhere.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::feeds::{PORTS, View};
use crate::output::{GOOD, ODD, Output, paint, thousands};

/// A line elsewhere at most this often.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// See the module's text.
pub(super) struct Picture {
    out: Output,
    live: Option<(MultiProgress, Vec<ProgressBar>)>,
    last_line: Mutex<Option<Duration>>,
}

impl Picture {
    /// A picture on the error stream.
    pub(super) fn new(out: &Output) -> Picture {
        let live = out.is_terminal().then(|| {
            let multi = MultiProgress::new();
            let style =
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bars = (0..6)
                .map(|_| multi.add(ProgressBar::new_spinner().with_style(style.clone())))
                .collect();
            (multi, bars)
        });
        Picture {
            out: *out,
            live,
            last_line: Mutex::new(None),
        }
    }

    /// Draws what has happened so far.
    pub(super) fn draw(&self, view: &View, elapsed: Duration) {
        match &self.live {
            Some((_, bars)) => {
                for (bar, line) in bars.iter().zip(lines(view, elapsed)) {
                    bar.set_message(line);
                }
            }
            None => self.draw_line(view, elapsed),
        }
    }

    fn draw_line(&self, view: &View, elapsed: Duration) {
        let Ok(mut last) = self.last_line.lock() else {
            return;
        };
        if last.is_some_and(|last| elapsed < last + LINE_EVERY) {
            return;
        }
        *last = Some(elapsed);
        self.out.remark(&format!(
            "{:>3} s  acknowledged {}  delivered {}",
            elapsed.as_secs(),
            thousands(view.acknowledged() + view.files),
            thousands(view.arrived.iter().sum()),
        ));
    }

    /// A line that stays.
    pub(super) fn say(&self, text: &str) {
        let text = paint(ODD, text);
        match &self.live {
            Some((multi, _)) => drop(multi.println(text)),
            None => self.out.remark(&text),
        }
    }

    /// Leaves the last picture standing.
    pub(super) fn finish(&self) {
        if let Some((_, bars)) = &self.live {
            bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

fn lines(view: &View, elapsed: Duration) -> Vec<String> {
    let figure = |number: u64| paint(GOOD, &format!("{:>7}", thousands(number)));
    let [emr_adt, emr_oru, lab_adt, archive] = view.arrived.map(figure);
    let [to_emr_adt, to_emr_oru, to_lab, to_archive] = PORTS;
    vec![
        format!(
            "{:>3} s   acknowledged                                            delivered",
            elapsed.as_secs()
        ),
        format!(
            "  registration ══{}══▶ IB_REG_ADT ─┬─ adt_to_emr ──────▶ {to_emr_adt:<14}{emr_adt}",
            figure(view.adt)
        ),
        format!("                                       └─ adt_to_lab ──────▶ {to_lab:<14}{lab_adt}"),
        format!(
            "  laboratory   ══{}══▶ IB_LAB_ORU ─── oru_to_emr ──────▶ {to_emr_oru:<14}{emr_oru}",
            figure(view.oru)
        ),
        format!(
            "  batch files  ══{}══▶ IB_DROP_ORU ── drop_to_archive ─▶ {to_archive:<14}{archive}",
            figure(view.files)
        ),
        String::new(),
    ]
}
