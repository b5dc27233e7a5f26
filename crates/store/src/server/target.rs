//! Which server is the database now. Of several, and behind an address that moves, it is the primary with
//! the newest history.
//!
//! Each promotion begins a new *timeline*, a number that grows. A server on an older one than was written to
//! before is a primary that was replaced: it may still take connections, but what it commits is lost. It is
//! not used.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::Error;

/// What a committed message must survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// A crash of the database server. Standbys that are not waited for are said aloud.
    #[default]
    Standard,
    /// A failover too: a server whose standbys are not waited for is refused.
    Strict,
}

/// One server.
#[derive(Clone)]
pub(crate) struct Place<O> {
    pub(crate) options: O,
    /// Host and port, for a person.
    pub(crate) name: String,
}

/// What was seen of the servers; the same for all connections of a store.
#[derive(Default)]
struct Seen {
    /// The place that was connected to last.
    last: AtomicUsize,
    /// The newest timeline; 0 = none yet, or the server does not say.
    timeline: AtomicU32,
}

/// Where and how to connect.
#[derive(Clone)]
pub(crate) struct Target<O> {
    places: Vec<Place<O>>,
    seen: Arc<Seen>,
    /// Whoever sits between could pass for the database.
    pub(crate) unverified: bool,
    pub(crate) durability: Durability,
}

/// A connection, and what its server says of itself.
pub(crate) struct Reached<T> {
    pub(crate) link: T,
    /// 0 = it does not say.
    pub(crate) timeline: u32,
}

impl<O: Sync> Target<O> {
    pub(crate) fn new(places: Vec<Place<O>>, unverified: bool, durability: Durability) -> Target<O> {
        Target {
            places,
            seen: Arc::default(),
            unverified,
            durability,
        }
    }

    /// All servers, for a person.
    pub(crate) fn name(&self) -> String {
        let names: Vec<&str> = self.places.iter().map(|place| place.name.as_str()).collect();
        names.join(" or ")
    }

    pub(crate) fn has_several(&self) -> bool {
        self.places.len() > 1
    }

    #[cfg(test)]
    pub(crate) fn first(&self) -> &O {
        &self.places[0].options
    }

    /// The first server that `connect` succeeds with, beginning with the one before.
    pub(crate) fn reach<T>(
        &self,
        connect: impl Fn(&Place<O>) -> Result<Reached<T>, Error>,
    ) -> Result<T, Error> {
        let count = self.places.len();
        let last = self.seen.last.load(Ordering::Relaxed);
        let mut errors = Vec::new();
        for index in (0..count).map(|offset| (last + offset) % count) {
            match connect(&self.places[index]).and_then(|reached| self.accept(index, reached)) {
                Ok(link) => return Ok(link),
                Err(error) => errors.push(error),
            }
        }
        Err(together(errors))
    }

    /// Asks all servers at once; the one with the newest timeline. For writing: an old primary that answers
    /// first must not be taken while the new one is there.
    pub(crate) fn reach_newest<T: Send>(
        &self,
        connect: impl Fn(&Place<O>) -> Result<Reached<T>, Error> + Sync,
    ) -> Result<T, Error> {
        if !self.has_several() {
            return self.reach(connect);
        }
        let answers: Vec<Result<Reached<T>, Error>> = thread::scope(|scope| {
            let asked: Vec<_> = self
                .places
                .iter()
                .map(|place| scope.spawn(|| connect(place)))
                .collect();
            asked
                .into_iter()
                .map(|asked| {
                    asked
                        .join()
                        .unwrap_or_else(|_| Err(Error::Away("connecting failed".to_owned())))
                })
                .collect()
        });
        let (mut best, mut errors): (Option<(usize, Reached<T>)>, _) = (None, Vec::new());
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(reached)
                    if best
                        .as_ref()
                        .is_none_or(|(_, best)| reached.timeline > best.timeline) =>
                {
                    best = Some((index, reached));
                }
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
        match best {
            Some((index, reached)) => self.accept(index, reached),
            None => Err(together(errors)),
        }
    }

    /// Asks all servers at once; the first that `connect` succeeds with. The others are not waited for: one of them may be
    /// gone without a word. For servers that have no timeline.
    pub(crate) fn reach_first<T: Send + 'static>(
        &self,
        connect: impl Fn(&Place<O>) -> Result<Reached<T>, Error> + Send + Sync + 'static,
    ) -> Result<T, Error>
    where
        O: Clone + Send + 'static,
    {
        if !self.has_several() {
            return self.reach(connect);
        }
        let connect = Arc::new(connect);
        let (answers, answered) = mpsc::channel();
        for (index, place) in self.places.iter().cloned().enumerate() {
            let (connect, answers) = (Arc::clone(&connect), answers.clone());
            // What comes too late is dropped with the channel.
            thread::spawn(move || drop(answers.send((index, connect(&place)))));
        }
        drop(answers);
        let mut errors = Vec::new();
        for (index, answer) in answered {
            match answer {
                Ok(reached) => match self.accept(index, reached) {
                    Ok(link) => return Ok(link),
                    Err(error) => errors.push(error),
                },
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            errors.push(Error::Away("connecting failed".to_owned()));
        }
        Err(together(errors))
    }

    /// Whether no newer timeline than this one was seen.
    pub(crate) fn is_newest(&self, timeline: u32) -> bool {
        timeline >= self.seen.timeline.load(Ordering::Relaxed)
    }

    fn accept<T>(&self, index: usize, reached: Reached<T>) -> Result<T, Error> {
        let known = self.seen.timeline.fetch_max(reached.timeline, Ordering::Relaxed);
        if reached.timeline < known {
            return Err(Error::Away(format!(
                "the database at {} is an old primary that was replaced (it stands at {}, the newest seen at \
                 {known}): keep it stopped, and point store.url at the new primary",
                self.places[index].name, reached.timeline
            )));
        }
        self.seen.last.store(index, Ordering::Relaxed);
        Ok(reached.link)
    }
}

/// The errors of all servers as one; only a refusal by each of them is final.
fn together(mut errors: Vec<Error>) -> Error {
    if errors.len() == 1 {
        return errors.remove(0);
    }
    let texts: Vec<String> = errors.iter().map(super::settle::reason).collect();
    let text = texts.join("; ");
    if errors.iter().all(|error| matches!(error, Error::Refused(_))) {
        Error::Refused(text)
    } else {
        Error::Away(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers by timeline; `None` does not answer.
    fn reached(target: &Target<()>, timelines: &[Option<u32>]) -> Result<String, Error> {
        target.reach_newest(|place| {
            let index: usize = place.name.parse().unwrap();
            match timelines[index] {
                Some(timeline) => Ok(Reached {
                    link: place.name.clone(),
                    timeline,
                }),
                None => Err(Error::Away(format!("{index} does not answer"))),
            }
        })
    }

    fn target(places: usize) -> Target<()> {
        let places = (0..places)
            .map(|index| Place {
                options: (),
                name: index.to_string(),
            })
            .collect();
        Target::new(places, false, Durability::Standard)
    }

    #[test]
    fn the_newest_primary_is_taken_and_no_older_one_ever_after() {
        let target = target(2);
        assert_eq!(reached(&target, &[Some(1), None]).unwrap(), "0");
        assert_eq!(reached(&target, &[Some(1), Some(2)]).unwrap(), "1");
        let Err(Error::Away(text)) = reached(&target, &[Some(1), None]) else {
            panic!("the old primary was taken");
        };
        assert!(text.contains("was replaced"), "{text}");
        assert_eq!(reached(&target, &[Some(3), Some(2)]).unwrap(), "0");
    }

    #[test]
    fn the_first_that_answers_is_taken_and_a_silent_one_not_waited_for() {
        let begun = std::time::Instant::now();
        let taken = target(3).reach_first(|place| match place.name.as_str() {
            "0" => {
                thread::sleep(std::time::Duration::from_secs(3));
                Err(Error::Away("too late".to_owned()))
            }
            "1" => Err(Error::Refused("not the primary".to_owned())),
            _ => Ok(Reached {
                link: place.name.clone(),
                timeline: 0,
            }),
        });
        assert_eq!(taken.unwrap(), "2");
        assert!(begun.elapsed() < std::time::Duration::from_secs(2));
        let none: Result<(), _> =
            target(2).reach_first(|place| Err(Error::Away(format!("{} does not answer", place.name))));
        let text = none.unwrap_err().to_string();
        assert!(
            text.contains("0 does not") && text.contains("1 does not"),
            "{text}"
        );
    }

    #[test]
    fn an_address_that_leads_back_to_an_old_primary_is_refused_too() {
        let target = target(1);
        assert!(reached(&target, &[Some(5)]).is_ok());
        assert!(reached(&target, &[Some(4)]).is_err());
        assert!(reached(&target, &[Some(5)]).is_ok());
    }

    #[test]
    fn where_no_server_answers_each_is_named() {
        let error = reached(&target(2), &[None, None]).unwrap_err().to_string();
        assert!(
            error.contains("0 does not") && error.contains("1 does not"),
            "{error}"
        );
    }
}
