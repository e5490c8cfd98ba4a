//! Facts of a [`ParameterStore`] around another one.
//!
//! The [`Terms`] of a store are the aggregators that it needs and the requests that it makes. The
//! trainer launches the aggregators and reserves money for the requests. With a decorator that
//! loses these terms, it trains without aggregators or exceeds the budget. The facts of a
//! [store](super::store) cannot detect this when the wrapped store has no aggregators and makes no
//! requests. So here the wrapped store has both.

mod inside;

use std::sync::Arc;

use inside::{Idle, Inside, TIME_LEFT, invocation};

use super::Fact;
use super::drive::{Driven, Driver};
use super::store::plan;
use crate::{
    Aggregation, EpochPlan, ErrorKind, Invocation, ParameterStore, RequestCosts, Requests, Result,
    WorkerReport,
};

/// The properties of a store on which the trainer relies.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// [`ParameterStore::dim`].
    pub dim: usize,
    /// [`ParameterStore::request_costs`].
    pub request_costs: RequestCosts,
    /// [`ParameterStore::aggregation`] for an epoch.
    pub aggregation: Aggregation,
    /// [`ParameterStore::requests`].
    pub requests: Option<Requests>,
}

impl Terms {
    /// The terms of `store` for an epoch of this plan.
    pub fn of(store: &dyn ParameterStore, plan: &EpochPlan) -> Self {
        Self {
            dim: store.dim(),
            request_costs: store.request_costs(),
            aggregation: store.aggregation(plan),
            requests: store.requests(),
        }
    }
}

type Make = dyn Fn(Arc<dyn ParameterStore>) -> Box<dyn ParameterStore> + Send + Sync;

/// The constructor of the decorator under test.
pub struct Subject {
    make: Box<Make>,
    expected: Box<dyn Fn(Terms) -> Terms + Send + Sync>,
    driver: Driver,
}

impl Subject {
    /// Tests the decorators that `make` creates around a given store. Their terms must be those of
    /// that store.
    pub fn new<S: ParameterStore + 'static>(
        make: impl Fn(Arc<dyn ParameterStore>) -> S + Send + Sync + 'static,
    ) -> Self {
        Self {
            make: Box::new(move |inner| Box::new(make(inner))),
            expected: Box::new(|terms| terms),
            driver: Driver::default(),
        }
    }

    /// Declares that the decorator changes the terms of the wrapped store to those that `expected`
    /// returns.
    #[must_use]
    pub fn changing(mut self, expected: impl Fn(Terms) -> Terms + Send + Sync + 'static) -> Self {
        self.expected = Box::new(expected);
        self
    }

    /// Sets the function that blocks on futures. It is called on any thread.
    #[must_use]
    pub fn driven(mut self, run: impl for<'a> Fn(Driven<'a>) + Send + Sync + 'static) -> Self {
        self.driver = Driver::new(run);
        self
    }

    /// The decorator's terms and the expected ones, for several plans, before and after the wrapped
    /// store has made requests.
    fn terms(&self) -> Vec<(Terms, Terms)> {
        let mut pairs = Vec::new();
        for counts in [true, false] {
            let inside = Arc::new(Inside::new(counts));
            let decorator = (self.make)(inside.clone());
            for shards in [1, 3, 8] {
                let plan = plan(0, shards, 24);
                let expected = (self.expected)(Terms::of(&*inside, &plan));
                pairs.push((Terms::of(&*decorator, &plan), expected));
                inside.make_requests();
            }
        }
        pairs
    }

    /// Runs an aggregator in a decorator. Returns the wrapped store and the result.
    fn aggregate(&self, invocation: &Invocation) -> (Arc<Inside>, Result<WorkerReport>) {
        let inside = Arc::new(Inside::new(true));
        let decorator = (self.make)(inside.clone());
        let idle = Idle { store: &*decorator };
        let answer = self.driver.run(decorator.aggregate(invocation, &idle));
        (inside, answer)
    }
}

/// The decorator has the same number of parameters as the wrapped store.
pub fn the_number_of_parameters_is_kept(subject: &Subject) {
    for (terms, expected) in subject.terms() {
        assert_eq!(terms.dim, expected.dim);
    }
}

/// The decorator has the request costs of the wrapped store.
pub fn the_request_costs_are_kept(subject: &Subject) {
    for (terms, expected) in subject.terms() {
        assert_eq!(terms.request_costs, expected.request_costs);
    }
}

/// The decorator needs the aggregators of the wrapped store, for every plan.
pub fn the_aggregation_is_kept(subject: &Subject) {
    for (terms, expected) in subject.terms() {
        assert_eq!(terms.aggregation, expected.aggregation);
    }
}

/// The decorator's count of requests is that of the wrapped store, and `None` if that store does
/// not count.
pub fn the_count_of_requests_is_kept(subject: &Subject) {
    for (terms, expected) in subject.terms() {
        assert_eq!(terms.requests, expected.requests);
    }
}

/// An aggregator runs in the wrapped store with its own invocation and context, and its report
/// comes back.
pub fn an_aggregator_runs_in_the_store_inside(subject: &Subject) {
    for part in [0, 5] {
        let invocation = invocation(part);
        let (inside, answer) = subject.aggregate(&invocation);
        let report = answer.expect("the wrapped store aggregates");
        assert_eq!(report, Inside::report(&invocation));
        assert_eq!(inside.aggregated(), [(invocation, TIME_LEFT)]);
    }
}

/// An error of the wrapped store keeps its kind.
pub fn an_error_of_an_aggregator_keeps_its_kind(subject: &Subject) {
    let (_, answer) = subject.aggregate(&invocation(Inside::LOST_PART));
    assert_eq!(answer.expect_err("the wrapped store fails").kind(), ErrorKind::Lost);
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__store_decorator_facts!(__fact_list);

/// Makes a test for each fact of a [`ParameterStore`] around another one:
/// `store_decorator_tests!(module_name, subject)`. Use it beside
/// [`store_tests!`](crate::store_tests).
///
/// ```text
/// store_decorator_tests!(counting, store_decorator::Subject::new(|inner| Counting::new(inner)));
/// ```
#[macro_export]
macro_rules! store_decorator_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__store_decorator_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_decorator_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] store_decorator:
            the_number_of_parameters_is_kept
            the_request_costs_are_kept
            the_aggregation_is_kept
            the_count_of_requests_is_kept
            an_aggregator_runs_in_the_store_inside
            an_error_of_an_aggregator_keeps_its_kind
        }
    };
}
