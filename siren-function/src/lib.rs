//! The side of Siren that runs in a serverless function, without the part that names a provider.
//!
//! A provider's crate, such as `siren-backend-lambda`, receives requests in its own way and implements
//! [`Storage`] for its object storage. The rest is here:
//!
//! | item | purpose |
//! | --- | --- |
//! | [`payload`] | the messages between driver and function |
//! | [`Handler`] | answers a message: describes the function or runs its worker |
//! | [`stored`] | messages that are too large for a payload |
//! | [`WallClock`] | real time, for functions and for backends in this process |
//! | [`run_on_thread`] | runs the driver's own mathematics |

mod clock;
mod context;
mod handler;
mod machine;
pub mod payload;
pub mod stored;
mod thread;

pub use clock::WallClock;
pub use handler::{Handler, OpenedData, Storage};
pub use thread::run_on_thread;
