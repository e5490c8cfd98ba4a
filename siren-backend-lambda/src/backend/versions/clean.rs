//! Removing versions that nobody needs any more.

use std::collections::HashSet;

use aws_sdk_lambda::error::ProvideErrorMetadata;
use siren_core::Result;

use super::{Versions, is_ours};
use crate::aws;

impl Versions {
    /// Deletes the aliases made here that point to other code than the present one, and the versions
    /// of other code that no alias points to; how many aliases and versions these were.
    pub(in crate::backend) async fn clean(&self) -> Result<(usize, usize)> {
        let _one = self.change.lock().await;
        let what = format!("cleaning up the versions of {}", self.function);
        let old = self.old_versions(&what).await?;
        let mut aliases = Vec::new();
        let mut pages =
            self.client.list_aliases().function_name(&self.function).into_paginator().send();
        while let Some(page) = pages.next().await {
            aliases.extend(
                page.map_err(|error| aws::error(&what, error))?.aliases.unwrap_or_default(),
            );
        }
        let mut needed = HashSet::new();
        let mut deleted = 0;
        for alias in aliases {
            let name = alias.name().unwrap_or_default();
            let version = alias.function_version().unwrap_or_default();
            if !is_ours(name) || !old.contains(version) {
                needed.insert(version.to_owned());
                continue;
            }
            let delete = self.client.delete_alias().function_name(&self.function).name(name);
            delete.send().await.map_err(|error| aws::error(&what, error))?;
            deleted += 1;
        }
        let versions: Vec<&String> = old.difference(&needed).collect();
        for version in &versions {
            let delete = self.client.delete_function().function_name(&self.function);
            match delete.qualifier(*version).send().await {
                Err(error) if error.code() != Some("ResourceNotFoundException") => {
                    return Err(aws::error(&what, error));
                }
                _ => {}
            }
        }
        Ok((deleted, versions.len()))
    }

    /// The published versions of other code.
    async fn old_versions(&self, what: &str) -> Result<HashSet<String>> {
        let mut old = HashSet::new();
        let mut pages = self
            .client
            .list_versions_by_function()
            .function_name(&self.function)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            for version in page.map_err(|error| aws::error(what, error))?.versions() {
                if let (Some(number), Some(code)) = (version.version(), version.code_sha256())
                    && number != "$LATEST"
                    && code != self.code
                {
                    old.insert(number.to_owned());
                }
            }
        }
        Ok(old)
    }
}
