//! Of several places that a package may come from, the first that the mirror serves. Asks nobody itself.
use super::{SetupError, SetupEvent};

/// Asks for one after another. What the mirror does not have is told and passed over; whatever else is wrong would be
/// wrong with the next one too.
///
/// # Errors
/// The first one's where the mirror has none of them.
pub(super) fn first_served<A, T>(
    alternatives: impl IntoIterator<Item = A>,
    on: &mut dyn FnMut(SetupEvent),
    mut ask: impl FnMut(A, &mut dyn FnMut(SetupEvent)) -> Result<T, SetupError>,
) -> Result<T, SetupError> {
    let mut first_error = None;
    for alternative in alternatives {
        match ask(alternative, on) {
            Err(error @ (SetupError::NoSuite { .. } | SetupError::UnknownPackage { .. })) => {
                on(SetupEvent::Log {
                    line: error.to_string(),
                });
                first_error.get_or_insert(error);
            }
            answer => return answer,
        }
    }
    Err(first_error.unwrap_or_else(|| SetupError::NoSuite {
        suites: "nothing".into(),
        output: "the target names no suite".into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_suite(name: &str) -> SetupError {
        SetupError::NoSuite {
            suites: name.into(),
            output: String::new(),
        }
    }

    /// What is asked of alternatives that end so, the lines that are logged, and the answer.
    fn check(
        answers: Vec<Result<u8, SetupError>>,
        asked: usize,
        logged: usize,
    ) -> Result<u8, String> {
        let mut lines = 0;
        let mut count = 0;
        let answer = first_served(
            answers,
            &mut |event| lines += usize::from(matches!(event, SetupEvent::Log { .. })),
            |answer, _| {
                count += 1;
                answer
            },
        );
        assert_eq!((count, lines), (asked, logged));
        answer.map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_that_is_served_is_taken_and_the_others_are_not_asked() {
        assert_eq!(check(vec![Ok(1), Ok(2)], 1, 0), Ok(1));
        assert_eq!(check(vec![Err(no_suite("a")), Ok(2)], 2, 1), Ok(2));
    }

    #[test]
    fn where_none_is_served_the_preferred_one_is_named() {
        let error = check(vec![Err(no_suite("a")), Err(no_suite("b"))], 2, 2).unwrap_err();
        assert_eq!(error, no_suite("a").to_string());
        assert!(check(Vec::new(), 0, 0).is_err());
    }

    #[test]
    fn another_failure_is_not_taken_for_an_absence() {
        let failure = || SetupError::Metadata {
            package: "x".into(),
            what: "cut short".into(),
        };
        let error = check(vec![Err(failure()), Ok(2)], 1, 0).unwrap_err();
        assert_eq!(error, failure().to_string());
    }
}
