//! Tests against real servers: MiniStack, and SeaweedFS as a second, independent S3. Without them the
//! tests fail.

#[path = "emulated/function.rs"]
mod function;
#[path = "emulated/lambda.rs"]
mod lambda;
#[path = "emulated/problem.rs"]
mod problem;
