//! The choices of a run, in a form that fits into an error message.

use std::fmt;
use std::str::FromStr;

/// What was chosen at each decision: a number per decision, 0 being the usual choice. As text only the others are
/// listed, each after the number of its decision: `17:1 42:3`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(Vec<u16>);

impl Schedule {
    pub(super) fn push(&mut self, choice: usize) {
        self.0.push(u16::try_from(choice).unwrap_or(u16::MAX));
    }

    /// The choice at a decision; the usual one where nothing else is said.
    pub(super) fn choice(&self, decision: usize) -> usize {
        self.0.get(decision).copied().unwrap_or_default().into()
    }
}

impl FromIterator<usize> for Schedule {
    fn from_iter<T: IntoIterator<Item = usize>>(choices: T) -> Self {
        let mut schedule = Self::default();
        choices.into_iter().for_each(|choice| schedule.push(choice));
        schedule
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unusual = self.0.iter().enumerate().filter(|(_, choice)| **choice != 0);
        let words: Vec<_> = unusual.map(|(decision, choice)| format!("{decision}:{choice}")).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Schedule {
    type Err = ParseScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut choices = Vec::new();
        for word in text.split_whitespace() {
            let (decision, choice) = word.split_once(':').ok_or(ParseScheduleError)?;
            let decision: usize = decision.parse().map_err(|_| ParseScheduleError)?;
            let choice: u16 = choice.parse().map_err(|_| ParseScheduleError)?;
            if decision < choices.len() || decision > 1 << 20 {
                return Err(ParseScheduleError);
            }
            choices.resize(decision, 0);
            choices.push(choice);
        }
        Ok(Self(choices))
    }
}

/// The text is not a list of decisions and choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("A schedule is a list such as `17:1 42:3`")]
pub struct ParseScheduleError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_survives_its_text_form() {
        let schedule: Schedule = [0, 0, 3, 0, 1].into_iter().collect();
        assert_eq!(schedule.to_string(), "2:3 4:1");
        assert_eq!(schedule.to_string().parse(), Ok(schedule));
        assert!("4:1 2:3".parse::<Schedule>().is_err());
    }
}
