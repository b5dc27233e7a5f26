//! Tests that no single crate can hold: the shape of the repository (`house`) and the product seen
//! from outside (`e2e`).

mod e2e;
mod house;
