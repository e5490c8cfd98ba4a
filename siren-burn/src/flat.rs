//! Conversion between a burn module and a flat vector.

use std::collections::HashMap;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, DType, Device, Gradients, Int, Tensor, TensorData};
use siren_core::{Error, Layout, Result, TensorSpec};

/// A module's layout and the values of its parameters.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the module has state that
/// a flat vector of trained parameters cannot hold.
pub(crate) fn flatten<M: Module>(module: &M) -> Result<(Layout, Vec<f32>)> {
    let mut survey = Survey::default();
    module.visit(&mut survey);
    match survey.refusal.or(survey.random) {
        Some(refusal) => Err(Error::rejected(refusal)),
        None => Ok((Layout::new(survey.tensors)?, survey.values)),
    }
}

/// The module with its parameters replaced by `params`, on `device`.
pub(crate) fn place<M: Module>(module: M, params: &[f32], device: &Device) -> Result<M> {
    let mut place = Place { rest: params, device, fits: true };
    let module = module.map(&mut place);
    if !place.fits || !place.rest.is_empty() {
        return Err(order_differs());
    }
    Ok(module)
}

/// Moves the gradients of the module's parameters into a flat vector. Parameters that the loss did
/// not use have gradient zero.
pub(crate) fn gather<M: Module>(module: &M, gradients: Gradients, into: &mut [f32]) -> Result<()> {
    let mut gather = Gather { rest: into, gradients, fits: true };
    module.visit(&mut gather);
    if !gather.fits || !gather.rest.is_empty() {
        return Err(order_differs());
    }
    Ok(())
}

fn order_differs() -> Error {
    Error::rejected(
        "the module's parameters are not visited in the order and shapes of its layout: derive \
         Module instead of implementing it",
    )
}

#[derive(Default)]
struct Survey {
    path: Vec<String>,
    names: HashMap<ParamId, String>,
    tensors: Vec<TensorSpec>,
    values: Vec<f32>,
    refusal: Option<String>,
    // Used only if there is no other refusal: batch normalisation has such a flag too.
    random: Option<String>,
}

impl Survey {
    fn refuse(&mut self, why: &str) {
        let refusal = format!("{} {why}", self.path.join("."));
        self.refusal.get_or_insert(refusal);
    }
}

impl ModuleVisitor for Survey {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.dtype() != DType::F32 {
            return self
                .refuse(&format!("is a parameter of type {:?}: make it f32", tensor.dtype()));
        }
        if !param.is_require_grad() {
            return self.refuse(
                "is state that no gradient trains, such as batch normalisation's running \
                 statistics or a frozen weight, and workers could not agree on it: use group or \
                 layer normalisation, or keep a frozen tensor out of the parameters, as a constant",
            );
        }
        let name = self.path.join(".");
        if let Some(other) = self.names.insert(param.id, name.clone()) {
            return self.refuse(&format!(
                "is the same parameter as {other}: keep it in one field and use that twice"
            ));
        }
        self.tensors.push(TensorSpec::new(name, tensor.dims()));
        self.values.extend(tensor.inner().into_data().iter::<f32>());
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<D, Int>>) {
        self.refuse("is an integer parameter: keep it out of the parameters, as a constant");
    }

    fn visit_bool<const D: usize>(&mut self, _param: &Param<Tensor<D, Bool>>) {
        self.refuse("is a boolean parameter: keep it out of the parameters, as a constant");
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        if flag.val().is_enabled() {
            let refusal = format!(
                "{} switches on behaviour that draws from burn's process-wide generator, such as \
                 dropout, and workers could not repeat it: draw the mask from the seed in \
                 Learner::training_loss",
                self.path.join(".")
            );
            self.random.get_or_insert(refusal);
        }
    }
}

struct Place<'a> {
    rest: &'a [f32],
    device: &'a Device,
    fits: bool,
}

impl ModuleMapper for Place<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, old, mapper) = param.consume();
        let shape = old.shape();
        let Some((values, rest)) = self.rest.split_at_checked(shape.num_elements()) else {
            self.fits = false;
            return Param::from_mapped_value(id, old, mapper);
        };
        self.rest = rest;
        let data = TensorData::new(values.to_vec(), shape);
        let mut tensor = Tensor::from_data(data, (self.device, DType::F32));
        if self.device.is_autodiff() {
            tensor = tensor.require_grad();
        }
        Param::from_mapped_value(id, tensor, mapper)
    }
}

struct Gather<'a> {
    rest: &'a mut [f32],
    gradients: Gradients,
    fits: bool,
}

impl ModuleVisitor for Gather<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let entries = tensor.shape().num_elements();
        let Some((into, rest)) = std::mem::take(&mut self.rest).split_at_mut_checked(entries)
        else {
            self.fits = false;
            return;
        };
        self.rest = rest;
        match tensor.grad_remove(&mut self.gradients) {
            None => into.fill(0.0),
            Some(gradient) => match gradient.into_data().as_slice::<f32>() {
                Ok(values) if values.len() == entries => into.copy_from_slice(values),
                _ => self.fits = false,
            },
        }
    }
}
