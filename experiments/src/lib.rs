//! Code that the experiments share: jobs on simulated platforms, the workloads of the testbed, the
//! searches of the toy example, and comparisons of schedulers.

pub mod contest;
pub mod lab;
pub mod testbed;
pub mod toy;
