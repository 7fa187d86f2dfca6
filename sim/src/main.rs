//! The simulator's command line.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use redlink_sim::balance::{self, Outside, scale};
use redlink_sim::log::Log;
use redlink_sim::mesh::Written;
use redlink_sim::run::{Seen, Verdict, run};
use redlink_sim::scenario::{Kind, Reduced};
use redlink_sim::shrink::{command, shrink};
use redlink_sim::{Class, Violation};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Many Redlink nodes in virtual time: looks for faults, replays them, makes them small.
#[derive(Parser)]
#[command(name = "redlink-sim", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs seeds until one breaks a promise. Exit codes: 3 safety, 4 liveness, 5 panic, 6 a run that does not repeat.
    Fuzz {
        /// How many seeds.
        #[arg(long, default_value_t = 1_000, conflicts_with = "seconds")]
        seeds: u64,
        /// For how long instead, in seconds of real time.
        #[arg(long)]
        seconds: Option<u64>,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Go on after a failure, and count them by rule.
        #[arg(long)]
        all: bool,
        /// Every so many seeds run twice and must give the same log.
        #[arg(long, default_value_t = 20)]
        double_every: u64,
        /// Seeds that failed once; they run first. Failing ones are added.
        #[arg(long)]
        book: Option<PathBuf>,
        /// Report a failing seed as it is.
        #[arg(long)]
        no_shrink: bool,
        /// Kinds of trouble to leave out of every seed.
        #[arg(long, value_delimiter = ',')]
        without: Vec<Kind>,
        #[command(flatten)]
        mesh: Mesh,
    },
    /// Runs a mesh that was written out, under the trouble that a seed brings, and says what each node reaches after it.
    Run {
        /// Which one.
        mesh: Written,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
    },
    /// Runs one seed again.
    Replay {
        /// Which one.
        seed: u64,
        /// Print every event.
        #[arg(long)]
        log: bool,
        #[command(flatten)]
        less: Less,
    },
    /// Runs one seed twice and compares the logs byte for byte.
    Double {
        /// Which one.
        seed: u64,
        #[command(flatten)]
        mesh: Mesh,
    },
    /// Measures how long messages take, beside known policies; prints docs/balance.md. Says on stderr how it goes.
    Balance {
        /// Of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A short look instead of the real thing.
        #[arg(long)]
        quick: bool,
        /// Only so many settings.
        #[arg(long, default_value_t = usize::MAX)]
        first: usize,
        /// Say where waiting comes from, and show the messages that waited longest while some consumer was free.
        #[arg(long)]
        explain: bool,
    },
    /// Measures what the routes of a large mesh take, and how soon they settle.
    Scale {
        /// Nodes that dial the root.
        #[arg(long, default_value_t = 1_000)]
        nodes: u32,
        /// Services, spread over them.
        #[arg(long, default_value_t = 10_000)]
        services: u32,
        /// Of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Makes a failing seed smaller.
    Shrink {
        /// Which one.
        seed: u64,
        #[command(flatten)]
        mesh: Mesh,
    },
}

/// Which mesh, besides what the seed draws.
#[derive(clap::Args)]
struct Mesh {
    /// So many nodes; the seed draws the family.
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    nodes: Option<u64>,
    /// One that was written out.
    #[arg(long, conflicts_with = "nodes")]
    mesh: Option<Written>,
    /// As the first generator drew: at most five nodes, no policies, nobody lies.
    #[arg(long, conflicts_with_all = ["nodes", "mesh"])]
    first: bool,
}

impl Mesh {
    fn reduced(&self) -> Reduced {
        Reduced {
            first: self.first,
            nodes: self.nodes.and_then(|nodes| usize::try_from(nodes).ok()),
            written: self.mesh,
            ..Reduced::default()
        }
    }
}

#[derive(clap::Args)]
struct Less {
    /// Kinds of trouble to leave out.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Kind>,
    /// End the trouble after so many events.
    #[arg(long)]
    until: Option<u64>,
    #[command(flatten)]
    mesh: Mesh,
}

/// Real time, to know when to stop; nothing of it reaches a simulation.
struct Watch(std::time::Instant);

impl Watch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line may stop by the clock, the simulation never sees it"
    )]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

fn main() -> Result<ExitCode> {
    match Cli::parse().verb {
        Verb::Fuzz {
            seeds,
            seconds,
            from,
            all,
            double_every,
            book,
            no_shrink,
            without,
            mesh,
        } => {
            let mut hunt = Hunt {
                watch: Watch::start(),
                seen: Seen::default(),
                events: 0,
                time: 0,
                runs: 0,
                failed: Vec::new(),
                all,
                double_every: double_every.max(1),
                book: book.unwrap_or_else(default_book),
                shrink: !no_shrink,
                reduced: Reduced {
                    without,
                    ..mesh.reduced()
                },
            };
            hunt.fuzz(from, seeds, seconds)
        }
        Verb::Replay { seed, log, less } => {
            let reduced = Reduced {
                without: less.without,
                until: less.until,
                ..less.mesh.reduced()
            };
            let verdict = run(seed, &reduced, if log { Log::printed() } else { Log::off() });
            println!(
                "seed {seed}: {} events, {:.1} s of virtual time",
                verdict.events,
                verdict.time as f64 / 1e6
            );
            println!("{:?}", verdict.seen);
            Ok(match verdict.violation {
                None => {
                    println!("seed {seed}: all promises kept");
                    ExitCode::SUCCESS
                }
                Some(found) => {
                    println!("seed {seed}: {found}");
                    code(found.class)
                }
            })
        }
        Verb::Run { mesh, from, seeds } => Ok(run_written(mesh, from, seeds)),
        Verb::Double { seed, mesh } => Ok(if repeats(seed, &mesh.reduced(), true) {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(6)
        }),
        Verb::Balance {
            seed,
            quick,
            first,
            explain,
        } => {
            let options = balance::Options {
                seed,
                quick,
                first,
                explain,
            };
            measured(|outside| balance::run(&options, outside))
        }
        Verb::Scale {
            nodes,
            services,
            seed,
        } => {
            let options = scale::Options {
                nodes,
                services,
                seed,
            };
            measured(|outside| scale::run(&options, outside))
        }
        Verb::Shrink { seed, mesh } => {
            let Some(found) = run(seed, &mesh.reduced(), Log::off()).violation else {
                bail!("seed {seed} breaks no promise: there is nothing to make smaller")
            };
            println!("seed {seed}: {found}");
            report_small(seed, &mesh.reduced(), &found);
            Ok(code(found.class))
        }
    }
}

/// Prints what was measured, and on stderr how it goes, with real time.
fn measured(measure: impl FnOnce(&mut Outside<'_>) -> Result<String>) -> Result<ExitCode> {
    let watch = Watch::start();
    let mut outside = Outside {
        clock: &|| watch.seconds(),
        tell: &mut |line| eprintln!("{line}"),
    };
    print!("{}", measure(&mut outside)?);
    Ok(ExitCode::SUCCESS)
}

fn code(class: Class) -> ExitCode {
    ExitCode::from(match class {
        Class::Safety => 3,
        Class::Liveness => 4,
        Class::Crash => 5,
    })
}

fn default_book() -> PathBuf {
    // In a checkout the book lies beside the sources; elsewhere in the current directory.
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds.txt");
    if beside.exists() {
        beside
    } else {
        PathBuf::from("seeds.txt")
    }
}

/// Runs a written mesh and tells what was reached.
fn run_written(mesh: Written, from: u64, seeds: u64) -> ExitCode {
    for seed in from..from.saturating_add(seeds) {
        let reduced = Reduced {
            written: Some(mesh),
            ..Reduced::default()
        };
        let verdict = run(seed, &reduced, Log::off());
        let mut reached: std::collections::BTreeMap<&str, std::collections::BTreeSet<&str>> =
            std::collections::BTreeMap::new();
        for (node, service) in &verdict.reached {
            reached.entry(node).or_default().insert(service);
        }
        for (node, services) in reached {
            let services: Vec<&str> = services.into_iter().collect();
            println!("{node} reaches {}", services.join(" "));
        }
        told(&verdict.seen);
        if let Some(found) = verdict.violation {
            println!("seed {seed}: {found}");
            println!("replay: {} --log", command(seed, &reduced));
            return code(found.class);
        }
        println!("seed {seed}: all promises kept");
    }
    ExitCode::SUCCESS
}

/// What a healed mesh needed at most.
fn told(seen: &Seen) {
    let second = |time: u64| time as f64 / 1e6;
    println!(
        "after the trouble every node knew what it reaches within {:.1} s at most; of {} calls then {} were answered, \
         within {:.1} s at most, and within {:.1} s beside a liar",
        second(seen.settled),
        seen.calls[0] + seen.calls[1],
        seen.calls[0],
        second(seen.slowest[0]),
        second(seen.slowest[1]),
    );
}

fn report_small(seed: u64, given: &Reduced, found: &Violation) {
    let reduced = shrink(seed, given, found.rule, found.event);
    if let Some(small) = run(seed, &reduced, Log::off()).violation {
        println!("smaller: {small}");
    }
    println!("replay: {} --log", command(seed, &reduced));
}

/// Runs a seed twice; says where the logs differ.
fn repeats(seed: u64, reduced: &Reduced, tell: bool) -> bool {
    let digest = || run(seed, reduced, Log::hashed()).log.digest();
    let (first, second) = (digest(), digest());
    if first == second {
        if tell {
            println!(
                "seed {seed}: {} lines, hash {:016x}, twice the same",
                first.0, first.1
            );
        }
        return true;
    }
    let lines = || run(seed, reduced, Log::kept()).log.into_lines();
    let (first, second) = (lines(), lines());
    let at = first
        .iter()
        .zip(&second)
        .position(|(a, b)| a != b)
        .unwrap_or(first.len().min(second.len()));
    println!("seed {seed}: P10 broken, the logs differ from line {at} on:");
    println!("  {}", first.get(at).map_or("(end)", String::as_str));
    println!("  {}", second.get(at).map_or("(end)", String::as_str));
    false
}

/// A search over many seeds.
struct Hunt {
    watch: Watch,
    seen: Seen,
    events: u64,
    time: u64,
    runs: u64,
    failed: Vec<(u64, Violation)>,
    all: bool,
    double_every: u64,
    book: PathBuf,
    shrink: bool,
    reduced: Reduced,
}

impl Hunt {
    fn fuzz(&mut self, from: u64, seeds: u64, seconds: Option<u64>) -> Result<ExitCode> {
        println!("seeds from {from}");
        // What a caught panic would print is in the report.
        std::panic::set_hook(Box::new(|_| {}));
        let booked = self.booked()?;
        for (seed, first) in booked {
            let reduced = Reduced {
                first,
                without: self.reduced.without.clone(),
                ..Reduced::default()
            };
            if let Some(code) = self.one(seed, &reduced)? {
                return Ok(code);
            }
        }
        let mut seed = from;
        let reduced = self.reduced.clone();
        while match seconds {
            Some(seconds) => self.watch.seconds() < seconds as f64,
            None => seed - from < seeds,
        } {
            if let Some(code) = self.one(seed, &reduced)? {
                return Ok(code);
            }
            if seed.is_multiple_of(self.double_every) && !repeats(seed, &reduced, false) {
                println!("replay: redlink-sim double {seed}");
                return Ok(ExitCode::from(6));
            }
            seed += 1;
        }
        self.summary();
        Ok(self
            .failed
            .first()
            .map_or(ExitCode::SUCCESS, |(_, found)| code(found.class)))
    }

    /// Seeds of the book, and whether the first generator draws them.
    fn booked(&self) -> Result<Vec<(u64, bool)>> {
        if !self.book.exists() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&self.book)
            .with_context(|| format!("can't read the book of failing seeds {}", self.book.display()))?;
        let seeds = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or("").trim());
        seeds
            .filter(|seed| !seed.is_empty())
            .map(|line| {
                let number = line.strip_suffix("first").unwrap_or(line).trim();
                let seed = number.parse().with_context(|| {
                    format!(
                        "{}: {line:?} is not a seed; one number per line, `first` behind one of the first generator, \
                         # begins a remark",
                        self.book.display()
                    )
                })?;
                Ok((seed, number != line))
            })
            .collect()
    }

    fn one(&mut self, seed: u64, reduced: &Reduced) -> Result<Option<ExitCode>> {
        let Verdict {
            violation,
            events,
            time,
            seen,
            ..
        } = run(seed, reduced, Log::off());
        self.runs += 1;
        self.events += events;
        self.time += time;
        self.seen.add(&seen);
        let Some(found) = violation else { return Ok(None) };
        println!("seed {seed}: {found}");
        if self.all {
            self.failed.push((seed, found));
            return Ok(None);
        }
        if *reduced
            == (Reduced {
                first: reduced.first,
                ..Reduced::default()
            })
        {
            self.enter(seed, reduced.first, &found)?;
        }
        if self.shrink {
            report_small(seed, reduced, &found);
        }
        println!("replay: {} --log", command(seed, reduced));
        println!("failing seed {seed}");
        Ok(Some(code(found.class)))
    }

    /// Keeps a failing seed for ever.
    fn enter(&self, seed: u64, first: bool, found: &Violation) -> Result<()> {
        use std::io::Write as _;
        if self.booked()?.contains(&(seed, first)) {
            return Ok(());
        }
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.book)
            .with_context(|| format!("can't add seed {seed} to {}", self.book.display()))?;
        let first = if first { " first" } else { "" };
        writeln!(file, "{seed}{first} # {:?} {}", found.class, found.rule)?;
        Ok(())
    }

    fn summary(&self) {
        let seconds = self.watch.seconds();
        println!(
            "{} seeds, {} events, {:.0} s of virtual time in {seconds:.1} s: {:.1} seeds/s, {:.0} events/s",
            self.runs,
            self.events,
            self.time as f64 / 1e6,
            self.runs as f64 / seconds,
            self.events as f64 / seconds,
        );
        println!("{:?}", self.seen);
        told(&self.seen);
        let mut rules: std::collections::BTreeMap<(&str, String), (u64, u64)> =
            std::collections::BTreeMap::new();
        for (seed, found) in &self.failed {
            // Texts differ in their numbers only, and in names of messages.
            let words = found
                .what
                .split(' ')
                .filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
            let text: String = words.collect::<Vec<_>>().join(" ").chars().take(60).collect();
            rules.entry((found.rule, text)).or_insert((0, *seed)).0 += 1;
        }
        for ((rule, text), (count, first)) in rules {
            println!("{count:>6} {rule} {text} (first: seed {first})");
        }
        println!("{} of {} seeds failed", self.failed.len(), self.runs);
    }
}
