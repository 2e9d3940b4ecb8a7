//! What a configuration file became, for `pgweir check` and the log.

use std::fmt;
use std::path::PathBuf;

use super::error::write_place;

/// What loading found out beside the configuration itself.
///
/// Prints as `pgweir check` shows it: for a pgpool.conf what each line became and which defaults
/// differ from pgweir's own, for TOML every key with its effective value; warnings at the end.
/// Passwords are masked throughout.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Each setting of a pgpool.conf in the order read. Empty for TOML.
    pub lines: Vec<Line>,
    /// What nobody wrote but differs from pgweir's own default because the file is a pgpool.conf,
    /// each as `[section] key = value` with the reason. Empty for TOML.
    pub defaults: Vec<String>,
    /// In the order of files and lines.
    pub warnings: Vec<Warning>,
    /// The effective configuration as TOML.
    pub effective: String,
}

/// One setting of a pgpool.conf and what it became.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    pub file: PathBuf,
    /// 1 for the first line.
    pub line: usize,
    /// As written, with its number if it has one.
    pub name: String,
    /// As understood, without its quotes; passwords as `*****`.
    pub value: String,
    /// `[section] key = value` for each key it set, or a few words. Empty when all there is to
    /// say is a warning.
    pub became: Vec<String>,
    /// The text of the warning this line got.
    pub warning: Option<String>,
}

/// Something that loads but is not what the writer may think.
///
/// Prints as `file:line: key: text`, leaving out what is unknown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    pub file: PathBuf,
    pub line: Option<usize>,
    pub key: Option<String>,
    pub text: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            f.write_str(&self.effective)?;
        }
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        if !self.defaults.is_empty() {
            writeln!(f, "\nnot written, and different from pgweir's own default:")?;
        }
        for default in &self.defaults {
            writeln!(f, "  {default}")?;
        }
        // The warnings of a pgpool.conf's lines stand beside them already.
        let mut heading = "\nwarnings:\n";
        for warning in &self.warnings {
            if !self.lines.iter().any(|line| line.gave(warning)) {
                writeln!(f, "{heading}  {warning}")?;
                heading = "";
            }
        }
        Ok(())
    }
}

impl Line {
    fn gave(&self, warning: &Warning) -> bool {
        self.warning.as_ref() == Some(&warning.text)
            && warning.line == Some(self.line)
            && warning.file == self.file
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.file.display(), self.line);
        let value = match self.value.as_str() {
            "" => "''",
            value => value,
        };
        write!(f, "{file}:{line}  {} = {value}  ->  ", self.name)?;
        f.write_str(&self.became.join("; "))?;
        match &self.warning {
            None => Ok(()),
            Some(text) if self.became.is_empty() => write!(f, "warning: {text}"),
            Some(text) => write!(f, "  (warning: {text})"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, self.key.as_deref(), &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: &str, became: &[&str], warning: Option<&str>) -> Line {
        Line {
            file: "p.conf".into(),
            line: 3,
            name: "key".to_string(),
            value: value.to_string(),
            became: became.iter().map(|part| (*part).to_string()).collect(),
            warning: warning.map(str::to_string),
        }
    }

    #[test]
    fn a_line_shows_what_it_became_and_its_warning() {
        let shown = |line: Line| line.to_string();
        assert_eq!(shown(line("1", &["[a] b = 1"], None)), "p.conf:3  key = 1  ->  [a] b = 1");
        assert_eq!(shown(line("", &["x", "y"], None)), "p.conf:3  key = ''  ->  x; y");
        assert_eq!(shown(line("1", &[], Some("w"))), "p.conf:3  key = 1  ->  warning: w");
        assert_eq!(shown(line("1", &["x"], Some("w"))), "p.conf:3  key = 1  ->  x  (warning: w)");
    }

    #[test]
    fn a_report_shows_lines_then_defaults_then_the_other_warnings() {
        let warning = |line, text: &str| Warning {
            file: "p.conf".into(),
            line,
            key: Some("key".to_string()),
            text: text.to_string(),
        };
        let mut report = Report {
            lines: vec![line("1", &[], Some("w"))],
            defaults: vec!["[a] b = 2  (why)".to_string()],
            warnings: vec![warning(Some(3), "w"), warning(None, "v")],
            effective: "[a]\nb = 2\n".to_string(),
        };
        assert_eq!(
            report.to_string(),
            "p.conf:3  key = 1  ->  warning: w\n\n\
             not written, and different from pgweir's own default:\n  [a] b = 2  (why)\n\n\
             warnings:\n  p.conf: key: v\n"
        );
        report.lines.clear();
        report.defaults.clear();
        report.warnings.clear();
        assert_eq!(report.to_string(), "[a]\nb = 2\n");
    }
}
