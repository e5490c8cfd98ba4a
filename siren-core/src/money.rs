//! Amounts of money, and numbers of requests.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};

use crate::{Error, Result};

/// An amount of US dollars.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Usd(f64);

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(0.0);

    /// An amount in dollars.
    pub const fn new(dollars: f64) -> Self {
        Self(dollars)
    }

    /// The amount in dollars.
    pub const fn dollars(self) -> f64 {
        self.0
    }

    /// Returns the amount if it can be a budget or a price. `name` is the name of the input in the
    /// error message.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the amount is NaN, infinite
    /// or negative.
    pub fn checked(self, name: &str) -> Result<Self> {
        if self.0.is_finite() && self.0 >= 0.0 {
            Ok(self)
        } else {
            Err(Error::rejected(format!(
                "{name} is {}: give a finite amount of dollars, zero or more",
                self.0
            )))
        }
    }

    /// The larger of two amounts.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// The smaller of two amounts.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

impl fmt::Display for Usd {
    /// Two decimals for zero and for a dollar or more, five decimals from $0.001, and exponential
    /// notation with three decimals below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size == 0.0 || size >= 1.0 {
            write!(f, "${:.2}", self.0)
        } else if size >= 0.001 {
            write!(f, "${:.5}", self.0)
        } else {
            write!(f, "${:.3e}", self.0)
        }
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0 + rhs.0)
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, rhs: Self) {
        self.0 += rhs.0;
    }
}

impl Sub for Usd {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self(self.0 - rhs.0)
    }
}

impl Mul<f64> for Usd {
    type Output = Self;
    fn mul(self, rhs: f64) -> Self {
        Self(self.0 * rhs)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Numbers of requests to shared storage, by price class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Requests {
    /// PUT, COPY, POST and LIST.
    pub writes: u64,
    /// GET and HEAD, conditional ones included.
    pub reads: u64,
}

impl Requests {
    /// No requests.
    pub const NONE: Self = Self { writes: 0, reads: 0 };

    /// `true` if both counts are at most those of `cap`.
    pub fn within(self, cap: Self) -> bool {
        self.writes <= cap.writes && self.reads <= cap.reads
    }
}

impl Sub for Requests {
    type Output = Self;
    /// The requests in `self` beyond those in `rhs`; never negative.
    fn sub(self, rhs: Self) -> Self {
        Self {
            writes: self.writes.saturating_sub(rhs.writes),
            reads: self.reads.saturating_sub(rhs.reads),
        }
    }
}

impl Add for Requests {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self {
            writes: self.writes.saturating_add(rhs.writes),
            reads: self.reads.saturating_add(rhs.reads),
        }
    }
}

impl AddAssign for Requests {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Mul<u64> for Requests {
    type Output = Self;
    fn mul(self, rhs: u64) -> Self {
        Self { writes: self.writes.saturating_mul(rhs), reads: self.reads.saturating_mul(rhs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_keep_their_digits() {
        assert_eq!(Usd::new(12.345).to_string(), "$12.35");
        assert_eq!(Usd::new(0.012345).to_string(), "$0.01235");
        assert_eq!(Usd::new(1e-7).to_string(), "$1.000e-7");
        assert_eq!(Usd::ZERO.to_string(), "$0.00");
    }

    #[test]
    fn a_budget_that_is_no_amount_is_refused_by_name() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let error = Usd::new(bad).checked("the budget").unwrap_err();
            assert!(error.to_string().starts_with("the budget is"), "{error}");
        }
        assert!(Usd::new(0.0).checked("the budget").is_ok());
    }
}
