//! The vocabulary of Freshet's tests.
