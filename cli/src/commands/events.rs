//! `events`.

use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime};

use codeswarm_events::Since;
use codeswarm_events::cursor::Cursor;
use codeswarm_events::follow::{Follow, Notes};
use codeswarm_events::following::{Following, Wanted};
use codeswarm_events::keeper::Keeper;
use codeswarm_events::kinds::Kinds;
use codeswarm_events::line::{Json, Wording};
use codeswarm_events::telling::{self, Keep, Teller, Unwritten};
use codeswarm_protocol::SwarmId;

use crate::args::{Events, Options};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, say};
use crate::progress::Progress;
use crate::render::colours::Colours;
use crate::render::line::Text;
use crate::request::RandomNames;
use crate::signals::Signals;

/// Tells what happens in swarms, each event once.
pub async fn run(args: Events, options: Options) -> Result<Exit, Failure> {
    let mut view = View::new(&options);
    let configured =
        codeswarm_client::configuration::read(options.config.as_deref(), &mut |warning| view.note(warning))?;
    let address = configured.router;
    let swarms = in_order(args.swarms);
    let (cursor, keep) = match &args.consumer {
        None => (None, None),
        Some(name) => {
            let (keeper, cursor) = Keeper::open(&address.endpoint.state_dir, name)?;
            if let Some(cursor) = cursor.as_ref().filter(|cursor| cursor.swarms != swarms) {
                return Err(other_swarms(name.as_str(), &cursor.swarms));
            }
            let keep: Box<dyn Keep> = Box::new(keeper);
            (cursor, Some(keep))
        }
    };
    let cursor = cursor.unwrap_or_else(|| {
        let nothing_else_to_tell = !args.follow && args.consumer.is_none();
        let usual = if nothing_else_to_tell {
            Since::Beginning
        } else {
            Since::Now
        };
        Cursor::new(swarms, args.since.unwrap_or(usual).left_out(SystemTime::now()))
    });
    let wording: Box<dyn Wording + Send> = if options.json {
        Box::new(Json)
    } else {
        Box::new(Text::new(Colours::for_stream(io::stdout().is_terminal())))
    };
    let wanted = Wanted {
        kinds: Kinds::chosen(&args.kind),
        follow: args.follow,
        wording,
    };
    let following = Following::new(&cursor, wanted, Box::new(RandomNames));
    let teller = Teller::new(cursor, keep, Box::new(Output));
    let mut signals = Signals::listen()?;
    let stop = std::pin::pin!(signals.next());
    Follow::run(&address, following, args.follow, teller, &mut view, stop).await
}

/// Each once, so that the same swarms are the same whoever names them.
fn in_order(mut swarms: Vec<SwarmId>) -> Vec<SwarmId> {
    swarms.sort();
    swarms.dedup();
    swarms
}

fn other_swarms(name: &str, swarms: &[SwarmId]) -> Failure {
    let its = match swarms {
        [] => "all swarms".to_owned(),
        some => some.iter().map(SwarmId::as_str).collect::<Vec<_>>().join(" "),
    };
    Failure::usage(
        format!("consumer {name:?} was begun with other swarms: {its}"),
        "name the same ones, or choose another --consumer name; nothing was told",
    )
}

impl telling::Output for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        self.write_counted(bytes)
    }

    fn reader_is_gone(&self) -> bool {
        Output::reader_is_gone(self)
    }
}

/// What a person sees besides. Where standard error is no terminal there is no person: a supervisor may take every line for news.
struct View {
    on_terminal: bool,
    progress: Progress,
}

impl View {
    fn new(options: &Options) -> Self {
        Self {
            on_terminal: io::stderr().is_terminal() && !options.quiet,
            progress: Progress::suited(options.quiet, options.json),
        }
    }
}

impl Notes for View {
    fn note(&mut self, note: &str) {
        if self.on_terminal {
            self.progress.clear();
            say(note);
        }
    }

    fn waiting(&mut self, what: &str, waited: Duration) {
        self.progress.show(what, waited);
    }

    fn clear(&mut self) {
        self.progress.clear();
    }
}
