//! Reading the state of a function.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_lambda::Client;
use siren_core::Result;

use super::super::answer::unless_absent;
use super::super::names::Names;
use super::super::{Architecture, FunctionAlias, FunctionStatus, FunctionVersion};
use crate::aws;

/// An existing function.
pub(in crate::deploy) struct Function {
    pub(in crate::deploy) ours: bool,
    pub(super) role: String,
    pub(super) runtime: String,
    pub(super) handler: String,
    pub(super) environment: HashMap<String, String>,
    pub(super) code_sha256: String,
    pub(super) architecture: Option<Architecture>,
    pub(super) memory_mb: u32,
    pub(super) timeout: Duration,
}

pub(in crate::deploy) async fn describe(
    lambda: &Client,
    names: &Names,
) -> Result<Option<Function>> {
    let name = &names.function;
    let answer = lambda.get_function().function_name(name).send().await;
    let what = format!("looking for the function {name}");
    let Some(answer) = unless_absent(answer, &["ResourceNotFoundException"], &what)? else {
        return Ok(None);
    };
    let tags = answer.tags.unwrap_or_default();
    let ours = names.own(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let Some(found) = answer.configuration else { return Ok(None) };
    let architecture = found.architectures().first();
    Ok(Some(Function {
        ours,
        architecture: architecture.and_then(|architecture| architecture.as_str().parse().ok()),
        memory_mb: whole(found.memory_size()),
        timeout: Duration::from_secs(whole(found.timeout()).into()),
        runtime: found.runtime.map(|runtime| runtime.as_str().to_owned()).unwrap_or_default(),
        environment: found.environment.and_then(|answer| answer.variables).unwrap_or_default(),
        role: found.role.unwrap_or_default(),
        handler: found.handler.unwrap_or_default(),
        code_sha256: found.code_sha256.unwrap_or_default(),
    }))
}

/// Adds the versions and aliases to a function.
pub(in crate::deploy) async fn status(
    lambda: &Client,
    name: &str,
    function: Function,
) -> Result<FunctionStatus> {
    let Function { ours, code_sha256, architecture, memory_mb, timeout, .. } = function;
    let what = &format!("listing the versions of the function {name}");
    let mut versions = Vec::new();
    let mut pages = lambda.list_versions_by_function().function_name(name).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| aws::error(what, error))?;
        versions.extend(page.versions().iter().filter_map(|version| {
            let number = version.version().filter(|number| *number != "$LATEST")?;
            Some(FunctionVersion {
                number: number.to_owned(),
                memory_mb: whole(version.memory_size()),
                timeout: Duration::from_secs(whole(version.timeout()).into()),
                current: version.code_sha256() == Some(&code_sha256),
            })
        }));
    }
    let mut aliases = Vec::new();
    let mut pages = lambda.list_aliases().function_name(name).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| aws::error(what, error))?;
        aliases.extend(page.aliases().iter().map(|alias| FunctionAlias {
            name: alias.name().unwrap_or_default().to_owned(),
            version: alias.function_version().unwrap_or_default().to_owned(),
        }));
    }
    let name = name.to_owned();
    Ok(FunctionStatus {
        name,
        ours,
        architecture,
        code_sha256,
        memory_mb,
        timeout,
        versions,
        aliases,
    })
}

fn whole(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}
