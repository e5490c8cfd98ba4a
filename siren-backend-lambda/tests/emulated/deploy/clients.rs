//! Clients of the emulator.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use siren_backend_lambda::deploy::{Architecture, Artefact, DeploySettings, Deployment};

/// A separate account for a test. The emulator takes an access key of twelve digits as the account.
/// It contains the process id, so that a second run on the same server finds an empty account.
pub(super) struct Account {
    pub(super) config: SdkConfig,
    pub(super) id: String,
}

impl Account {
    pub(super) async fn new(test: u16) -> Self {
        Self::in_region(test, "us-east-1").await
    }

    pub(super) async fn in_region(test: u16, region: &'static str) -> Self {
        let server = std::env::var("SIREN_TEST_MINISTACK").expect(
            "SIREN_TEST_MINISTACK is not set: start the servers with tests/emulators.sh, or set it to the \
             address of a MiniStack, such as http://127.0.0.1:4566",
        );
        let id = format!("{test:04}{:08}", std::process::id() % 100_000_000);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(Credentials::new(&id, "test", None, None, "this test"))
            .endpoint_url(server)
            .load()
            .await;
        Self { config, id }
    }

    pub(super) async fn open(&self, settings: DeploySettings) -> Deployment {
        Deployment::open(&self.config, settings).await.unwrap()
    }

    /// Opens a deployment of this name.
    pub(super) async fn named(&self, name: &str) -> Deployment {
        self.open(DeploySettings { name: name.into(), ..DeploySettings::default() }).await
    }

    pub(super) fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    pub(super) fn lambda(&self) -> aws_sdk_lambda::Client {
        aws_sdk_lambda::Client::new(&self.config)
    }

    pub(super) fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config)
    }

    pub(super) fn logs(&self) -> aws_sdk_cloudwatchlogs::Client {
        aws_sdk_cloudwatchlogs::Client::new(&self.config)
    }

    /// Names of all buckets, roles, functions and log groups of the account.
    pub(super) async fn everything(&self) -> Vec<String> {
        let buckets = self.s3().list_buckets().send().await.unwrap().buckets.unwrap_or_default();
        let roles = self.iam().list_roles().send().await.unwrap().roles;
        let functions = self.lambda().list_functions().send().await.unwrap().functions;
        let groups = self.logs().describe_log_groups().send().await.unwrap().log_groups;
        let mut names: Vec<_> = buckets
            .into_iter()
            .filter_map(|bucket| bucket.name)
            .chain(roles.into_iter().map(|role| role.role_name))
            .chain(functions.unwrap_or_default().into_iter().filter_map(|one| one.function_name))
            .chain(groups.unwrap_or_default().into_iter().filter_map(|group| group.log_group_name))
            .collect();
        names.sort();
        names
    }
}

/// The code of a function. The last byte distinguishes it from other code.
pub(super) fn code(last: u8) -> Artefact {
    let mut binary = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0".to_vec();
    binary.push(last);
    Artefact::package(&binary, Architecture::Arm64).unwrap()
}
