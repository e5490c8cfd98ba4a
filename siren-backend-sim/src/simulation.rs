//! The settings of a simulation, as data.

use std::path::Path;

use serde::{Deserialize, Serialize};
use siren_core::platform::Profile;
use siren_core::{Error, ErrorKind, Result, StepTime};

use crate::Faults;

/// A platform, the time model of the workload's computations, and the faults. The file format is
/// TOML. Fields that a file omits have their values for AWS Lambda and S3.
///
/// ```
/// # use siren_backend_sim::Simulation;
/// let simulation = Simulation::from_toml(
///     r#"
///     [step]
///     seconds_per_example = 0.0007
///
///     [profile.starts]
///     publish_s = 0
///
///     [[faults.scheduled]]
///     kind = "crash"
///     at_s = 12.5
///     "#,
/// )?;
/// assert_eq!(simulation.profile.starts.publish_s, 0.0);
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Simulation {
    /// Limits, prices and behaviour of the platform.
    pub profile: Profile,
    /// The time model of the workload's computations.
    pub step: StepTime,
    /// The simulated faults.
    pub faults: Faults,
}

impl Simulation {
    /// AWS Lambda and S3, with a workload of this speed and without faults.
    pub fn lambda(step: StepTime) -> Self {
        Self { step, ..Self::default() }
    }

    /// Reads the text of a TOML file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`], naming the field, when one is unknown, has the wrong type,
    /// or is negative, not finite or outside its range.
    pub fn from_toml(text: &str) -> Result<Self> {
        let read: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |at| at.start);
            let number = text[..start].matches('\n').count();
            let line = text.lines().nth(number).unwrap_or_default().trim();
            let what = error.message();
            Error::rejected(format!(
                "line {}, `{line}`, is not valid in a simulation: {what}",
                number + 1
            ))
        })?;
        read.check()?;
        Ok(read)
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file cannot be read, and [`ErrorKind::Rejected`] as
    /// [`from_toml`](Self::from_toml).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Other, format!("cannot read {}", path.display()))
                .with_source(error)
        })?;
        Self::from_toml(&text).map_err(|error| {
            Error::rejected(format!("{} cannot be simulated", path.display())).with_source(error)
        })
    }

    /// The text of a TOML file with all fields.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when a number cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|error| {
            Error::new(ErrorKind::Other, "cannot write the simulation as TOML").with_source(error)
        })
    }

    /// Checks that the settings can be simulated.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`], naming the field.
    pub fn check(&self) -> Result<()> {
        self.profile.check()?;
        self.step.check()?;
        self.faults.check()
    }
}

/// The text of a TOML file for [`Simulation::from_toml`] with the speed of a workload. It omits the
/// platform, which then has its default values.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`] when a number cannot be written as TOML.
pub fn step_toml(step: &StepTime) -> Result<String> {
    #[derive(Serialize)]
    struct File<'a> {
        step: &'a StepTime,
    }
    toml::to_string_pretty(&File { step }).map_err(|error| {
        Error::new(ErrorKind::Other, "cannot write the step as TOML").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    #[test]
    fn it_survives_toml() {
        let mut simulation = Simulation::lambda(StepTime::per_example(1e-3));
        simulation.profile.platform.limits.timeout = std::time::Duration::from_millis(1_500);
        simulation.faults.scheduled = vec![
            Fault::Crash { at_s: 3.0, shard: Some(2) },
            Fault::Slow { from_s: 0.0, until_s: 1.0, factor: 7.0 },
            Fault::Lost { epoch: 1, shard: 2, attempt: 0 },
        ];
        let text = simulation.to_toml().unwrap();
        assert_eq!(Simulation::from_toml(&text).unwrap(), simulation);
        assert_eq!(Simulation::from_toml("").unwrap(), Simulation::default());
        let step = StepTime { seconds_per_batch: 1.5e-7, ..StepTime::per_example(2e-9) };
        let text = step_toml(&step).unwrap();
        assert_eq!(Simulation::from_toml(&text).unwrap(), Simulation::lambda(step), "{text}");
    }

    #[test]
    fn bad_files_are_refused_by_field() {
        let cases = [
            ("[profile.storage]\nget_ms = { p50 = -3 }", "storage.get_ms.p50"),
            ("[profile.storage]\nget_ms = { p50 = nan }", "storage.get_ms.p50"),
            ("[profile.storage]\nget_ms = { p50 = 3, p42 = 4 }", "p42"),
            ("[profile.platform.limits]\nmemory_min_mb = 0", "memory_min_mb"),
            ("[profile.platform.limits]\ntimeout_s = -1", "timeout_s"),
            ("[profile.platform.prices]\ngb_second = -1", "gb_second"),
            ("[profile]\nspeed = 3", "speed"),
            ("[step]\nseconds_per_example = inf", "seconds_per_example"),
            ("[faults]\nlost = 2", "faults.lost"),
            ("[[faults.scheduled]]\nkind = \"fire\"", "fire"),
            ("[[faults.scheduled]]\nkind = \"crash\"\nat_s = -1", "at_s"),
            ("[step", "line 1"),
        ];
        for (text, name) in cases {
            let error = Simulation::from_toml(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected);
            assert!(error.to_string().contains(name), "{text}: {error}");
        }
        let error = Simulation::read("/no/such/file.toml").unwrap_err();
        assert!(error.to_string().contains("/no/such/file.toml"), "{error}");
    }
}
