//! Removing versions that are no longer needed.

use std::collections::HashSet;

use aws_sdk_lambda::Client;
use siren_core::Result;

use super::answer::unless_absent;
use crate::aws;
use crate::backend::versions::is_ours;

/// Deletes the aliases made by drivers that point to earlier code, and the versions of earlier code
/// without an alias. Returns the numbers of deleted aliases and versions.
pub(super) async fn prune(client: &Client, function: &str) -> Result<(usize, usize)> {
    let what = format!("pruning the versions of {function}");
    let old = old_versions(client, function, &what).await?;
    let mut needed = HashSet::new();
    let mut aliases = Vec::new();
    let mut pages = client.list_aliases().function_name(function).into_paginator().send();
    while let Some(page) = pages.next().await {
        for alias in page.map_err(|error| aws::error(&what, error))?.aliases() {
            let name = alias.name().unwrap_or_default().to_owned();
            let version = alias.function_version().unwrap_or_default().to_owned();
            if is_ours(&name) && old.contains(&version) {
                aliases.push(name);
            } else {
                needed.insert(version);
                let routed =
                    alias.routing_config().and_then(|all| all.additional_version_weights());
                needed.extend(routed.into_iter().flatten().map(|(version, _)| version.clone()));
            }
        }
    }
    for alias in &aliases {
        let delete = client.delete_alias().function_name(function).name(alias).send().await;
        unless_absent(delete, &["ResourceNotFoundException"], &what)?;
    }
    let versions: Vec<&String> = old.difference(&needed).collect();
    for version in &versions {
        let delete = client.delete_function().function_name(function).qualifier(*version);
        unless_absent(delete.send().await, &["ResourceNotFoundException"], &what)?;
    }
    Ok((aliases.len(), versions.len()))
}

/// The published versions with other code than the latest. The latest code and the versions come
/// from one listing, so that code deployed meanwhile does not count as old.
async fn old_versions(client: &Client, function: &str, what: &str) -> Result<HashSet<String>> {
    let (mut latest, mut published) = (None, Vec::new());
    let list = client.list_versions_by_function().function_name(function);
    let mut pages = list.into_paginator().send();
    while let Some(page) = pages.next().await {
        for version in page.map_err(|error| aws::error(what, error))?.versions() {
            match (version.version(), version.code_sha256()) {
                (Some("$LATEST"), code) => latest = code.map(str::to_owned),
                (Some(number), Some(code)) => published.push((number.to_owned(), code.to_owned())),
                _ => {}
            }
        }
    }
    let Some(latest) = latest else { return Ok(HashSet::new()) };
    let old = published.into_iter().filter(|(_, code)| *code != latest);
    Ok(old.map(|(number, _)| number).collect())
}
