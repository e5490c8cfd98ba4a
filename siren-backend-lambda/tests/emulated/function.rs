//! A separate function for each test, on the emulator.

use std::collections::HashMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, Runtime, State};
use siren_backend_lambda::{LambdaBackend, LambdaSettings, S3Objects};
use siren_backend_local::WallClock;
use siren_core::{Clock, Seed, Workload};
use siren_data::{MemorySource, pack};
use siren_hsp::ObjectOptions;

use crate::problem::{LeastSquares, WIDTH};
use crate::proxy::Proxy;
use crate::servers::{self, MINISTACK};

/// The function's program as a zip file, packed only once.
static CODE: LazyLock<Vec<u8>> =
    LazyLock::new(|| zipped(&std::fs::read(env!("CARGO_BIN_EXE_emulated_function")).unwrap()));

fn zipped(program: &[u8]) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    let options = options.compression_level(Some(1));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bootstrap", options).unwrap();
    zip.write_all(program).unwrap();
    zip.finish().unwrap().into_inner()
}

/// The program of a second deployment: an additional byte changes its hash.
pub(crate) fn other_code() -> Vec<u8> {
    let mut program = std::fs::read(env!("CARGO_BIN_EXE_emulated_function")).unwrap();
    program.push(0);
    zipped(&program)
}

/// Examples of the problem, with the weights -3, -2, …, 4.
pub(crate) fn examples(count: usize) -> Vec<f32> {
    // Uniform from -1 to 1.
    let number = |seed: Seed| (seed.get() as f64 / u64::MAX as f64) as f32 * 2.0 - 1.0;
    let mut numbers = Vec::new();
    for example in 0..count {
        let seed = Seed::new(example as u64);
        let inputs: Vec<f32> = (0..WIDTH - 1).map(|i| number(seed.child(i as u64))).collect();
        let answer: f32 = inputs.iter().enumerate().map(|(i, x)| x * (i as f32 - 3.0)).sum();
        numbers.extend(inputs);
        numbers.push(answer);
    }
    numbers
}

pub(crate) fn source() -> MemorySource {
    MemorySource::from_floats(&examples(512), WIDTH).unwrap()
}

/// A function, its bucket and its budget of faults.
pub(crate) struct Deployed {
    pub(crate) config: SdkConfig,
    pub(crate) name: String,
    /// The key of the examples.
    data: String,
    pub(crate) client: Client,
    budget: PathBuf,
    _folder: tempfile::TempDir,
}

impl Deployed {
    /// Creates a function whose name begins with `name`.
    pub(crate) async fn new(name: &str) -> Self {
        let config = servers::config(&MINISTACK.address()).await;
        let client = Client::new(&config);
        let folder = tempfile::tempdir().unwrap();
        let budget = folder.path().to_path_buf();
        // The process id keeps this run apart from earlier runs.
        let name = &format!("{name}-{}", std::process::id());
        let s3 = aws_sdk_s3::Client::new(&config);
        s3.create_bucket().bucket(name).send().await.unwrap();
        let variables = HashMap::from([
            ("AWS_ENDPOINT_URL".to_owned(), MINISTACK.address()),
            ("SIREN_BUCKET".to_owned(), name.to_owned()),
            ("SIREN_TEST_FAULTS".to_owned(), budget.display().to_string()),
        ]);
        client
            .create_function()
            .function_name(name)
            .runtime(Runtime::Providedal2023)
            .handler("bootstrap")
            .role("arn:aws:iam::000000000000:role/siren")
            .code(FunctionCode::builder().zip_file(Blob::new(CODE.as_slice())).build())
            .environment(Environment::builder().set_variables(Some(variables)).build())
            .memory_size(128)
            .timeout(30)
            .send()
            .await
            .unwrap();
        let packed = budget.with_extension("packed");
        pack(&source(), &packed).await.unwrap();
        let objects = S3Objects::new(&config, name, "");
        let data = objects.upload_data(&packed, "lines").await.unwrap();
        std::fs::remove_file(packed).unwrap();
        let name = name.clone();
        let deployed = Self { config, name, data, client, budget, _folder: folder };
        deployed.settled().await;
        deployed
    }

    /// Waits until a change of the function is complete.
    pub(crate) async fn settled(&self) {
        let clock = WallClock::new();
        loop {
            let get = self.client.get_function_configuration().function_name(&self.name);
            let found = get.send().await.unwrap();
            let updating = found.last_update_status().is_some_and(|s| s.as_str() == "InProgress");
            if found.state() != Some(&State::Pending) && !updating {
                return;
            }
            clock.sleep_until(clock.now() + Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn settings(&self, run: &str) -> LambdaSettings {
        let workload = LeastSquares::new();
        let run = format!("runs/{run}");
        let mut settings = LambdaSettings::new(
            self.config.clone(),
            &self.name,
            &self.name,
            run,
            &self.data,
            &workload,
        );
        settings.timeouts = [4, 30].map(Duration::from_secs).to_vec();
        settings.options = ObjectOptions {
            poll_interval: Duration::from_millis(50),
            wait_delay: Duration::from_millis(20),
            memory_mb: 256,
            ..ObjectOptions::default()
        };
        settings
    }

    /// Connects a backend for a separate run, and writes the initial parameters.
    pub(crate) async fn connect(&self, run: &str) -> Arc<LambdaBackend> {
        self.with_store(self.settings(run)).await
    }

    /// As [`connect`](Self::connect), for workers without an aggregator.
    pub(crate) async fn connect_without_aggregators(&self, run: &str) -> Arc<LambdaBackend> {
        let mut settings = self.settings(run);
        settings.options.max_ahead = u64::MAX;
        self.with_store(settings).await
    }

    /// As [`connect`](Self::connect), but the driver sends all requests through a proxy.
    pub(crate) async fn connect_through(&self, proxy: &Proxy, run: &str) -> Arc<LambdaBackend> {
        let config = servers::config(&proxy.address()).await;
        self.with_store(LambdaSettings { config, ..self.settings(run) }).await
    }

    async fn with_store(&self, settings: LambdaSettings) -> Arc<LambdaBackend> {
        let lambda = LambdaBackend::connect(settings).await.unwrap();
        let workload: &dyn Workload = &LeastSquares::new();
        lambda.store().unwrap().initialise(workload, 1).await.unwrap();
        Arc::new(lambda)
    }

    /// Adds faults of one kind to the budget.
    pub(crate) fn add(&self, fault: &str, count: usize) {
        for nth in 0..count {
            std::fs::write(self.budget.join(format!("{fault}-{nth}")), "").unwrap();
        }
    }

    /// Faults that did not fire.
    pub(crate) fn faults_left(&self) -> Vec<String> {
        names(&self.budget)
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
