//! Examples of Siren, and what they share

pub mod lenet;
