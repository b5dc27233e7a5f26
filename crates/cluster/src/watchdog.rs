//! The thread that looks at nothing but the clock. It does no I/O, waits for no lock that is held for long, and runs
//! no code of anybody else: whatever hangs, it does not.

use std::sync::Arc;
use std::thread;

use crate::clock::Tick;
use crate::machine::{Fault, Role};
use crate::shared::Shared;

pub(crate) fn run(shared: &Arc<Shared>) {
    let parameters = shared.parameters;
    loop {
        thread::sleep(parameters.watchdog);
        let Some(deadline) = shared.deadline() else {
            if matches!(*shared.role.borrow(), Role::Left) {
                return;
            }
            continue;
        };
        let now = Tick::now();
        if now >= deadline {
            shared.fence(Fault::Deadline);
        }
        // Whatever is still open or under way ends with the process: the next leader may be at work already. Nothing
        // is said: whoever reads what this process says may be what hangs.
        if now >= deadline + parameters.stop {
            std::process::abort();
        }
    }
}
