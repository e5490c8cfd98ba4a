//! Money: reserved before a launch, settled after it.

use siren_core::{Error, ErrorKind, Result, Usd};

/// Keeps a run within its budget: spent and reserved money together never exceed it.
///
/// ```
/// use siren_core::{ErrorKind, Usd};
/// use siren_hsp::Ledger;
///
/// let mut ledger = Ledger::new(Some(Usd::new(1.0)), Usd::ZERO);
/// // Before a launch: reserve the most that it may cost.
/// let reservation = ledger.reserve(Usd::new(0.75))?;
/// let refused = ledger.reserve(Usd::new(0.5)).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Budget);
/// // After it: settle the bill.
/// ledger.settle(reservation, Some(Usd::new(0.25)));
/// assert_eq!(ledger.spent(), Usd::new(0.25));
/// assert_eq!(ledger.left(), Some(Usd::new(0.75)));
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Ledger {
    budget: Option<Usd>,
    spent: Usd,
    reserved: Usd,
}

/// Reserved money. Return it by [`Ledger::settle`]; a dropped reservation stays reserved.
#[derive(Debug)]
#[must_use = "a reservation that is not settled stays reserved"]
pub struct Reservation {
    amount: Usd,
}

impl Reservation {
    /// The reserved amount.
    pub fn amount(&self) -> Usd {
        self.amount
    }
}

impl Ledger {
    /// A ledger with a budget (`None` if money is unlimited), of which `spent` is already spent.
    pub fn new(budget: Option<Usd>, spent: Usd) -> Self {
        Self { budget, spent, reserved: Usd::ZERO }
    }

    /// The money spent.
    pub fn spent(&self) -> Usd {
        self.spent
    }

    /// The money neither spent nor reserved; `None` if money is unlimited.
    pub fn left(&self) -> Option<Usd> {
        let left = |budget: Usd| (budget - self.spent - self.reserved).max(Usd::ZERO);
        self.budget.map(left)
    }

    /// Reserves money.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Budget`] when less than `amount` is left; then it reserves nothing.
    pub fn reserve(&mut self, amount: Usd) -> Result<Reservation> {
        if let Some(left) = self.left()
            && amount > left
        {
            return Err(Error::new(
                ErrorKind::Budget,
                format!("{amount} is needed, but {left} is left of the budget"),
            ));
        }
        self.reserved += amount;
        Ok(Reservation { amount })
    }

    /// Spends `actual` of the reservation and releases the rest. `None` means that the actual cost
    /// is unknown; then the whole reservation is spent. Returns the amount spent.
    pub fn settle(&mut self, reservation: Reservation, actual: Option<Usd>) -> Usd {
        let spent = actual.unwrap_or(reservation.amount);
        self.reserved = self.reserved - reservation.amount;
        self.spent += spent;
        spent
    }

    /// Adds a cost that had no reservation.
    pub fn spend(&mut self, amount: Usd) {
        self.spent += amount;
    }

    /// Counts all reserved money as spent: for dropped reservations, whose invocations' costs will
    /// never be known. Returns that amount.
    pub fn write_off(&mut self) -> Usd {
        let lost = std::mem::replace(&mut self.reserved, Usd::ZERO).max(Usd::ZERO);
        self.spent += lost;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_cannot_be_reserved_again() {
        let mut ledger = Ledger::new(Some(Usd::new(1.0)), Usd::ZERO);
        let first = ledger.reserve(Usd::new(0.75)).unwrap();
        let error = ledger.reserve(Usd::new(0.5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Budget);
        ledger.settle(first, Some(Usd::new(0.25)));
        assert_eq!(ledger.left(), Some(Usd::new(0.75)));
        let second = ledger.reserve(Usd::new(0.5)).unwrap();
        ledger.settle(second, None);
        assert_eq!(ledger.spent(), Usd::new(0.75));
    }

    #[test]
    fn without_a_budget_nothing_is_refused() {
        let mut ledger = Ledger::new(None, Usd::ZERO);
        let all = ledger.reserve(Usd::new(1e9)).unwrap();
        assert_eq!(ledger.left(), None);
        ledger.settle(all, Some(Usd::new(2.0)));
        assert_eq!(ledger.spent(), Usd::new(2.0));
    }
}
