//! Deployments on an emulator of AWS.

mod clients;
mod down;
mod refused;
mod up;
