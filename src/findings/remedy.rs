//! The remedy of a finding: steps, the most promising first.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What to do. Its JSON consists of the fields `remedy`, `context` and `steps`, flattened into those of a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
pub struct Remedy {
    /// A sentence to read before the first step, without its full stop; may be empty.
    pub context: Cow<'static, str>,
    /// The steps in order, each without a full stop; text between backticks is a command or a key.
    pub steps: Vec<Cow<'static, str>>,
}

impl Remedy {
    /// A remedy of one step.
    #[must_use]
    pub fn step(step: impl Into<Cow<'static, str>>) -> Self {
        Self { context: Cow::Borrowed(""), steps: vec![step.into()] }
    }

    /// A remedy of several steps, the most promising first.
    #[must_use]
    pub fn steps<S: Into<Cow<'static, str>>>(steps: impl IntoIterator<Item = S>) -> Self {
        Self { context: Cow::Borrowed(""), steps: steps.into_iter().map(Into::into).collect() }
    }

    /// Adds the sentence to read before the first step.
    #[must_use]
    pub fn with_context(self, context: impl Into<Cow<'static, str>>) -> Self {
        Self { context: context.into(), ..self }
    }
}

/// As one text: `Others answer. In this order: (1) its power; (2) its wires`.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        if !self.context.is_empty() && !self.steps.is_empty() {
            f.write_str(". ")?;
        }
        if let [only] = self.steps.as_slice() {
            return f.write_str(only);
        }
        for (index, step) in self.steps.iter().enumerate() {
            f.write_str(if index == 0 { "In this order: " } else { "; " })?;
            write!(f, "({}) {step}", index + 1)?;
        }
        Ok(())
    }
}

/// The JSON of a remedy: the whole text and its parts.
#[derive(Serialize, Deserialize)]
struct Fields {
    remedy: String,
    #[serde(default)]
    context: Cow<'static, str>,
    #[serde(default)]
    steps: Vec<Cow<'static, str>>,
}

impl From<Remedy> for Fields {
    fn from(remedy: Remedy) -> Self {
        Self { remedy: remedy.to_string(), context: remedy.context, steps: remedy.steps }
    }
}

/// JSON without `steps` is one step: the whole text.
impl From<Fields> for Remedy {
    fn from(fields: Fields) -> Self {
        let Fields { remedy, context, steps } = fields;
        if steps.is_empty() { Self::step(remedy) } else { Self { context, steps } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_reads_as_one_text_and_comes_back_from_json_in_its_steps() {
        assert_eq!(Remedy::step("look").to_string(), "look");
        let remedy = Remedy::steps(["its power", "its wires"]).with_context("Others answer");
        assert_eq!(remedy.to_string(), "Others answer. In this order: (1) its power; (2) its wires");
        let json = serde_json::to_value(&remedy).expect("a map");
        assert_eq!(json["steps"], serde_json::json!(["its power", "its wires"]));
        assert_eq!(json["remedy"], remedy.to_string());
        assert_eq!(serde_json::from_value::<Remedy>(json).expect("the same"), remedy);
        let bare = serde_json::from_value::<Remedy>(serde_json::json!({"remedy": "look"}));
        assert_eq!(bare.expect("a text is enough"), Remedy::step("look"));
    }
}
