//! How careful a node has to be in the environment it runs in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an environment is for. Drills and load ask before they touch production; screens show it, so that
/// nobody takes one environment for another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posture {
    /// For trying things out.
    Development,
    /// As production, with messages of no consequence.
    Staging,
    /// Patients depend on it.
    Production,
}

impl Posture {
    /// All of them.
    pub const ALL: [Posture; 3] = [Posture::Development, Posture::Staging, Posture::Production];

    /// The posture that comes with a built-in name: `dev`, `staging`, `prod`.
    pub fn of_name(environment: &str) -> Option<Posture> {
        match environment {
            "dev" => Some(Posture::Development),
            "staging" => Some(Posture::Staging),
            "prod" => Some(Posture::Production),
            _ => None,
        }
    }

    /// The word for it in files and on screens.
    pub fn as_str(self) -> &'static str {
        match self {
            Posture::Development => "development",
            Posture::Staging => "staging",
            Posture::Production => "production",
        }
    }
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Posture {
    type Err = ();

    fn from_str(text: &str) -> Result<Posture, ()> {
        Posture::ALL
            .into_iter()
            .find(|posture| posture.as_str() == text)
            .ok_or(())
    }
}
