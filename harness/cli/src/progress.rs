//! Shows what goes on, on stderr: a spinner a stage on a terminal, a line a stage elsewhere; with
//! `--json` one object a line on stdout instead. Decides nothing and keeps no results.
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::output::{self, DIM, GOOD, WARN};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Terminal,
    Lines,
    Json,
}

/// Shows stages as they come. One stage runs at a time; a new one ends the one before.
pub(crate) struct Progress {
    style: Style,
    verbose: bool,
    begin: Instant,
    current: Mutex<Option<Stage>>,
}

struct Stage {
    name: String,
    title: String,
    begin: Instant,
    bar: Option<ProgressBar>,
}

/// What `--json` prints while it works; the result follows as an object of its own.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line<'a> {
    StageStarted {
        stage: &'a str,
        at_ms: u64,
    },
    StageEnded {
        stage: &'a str,
        at_ms: u64,
        took_ms: u64,
    },
    Note {
        text: &'a str,
        at_ms: u64,
    },
    Console {
        text: &'a str,
        at_ms: u64,
    },
}

impl Progress {
    /// JSON on stdout, or whatever stderr is good for. `verbose` shows the guest's console.
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        let style = if json {
            Style::Json
        } else if std::io::stderr().is_terminal() {
            Style::Terminal
        } else {
            Style::Lines
        };
        Self {
            style,
            verbose,
            begin: Instant::now(),
            current: Mutex::new(None),
        }
    }

    /// Begins a stage and ends the one before.
    pub(crate) fn stage(&self, name: &str) {
        self.named_stage(name, name);
    }

    /// The same, with one name for programs and one for people.
    pub(crate) fn named_stage(&self, name: &str, title: &str) {
        self.end();
        let bar = match self.style {
            Style::Terminal => Some(spinner(title)),
            Style::Lines => {
                output::note(&format!("{} {title}\n", self.clock()));
                None
            }
            Style::Json => {
                let at_ms = self.at_ms();
                self.json(&Line::StageStarted { stage: name, at_ms });
                None
            }
        };
        *self.lock() = Some(Stage {
            name: name.to_owned(),
            title: title.to_owned(),
            begin: Instant::now(),
            bar,
        });
    }

    /// Ends the stage that runs, if any.
    pub(crate) fn end(&self) {
        let Some(stage) = self.lock().take() else {
            return;
        };
        let took = stage.begin.elapsed();
        if let Some(bar) = stage.bar {
            bar.finish_and_clear();
            output::note(&format!(
                "{GOOD}✓{GOOD:#} {} {DIM}{:.1} s{DIM:#}\n",
                stage.title,
                took.as_secs_f64()
            ));
        }
        if self.style == Style::Json {
            self.json(&Line::StageEnded {
                stage: &stage.name,
                at_ms: self.at_ms(),
                took_ms: millis(took),
            });
        }
    }

    /// Ends the stage that runs as the one that failed.
    pub(crate) fn fail(&self) {
        let Some(stage) = self.lock().take() else {
            return;
        };
        if let Some(bar) = stage.bar {
            bar.finish_and_clear();
            output::note(&format!(
                "{WARN}✗{WARN:#} {} {DIM}{:.1} s{DIM:#}\n",
                stage.title,
                stage.begin.elapsed().as_secs_f64()
            ));
        }
    }

    /// A detail of the stage that runs: beside the spinner, or a line of its own.
    pub(crate) fn detail(&self, text: &str) {
        let text = output::printable(text);
        match self.style {
            Style::Terminal => {
                if let Some(bar) = self.lock().as_ref().and_then(|stage| stage.bar.clone()) {
                    bar.set_message(text);
                }
            }
            Style::Lines => output::note(&format!("{}   {text}\n", self.clock())),
            Style::Json => self.json(&Line::Note {
                text: &text,
                at_ms: self.at_ms(),
            }),
        }
    }

    /// How far the stage is, in bytes; beside the spinner only.
    pub(crate) fn bytes(&self, done: u64) {
        if self.style == Style::Terminal {
            self.detail(&output::size(done));
        }
    }

    /// The same where the end is known.
    pub(crate) fn bytes_of(&self, done: u64, total: u64) {
        if self.style == Style::Terminal {
            self.detail(&format!(
                "{} of {}",
                output::size(done),
                output::size(total)
            ));
        }
    }

    /// How far a long stage is: beside the spinner each time, elsewhere a note each tenth.
    pub(crate) fn count_of(&self, done: u32, about: u32, what: &str) {
        let tenth = |count: u32| u64::from(count) * 10 / u64::from(about.max(1));
        let is_new_tenth = tenth(done) > tenth(done.saturating_sub(1));
        if self.style == Style::Terminal || is_new_tenth {
            self.detail(&format!("{done} of about {about} {what}"));
        }
    }

    /// A line of the guest's console; shown only when asked for.
    pub(crate) fn console(&self, line: &str) {
        if !self.verbose {
            return;
        }
        let text = output::printable(line);
        match self.style {
            Style::Terminal => {
                let line = format!("{DIM}{text}{DIM:#}\n");
                let bar = self.lock().as_ref().and_then(|stage| stage.bar.clone());
                match bar {
                    Some(bar) => bar.suspend(|| output::note(&line)),
                    None => output::note(&line),
                }
            }
            Style::Lines => output::note(&format!("{text}\n")),
            Style::Json => self.json(&Line::Console {
                text: &text,
                at_ms: self.at_ms(),
            }),
        }
    }

    fn json(&self, line: &Line<'_>) {
        // Progress is no result: a reader that cannot take it gets the exit code all the same.
        let _ = output::print_json(line);
    }

    fn clock(&self) -> String {
        format!("[{:>6.1} s]", self.begin.elapsed().as_secs_f64())
    }

    fn at_ms(&self) -> u64 {
        millis(self.begin.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stage>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.lock().take().and_then(|stage| stage.bar) {
            bar.finish_and_clear();
        }
    }
}

fn spinner(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
