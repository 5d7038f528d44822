//! The estimator on links as they are, in a time of their own.

mod cases;
mod constants;
mod fairness;
mod flow;
mod lies;
mod link;
mod parts;
mod published;
mod table;
