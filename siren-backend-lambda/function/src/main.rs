//! LeNet on handwritten digits, as a function of AWS Lambda. Serve another workload by replacing `DigitLearner`.

use std::sync::Arc;

use siren_burn::BurnWorkload;
use siren_lenet::DigitLearner;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> siren_core::Result<()> {
    siren_backend_lambda::serve(Arc::new(BurnWorkload::new(DigitLearner)?))
}
