//! Orders: commands that a node took which does not lead, and that the leader carries out. They lie in the database, each
//! with its answer.
//!
//! An order is carried out at most once: a leader takes it up before it begins, under its term, and nobody takes it up
//! again. An order that nobody took up can be withdrawn; then nobody ever will. What the order says and what it is
//! answered is the business of whoever uses this.
//!
//! Calls block, and each ends within the time that the connection was opened with.

use model::Term;
use uuid::Uuid;

use crate::Error;

/// A command, as the node that took it wrote it down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Its id, made by that node.
    pub id: Uuid,
    /// That node.
    pub node: String,
    /// Who gives it.
    pub actor: String,
    /// What is to be done: a path of the API.
    pub path: String,
    /// What it says: JSON.
    pub body: String,
}

impl Order {
    /// One that `node` took just now.
    pub fn new(node: &str, actor: String, path: String, body: String) -> Order {
        Order {
            id: Uuid::new_v4(),
            node: node.to_owned(),
            actor,
            path,
            body,
        }
    }
}

/// How far an order has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nobody took it up.
    Open,
    /// A leader is carrying it out, or was when it stopped leading.
    Begun,
    /// It was carried out: a status of HTTP, and JSON.
    Answered(u16, String),
    /// It was withdrawn, or is older than a day.
    Gone,
}

/// See the module's text.
pub trait Orders: Send {
    /// Writes an order down. Once is enough; the same one again is no other.
    fn give(&mut self, order: &Order) -> Result<(), Error>;

    /// How far it has come.
    fn progress(&mut self, id: Uuid) -> Result<Progress, Error>;

    /// Withdraws it; false when a leader took it up before.
    fn withdraw(&mut self, id: Uuid) -> Result<bool, Error>;

    /// Takes up orders, oldest first, at most `limit`; none when `term` does not lead. What is taken up here is given to
    /// nobody else, also when this call fails.
    fn take_up(&mut self, term: Term, limit: usize) -> Result<Vec<Order>, Error>;

    /// Writes down what came of one.
    fn answer(&mut self, id: Uuid, status: u16, answer: &str) -> Result<(), Error>;
}
