//! A correct store decorator, and ones that lose terms of the wrapped store.

use std::sync::Arc;

use async_trait::async_trait;
use siren_core::conformance::store_decorator::{self, Subject, Terms};
use siren_core::conformance::{store, store_decorator_tests, store_tests};
use siren_core::{
    Aggregation, Context, EpochPlan, Error, ErrorKind, Invocation, ParameterStore, RequestCosts,
    Requests, Result, StoreDecorator, WorkerReport,
};

use super::bite::faults;
use super::store::reference::Reference;

store_decorator_tests!(around_a_store, Subject::new(|inner| Around { inner, fault: None }));

store_decorator_tests!(
    with_request_costs_that_it_declares,
    Subject::new(|inner| Around { inner, fault: Some(Fault::CostsNoRequests) })
        .changing(|terms| Terms { request_costs: RequestCosts::NONE, ..terms })
);

store_tests!(
    reference_store_inside,
    store::Subject::new(|dim| async move {
        Around { inner: Arc::new(Reference::new(dim)), fault: None }
    })
);

/// The fault of a decorator.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    AggregatesTheFirstPart,
    CostsNoRequests,
    CountsNoRequests,
    DoesNotCountRequests,
    ErrorsAreRejections,
    ForgetsThePlan,
    HasAnotherDimension,
    NeedsNoAggregators,
    ReportsNothing,
}

/// A store around another one.
struct Around {
    inner: Arc<dyn ParameterStore>,
    fault: Option<Fault>,
}

impl Around {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

#[async_trait]
impl StoreDecorator for Around {
    fn inner(&self) -> &dyn ParameterStore {
        &*self.inner
    }

    fn dim(&self) -> usize {
        self.inner.dim() + usize::from(self.has(Fault::HasAnotherDimension))
    }

    fn request_costs(&self) -> RequestCosts {
        match self.has(Fault::CostsNoRequests) {
            true => RequestCosts::NONE,
            false => self.inner.request_costs(),
        }
    }

    fn aggregation(&self, plan: &EpochPlan) -> Aggregation {
        match self.fault {
            Some(Fault::NeedsNoAggregators) => Aggregation::NONE,
            Some(Fault::ForgetsThePlan) => {
                self.inner.aggregation(&EpochPlan { shards: 1, ..plan.clone() })
            }
            _ => self.inner.aggregation(plan),
        }
    }

    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport> {
        let mut invocation = invocation.clone();
        if self.has(Fault::AggregatesTheFirstPart) {
            invocation.shard = 0;
        }
        let answer = self.inner.aggregate(&invocation, context).await;
        match self.fault {
            Some(Fault::ReportsNothing) => answer.map(|_| WorkerReport::default()),
            Some(Fault::ErrorsAreRejections) => {
                answer.map_err(|error| Error::new(ErrorKind::Rejected, error.chain()))
            }
            _ => answer,
        }
    }

    fn requests(&self) -> Option<Requests> {
        match self.fault {
            Some(Fault::CountsNoRequests) => Some(Requests::NONE),
            Some(Fault::DoesNotCountRequests) => None,
            _ => self.inner.requests(),
        }
    }
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(move |inner| Around { inner, fault: Some(fault) })
}

faults! { store_decorator::FACTS, with_fault;
    another_number_of_parameters: HasAnotherDimension => the_number_of_parameters_is_kept;
    requests_that_cost_nothing: CostsNoRequests => the_request_costs_are_kept;
    aggregators_that_are_not_needed: NeedsNoAggregators => the_aggregation_is_kept;
    aggregators_that_do_not_depend_on_the_plan: ForgetsThePlan => the_aggregation_is_kept;
    requests_that_are_counted_as_none: CountsNoRequests => the_count_of_requests_is_kept;
    requests_that_are_not_counted: DoesNotCountRequests => the_count_of_requests_is_kept;
    aggregators_of_another_part: AggregatesTheFirstPart => an_aggregator_runs_in_the_store_inside;
    aggregators_that_report_nothing: ReportsNothing => an_aggregator_runs_in_the_store_inside;
    errors_that_are_all_rejections: ErrorsAreRejections =>
        an_error_of_an_aggregator_keeps_its_kind;
}
