//! `attach`.

use super::swarm_now;
use crate::args::Attach;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::Follow;
use crate::follow::positions::Positions;
use crate::request::RandomNames;
use crate::session::Session;
use crate::tables::swarm_state;

/// Shows all that a swarm says.
pub async fn attach(mut session: Session, args: Attach) -> Result<Exit, Failure> {
    let now = swarm_now(&mut session, &args.swarm_id).await?;
    let positions: Positions = match &args.since {
        Some(since) => since.positions(now.ranks()),
        // Exactly what this answer covers lies behind; everything after it is new.
        None => now.positions().collect(),
    };
    if args.since.is_none() {
        session.screen.note(&format!(
            "swarm {} is {}; this shows what happens from now on, --since 0 shows everything",
            args.swarm_id,
            swarm_state(now.status)
        ));
    }
    let options = session.options_to_repeat();
    session
        .follow(Follow::attach(args.swarm_id, positions, Box::new(RandomNames), options))
        .await
}
