//! A program with these flags: its own defaults, and the help that prints them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, ValueEnum as _};
use siren_core::{Result, SyncMode};

use super::{Flags, OptimizerName};
use crate::schedulers::Kind;

/// A program that trains.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name of its runs.
    pub name: &'static str,
    /// Returns its own defaults, which may depend on the flags that are given. Flags without a
    /// value have those of [`Flags::values`].
    pub defaults: fn(&Flags) -> Flags,
    /// Returns the path of its bundled data.
    pub data: fn() -> PathBuf,
}

impl Program {
    /// Reads the command line. Exits with a message when a flag is wrong, as [`Parser::parse`]
    /// does.
    pub fn parse<C: Parser>(&self) -> C {
        let matches = self.with_defaults(C::command()).get_matches();
        C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Completes flags by those of the run that is resumed, and by the program's own defaults.
    ///
    /// # Errors
    ///
    /// When the checkpoint cannot be read, or was not made by a program with these flags.
    pub fn complete(&self, flags: Flags) -> Result<Flags> {
        Ok(self.with_own(flags.resumed()?))
    }

    fn with_own(&self, flags: Flags) -> Flags {
        let own = (self.defaults)(&flags);
        flags.or(own)
    }

    /// The command, whose help prints the default of each flag that has one.
    pub fn with_defaults(&self, command: clap::Command) -> clap::Command {
        self.defaults().into_iter().fold(command, |command, (name, text)| {
            command.mut_arg(name, |arg| {
                let with = |help: &clap::builder::StyledStr| {
                    let help = help.to_string();
                    match help.split_once('\n') {
                        None => format!("{help} [default: {text}]"),
                        Some((first, rest)) => format!("{first} [default: {text}]\n{rest}"),
                    }
                };
                let (short, long) = (arg.get_help().map(with), arg.get_long_help().map(with));
                let arg = arg.help(short.unwrap_or_default());
                match long {
                    Some(long) => arg.long_help(long),
                    None => arg,
                }
            })
        })
    }

    /// The default of each flag that has one: its value without any flags, and other values that it
    /// has with some.
    fn defaults(&self) -> BTreeMap<&'static str, String> {
        let none = Flags::default;
        let of = |flags: Flags| self.with_own(flags).values().named();
        let mut with: Vec<(String, Flags)> =
            OptimizerName::value_variants().iter().map(|&name| optimizer(name)).collect();
        let bulk = Some(SyncMode::Bulk);
        with.push(("--sync-mode bulk".into(), Flags { sync_mode: bulk, ..none() }));
        let mut texts = BTreeMap::new();
        for (at, (name, value)) in of(none()).into_iter().enumerate() {
            // Conditions by the value that the flag has with them.
            let mut others: Vec<(String, Vec<&str>)> = Vec::new();
            for (condition, flags) in &with {
                let other = of(flags.clone())[at].1.clone();
                if other == value || is_given(name, flags) {
                    continue;
                }
                match others.iter_mut().find(|(value, _)| *value == other) {
                    Some((_, conditions)) => conditions.push(condition),
                    None => others.push((other, vec![condition])),
                }
            }
            let others = others
                .iter()
                .map(|(other, conditions)| format!("; {other} with {}", conditions.join(" or ")));
            texts.insert(name, value.clone() + &others.collect::<String>());
        }
        self.explain(&mut texts);
        let data = (self.data)().display().to_string();
        let out = Flags::default().folder(self.name).display().to_string();
        texts.extend([("data", data), ("out", out)]);
        texts
    }

    /// Names the defaults that depend on this machine or on a simulation.
    fn explain(&self, texts: &mut BTreeMap<&'static str, String>) {
        let workers = |flags: Flags| self.with_own(flags).values().workers;
        let threads = Flags::default().threads();
        if let Some(text) = texts.get_mut("threads") {
            text.push_str(", one for each core");
        }
        let Some(text) = texts.get_mut("workers") else { return };
        let usual = workers(Flags::default());
        if workers(Flags { threads: Some(threads + 1), ..Flags::default() }) != usual {
            text.push_str(", one for each thread");
        }
        let scheduler = Some(Kind::Planner);
        let planned = workers(Flags { scheduler, simulate: true, ..Flags::default() });
        if planned != usual {
            text.push_str(&format!(
                "; {planned} with a planner or an agent on simulated functions"
            ));
        }
    }
}

fn optimizer(name: OptimizerName) -> (String, Flags) {
    let text = format!("--optimizer {name}");
    (text, Flags { optimizer: Some(name), ..Flags::default() })
}

/// `true` if a condition sets this flag, so that its default does not apply.
fn is_given(name: &str, flags: &Flags) -> bool {
    match name {
        "optimizer" => flags.optimizer.is_some(),
        "sync_mode" => flags.sync_mode.is_some(),
        _ => false,
    }
}
