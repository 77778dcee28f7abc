//! What a task does, as numbers of the kernel and as letters of ps. Reads nothing.

/// `task_struct.__state` (`state` before 5.14) and `exit_state`, or-ed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskState(pub u64);

/// `TASK_*` and `EXIT_*` (include/linux/sched.h, same values since 4.14), crash's letters, ps's letter. The first row
/// of which all bits are set counts.
const STATES: [(u64, &str, char); 11] = [
    (0x10, "DE", 'X'),
    (0x20, "ZO", 'Z'),
    (0x80, "DE", 'X'),
    (0x402, "ID", 'I'),
    (0x800, "NE", 'N'),
    (0x40, "PA", 'P'),
    (0x08, "TR", 't'),
    (0x04, "ST", 'T'),
    (0x200, "WA", 'W'),
    (0x02, "UN", 'D'),
    (0x01, "IN", 'S'),
];

impl TaskState {
    /// On a run queue or running.
    #[must_use]
    pub fn is_running(self) -> bool {
        self.0 == 0
    }

    /// Two letters, as crash shows them; `??` for bits that no kernel sets alone.
    #[must_use]
    pub fn letters(self) -> &'static str {
        self.row()
            .map_or(if self.0 == 0 { "RU" } else { "??" }, |row| row.1)
    }

    /// One letter, as ps and the kernel's own task dump show it.
    #[must_use]
    pub fn letter(self) -> char {
        self.row()
            .map_or(if self.0 == 0 { 'R' } else { '?' }, |row| row.2)
    }

    fn row(self) -> Option<&'static (u64, &'static str, char)> {
        STATES.iter().find(|(bits, ..)| self.0 & bits == *bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bits: u64, letters: &str, letter: char) {
        let state = TaskState(bits);
        assert_eq!(
            (state.letters(), state.letter()),
            (letters, letter),
            "{bits:#x}"
        );
    }

    #[test]
    fn states_are_shown_as_crash_and_ps_show_them() {
        check(0, "RU", 'R');
        check(1, "IN", 'S');
        check(2, "UN", 'D');
        check(0x402, "ID", 'I');
        check(0x102, "UN", 'D');
        check(0x104, "ST", 'T');
        check(0x108, "TR", 't');
        check(0x800, "NE", 'N');
        check(0x2001, "IN", 'S');
        check(0x80 | 0x20, "ZO", 'Z');
        check(0x80 | 0x10, "DE", 'X');
        check(0x4000, "??", '?');
    }
}
