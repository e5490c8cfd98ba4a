//! Files of agents and of trainings.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use siren_burn::BurnWorkload;
use siren_core::{Error, ErrorKind, Layout, Result, Seed, Workload, file};

use super::Agent;
use super::normaliser::Normaliser;
use super::objective::Objective;
use super::settings::TrainingSettings;
use super::training::{Training, TrainingState};
use super::view::INPUTS;
use crate::env::SavedVectorEnvironment;
use crate::model::{At, Chance};
use crate::task::SchedulingTask;

use std::fmt::Display;

/// The metadata entry that holds everything but the weights.
const ENTRY: &str = "siren.agent";

/// The version of the file format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct AboutAgent {
    version: u32,
    inputs: usize,
    settings: TrainingSettings,
    normaliser: Normaliser,
}

#[derive(Serialize, Deserialize)]
struct AboutTraining {
    version: u32,
    inputs: usize,
    settings: TrainingSettings,
    seed: Seed,
    tasks: Vec<Vec<f64>>,
    updates: [u64; 2],
    // The old key keeps the file format.
    #[serde(rename = "rest")]
    state: TrainingState,
    vector: SavedVectorEnvironment,
    best: Option<Normaliser>,
}

impl Agent {
    /// Writes the agent to a safetensors file: its weights as named tensors, the rest as the
    /// metadata entry `siren.agent`. The file is replaced as a whole.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let about = AboutAgent {
            version: VERSION,
            inputs: INPUTS,
            settings: self.settings(),
            normaliser: self.normaliser.clone(),
        };
        write(path.as_ref(), self.workload.layout(), &[("", &self.params)], &about)
    }

    /// Reads an agent from a file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file cannot be read, [`ErrorKind::Corrupt`] when it
    /// holds no agent, and [`ErrorKind::Rejected`] when another version of this library wrote it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let read = Read::open(path)?;
        let about: AboutAgent = read.about()?;
        read.check(about.version, about.inputs)?;
        if !about.normaliser.is_sound(INPUTS) {
            return Err(read.corrupt("its normalisation is not that of an agent"));
        }
        read.check_hidden(about.settings)?;
        let workload = workload(about.settings)?;
        let params = read.vector(workload.layout(), "")?;
        Self::new(Arc::new(workload), params, about.normaliser)
    }
}

impl Training {
    /// Writes everything that [`resume`](Self::resume) needs to continue without a difference:
    /// weights, optimizer, normalisation, random state, environments, settings, evaluations. The
    /// file is a safetensors file and is replaced as a whole.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let weights = &self.weights;
        let mut vectors = vec![
            ("params.", &weights.params),
            ("average.", &weights.average),
            ("first.", &weights.first),
            ("second.", &weights.second),
        ];
        vectors.extend(self.best.as_ref().map(|(best, _)| ("best.", best)));
        let about = AboutTraining {
            version: VERSION,
            inputs: INPUTS,
            settings: self.settings,
            seed: self.initial_seed(),
            tasks: self.tasks.iter().map(|task| fingerprint(task)).collect(),
            updates: weights.updates,
            state: self.state.clone(),
            vector: self.rollout.vector.save(),
            best: self.best.as_ref().map(|(_, normaliser)| normaliser.clone()),
        };
        write(path.as_ref(), self.workload.layout(), &vectors, &about)
    }

    /// Continues a training with the tasks that it began with.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file cannot be read, [`ErrorKind::Corrupt`] when it
    /// holds no training, and [`ErrorKind::Rejected`] when another version of this library wrote it
    /// or the tasks differ.
    pub fn resume(path: impl AsRef<Path>, tasks: &[Arc<SchedulingTask>]) -> Result<Self> {
        let path = path.as_ref();
        let read = Read::open(path)?;
        let about: AboutTraining = read.about()?;
        read.check(about.version, about.inputs)?;
        read.check_hidden(about.settings)?;
        let counts = [about.vector.len(), about.state.returns.len()];
        let sound = about.state.normaliser.is_sound(INPUTS)
            && about.best.as_ref().is_none_or(|normaliser| normaliser.is_sound(INPUTS))
            && counts.iter().all(|count| *count == about.settings.environments);
        if !sound {
            return Err(read.corrupt("its parts do not match"));
        }
        let mut training = Self::empty(tasks, about.settings, about.seed)?;
        let own: Vec<Vec<f64>> = training.tasks.iter().map(|task| fingerprint(task)).collect();
        if own != about.tasks {
            return Err(Error::rejected(format!(
                "the training in {} has other tasks: resume it with the tasks that it began with",
                path.display()
            )));
        }
        let layout = training.workload.layout().clone();
        let weights = &mut training.weights;
        weights.params = read.vector(&layout, "params.")?;
        weights.average = read.vector(&layout, "average.")?;
        weights.first = read.vector(&layout, "first.")?;
        weights.second = read.vector(&layout, "second.")?;
        weights.updates = about.updates;
        training.state = about.state;
        training.rollout.vector.restore(about.vector)?;
        if let Some(normaliser) = about.best {
            training.best = Some((read.vector(&layout, "best.")?, normaliser));
        }
        Ok(training)
    }
}

fn workload(settings: TrainingSettings) -> Result<BurnWorkload<Objective>> {
    settings.check()?;
    BurnWorkload::new(Objective { inputs: INPUTS, settings })
}

/// The numbers that distinguish a task from another.
fn fingerprint(task: &SchedulingTask) -> Vec<f64> {
    let bounds = task.bounds;
    let mut all = vec![
        task.budget_usd,
        task.target_loss,
        task.ideal_epochs(),
        task.epochs as f64,
        bounds.workers.into(),
        bounds.memory_min_mb.into(),
        bounds.memory_max_mb.into(),
        bounds.memory_step_mb.into(),
    ];
    for (epoch, progress) in
        [(0, 0.0), (1, 0.3 * task.ideal_epochs()), (2, 0.9 * task.ideal_epochs())]
    {
        let at = At { epoch, progress, memory_mb: None };
        for (workers, memory_mb) in [(1.0, 0.0), (30.0, 1_769.0), (bounds.workers.into(), 1e9)] {
            let allocation = bounds.nearest(workers, memory_mb);
            let epoch = task.job.epoch(at, allocation, &Chance::EXPECTED);
            all.extend([epoch.elapsed_s, epoch.cost_usd, epoch.progress]);
        }
    }
    all
}

fn write(
    path: &Path,
    layout: &Layout,
    vectors: &[(&str, &Vec<f32>)],
    about: &impl Serialize,
) -> Result<()> {
    let unfit = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Other, "cannot encode the agent").with_source(error)
    };
    let text = serde_json::to_string(about).map_err(|error| unfit(error.into()))?;
    let mut named: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (prefix, values) in vectors {
        let mut start = 0;
        for tensor in layout.tensors() {
            let part = &values[start..start + tensor.elements()];
            start += tensor.elements();
            let bytes = part.iter().flat_map(|value| value.to_le_bytes()).collect();
            named.push((format!("{prefix}{}", tensor.name), tensor.shape.clone(), bytes));
        }
    }
    let mut views = Vec::new();
    for (name, shape, bytes) in &named {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        views.push((name.as_str(), view.map_err(|error| unfit(error.into()))?));
    }
    let metadata = HashMap::from([(ENTRY.to_owned(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata));
    let bytes = bytes.map_err(|error| unfit(error.into()))?;
    file::replace(path, |to| to.write_all(&bytes))
}

/// A file in memory.
struct Read<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

impl<'a> Read<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| {
            let message = format!("cannot read the agent in {}", path.display());
            Error::new(ErrorKind::Other, message).with_source(error)
        })?;
        Ok(Self { path, bytes })
    }

    fn corrupt(&self, why: impl Display) -> Error {
        let message = format!("{} holds no agent: {why}", self.path.display());
        Error::new(ErrorKind::Corrupt, message)
    }

    fn about<T: DeserializeOwned>(&self) -> Result<T> {
        let header =
            SafeTensors::read_metadata(&self.bytes).map_err(|error| self.corrupt(error))?;
        let entry = header.1.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
        let text = entry.ok_or_else(|| self.corrupt(format!("it has no entry {ENTRY}")))?;
        serde_json::from_str(text).map_err(|error| self.corrupt(error))
    }

    /// Called before anything is allocated with a size from the file.
    fn check_hidden(&self, settings: TrainingSettings) -> Result<()> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| self.corrupt(error))?;
        let fits = file.tensors().iter().any(|(name, view)| {
            name.ends_with("actor.second.bias") && view.shape() == [settings.hidden]
        });
        if fits { Ok(()) } else { Err(self.corrupt("its layers have another width")) }
    }

    fn check(&self, version: u32, inputs: usize) -> Result<()> {
        if version == VERSION && inputs == INPUTS {
            return Ok(());
        }
        Err(Error::rejected(format!(
            "{} was written by another version of this library: train the agent again",
            self.path.display()
        )))
    }

    fn vector(&self, layout: &Layout, prefix: &str) -> Result<Vec<f32>> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| self.corrupt(error))?;
        let mut values = Vec::with_capacity(layout.dim());
        for tensor in layout.tensors() {
            let name = format!("{prefix}{}", tensor.name);
            let view = file.tensor(&name).map_err(|error| self.corrupt(error))?;
            if view.dtype() != Dtype::F32 || view.shape() != tensor.shape {
                return Err(self.corrupt(format!("its {name} has another shape or type")));
            }
            let numbers = view.data().chunks_exact(4);
            values.extend(numbers.map(|n| f32::from_le_bytes([n[0], n[1], n[2], n[3]])));
        }
        Ok(values)
    }
}
