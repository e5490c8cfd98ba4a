//! Jobs by name.

use siren_core::{Error, Result};

use super::JobModel;

/// Named jobs, as TOML. The first lines of each file describe the job.
pub const PROFILES: [(&str, &str); 6] = [
    ("seed", include_str!("../../profiles/seed.toml")),
    ("homog", include_str!("../../profiles/homog.toml")),
    ("stale", include_str!("../../profiles/stale.toml")),
    ("conservative", include_str!("../../profiles/conservative.toml")),
    ("etl", include_str!("../../profiles/etl.toml")),
    ("noise-scale", include_str!("../../profiles/noise-scale.toml")),
];

impl JobModel {
    /// The named job, one of [`PROFILES`].
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), listing the known names,
    /// when there is no such job.
    pub fn named(name: &str) -> Result<Self> {
        let Some((_, text)) = PROFILES.iter().find(|(of, _)| *of == name) else {
            let names = PROFILES.map(|(name, _)| name).join(", ");
            return Err(Error::rejected(format!("no job is named {name:?}: give one of {names}")));
        };
        Self::from_toml(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_job_is_one_and_survives_being_written() {
        for (name, _) in PROFILES {
            let model = JobModel::named(name).unwrap();
            assert_eq!(model.name, name);
            assert_eq!(JobModel::from_toml(&model.to_toml().unwrap()).unwrap(), model);
        }
        assert!(JobModel::named("sead").unwrap_err().message().contains("seed, homog"));
    }
}
