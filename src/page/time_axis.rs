//! The horizontal axis of a plot: a time until now, in steps of common units.
//!
//! Owns its length, which grows with the data from fifteen seconds to hours, and the labels of its ticks. Draws nothing.

/// A time that ends now, cut into equal steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeAxis {
    seconds: u32,
    step: u32,
}

impl TimeAxis {
    /// The shortest that holds so many seconds; of more than the longest, the longest.
    pub(super) fn over(seconds: f64) -> Self {
        let holds = |(length, _): &&(u32, u32)| f64::from(*length) >= seconds;
        let (seconds, step) = AXES.iter().find(holds).copied().unwrap_or(LONGEST);
        Self { seconds, step }
    }

    /// Its length.
    pub(super) fn seconds(self) -> f64 {
        self.seconds.into()
    }

    /// How many steps there are.
    pub(super) fn steps(self) -> u32 {
        self.seconds / self.step
    }

    /// The words at the ticks, the oldest first: `12 h ago`, `9 h`, `6 h`, `3 h`, `now`.
    pub(super) fn ticks(self) -> Vec<String> {
        let at = |step: u32| {
            let seconds = step * self.step;
            match step {
                0 => "now".to_owned(),
                step if step == self.steps() => format!("{} ago", ago(seconds)),
                _ => ago(seconds),
            }
        };
        (0..=self.steps()).rev().map(at).collect()
    }

    /// `the last 12 hours`.
    pub(super) fn words(self) -> String {
        last(self.seconds())
    }
}

/// So many seconds until now: `the last 15 seconds`, `the last hour`.
pub(super) fn last(seconds: f64) -> String {
    let (count, one, many) = match seconds {
        seconds if seconds < 60.0 => (seconds, "second", "seconds"),
        seconds if seconds < 3600.0 => (seconds / 60.0, "minute", "minutes"),
        seconds => (seconds / 3600.0, "hour", "hours"),
    };
    if count < 1.5 { format!("the last {one}") } else { format!("the last {count:.0} {many}") }
}

fn ago(seconds: u32) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        3600.. if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        3600.. => format!("{}:{:02} h", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Length and step of each, in seconds.
const AXES: [(u32, u32); 13] = [
    (15, 5),
    (30, 10),
    (60, 15),
    (120, 30),
    (300, 60),
    (600, 120),
    (1200, 300),
    (1800, 600),
    (3600, 900),
    (7200, 1800),
    (14_400, 3600),
    (21_600, 7200),
    LONGEST,
];

/// As long as readings are kept.
const LONGEST: (u32, u32) = (43_200, 10_800);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_as_long_as_what_it_holds_in_round_steps() {
        assert_eq!(TimeAxis::over(0.3).ticks(), ["15 s ago", "10 s", "5 s", "now"]);
        assert_eq!(TimeAxis::over(61.0).ticks(), ["2 min ago", "1:30 min", "1 min", "30 s", "now"]);
        assert_eq!(TimeAxis::over(601.0).ticks(), ["20 min ago", "15 min", "10 min", "5 min", "now"]);
        assert_eq!(TimeAxis::over(3601.0).ticks(), ["2 h ago", "1:30 h", "1 h", "30 min", "now"]);
        assert_eq!(TimeAxis::over(1e9).ticks(), ["12 h ago", "9 h", "6 h", "3 h", "now"]);
        for (length, step) in AXES {
            assert!(length.is_multiple_of(step) && (3..=5).contains(&(length / step)), "{length} in {step}");
        }
    }

    #[test]
    fn a_length_is_said_in_words() {
        assert_eq!(TimeAxis::over(1.0).words(), "the last 15 seconds");
        assert_eq!(TimeAxis::over(60.0).words(), "the last minute");
        assert_eq!(TimeAxis::over(3600.0).words(), "the last hour");
        assert_eq!(TimeAxis::over(1e9).words(), "the last 12 hours");
        assert_eq!(last(420.0), "the last 7 minutes");
    }
}
