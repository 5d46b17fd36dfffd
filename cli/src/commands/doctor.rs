//! `doctor`: the checks as they end, and the sum of them.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use codeswarm_doctor::{Doctor, Ended, Name, Plan, Status, Told};
use tokio::sync::{Notify, mpsc};

use crate::args::{self, Options};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::part;
use crate::progress::{Progress, columns};
use crate::render::checkup;
use crate::render::colours::Colours;
use crate::signals::Signals;

/// How often what is waited for is shown anew.
const TICK: Duration = Duration::from_millis(500);

/// Makes the checks.
pub async fn run(args: args::Doctor, options: Options) -> Result<Exit, Failure> {
    let plan = Plan {
        config: options.config.clone(),
        nodes: args.nodes,
        job: !args.no_job,
        wait: Duration::from_secs(u64::from(args.wait)),
        worker_command: part::worker_command()?,
    };
    let mut signals = Signals::listen()?;
    let mut view = View::new(&options);
    let (told, mut hears) = mpsc::unbounded_channel();
    let mut tell = move |what| {
        // Whoever stopped listening has ended the checks, too.
        let _ = told.send(what);
    };
    let mut doctor = Doctor::new(plan, &mut tell);
    // Also when nobody reads any more, what is on the cluster because of us must go.
    let (unheard, mut unwanted) = (Notify::new(), None);
    let ended = {
        let stop = async {
            tokio::select! {
                () = signals.next() => {}
                () = unheard.notified() => {}
            }
        };
        let running = doctor.run(stop);
        tokio::pin!(running);
        let mut clock = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                Some(what) = hears.recv() => {
                    if unwanted.is_none() && let Err(failure) = view.show(&what) {
                        unwanted = Some(failure);
                        unheard.notify_one();
                    }
                }
                ended = &mut running => break ended,
                _ = clock.tick() => view.tick(),
            }
        }
    };
    if let Some(failure) = unwanted {
        return Err(failure);
    }
    while let Ok(what) = hears.try_recv() {
        view.show(&what)?;
    }
    view.finish(&doctor, ended)?;
    match ended {
        Ended::Healthy => Ok(Exit::Done),
        Ended::Sick => Ok(Exit::Failed),
        Ended::SickForNow => Ok(Exit::Unreachable),
        Ended::NoConfiguration => Ok(Exit::Config),
        Ended::Interrupted => Err(Failure::new(
            Exit::Interrupted,
            "the checks were interrupted",
            "the short job, if there was one, was cancelled",
        )),
    }
}

/// What the user sees.
struct View {
    json: bool,
    colours: Colours,
    columns: Option<usize>,
    output: Output,
    progress: Progress,
    began: Instant,
    doing: Option<(Name, Instant)>,
}

impl View {
    fn new(options: &Options) -> Self {
        let on_terminal = io::stdout().is_terminal();
        Self {
            json: options.json,
            colours: Colours::for_stream(on_terminal),
            columns: on_terminal.then(|| columns(&io::stdout())),
            output: Output,
            progress: Progress::suited(options.quiet, options.json),
            began: Instant::now(),
            doing: None,
        }
    }

    fn show(&mut self, what: &Told) -> Result<(), Failure> {
        self.progress.clear();
        match what {
            Told::Begins(name) => {
                self.doing = Some((*name, Instant::now()));
                Ok(())
            }
            Told::Ended(check) if self.json => self.output.line(check.to_json().as_bytes()),
            Told::Ended(check) => {
                let text = checkup::check(self.colours, self.columns, check);
                self.output.write(text.as_bytes())
            }
        }
    }

    fn tick(&mut self) {
        if let Some((name, since)) = self.doing {
            self.progress.show(doing(name), since.elapsed());
        }
    }

    fn finish(&mut self, doctor: &Doctor<'_>, ended: Ended) -> Result<(), Failure> {
        self.progress.clear();
        let (checks, took) = (doctor.checks(), self.began.elapsed());
        if self.json {
            let count = |status| checks.iter().filter(|check| check.verdict.status == status).count();
            let line = serde_json::json!({
                "type": "doctor",
                "ok": ended == Ended::Healthy,
                "interrupted": ended == Ended::Interrupted,
                "version": codeswarm_protocol::VERSION,
                "checks": checks.len(),
                "warnings": count(Status::Warning),
                "failures": count(Status::Failure),
                "skipped": count(Status::Skipped),
                "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
            });
            return self.output.line(line.to_string().as_bytes());
        }
        if ended == Ended::Interrupted {
            return Ok(());
        }
        let text = checkup::summary(self.colours, checks, took);
        self.output.write(format!("\n{text}").as_bytes())
    }
}

/// What takes its time in a check.
fn doing(name: Name) -> &'static str {
    match name {
        Name::Ssh => "connecting to the login node",
        Name::Slurmctld | Name::SlurmSettings | Name::Partition | Name::SlurmCommands | Name::BatchScript => {
            "asking Slurm"
        }
        Name::Program => "bringing codeswarm to the login node",
        Name::ShortJob => "waiting for a short job to start",
        _ => "looking",
    }
}
