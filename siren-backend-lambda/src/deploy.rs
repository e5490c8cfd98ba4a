//! Sets up what training on AWS needs, and removes it.
//!
//! A *deployment* is a bucket, a role, a log group and a function. All carry its tags, and nothing that
//! does not is ever changed or removed. Setting up again changes only what differs; nothing in a
//! deployment costs money while it is idle but what is stored.
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

/// One deployment in one region of one account. It may be there or not.
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

/// What is there of a deployment.
struct Found {
    names: Names,
    bucket: Option<bucket::Bucket>,
    role: Option<role::Role>,
    logs: Option<logs::LogGroup>,
    function: Option<function::Function>,
}

impl Deployment {
    /// Names a deployment, and asks AWS whose the credentials are; changes nothing.
    ///
    /// # Errors
    ///
    /// Rejected for settings that cannot be, without a region, without credentials or with wrong ones;
    /// lost when AWS does not answer, as for a region that does not exist.
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

    /// What [`up`](Self::up) would do now, in its order, and what that may cost. Changes nothing.
    ///
    /// # Errors
    ///
    /// Rejected when something of that name is there that this deployment did not make, or the bucket is
    /// not the one it was made with; and whatever AWS answers.
    pub async fn plan(&self, artefact: &Artefact) -> Result<Plan> {
        let found = self.describe().await?;
        self.plan_for(&found, artefact)
    }

    /// Creates what is missing and changes what differs, and returns what was done: nothing, when all is
    /// as it should be. The function is ready when this returns.
    ///
    /// The memory and the timeout in the settings are those of a new function only: later they are the
    /// driver's, which publishes versions of other sizes.
    ///
    /// # Errors
    ///
    /// As [`plan`](Self::plan). What was done before stays: call it again.
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

    /// What is there.
    ///
    /// # Errors
    ///
    /// Whatever AWS answers.
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

    /// Removes all of it: the function with its versions and aliases, the log group, every object and
    /// upload in the bucket and the bucket, the role. What does not carry this deployment's tags stays,
    /// and is reported. `keep_data` leaves the bucket.
    ///
    /// # Errors
    ///
    /// Whatever AWS answers. What was removed before stays so: call it again.
    ///
    /// # Cancellation
    ///
    /// Dropping the future stops between two requests: call it again.
    pub async fn down(&self, keep_data: bool) -> Result<Removal> {
        let Found { names, bucket, role, logs, function } = self.describe().await?;
        let mut removal = Removal::default();
        // The function first, since it writes; the role last, since it knows the bucket's name.
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

    /// Deletes the versions of earlier code that drivers published, with their aliases, and says how many
    /// aliases and versions these were. A job that began before the code changed still invokes them, and
    /// fails: call this when none runs. An alias of another's making keeps its version.
    ///
    /// # Errors
    ///
    /// Rejected when there is no function that carries this deployment's tags; and whatever AWS answers.
    /// What was deleted before stays so: call it again.
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

    /// The names of its parts: its bucket too, where it has one.
    ///
    /// # Errors
    ///
    /// Rejected when another bucket than this was asked for; and whatever AWS answers.
    pub async fn names(&self) -> Result<Names> {
        self.describe_role().await.map(|(names, _)| names)
    }

    /// The names of its parts, before anything was asked.
    fn planned(&self) -> Names {
        Names::new(&self.settings, &self.place)
    }

    /// The role, which knows the bucket's name.
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

/// Waits between two attempts, by the clock that the AWS clients were given.
struct Pause(aws_sdk_s3::config::SharedAsyncSleep);

impl Pause {
    fn new(config: &SdkConfig) -> Result<Self> {
        config.sleep_impl().map(Self).ok_or_else(|| {
            Error::new(
                ErrorKind::Rejected,
                "the settings of the AWS clients have no way to sleep: load them within a tokio runtime",
            )
        })
    }

    async fn wait(&self, time: Duration) {
        use aws_sdk_s3::config::AsyncSleep;
        self.0.sleep(time).await;
    }
}

/// What is there of that name is not this deployment's.
fn foreign(what: &str, name: &str, names: &Names, remedy: &str) -> Error {
    Error::rejected(format!(
        "the {what} {name} is there already and does not carry the tags project=siren and \
         siren-deployment={}: {remedy}",
        names.deployment
    ))
}
