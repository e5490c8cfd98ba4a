//! The configuration of AWS clients for a test server.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;

/// Returns the configuration for a server at this address.
pub(crate) async fn config(address: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("000000000000", "test", None, None, "test"))
        .endpoint_url(address)
        .load()
        .await
}
