//! The servers, with a bucket on each.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_config::SdkConfig;
use siren_backend_lambda::S3Objects;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

pub(crate) use crate::config::config;

/// The runtime of all tests, so that connections outlive each of them.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A server that speaks S3.
pub(crate) struct Server {
    variable: &'static str,
    objects: OnceCell<S3Objects>,
}

pub(crate) static MINISTACK: Server = Server::named("SIREN_TEST_MINISTACK");
pub(crate) static SEAWEEDFS: Server = Server::named("SIREN_TEST_SEAWEEDFS");

impl Server {
    const fn named(variable: &'static str) -> Self {
        Self { variable, objects: OnceCell::const_new() }
    }

    /// The address of the server, such as `http://127.0.0.1:4566`.
    pub(crate) fn address(&self) -> String {
        std::env::var(self.variable).unwrap_or_else(|_| {
            panic!(
                "{} is not set: run siren-backend-lambda/tests/emulators.sh, which starts the servers",
                self.variable
            )
        })
    }

    /// Objects below a unique prefix.
    pub(crate) async fn objects(&self) -> S3Objects {
        let objects = self.objects.get_or_init(|| async {
            let config = config(&self.address()).await;
            let made = client(&config).create_bucket().bucket(bucket()).send().await;
            made.expect("the server creates a bucket: is it running?");
            S3Objects::new(&config, &bucket(), "")
        });
        objects.await.below(&unique_prefix())
    }
}

/// The bucket of this process.
pub(crate) fn bucket() -> String {
    format!("siren-test-{}", std::process::id())
}

/// Returns a prefix that is unique in this process.
pub(crate) fn unique_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new client.
pub(crate) fn client(config: &SdkConfig) -> aws_sdk_s3::Client {
    let settings = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(settings.build())
}

/// Makes a test for each server from an asynchronous function that takes a server.
macro_rules! on_both {
    ($($fact:ident)*) => {
        mod ministack {
            $(#[test] fn $fact() {
                crate::servers::RUNTIME.block_on(super::$fact(&crate::servers::MINISTACK));
            })*
        }
        mod seaweedfs {
            $(#[test] fn $fact() {
                crate::servers::RUNTIME.block_on(super::$fact(&crate::servers::SEAWEEDFS));
            })*
        }
    };
}
pub(crate) use on_both;
