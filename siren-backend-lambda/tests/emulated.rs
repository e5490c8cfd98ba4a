//! Tests against real servers: MiniStack, and SeaweedFS as a second, independent S3. `emulators.sh`
//! beside this file starts both. Without them the tests fail.

#[path = "emulated/config.rs"]
mod config;
#[path = "emulated/data.rs"]
mod data;
#[path = "emulated/deploy/mod.rs"]
mod deploy;
#[path = "emulated/function.rs"]
mod function;
#[path = "emulated/lambda.rs"]
mod lambda;
#[path = "emulated/objects.rs"]
mod objects;
#[path = "emulated/problem.rs"]
mod problem;
#[path = "emulated/proxy.rs"]
mod proxy;
#[path = "emulated/servers.rs"]
mod servers;
#[path = "emulated/store.rs"]
mod store;
#[path = "emulated/swarm.rs"]
mod swarm;
