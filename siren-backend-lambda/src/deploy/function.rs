//! Creating, updating and removing the function.

mod describe;
mod ready;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture as Machine, Environment, FunctionCode, Runtime};
pub(super) use describe::{Function, describe, status};
use siren_core::{Error, ErrorKind, Result};

use super::answer::unless_absent;
use super::names::{Names, Place};
use super::{Architecture, Artefact, DeploySettings, Pause, Step, foreign};
use crate::aws;

const RUNTIME: Runtime = Runtime::Providedal2023;
const HANDLER: &str = "bootstrap";
/// The number of attempts to create the function while Lambda does not know the new role yet. The
/// waits add up to a minute.
const ATTEMPTS: u32 = 15;

/// The desired state of the function.
pub(super) struct Wanted<'a> {
    pub(super) names: &'a Names,
    pub(super) place: &'a Place,
    pub(super) settings: &'a DeploySettings,
    pub(super) artefact: &'a Artefact,
}

pub(super) fn plan(
    found: Option<&Function>,
    names: &Names,
    place: &Place,
    settings: &DeploySettings,
    artefact: &Artefact,
) -> Result<Vec<Step>> {
    let Some(function) = found else { return Ok(vec![Step::CreateFunction]) };
    if !function.ours {
        let remedy = "give the deployment another name, or remove the function if it is unused";
        return Err(foreign("function", &names.function, names, remedy));
    }
    let wanted = Wanted { names, place, settings, artefact };
    let mut steps = Vec::new();
    if function.role != wanted.role()
        || function.runtime != RUNTIME.as_str()
        || function.handler != HANDLER
        || function.environment != wanted.environment()
    {
        steps.push(Step::UpdateConfiguration);
    }
    if function.code_sha256 != artefact.code_sha256()
        || function.architecture != Some(artefact.architecture())
    {
        steps.push(Step::UpdateCode {
            from: function.code_sha256.clone(),
            to: artefact.code_sha256().to_owned(),
        });
    }
    Ok(steps)
}

impl Wanted<'_> {
    fn role(&self) -> String {
        let Place { account, partition, .. } = self.place;
        format!("arn:{partition}:iam::{account}:role/{}", self.names.role)
    }

    fn environment(&self) -> HashMap<String, String> {
        let endpoint =
            self.place.endpoint.clone().map(|endpoint| ("AWS_ENDPOINT_URL".to_owned(), endpoint));
        // The function connects to its bucket before the first request.
        let bucket = ("SIREN_BUCKET".to_owned(), self.names.bucket.clone());
        let own = endpoint.into_iter().chain([bucket]);
        own.chain(self.settings.environment.clone()).collect()
    }

    fn machine(&self) -> Machine {
        match self.artefact.architecture() {
            Architecture::Arm64 => Machine::Arm64,
            Architecture::X86_64 => Machine::X8664,
        }
    }

    pub(super) async fn apply(&self, lambda: &Client, step: &Step, pause: &Pause) -> Result<()> {
        let name = &self.names.function;
        match step {
            Step::CreateFunction => {
                self.create(lambda, pause).await?;
                ready::active(lambda, name).await?;
            }
            Step::UpdateConfiguration => {
                // A driver may be publishing a version.
                ready::updated(lambda, name).await?;
                lambda
                    .update_function_configuration()
                    .function_name(name)
                    .role(self.role())
                    .runtime(RUNTIME)
                    .handler(HANDLER)
                    .environment(environment(self.environment()))
                    .send()
                    .await
                    .map_err(|error| {
                        aws::error(&format!("configuring the function {name}"), error)
                    })?;
            }
            _ => {
                ready::updated(lambda, name).await?;
                lambda
                    .update_function_code()
                    .function_name(name)
                    .architectures(self.machine())
                    .zip_file(Blob::new(self.artefact.zip()))
                    .send()
                    .await
                    .map_err(|error| {
                        aws::error(&format!("changing the code of the function {name}"), error)
                    })?;
            }
        }
        ready::updated(lambda, name).await
    }

    async fn create(&self, lambda: &Client, pause: &Pause) -> Result<()> {
        let name = &self.names.function;
        let tags = self.names.tags().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let seconds = i32::try_from(self.settings.timeout.as_secs()).unwrap_or(i32::MAX);
        let memory = i32::try_from(self.settings.memory_mb).unwrap_or(i32::MAX);
        let what = &format!("creating the function {name}");
        for attempt in 1..=ATTEMPTS {
            let answer = lambda
                .create_function()
                .function_name(name)
                .description("workers of Siren")
                .runtime(RUNTIME)
                .handler(HANDLER)
                .role(self.role())
                .architectures(self.machine())
                .memory_size(memory)
                .timeout(seconds)
                .environment(environment(self.environment()))
                .set_tags(Some(HashMap::from(tags.clone())))
                .code(FunctionCode::builder().zip_file(Blob::new(self.artefact.zip())).build())
                .send()
                .await;
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if ready::is_new_role(&error) && attempt < ATTEMPTS => {
                    pause.wait(Duration::from_secs(u64::from(attempt.min(5)))).await;
                }
                Err(error) if ready::is_new_role(&error) => {
                    let says = format!(
                        "{what} failed, since Lambda cannot take the role {} yet: try again in a \
                         minute",
                        self.names.role
                    );
                    return Err(Error::new(ErrorKind::Other, says).with_source(error));
                }
                Err(error) => return Err(aws::error(what, error)),
            }
        }
        Ok(())
    }
}

fn environment(variables: HashMap<String, String>) -> Environment {
    Environment::builder().set_variables(Some(variables)).build()
}

/// Removes the function with its versions and aliases.
pub(super) async fn remove(lambda: &Client, name: &str) -> Result<()> {
    let answer = lambda.delete_function().function_name(name).send().await;
    unless_absent(answer, &["ResourceNotFoundException"], &format!("removing the function {name}"))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::architecture::tests::elf;
    use super::super::names::tests::{names, place};
    use super::*;

    fn artefact(machine: u16, architecture: Architecture) -> Artefact {
        Artefact::package(&elf(machine), architecture).unwrap()
    }

    fn settled() -> Function {
        Function {
            ours: true,
            role: "arn:aws:iam::123456789012:role/siren-ap-southeast-1".into(),
            runtime: "provided.al2023".into(),
            handler: "bootstrap".into(),
            environment: HashMap::from([("SIREN_BUCKET".to_owned(), names().bucket)]),
            code_sha256: artefact(183, Architecture::Arm64).code_sha256().into(),
            architecture: Some(Architecture::Arm64),
            memory_mb: 512,
            timeout: Duration::from_secs(30),
        }
    }

    fn steps(function: &Function, place: &Place, artefact: &Artefact) -> Vec<Step> {
        plan(Some(function), &names(), place, &DeploySettings::default(), artefact).unwrap()
    }

    #[test]
    fn the_same_code_is_not_uploaded_again() {
        let same = artefact(183, Architecture::Arm64);
        assert_eq!(steps(&settled(), &place(), &same), []);
    }

    #[test]
    fn other_code_or_another_architecture_is_uploaded() {
        let other = artefact(62, Architecture::X86_64);
        let is_update = |steps: &[Step]| matches!(steps, [Step::UpdateCode { .. }]);
        assert!(is_update(&steps(&settled(), &place(), &other)));
        let moved = Function { architecture: Some(Architecture::X86_64), ..settled() };
        assert!(is_update(&steps(&moved, &place(), &artefact(183, Architecture::Arm64))));
    }

    #[test]
    fn the_function_is_told_of_another_endpoint_and_of_none_that_is_gone() {
        let same = artefact(183, Architecture::Arm64);
        let place_there = Place { endpoint: Some("http://127.0.0.1:1".into()), ..place() };
        assert_eq!(steps(&settled(), &place_there, &same), [Step::UpdateConfiguration]);
        let mut environment = settled().environment;
        environment.insert("AWS_ENDPOINT_URL".to_owned(), "http://127.0.0.1:1".to_owned());
        let there = Function { environment, ..settled() };
        assert_eq!(steps(&there, &place_there, &same), []);
        assert_eq!(steps(&there, &place(), &same), [Step::UpdateConfiguration]);
    }

    #[test]
    fn a_function_without_our_tags_is_refused() {
        let function = Function { ours: false, ..settled() };
        let same = artefact(183, Architecture::Arm64);
        let error = plan(Some(&function), &names(), &place(), &DeploySettings::default(), &same)
            .unwrap_err();
        assert!(error.message().contains("the function siren is there already"), "{error}");
    }
}
