//! The records that are counted with: nine deltas, then a command with its output.

use codeswarm_protocol::record::{Word, WorkerRecord};
use codeswarm_protocol::turn::CallStatus;
use codeswarm_protocol::{Epoch, InjectionId, JobId, NodeId, Place, Seq, Timestamp};

use crate::{Failed, RECORDS};

const TEXT: &str = "the test fails because the second branch of the match returns an empty buffer ";

/// Whose they are.
pub fn place() -> Result<Place, Failed> {
    let job = JobId::new("272900").map_err(Failed::of)?;
    Ok(Place::new(job, NodeId::new(3).map_err(Failed::of)?))
}

/// What caused them.
pub fn injection() -> Option<InjectionId> {
    InjectionId::new("inj-0197b3a2-7f1c").ok()
}

/// What one of them says.
pub fn word(number: u64) -> Word {
    if number % 10 == 9 {
        return Word::CommandCompleted {
            call_id: format!("call_{number}"),
            command: "bash -lc 'cargo test'".to_owned(),
            status: CallStatus::Completed,
            exit_code: Some(0),
            output: TEXT.repeat(12),
            output_truncated: false,
            duration_ms: Some(1200 + number),
        };
    }
    let from = (number as usize * 7) % 30;
    Word::AssistantDelta {
        content: TEXT[from..from + 20 + (number as usize % 20)].to_owned(),
        item_id: Some(format!("msg_{}", number / 10)),
    }
}

/// All of them, as lines.
pub fn lines() -> Result<Vec<Vec<u8>>, Failed> {
    let place = place()?;
    let line = |number| {
        let record = WorkerRecord {
            word: word(number),
            seq: Seq(number + 1),
            epoch: Epoch(1),
            timestamp: Timestamp(1_790_000_000_000 + number as i64),
            job_id: place.job_id.clone(),
            node_id: place.node_id,
            injection_id: injection(),
        };
        let mut line = Vec::new();
        record.write_line(&mut line).map_err(Failed::of)?;
        Ok(line)
    };
    (0..RECORDS).map(line).collect()
}
