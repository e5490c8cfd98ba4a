//! The steps of setting up, and the prices of what they create.

use std::fmt;

use siren_core::{Platform, Usd};

use super::{Architecture, Names};

/// One step of setting up a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The bucket is created, with its tags.
    CreateBucket,
    /// Nothing in the bucket can be made public.
    BlockPublicAccess,
    /// All objects belong to the account, regardless of the writer.
    EnforceOwnership,
    /// Objects of runs and unfinished uploads expire.
    SetLifecycle {
        /// The age at which objects of runs expire, in days.
        days: u32,
    },
    /// The bucket refuses plain HTTP.
    RequireTls,
    /// The role is created, with its tags.
    CreateRole,
    /// Only Lambda can assume the role.
    SetTrust,
    /// The role gets the permissions that the function needs.
    SetPermissions,
    /// The log group is created, with its tags.
    CreateLogGroup,
    /// Log lines expire.
    SetRetention {
        /// The age at which log lines expire, in days.
        days: u32,
    },
    /// The function is created, with its tags.
    CreateFunction,
    /// The function's role, runtime or environment change.
    UpdateConfiguration,
    /// The function's code changes.
    UpdateCode {
        /// The hash of the present code.
        from: String,
        /// The hash of the new code.
        to: String,
    },
}

impl Step {
    fn creates(&self) -> bool {
        matches!(
            self,
            Self::CreateBucket | Self::CreateRole | Self::CreateLogGroup | Self::CreateFunction
        )
    }
}

/// The price of one kind of usage.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// The usage that is paid for.
    pub what: &'static str,
    /// The price of one unit.
    pub usd: Usd,
    /// The unit, such as `GB-month`.
    pub per: &'static str,
    /// `true` if it is also paid for while no training runs.
    pub idle: bool,
}

/// The steps of setting up, and the prices of what they create. Displays as readable text.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The names of the deployment's parts.
    pub names: Names,
    /// The steps, in order. Empty when the deployment is up to date.
    pub steps: Vec<Step>,
    /// The prices of the deployment's resources.
    pub prices: Vec<Price>,
}

impl Plan {
    pub(super) fn new(names: Names, architecture: Architecture, steps: Vec<Step>) -> Self {
        Self { names, steps, prices: prices(architecture) }
    }
}

/// Prices of S3 and CloudWatch are from the price lists of us-east-1, 2026.
fn prices(architecture: Architecture) -> Vec<Price> {
    let lambda = match architecture {
        Architecture::Arm64 => Platform::aws_lambda_arm64(),
        Architecture::X86_64 => Platform::aws_lambda(),
    }
    .prices;
    let price = |what, usd, per, idle| Price { what, usd, per, idle };
    vec![
        price("storage in the bucket", Usd::new(0.023), "GB-month", true),
        price("storage of the log", Usd::new(0.03), "GB-month", true),
        price("the function", lambda.gb_second, "GB-second", false),
        price("invocations", lambda.invocation * 1e6, "million", false),
        price("writing and listing objects", lambda.storage_write * 1e3, "thousand", false),
        price("reading objects", lambda.storage_read * 1e3, "thousand", false),
        price("lines of the log", Usd::new(0.50), "GB", false),
    ]
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, steps, prices } = self;
        if steps.is_empty() {
            return write!(f, "{}: everything is as it should be", names.deployment);
        }
        writeln!(f, "{}: to do", names.deployment)?;
        for step in steps {
            writeln!(f, "  {}", Named { step, names })?;
        }
        if !steps.iter().any(Step::creates) {
            return write!(f, "costs stay as they are");
        }
        for (idle, when) in [(true, "while idle"), (false, "in use")] {
            writeln!(f, "costs {when}")?;
            for Price { what, usd, per, .. } in prices.iter().filter(|price| price.idle == idle) {
                writeln!(f, "  ${} per {per}: {what}", figures(*usd))?;
            }
        }
        write!(f, "prices of us-east-1; setting up itself costs less than $0.001")
    }
}

/// A price in dollars, without rounding noise of binary fractions.
fn figures(usd: Usd) -> String {
    let text = format!("{:.10}", usd.dollars());
    let text = text.trim_end_matches('0');
    match text.find('.').map(|point| text.len() - point) {
        Some(..3) => format!("{:.2}", usd.dollars()),
        _ => text.to_owned(),
    }
}

/// A step with the names of the resources, for display.
struct Named<'a> {
    step: &'a Step,
    names: &'a Names,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Names { bucket, role, log_group, function, .. } = self.names;
        match self.step {
            Step::CreateBucket => write!(f, "create the bucket {bucket}"),
            Step::BlockPublicAccess => write!(f, "block public access to {bucket}"),
            Step::EnforceOwnership => write!(f, "let the account own all objects of {bucket}"),
            Step::SetLifecycle { days } => {
                write!(f, "let objects under {bucket}/{} expire after {days} days", super::RUNS)
            }
            Step::RequireTls => write!(f, "refuse plain HTTP to {bucket}"),
            Step::CreateRole => write!(f, "create the role {role}"),
            Step::SetTrust => write!(f, "let only Lambda take {role}"),
            Step::SetPermissions => {
                write!(
                    f,
                    "let {role} use {bucket}/{}, {bucket}/{} and its log",
                    super::RUNS,
                    super::DATA
                )
            }
            Step::CreateLogGroup => write!(f, "create the log group {log_group}"),
            Step::SetRetention { days } => write!(f, "keep {log_group} for {days} days"),
            Step::CreateFunction => write!(f, "create the function {function}"),
            Step::UpdateConfiguration => write!(f, "change the configuration of {function}"),
            Step::UpdateCode { from, to } => {
                write!(f, "change the code of {function} from {} to {}", short(from), short(to))
            }
        }
    }
}

/// The first characters of a hash, enough to tell it from others.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::names;
    use super::*;

    #[test]
    fn a_plan_says_what_it_does_and_what_that_costs() {
        let steps = vec![Step::CreateBucket, Step::SetLifecycle { days: 30 }];
        let text = Plan::new(names(), Architecture::Arm64, steps).to_string();
        for says in [
            "create the bucket siren-123456789012-ap-southeast-1\n",
            "/runs/ expire after 30 days",
            "  $0.023 per GB-month: storage in the bucket\n",
            "$0.0000133334 per GB-second: the function",
            "$0.20 per million: invocations",
            "$0.005 per thousand: writing and listing objects",
            "$0.0004 per thousand: reading objects",
            "$0.50 per GB: lines of the log",
        ] {
            assert!(text.contains(says), "no `{says}` in:\n{text}");
        }
        let x86 = Plan::new(names(), Architecture::X86_64, vec![Step::CreateRole]).to_string();
        assert!(x86.contains("$0.0000166667 per GB-second"), "{x86}");
    }

    #[test]
    fn a_change_costs_nothing_new() {
        let step = Step::UpdateCode { from: "0123456789".into(), to: "abcdefghij".into() };
        let text = Plan::new(names(), Architecture::Arm64, vec![step]).to_string();
        assert_eq!(
            text,
            "siren: to do\n  change the code of siren from 01234567 to abcdefgh\ncosts stay as they are"
        );
    }

    #[test]
    fn a_plan_without_steps_says_so() {
        let text = Plan::new(names(), Architecture::Arm64, Vec::new()).to_string();
        assert_eq!(text, "siren: everything is as it should be");
    }
}
