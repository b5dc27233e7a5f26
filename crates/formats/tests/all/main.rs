//! The crate from outside: cases as data, properties, and two independent parsers as oracles.

mod editing;
mod limits;
mod oracles;
mod properties;
mod reading;
