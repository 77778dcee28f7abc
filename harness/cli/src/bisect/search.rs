//! The search in an ordered list whose ends behave differently: which entry is tested next, and where the change is.
//! Entries that cannot be tested are passed over, as `git bisect skip` does; then the answer may be several. Pure.

/// What became known of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaves {
    /// As the first entry does.
    LikeTheFirst,
    /// As the last entry does.
    LikeTheLast,
    /// It cannot be told.
    Unknown,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Test this entry.
    Test(usize),
    /// This is the first entry that behaves as the last one does; the one before it was tested too.
    Found(usize),
    /// It is one of these, of which all but the last cannot be tested.
    Among(usize, usize),
}

/// A search at work.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    /// The last entry known to behave as the first one.
    low: usize,
    /// The first known to behave as the last one.
    high: usize,
    unknown: Vec<bool>,
}

impl Search {
    /// A list of so many entries whose ends differ. `None` for fewer than two.
    pub(crate) fn new(entries: usize) -> Option<Self> {
        Some(Self {
            low: 0,
            high: entries.checked_sub(1).filter(|high| *high > 0)?,
            unknown: vec![false; entries],
        })
    }

    /// What is next: the entry nearest to the middle of those that are left.
    pub(crate) fn next(&self) -> Step {
        if self.high - self.low == 1 {
            return Step::Found(self.high);
        }
        let middle = self.low + (self.high - self.low) / 2;
        let left = (self.low + 1..self.high).filter(|at| self.unknown.get(*at) == Some(&false));
        match left.min_by_key(|at| at.abs_diff(middle)) {
            Some(at) => Step::Test(at),
            None => Step::Among(self.low + 1, self.high),
        }
    }

    /// Takes what became known of an entry; one outside of what is left says nothing new.
    pub(crate) fn tell(&mut self, entry: usize, behaves: Behaves) {
        if entry <= self.low || entry >= self.high {
            return;
        }
        match behaves {
            Behaves::LikeTheFirst => self.low = entry,
            Behaves::LikeTheLast => self.high = entry,
            Behaves::Unknown => {
                if let Some(unknown) = self.unknown.get_mut(entry) {
                    *unknown = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Searches a list in letters: `a` as the first, `b` as the last, `?` cannot be told. Gives the answer and the
    /// entries tested, in order.
    fn search(list: &str) -> (Step, Vec<usize>) {
        let list: Vec<char> = list.chars().collect();
        let mut search = Search::new(list.len()).unwrap();
        let mut tested = Vec::new();
        loop {
            match search.next() {
                Step::Test(at) => {
                    assert!(!tested.contains(&at), "{at} is tested twice");
                    tested.push(at);
                    search.tell(
                        at,
                        match list[at] {
                            'a' => Behaves::LikeTheFirst,
                            'b' => Behaves::LikeTheLast,
                            _ => Behaves::Unknown,
                        },
                    );
                }
                answer => return (answer, tested),
            }
        }
    }

    fn check(list: &str, answer: Step, tested: &[usize]) {
        assert_eq!(search(list), (answer, tested.to_vec()), "{list}");
    }

    #[test]
    fn the_middle_is_tested_until_two_neighbours_differ() {
        check("ab", Step::Found(1), &[]);
        check("aab", Step::Found(2), &[1]);
        check("abb", Step::Found(1), &[1]);
        check("aaaaabbb", Step::Found(5), &[3, 5, 4]);
    }

    #[test]
    fn what_cannot_be_tested_is_passed_over_and_may_leave_several() {
        check("aa?bb", Step::Among(2, 3), &[2, 1, 3]);
        check("a?b", Step::Among(1, 2), &[1]);
        check("aa?abbb", Step::Found(4), &[3, 4]);
    }

    #[test]
    fn fewer_than_two_entries_have_no_ends() {
        assert!(Search::new(0).is_none() && Search::new(1).is_none());
    }

    proptest! {
        /// Any list that changes once: the answer is where it changes, or a range that holds it, in as many tests as
        /// halving takes and one for each that cannot be tested.
        #[test]
        fn any_list_that_changes_once_gives_the_place(
            before in 1_usize..40, after in 1_usize..40, holes in proptest::collection::vec(any::<bool>(), 80),
        ) {
            let len = before + after;
            let list: String = (0..len).map(|at| {
                let end = at == 0 || at + 1 == len;
                match at < before {
                    _ if !end && holes[at] => '?',
                    true => 'a',
                    false => 'b',
                }
            }).collect();
            let (answer, tested) = search(&list);
            match answer {
                Step::Found(at) => prop_assert_eq!(at, before, "{}", list),
                Step::Among(from, to) => {
                    prop_assert!((from..=to).contains(&before), "{} {} {}", list, from, to);
                    let letters: Vec<char> = list.chars().collect();
                    prop_assert!(letters[from..to].iter().all(|letter| *letter == '?'));
                    prop_assert!(to > from);
                }
                Step::Test(_) => prop_assert!(false),
            }
            let halvings = len.next_power_of_two().trailing_zeros() as usize;
            let unknown = list.chars().filter(|letter| *letter == '?').count();
            prop_assert!(tested.len() <= halvings + unknown, "{} {:?}", list, tested);
        }

        /// Any list at all ends, and what it says was seen: the entry before behaves otherwise.
        #[test]
        fn any_list_ends(list in "a[ab?]{0,40}b") {
            let letters: Vec<char> = list.chars().collect();
            if let (Step::Found(at), _) = search(&list) {
                prop_assert_eq!((letters[at - 1], letters[at]), ('a', 'b'));
            }
        }
    }
}
