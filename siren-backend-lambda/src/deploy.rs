//! Sets up and removes the AWS resources for training.
//!
//! A *deployment* is a bucket, a role, a log group and a function. All four carry its tags.
//! Resources without the tags are never changed or removed. Setting up again changes only what
//! differs. An idle deployment costs only its storage.
//!
//! ```no_run
//! use siren_backend_lambda::aws::Aws;
//! use siren_backend_lambda::deploy::{Architecture, Artefact, DeploySettings, Deployment};
//!
//! # async fn example() -> siren_core::Result<()> {
//! let config = Aws::default().config().await?;
//! let deployment = Deployment::open(&config, DeploySettings::default()).await?;
//! let binary = std::fs::read("target/lambda/bootstrap/bootstrap").unwrap();
//! let artefact = Artefact::package(&binary, Architecture::Arm64)?;
//! println!("{}", deployment.plan(&artefact).await?);
//! deployment.up(&artefact).await?;
//! println!("{}", deployment.status().await?);
//! deployment.down(false).await?;
//! # Ok(()) }
//! ```

mod answer;
mod architecture;
mod artefact;
mod bucket;
mod build;
mod contents;
mod function;
mod logs;
mod names;
mod plan;
mod policy;
mod removal;
mod role;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod versions;

use std::time::Duration;

pub use architecture::Architecture;
pub use artefact::Artefact;
use aws_config::SdkConfig;
pub use build::build;
pub use names::{DATA, Names, RUNS};
pub use plan::{Plan, Price, Step};
pub use policy::operator as operator_policy;
pub use removal::{Removal, Resource};
pub use settings::DeploySettings;
use siren_core::{Error, ErrorKind, Result};
pub use status::{BucketStatus, FunctionAlias, FunctionStatus, FunctionVersion, LogStatus, Status};

use names::Place;

/// One deployment in one region of one account. It need not exist yet.
pub struct Deployment {
    settings: DeploySettings,
    place: Place,
    s3: aws_sdk_s3::Client,
    lambda: aws_sdk_lambda::Client,
    iam: aws_sdk_iam::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    pause: Pause,
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment")
            .field("settings", &self.settings)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// The existing parts of a deployment.
struct Found {
    names: Names,
    bucket: Option<bucket::Bucket>,
    role: Option<role::Role>,
    logs: Option<logs::LogGroup>,
    function: Option<function::Function>,
}

impl Deployment {
    /// Names a deployment, and asks AWS for the account of the credentials. Changes nothing.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] for invalid settings, a missing region, and missing or wrong
    /// credentials. Returns [`ErrorKind::Lost`] when AWS does not answer, as for a region that does
    /// not exist.
    pub async fn open(config: &SdkConfig, settings: DeploySettings) -> Result<Self> {
        settings.check()?;
        let pause = Pause::new(config)?;
        let place = Place::ask(config).await?;
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(config.endpoint_url().is_some())
            .build();
        Ok(Self {
            settings,
            place,
            s3: aws_sdk_s3::Client::from_conf(s3),
            lambda: aws_sdk_lambda::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            pause,
        })
    }

    /// Returns the steps that [`up`](Self::up) would take now, in order, and their prices. Changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when a resource of the same name exists without this
    /// deployment's tags, or when the settings name another bucket than the deployment's. Errors of
    /// AWS are passed on.
    pub async fn plan(&self, artefact: &Artefact) -> Result<Plan> {
        let found = self.describe().await?;
        self.plan_for(&found, artefact)
    }

    /// Creates missing resources, changes those that differ, and returns the steps taken. The plan
    /// has no steps if the deployment was already up to date. The function is ready when this
    /// returns.
    ///
    /// The memory and the timeout in the settings apply to a new function only. Later the driver
    /// changes them, when it publishes versions of other sizes.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan). Completed steps stay in effect: call it again.
    ///
    /// # Cancellation
    ///
    /// Dropping the future stops between two requests: call it again.
    pub async fn up(&self, artefact: &Artefact) -> Result<Plan> {
        let found = self.describe().await?;
        let plan = self.plan_for(&found, artefact)?;
        for step in &plan.steps {
            self.apply(step, &plan.names, artefact).await?;
        }
        Ok(plan)
    }

    /// Returns the parts of the deployment that exist.
    ///
    /// # Errors
    ///
    /// Errors of AWS are passed on.
    pub async fn status(&self) -> Result<Status> {
        let found = self.describe().await?;
        let Found { names, bucket, role, logs, function } = found;
        let (bucket, function) = futures::try_join!(
            async {
                match bucket {
                    Some(bucket) => {
                        contents::measure(&self.s3, &names.bucket, bucket.ours).await.map(Some)
                    }
                    None => Ok(None),
                }
            },
            async {
                match function {
                    Some(function) => {
                        function::status(&self.lambda, &names.function, function).await.map(Some)
                    }
                    None => Ok(None),
                }
            },
        )?;
        Ok(Status {
            bucket,
            function,
            role: role.map(|role| (names.role.clone(), role.ours)),
            logs: logs.map(|logs| LogStatus {
                name: names.log_group.clone(),
                ours: logs.ours,
                bytes: logs.bytes,
                retention_days: logs.retention_days,
            }),
            names,
        })
    }

    /// Removes the deployment: the function with its versions and aliases, the log group, the
    /// bucket with all objects and unfinished uploads, and the role. A resource without this
    /// deployment's tags stays, and is reported. `keep_data` keeps the bucket.
    ///
    /// # Errors
    ///
    /// Errors of AWS are passed on. Resources removed before the error stay removed: call it again.
    ///
    /// # Cancellation
    ///
    /// Dropping the future stops between two requests: call it again.
    pub async fn down(&self, keep_data: bool) -> Result<Removal> {
        let Found { names, bucket, role, logs, function } = self.describe().await?;
        let mut removal = Removal::default();
        // The function first, since it writes to the bucket and the log. The role last, since its
        // tag holds the bucket's name.
        if let Some(function) = function {
            let what = Resource::Function(names.function.clone());
            if function.ours {
                function::remove(&self.lambda, &names.function).await?;
            }
            removal.note(what, function.ours);
        }
        if let Some(logs) = logs {
            if logs.ours {
                logs::remove(&self.logs, &names.log_group).await?;
            }
            removal.note(Resource::LogGroup(names.log_group.clone()), logs.ours);
        }
        if let Some(bucket) = bucket {
            let what = Resource::Bucket(names.bucket.clone());
            if bucket.ours && keep_data {
                removal.kept.push(what);
            } else {
                if bucket.ours {
                    removal.objects =
                        contents::remove(&self.s3, &names.bucket, &self.pause).await?;
                }
                removal.note(what, bucket.ours);
            }
        }
        if let Some(role) = role {
            if role.ours {
                role::remove(&self.iam, &names.role).await?;
            }
            removal.note(Resource::Role(names.role.clone()), role.ours);
        }
        Ok(removal)
    }

    /// Deletes the versions of earlier code that drivers published, with their aliases. Returns the
    /// numbers of deleted aliases and versions. A job that began before the code changed still
    /// invokes these versions and would fail: call this when no such job runs. A version with an
    /// alias that no driver made is kept.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when there is no function with this deployment's tags.
    /// Errors of AWS are passed on. Versions deleted before the error stay deleted: call it again.
    ///
    /// # Cancellation
    ///
    /// Dropping the future stops between two requests: call it again.
    pub async fn prune(&self) -> Result<(usize, usize)> {
        let name = &self.planned().function;
        match function::describe(&self.lambda, &self.planned()).await? {
            Some(function) if function.ours => versions::prune(&self.lambda, name).await,
            _ => Err(Error::rejected(format!(
                "there is no function {name} of this deployment: set it up first, or name another \
                 deployment"
            ))),
        }
    }

    /// Returns the names of the deployment's parts. An existing deployment's bucket name is read
    /// from its role.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when the settings name another bucket than the deployment's.
    /// Errors of AWS are passed on.
    pub async fn names(&self) -> Result<Names> {
        self.describe_role().await.map(|(names, _)| names)
    }

    /// The names that follow from the settings alone, without a request to AWS.
    fn planned(&self) -> Names {
        Names::new(&self.settings, &self.place)
    }

    /// The role and the names; the role's tag holds the bucket's name.
    async fn describe_role(&self) -> Result<(Names, Option<role::Role>)> {
        let mut names = self.planned();
        let role = role::describe(&self.iam, &names).await?;
        if let Some(bucket) =
            role.as_ref().filter(|role| role.ours).and_then(|role| role.bucket.clone())
        {
            names.remember(bucket, self.settings.bucket.as_deref())?;
        }
        Ok((names, role))
    }

    async fn describe(&self) -> Result<Found> {
        let (names, role) = self.describe_role().await?;
        let (bucket, logs, function) = futures::try_join!(
            bucket::describe(&self.s3, &names),
            logs::describe(&self.logs, &names, &self.place),
            function::describe(&self.lambda, &names),
        )?;
        Ok(Found { names, bucket, role, logs, function })
    }

    fn plan_for(&self, found: &Found, artefact: &Artefact) -> Result<Plan> {
        let mut steps = Vec::new();
        steps.extend(bucket::plan(
            found.bucket.as_ref(),
            &found.names,
            &self.place,
            &self.settings,
        )?);
        steps.extend(role::plan(found.role.as_ref(), &found.names, &self.place)?);
        steps.extend(logs::plan(found.logs.as_ref(), &found.names, &self.settings)?);
        steps.extend(function::plan(
            found.function.as_ref(),
            &found.names,
            &self.place,
            &self.settings,
            artefact,
        )?);
        Ok(Plan::new(found.names.clone(), artefact.architecture(), steps))
    }

    async fn apply(&self, step: &Step, names: &Names, artefact: &Artefact) -> Result<()> {
        let (place, settings) = (&self.place, &self.settings);
        match step {
            Step::CreateBucket
            | Step::BlockPublicAccess
            | Step::EnforceOwnership
            | Step::SetLifecycle { .. }
            | Step::RequireTls => bucket::apply(&self.s3, step, names, place).await,
            Step::CreateRole | Step::SetTrust | Step::SetPermissions => {
                role::apply(&self.iam, step, names, place).await
            }
            Step::CreateLogGroup | Step::SetRetention { .. } => {
                logs::apply(&self.logs, step, names).await
            }
            Step::CreateFunction | Step::UpdateConfiguration | Step::UpdateCode { .. } => {
                let function = function::Wanted { names, place, settings, artefact };
                function.apply(&self.lambda, step, &self.pause).await
            }
        }
    }
}

/// Waits between two attempts, on the clock of the AWS clients.
struct Pause(aws_sdk_s3::config::SharedAsyncSleep);

impl Pause {
    fn new(config: &SdkConfig) -> Result<Self> {
        config.sleep_impl().map(Self).ok_or_else(|| {
            Error::new(
                ErrorKind::Rejected,
                "the configuration of the AWS clients has no sleep implementation: load it within a \
                 tokio runtime",
            )
        })
    }

    async fn wait(&self, time: Duration) {
        use aws_sdk_s3::config::AsyncSleep;
        self.0.sleep(time).await;
    }
}

/// The error for an existing resource of that name without this deployment's tags.
fn foreign(what: &str, name: &str, names: &Names, remedy: &str) -> Error {
    Error::rejected(format!(
        "the {what} {name} is there already and does not carry the tags project=siren and \
         siren-deployment={}: {remedy}",
        names.deployment
    ))
}
