//! New ids: random, short enough to be read and typed.

use codeswarm_protocol::{InjectionId, JobId, SwarmId};

use crate::core::Names;

/// Ids from random numbers; numbers go on from the stored ones.
#[derive(Debug)]
pub(super) struct RandomNames {
    last_number: u64,
}

impl RandomNames {
    pub(super) fn after(last_number: u64) -> Self {
        Self { last_number }
    }
}

fn short() -> String {
    let mut text = uuid::Uuid::new_v4().simple().to_string();
    text.truncate(10);
    text
}

/// The alphabet of ids holds every letter that is used here, so the check cannot fail; if it did, trying again is right.
fn id<T, E>(make: impl Fn() -> Result<T, E>) -> T {
    loop {
        if let Ok(id) = make() {
            return id;
        }
    }
}

impl Names for RandomNames {
    fn swarm(&mut self) -> SwarmId {
        id(|| SwarmId::new(&format!("sw-{}", short())))
    }

    fn job(&mut self) -> JobId {
        id(|| JobId::new(&format!("local-{}", short())))
    }

    fn injection(&mut self) -> InjectionId {
        id(|| InjectionId::new(&uuid::Uuid::now_v7().to_string()))
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}
