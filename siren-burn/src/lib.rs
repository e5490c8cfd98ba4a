//! Any burn module as a Siren workload
