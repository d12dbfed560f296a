//! How an operator writes numbers, and how we do: rules that make one of the other, and the plan of a country to fall back on.
//!
//! A rule's pattern is text in which `?` is any digit, `[2-9]` a range of them, and a `*` at the end whatever follows. The first rule that
//! matches is applied, and no other: the number is brought into a form first (when the rule names one), then characters are taken off its
//! beginning, then others are put there.

use std::fmt;

/// The numbering plan of the place from which a trunk is seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NumberPlan {
    /// Country code: `49`.
    pub country: String,
    /// Area code without its prefix: `30`; empty: a number without a prefix has none to be added.
    pub area: String,
    /// What stands before an area code: `0`; may be empty.
    pub national: String,
    /// What stands before a country code: `00`.
    pub international: String,
}

/// A way to write a telephone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `+493012345`
    E164,
    /// `493012345`
    Plain,
    /// `03012345`, and with the international prefix for other countries.
    National,
    /// `00493012345`
    International,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Is(char),
    Between(char, char),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing at all.
    Empty,
    /// A `*` that is not at the end.
    Star,
    /// A bracket without a range of digits.
    Range,
    /// White space, `@` or a control character.
    Character,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatternError::Empty => "is empty",
            PatternError::Star => "has a * that is not at its end",
            PatternError::Range => "has a bracket that is not a range of digits as [2-9]",
            PatternError::Character => "has a character that no number has",
        })
    }
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let (fixed, open) = text.strip_suffix('*').map_or((text, false), |fixed| (fixed, true));
        if fixed.is_empty() && !open {
            return Err(PatternError::Empty);
        }
        let mut parts = Vec::new();
        let mut chars = fixed.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => return Err(PatternError::Star),
                '?' => Part::Between('0', '9'),
                '[' => {
                    let range: Vec<char> = chars.by_ref().take(4).collect();
                    let [low @ '0'..='9', '-', high @ '0'..='9', ']'] = range[..] else {
                        return Err(PatternError::Range);
                    };
                    if low > high {
                        return Err(PatternError::Range);
                    }
                    Part::Between(low, high)
                }
                ']' => return Err(PatternError::Range),
                c if c.is_whitespace() || c.is_control() || c == '@' => return Err(PatternError::Character),
                c => Part::Is(c),
            });
        }
        Ok(Pattern { parts, open })
    }

    /// How many characters every number that matches has at least.
    pub fn least(&self) -> usize {
        self.parts.len()
    }

    /// Whether a number matches.
    pub fn matches(&self, number: &str) -> bool {
        let mut chars = number.chars();
        let fixed = self.parts.iter().all(|part| match (part, chars.next()) {
            (Part::Is(wanted), Some(c)) => c == *wanted,
            (Part::Between(low, high), Some(c)) => (*low..=*high).contains(&c),
            (_, None) => false,
        });
        fixed && (self.open || chars.next().is_none())
    }

    /// Whether every number that `later` matches is matched by this one; false when that is hard to say.
    pub fn takes_all_of(&self, later: &Pattern) -> bool {
        let part = |(mine, theirs): (&Part, &Part)| match (mine, theirs) {
            (Part::Between(low, high), Part::Between(l, h)) => low <= l && h <= high,
            (Part::Between(low, high), Part::Is(c)) => (low..=high).contains(&c),
            (Part::Is(mine), Part::Is(theirs)) => mine == theirs,
            (Part::Is(_), Part::Between(..)) => false,
        };
        let long_enough = if self.open { later.least() >= self.least() } else { later.least() == self.least() };
        long_enough && (self.open || !later.open) && self.parts.iter().zip(&later.parts).all(part)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which numbers.
    pub pattern: Pattern,
    /// The form that they are brought into first.
    pub form: Option<Form>,
    /// Characters taken off the beginning.
    pub strip: usize,
    /// Put before the rest.
    pub add: String,
}

/// The rules of a trunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers {
    /// The plan, for rules that name a form.
    pub plan: NumberPlan,
    /// Of calls that we place: whom.
    pub callee: Vec<Rule>,
    /// As whom.
    pub caller: Vec<Rule>,
    /// Of calls that come: whom.
    pub callee_in: Vec<Rule>,
    /// Who.
    pub caller_in: Vec<Rule>,
}

impl Numbers {
    /// Applies the first rule that matches; a number that none matches stays as it is.
    pub fn apply(&self, rules: &[Rule], number: &str) -> String {
        let Some(rule) = rules.iter().find(|rule| rule.pattern.matches(number)) else {
            return number.to_owned();
        };
        let formed = rule.form.and_then(|form| self.plan.write(number, form));
        let number = formed.as_deref().unwrap_or(number);
        let rest: String = number.chars().skip(rule.strip).collect();
        format!("{}{rest}", rule.add)
    }
}

impl NumberPlan {
    /// Writes a number in a form; `None` when it is no telephone number.
    fn write(&self, number: &str, form: Form) -> Option<String> {
        let digits = self.e164(number)?;
        let at_home = digits.strip_prefix(self.country.as_str());
        Some(match (form, at_home) {
            (Form::E164, _) => format!("+{digits}"),
            (Form::Plain, _) => digits,
            (Form::National, Some(rest)) => format!("{}{rest}", self.national),
            (Form::National, None) | (Form::International, _) => format!("{}{digits}", self.international),
        })
    }

    /// Country code, area code and number, without a `+`.
    fn e164(&self, number: &str) -> Option<String> {
        // What people put between digits to read them better (RFC 3966 §5.1.1).
        let bare: String = number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' ' | '/')).collect();
        let (plus, digits) = bare.strip_prefix('+').map_or((false, bare.as_str()), |digits| (true, digits));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if plus {
            return Some(digits.to_owned());
        }
        if let Some(abroad) = digits.strip_prefix(self.international.as_str()) {
            return Some(abroad.to_owned());
        }
        let (country, area) = (&self.country, &self.area);
        match digits.strip_prefix(self.national.as_str()) {
            Some(rest) if !self.national.is_empty() => Some(format!("{country}{rest}")),
            // Without a prefix for it, an area code cannot be told from a number: whoever has one in the plan means local numbers.
            _ => Some(format!("{country}{area}{digits}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, form: Option<Form>, strip: usize, add: &str) -> Rule {
        Rule { pattern: Pattern::parse(pattern).expect(pattern), form, strip, add: add.to_owned() }
    }

    fn berlin() -> NumberPlan {
        NumberPlan { country: "49".into(), area: "30".into(), national: "0".into(), international: "00".into() }
    }

    #[test]
    fn rules_as_operators_want_them() {
        use Form::*;
        let table: &[(&[Rule], &str, &str)] = &[
            // Nothing matches: nothing is done.
            (&[], "03012345", "03012345"),
            (&[rule("1*", None, 0, "9")], "03012345", "03012345"),
            // Prefixes to take off and to put there.
            (&[rule("0*", None, 1, "+49")], "03012345", "+493012345"),
            (&[rule("+*", None, 1, "")], "+493012345", "493012345"),
            (&[rule("*", None, 0, "8848")], "13800138000", "884813800138000"),
            (&[rule("*", None, 0, "9#")], "110", "9#110"),
            // The first one that matches, and no other.
            (&[rule("11?", None, 0, ""), rule("*", None, 0, "0")], "110", "110"),
            (&[rule("11?", None, 0, ""), rule("*", None, 0, "0")], "1100", "01100"),
            // A local number by its length and first digit.
            (&[rule("[2-9]???????", None, 0, "021")], "54321000", "02154321000"),
            (&[rule("[2-9]???????", None, 0, "021")], "14321000", "14321000"),
            (&[rule("[2-9]???????", None, 0, "021")], "543210001", "543210001"),
            // Forms.
            (&[rule("*", Some(E164), 0, "")], "030 123-45", "+493012345"),
            (&[rule("*", Some(E164), 0, "")], "0043 1 234", "+431234"),
            (&[rule("*", Some(E164), 0, "")], "12345", "+493012345"),
            (&[rule("*", Some(E164), 0, "")], "+44 (20) 7946", "+44207946"),
            (&[rule("*", Some(National), 0, "")], "+493012345", "03012345"),
            (&[rule("*", Some(National), 0, "")], "+431234", "00431234"),
            (&[rule("*", Some(International), 0, "")], "03012345", "00493012345"),
            (&[rule("*", Some(Plain), 0, "")], "03012345", "493012345"),
            // A form, and then a prefix.
            (&[rule("*", Some(E164), 1, "77")], "03012345", "77493012345"),
            // Names are no numbers.
            (&[rule("*", Some(E164), 0, "")], "alice", "alice"),
            (&[rule("*", Some(E164), 0, "")], "+", "+"),
            // More is taken off than there is.
            (&[rule("*", None, 9, "1")], "030", "1"),
        ];
        for (rules, number, wanted) in table {
            let numbers = Numbers { plan: berlin(), ..Numbers::default() };
            assert_eq!(numbers.apply(rules, number), *wanted, "{number} by {rules:?}");
        }
    }

    #[test]
    fn a_country_without_a_national_prefix() {
        let plan = NumberPlan {
            country: "45".into(),
            area: String::new(),
            national: String::new(),
            international: "00".into(),
        };
        assert_eq!(plan.write("12345678", Form::E164).as_deref(), Some("+4512345678"));
        assert_eq!(plan.write("+4512345678", Form::National).as_deref(), Some("12345678"));
        assert_eq!(plan.write("00491", Form::Plain).as_deref(), Some("491"));
    }

    #[test]
    fn what_is_no_pattern() {
        for (text, error) in [
            ("", PatternError::Empty),
            ("0*1", PatternError::Star),
            ("**", PatternError::Star),
            ("[1-", PatternError::Range),
            ("[9-2]", PatternError::Range),
            ("[a-b]", PatternError::Range),
            ("1]", PatternError::Range),
            ("0 1", PatternError::Character),
            ("a@b", PatternError::Character),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_rule_that_is_never_reached_is_seen() {
        let takes = |before: &str, later: &str| {
            Pattern::parse(before).expect(before).takes_all_of(&Pattern::parse(later).expect(later))
        };
        for (before, later) in [("*", "0*"), ("0*", "00*"), ("0*", "012"), ("1??", "1[2-3]4"), ("1??", "1??")] {
            assert!(takes(before, later), "{before} {later}");
        }
        for (before, later) in [("00*", "0*"), ("012", "012*"), ("1[2-3]", "1?"), ("12", "123"), ("0*", "1*")] {
            assert!(!takes(before, later), "{before} {later}");
        }
    }
}
