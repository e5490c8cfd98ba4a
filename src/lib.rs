//! Siren
