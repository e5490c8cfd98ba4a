//! Examples of Siren, and what they share
