//! One self-contained HTML page for a Siren run
