//! The time line of a run as a picture, and the same as a table for those who do not see it. The whole run stands above;
//! the milliseconds before the crash stand below under a lens of their own.
use maud::{Markup, html};

use super::parts::{fold, paragraph, scroll};
use crate::report::document::crash::{Clock, Lane, Mark, StageSpan, Timeline};
use crate::report::timeline::FAULT;

/// Width of the picture, in its own units.
const WIDTH: f64 = 1100.0;
/// Where time begins and ends on it: the names of the lanes stand before, the last numbers need room behind.
const LEFT: f64 = 110.0;
const RIGHT: f64 = WIDTH - 30.0;
/// The band of the whole run.
const BAND_TOP: f64 = 40.0;
const BAND_BOTTOM: f64 = 80.0;
/// Where the lens begins: below the times of the whole run.
const LENS_TOP: f64 = BAND_BOTTOM + 24.0;
/// Where the lanes begin.
const LANES_TOP: f64 = 180.0;
/// Height of one row of a lane.
const ROW: f64 = 26.0;
/// Rows of a lane: marks that would cover one another go into the next row.
const MAX_ROWS: usize = 8;
/// Radius of a mark.
const RADIUS: f64 = 10.0;
/// Rough width of a character of a label.
const CHARACTER: f64 = 6.6;
/// Marks that get a number on the picture; the table has all.
const MAX_DRAWN: usize = 99;

/// Picture and table.
pub(super) fn timeline(line: &Timeline) -> Markup {
    let drawn = Drawn::of(line);
    html! {
        (scroll("time line", &picture(line, &drawn)))
        (table(line, &drawn))
        @if !line.missing.is_empty() {
            p { "Not on it:" }
            ul { @for why in &line.missing { li { (paragraph(why)) } } }
        }
    }
}

/// A piece of time and where it stands.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn x(self, ms: f64) -> f64 {
        let length = (self.to - self.from).max(0.001);
        let part = ((ms - self.from) / length).clamp(0.0, 1.0);
        LEFT + part * (RIGHT - LEFT)
    }
}

/// A mark with its place in the lower part of the picture.
struct Placed<'t> {
    number: usize,
    mark: &'t Mark,
    x: f64,
    row: usize,
    label: Side,
}

/// Where a label stands beside its mark.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    /// There is no room.
    Nowhere,
}

/// What is drawn in the lower part.
struct Drawn<'t> {
    scale: Scale,
    placed: Vec<Placed<'t>>,
    /// Rows of each lane, in the order of [`Lane::ALL`].
    rows: [usize; Lane::ALL.len()],
}

impl<'t> Drawn<'t> {
    fn of(line: &'t Timeline) -> Self {
        let (from, to) = line.closer.unwrap_or((0.0, line.total_ms));
        let scale = Scale { from, to };
        let inside = |mark: &&Mark| mark.at_ms >= from && mark.at_ms <= to;
        let mut placed = Vec::new();
        let mut taken: [Rows; Lane::ALL.len()] = Default::default();
        let marks = line.marks.iter().filter(inside).take(MAX_DRAWN);
        for (number, mark) in (1..).zip(marks) {
            let x = scale.x(mark.at_ms);
            if let Some(rows) = taken.get_mut(lane(mark.lane)) {
                let (row, label) = rows.place(x, room(&mark.label));
                placed.push(Placed {
                    number,
                    mark,
                    x,
                    row,
                    label,
                });
            }
        }
        Self {
            scale,
            placed,
            rows: taken.map(|rows| rows.0.len().max(1)),
        }
    }

    /// The upper edge of a lane.
    fn top(&self, lane: usize) -> f64 {
        let rows: usize = self.rows.iter().take(lane).sum();
        LANES_TOP + height(rows, lane)
    }

    fn bottom(&self) -> f64 {
        self.top(Lane::ALL.len())
    }
}

/// The rows of a lane, each with what of it is taken.
#[derive(Default)]
struct Rows(Vec<Vec<(f64, f64)>>);

impl Rows {
    /// Takes a place for a mark at `x` and its label, in the first row that has one.
    fn place(&mut self, x: f64, label: f64) -> (usize, Side) {
        let own = (x - RADIUS - 2.0, x + RADIUS + 2.0);
        let right = (own.0, own.1 + label);
        let left = (own.0 - label, own.1);
        let side = |side, wanted: (f64, f64)| {
            let fits = wanted.0 >= LEFT - RADIUS && wanted.1 <= WIDTH;
            fits.then_some((side, wanted))
        };
        // Before the right edge labels stand on the left.
        let sides = [side(Side::Right, right), side(Side::Left, left)];
        let (side, wanted) = (sides.into_iter().flatten().next()).unwrap_or((Side::Nowhere, own));
        for (number, row) in self.0.iter_mut().enumerate() {
            if row
                .iter()
                .all(|(from, to)| wanted.1 < *from || wanted.0 > *to)
            {
                row.push(wanted);
                return (number, side);
            }
        }
        if self.0.len() < MAX_ROWS {
            self.0.push(vec![wanted]);
            return (self.0.len() - 1, side);
        }
        (MAX_ROWS - 1, Side::Nowhere)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen rows")]
fn height(rows: usize, lanes: usize) -> f64 {
    rows as f64 * ROW + lanes as f64 * 6.0
}

fn lane(lane: Lane) -> usize {
    Lane::ALL.iter().position(|one| *one == lane).unwrap_or(0)
}

fn picture(line: &Timeline, drawn: &Drawn<'_>) -> Markup {
    let whole = Scale {
        from: 0.0,
        to: line.total_ms,
    };
    let bottom = drawn.bottom() + 44.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (number(bottom)) } role="img" aria-labelledby="timeline-title timeline-text" {
            title id="timeline-title" { "Time line of the run" }
            desc id="timeline-text" {
                "Above, the stages of the whole run of " (seconds(line.total_ms)) ". Below, what happened shortly before the \
                 crash, a row for each of those who did it. The table behind it has every mark with its time."
            }
            text x=(LEFT) y="18" { "the whole run" }
            (stages(&line.stages, whole))
            (axis(whole, BAND_BOTTOM, seconds))
            @for mark in line.marks.iter().filter(|mark| mark.label == FAULT) {
                (cross(whole.x(mark.at_ms), BAND_TOP - 12.0))
            }
            (closer(line, drawn, whole, drawn.scale))
        }
    }
}

fn stages(stages: &[StageSpan], whole: Scale) -> Markup {
    html! {
        @for (at, stage) in stages.iter().enumerate() {
            @let from = whole.x(stage.from_ms);
            @let width = (whole.x(stage.from_ms + stage.took_ms) - from).max(0.5);
            @let class = if at % 2 == 0 { "stage even" } else { "stage odd" };
            rect class=(class) x=(number(from)) y=(BAND_TOP) width=(number(width)) height=(BAND_BOTTOM - BAND_TOP) {
                title { (paragraph(&stage.name)) ": " (seconds(stage.took_ms)) }
            }
            @if room(&stage.name) < width {
                text x=(number(from + 4.0)) y=(BAND_TOP + 24.0) { (paragraph(&stage.name)) }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a label of a few words")]
fn room(label: &str) -> f64 {
    label.chars().count() as f64 * CHARACTER + 10.0
}

/// A line with some five times on it.
fn axis(scale: Scale, y: f64, text: impl Fn(f64) -> String) -> Markup {
    let step = step(scale.to - scale.from);
    let first = (scale.from / step).ceil();
    let ticks: Vec<f64> = (0..40)
        .map(|tick| (first + f64::from(tick)) * step)
        .take_while(|ms| *ms <= scale.to)
        .collect();
    html! {
        line class="axis" x1=(LEFT) y1=(number(y)) x2=(RIGHT) y2=(number(y)) {}
        @for ms in ticks {
            @let x = number(scale.x(ms));
            line class="axis" x1=(x) y1=(number(y)) x2=(x) y2=(number(y + 5.0)) {}
            text class="small" x=(x) y=(number(y + 18.0)) text-anchor="middle" { (text(ms)) }
        }
    }
}

/// A round number of milliseconds, of which five to twelve fit into the length.
fn step(length: f64) -> f64 {
    let raw = (length / 8.0).max(1e-3);
    let power = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power);
    steps
        .into_iter()
        .find(|step| *step >= raw)
        .unwrap_or(power * 10.0)
}

/// The lower part: the lens between the two, the lanes, the marks.
fn closer(line: &Timeline, drawn: &Drawn<'_>, whole: Scale, scale: Scale) -> Markup {
    let (left, right) = (whole.x(scale.from), whole.x(scale.to));
    let zero = line
        .marks
        .iter()
        .find(|mark| mark.label == FAULT)
        .map_or(scale.from, |mark| mark.at_ms);
    let relative = |ms: f64| format!("{} ms", signed(ms - zero));
    let shifted = Scale {
        from: scale.from - zero,
        to: scale.to - zero,
    };
    let top = LANES_TOP - 32.0;
    let lens = format!(
        "{},{LENS_TOP} {},{LENS_TOP} {RIGHT},{top} {LEFT},{top}",
        number(left),
        number(right.max(left + 1.0)),
    );
    let bottom = drawn.bottom();
    html! {
        @if line.closer.is_some() {
            polygon class="lens" points=(lens) {}
            text x=(LEFT) y=(top + 16.0) {
                "closer: " (relative(scale.from)) " to " (relative(scale.to)) ", the crash at 0"
            }
        }
        @for (at, lane) in Lane::ALL.iter().enumerate() {
            @let y = number(drawn.top(at) - 3.0);
            line class="lane" x1="0" y1=(y) x2=(WIDTH) y2=(y) {}
            text x="4" y=(number(drawn.top(at) + 17.0)) { (lane.words()) }
        }
        @for placed in &drawn.placed { (mark(placed, drawn)) }
        (axis(shifted, bottom + 2.0, |ms| format!("{} ms", signed(ms))))
    }
}

fn mark(placed: &Placed<'_>, drawn: &Drawn<'_>) -> Markup {
    let Placed {
        number: count,
        mark,
        x,
        row,
        label,
    } = placed;
    let y = drawn.top(lane(mark.lane)) + height(*row, 0) + ROW / 2.0;
    let class = match (&*mark.label == FAULT, mark.lane) {
        (true, _) => "death",
        (false, Lane::Fault) => "fault",
        (false, _) => "dot",
    };
    html! {
        g {
            title { (count) ": " (paragraph(&mark.label)) " " (paragraph(&mark.detail)) }
            @if mark.label == FAULT {
                rect class=(class) x=(number(x - RADIUS)) y=(number(y - RADIUS)) width=(RADIUS * 2.0) height=(RADIUS * 2.0) {}
            } @else {
                circle class=(class) cx=(number(*x)) cy=(number(y)) r=(RADIUS) {}
            }
            text class="number" x=(number(*x)) y=(number(y + 4.0)) { (count) }
            @match label {
                Side::Right => {
                    text x=(number(x + RADIUS + 4.0)) y=(number(y + 4.0)) { (paragraph(&mark.label)) }
                },
                Side::Left => {
                    text x=(number(x - RADIUS - 4.0)) y=(number(y + 4.0)) text-anchor="end" { (paragraph(&mark.label)) }
                },
                Side::Nowhere => {},
            }
        }
    }
}

/// Where the kernel dies.
fn cross(x: f64, y: f64) -> Markup {
    html! {
        text x=(number(x)) y=(number(y + 6.0)) text-anchor="middle" { "✗ crash" }
        line class="edge" x1=(number(x)) y1=(number(y + 8.0)) x2=(number(x)) y2=(BAND_BOTTOM) {}
    }
}

fn table(line: &Timeline, drawn: &Drawn<'_>) -> Markup {
    let number_of = |mark: &Mark| {
        let placed = drawn.placed.iter().find(|one| std::ptr::eq(one.mark, mark));
        placed.map_or_else(String::new, |one| one.number.to_string())
    };
    let zero = line.marks.iter().find(|mark| mark.label == FAULT);
    let rows = html! {
        table class="wide" {
            caption { "Every mark: its number on the picture, and its time" }
            thead {
                tr {
                    @for heading in ["number", "since the start", "to the crash", "who", "what", "more"] {
                        th scope="col" { (heading) }
                    }
                }
            }
            tbody {
                @for mark in &line.marks {
                    tr {
                        td class="short" { (number_of(mark)) }
                        td class="value short" {
                            (format!("{:.3} s", mark.at_ms / 1000.0))
                            @if mark.clock == Clock::Host { " (host)" }
                        }
                        td class="value short" {
                            @if let Some(zero) = zero { (signed(mark.at_ms - zero.at_ms)) " ms" }
                        }
                        td class="short" { (mark.lane.words()) }
                        td { (paragraph(&mark.label)) }
                        td { (paragraph(&mark.detail)) }
                    }
                }
            }
        }
        p class="dim" {
            "Times of the guest's clock are put beside the host's by the message that took the shortest way; (host) is when \
             the host learned of it."
        }
    };
    fold(
        "Marks of the time line",
        line.marks.len(),
        &scroll("marks", &rows),
    )
}

fn seconds(ms: f64) -> String {
    format!("{:.1} s", ms / 1000.0)
}

/// With its sign, and as many digits as it has.
fn signed(ms: f64) -> String {
    let digits = match ms.abs() {
        0.0..10.0 => 3,
        10.0..100.0 => 2,
        100.0..1000.0 => 1,
        _ => 0,
    };
    let text = format!("{ms:+.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    match &*text {
        "+0" | "-0" => "0".into(),
        _ => text.replace('-', "\u{2212}"),
    }
}

/// A coordinate.
fn number(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(length: f64, expected: f64) {
        let step = step(length);
        assert!((step - expected).abs() < 1e-9, "{length}: {step}");
    }

    #[test]
    fn an_axis_has_round_numbers() {
        check(30_000.0, 5000.0);
        check(12.0, 2.0);
        check(0.8, 0.1);
    }

    #[test]
    fn a_time_has_a_sign_and_no_zeros_at_its_end() {
        assert_eq!(signed(0.0), "0");
        assert_eq!(signed(-0.0001), "0");
        assert_eq!(signed(-12.5), "\u{2212}12.5");
        assert_eq!(signed(1.25), "+1.25");
        assert_eq!(signed(-1234.6), "\u{2212}1235");
        assert_eq!(signed(100.04), "+100");
    }

    #[test]
    fn marks_at_one_time_stand_in_rows_of_their_own() {
        let mark = |at_ms| Mark {
            at_ms,
            clock: Clock::Guest,
            lane: Lane::Fault,
            label: "late write".into(),
            detail: String::new(),
        };
        let line = Timeline {
            marks: vec![mark(10.0), mark(10.0), mark(19.0)],
            total_ms: 20.0,
            closer: Some((0.0, 20.0)),
            ..Timeline::default()
        };
        let drawn = Drawn::of(&line);
        let rows: Vec<usize> = drawn.placed.iter().map(|one| one.row).collect();
        assert_eq!(rows, [0, 1, 0]);
        assert!(drawn.placed[2].label == Side::Left);
        assert!(picture(&line, &drawn).into_string().contains("<svg"));
    }
}
