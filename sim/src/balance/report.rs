//! The table for the documentation.

use super::measure::{Comparison, Effort, Row};
use super::sample::Sample;
use super::setting::{Setting, Shape, Slow};
use super::stats::Estimate;
use crate::scenario::SECOND;
use std::fmt::Write as _;

const HEAD: &str = "\
# How long messages take

Redlink's real core in virtual time, beside policies that are known from queueing theory. This file is what

```sh
cargo run --profile sim -p redlink-sim -- balance > docs/balance.md
```

prints, to the last digit, for the seed and the core of its commit.

**What is simulated.** Poisson arrivals; a message keeps a consumer busy for 100 ms on average; a consumer holds one message
at a time. Every link takes 1 ms, a store answers at once. A response is the time from the submit until the producer has
the outcome. Cores exchange encoded frames; a worker answers and asks for its next message in one step.

**What it is held against.** All policies get the same messages at the same instants, with the same work. The models are of the plain
star: a dispatcher at the hub, where the producers are, and a queue at each node. A message takes 1 ms to its node, its outcome
1 ms back, and the dispatcher knows what it sent and what it has heard by then. The *central queue* is the ideal: it
knows everything at once, no consumer ever waits for a link, and 2 ms are charged for the way there and back.

- *least loaded*: the node with the fewest outstanding messages for each consumer
- *join-idle-queue*: a node that said that a consumer is idle, else a random one
- *power of two choices*: the less loaded one of two random nodes
- *random*: any node

Means are given with their 95 % confidence intervals over independent replications; \"against\" compares replication by
replication, so it is surer than the means are. \"By theory\" is M/M/c (Erlang C) or M/G/1 (Pollaczek and Khinchine), with the
2 ms.
";

/// A goal: what is compared, and how much more than the ideal it may be.
struct Goal {
    setting: Setting,
    text: &'static str,
    most: f64,
    tail: bool,
}

fn goals() -> [Goal; 4] {
    let slow = |nodes, consumers, text| Goal {
        setting: Setting {
            slow: Slow::Nodes,
            ..Setting::star(nodes, consumers, 80)
        },
        text,
        most: 0.25,
        tail: true,
    };
    [
        Goal {
            setting: Setting::star(10, 10, 90),
            text: "10 nodes with 10 consumers each, load 0.9: mean",
            most: 0.05,
            tail: false,
        },
        Goal {
            setting: Setting::star(100, 1, 90),
            text: "100 nodes with 1 consumer each, load 0.9: mean",
            most: 0.15,
            tail: false,
        },
        slow(
            100,
            1,
            "100 nodes with 1 consumer each, one in ten nodes ten times slower, load 0.8: p95",
        ),
        slow(
            10,
            10,
            "10 nodes with 10 consumers each, one in ten nodes ten times slower, load 0.8: p95",
        ),
    ]
}

fn p95(sample: &Sample) -> f64 {
    sample.percentile(95.0)
}

fn more(ratio: Estimate) -> String {
    let percent = |value: f64| 100.0 * value;
    format!("{:+.1} % ± {:.1}", percent(ratio.mean - 1.0), percent(ratio.half))
}

fn title(s: &Setting) -> String {
    let slow = match s.slow {
        Slow::Nobody => "",
        Slow::Nodes => ", one in ten nodes ten times slower",
        Slow::Consumers => ", one in ten consumers of each node ten times slower",
    };
    let each = if s.consumers == 1 {
        "1 consumer each"
    } else {
        "10 consumers each"
    };
    format!(
        "{} nodes with {each}{slow}, load 0.{}, {} work",
        s.nodes,
        s.load / 10,
        s.work.name()
    )
}

/// The whole document.
pub(crate) fn document(all: &[Comparison], seed: u64, effort: Effort) -> String {
    let mut out = String::from(HEAD);
    // Writing into a string can't fail.
    let _ = writeln!(
        out,
        "\nSeed {seed}. Each replication: {} s to warm up, {} s that count, and then until what counts has its outcome.\n",
        effort.span.warm / SECOND,
        effort.span.counted / SECOND
    );
    out.push_str("## Goals\n\nOn the plain star: one hub with the producers, which every node with consumers dials.\n\n");
    out.push_str("| what | goal | measured | |\n|---|---:|---:|---|\n");
    for goal in goals() {
        let Some(c) = all.iter().find(|c| c.setting == goal.setting) else {
            continue;
        };
        let ratio = if goal.tail {
            c.redlink.against(c.ideal(), p95)
        } else {
            c.redlink.against(&c.models[0], Sample::mean)
        };
        let met = if ratio.mean - 1.0 <= goal.most {
            "met"
        } else {
            "missed"
        };
        let most = 100.0 * goal.most;
        let _ = writeln!(out, "| {} | {most:+.0} % | {} | {met} |", goal.text, more(ratio));
    }
    out.push_str("\nA mean is held against the central queue. p95 is held against the better of two ideals: the central queue that\n");
    out.push_str("gives to the fastest free consumer, and the one that leaves the slow ones out.\n\n## Policies, on the star\n");
    for c in all.iter().filter(|c| c.setting.shape == Shape::Star) {
        policies(&mut out, c);
    }
    out.push_str("\n## Other meshes\n\nHeld against the central queue behind a star, whatever the way through the mesh is.\n\n");
    out.push_str(
        "- star, producers everywhere: at the hub and at every node; two links, or none, lie between\n",
    );
    out.push_str("- two hubs: every node dials both; the producers are at the hubs\n");
    out.push_str(
        "- tree: a root with the producers, nodes that dial it, nodes with consumers that dial those\n\n",
    );
    out.push_str("| mesh | mean, ms | against central | p50 | p95 | p99 |\n|---|---:|---:|---:|---:|---:|\n");
    for c in all.iter().filter(|c| c.setting.shape != Shape::Star) {
        let each = format!(
            "{}, {} × {}",
            c.setting.shape.name(),
            c.setting.nodes,
            c.setting.consumers
        );
        let _ = writeln!(out, "| {each} | {} |", numbers(&c.redlink, &c.models[0]));
    }
    costs(&mut out, all);
    out
}

fn numbers(row: &Row, ideal: &Row) -> String {
    if row.samples.is_empty() {
        return "grows without end | | | |".to_owned();
    }
    let mean = row.mean();
    let at = |percent| row.of(|sample| sample.percentile(percent)).mean;
    format!(
        "{:.1} ± {:.1} | {} | {:.0} | {:.0} | {:.0}",
        mean.mean,
        mean.half,
        more(row.against(ideal, Sample::mean)),
        at(50.0),
        at(95.0),
        at(99.0)
    )
}

fn policies(out: &mut String, c: &Comparison) {
    let messages: u64 = c.redlink.samples.iter().map(|sample| sample.messages).sum();
    let _ = writeln!(out, "\n### {}\n", title(&c.setting));
    let _ = writeln!(
        out,
        "{} replications, {messages} messages.\n\n| policy | mean, ms | against central | p50 | p95 | p99 | by theory |\n|---|---:|---:|---:|---:|---:|---:|",
        c.redlink.samples.len()
    );
    let mut row = |name: &str, row: &Row| {
        let closed = row.closed.map_or(String::new(), |ms| format!("{ms:.1}"));
        let _ = writeln!(out, "| {name} | {} | {closed} |", numbers(row, &c.models[0]));
    };
    for (at, model) in c.models.iter().enumerate() {
        // Best first: Redlink stands behind what knows everything.
        if at > 0 && !model.name.starts_with("central") && c.models[at - 1].name.starts_with("central") {
            row("**Redlink**", &c.redlink);
        }
        row(model.name, model);
    }
}

fn costs(out: &mut String, all: &[Comparison]) {
    out.push_str("\n## What it costs\n\nFor each message, over all links together. \"Late\" are claims that found the message given away. Events are inputs\n");
    out.push_str("and timeouts of all cores.\n\n| mesh | frames | bytes | offers | retracts | claims | late | announcements | events |\n");
    out.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for c in all {
        let Some(probe) = &c.probe else { continue };
        let (each, seen) = (c.cost.messages as f64, probe.begun() as f64);
        let of = |count: u64| count as f64 / each;
        let looked = |count: u64| count as f64 / seen;
        let k = &probe.kinds;
        let _ = writeln!(
            out,
            "| {} | {:.2} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} |",
            short(&c.setting),
            of(c.cost.frames),
            of(c.cost.bytes),
            looked(k.offers),
            looked(k.retracts),
            looked(k.claims),
            looked(k.gone),
            looked(k.announcements),
            of(c.cost.events)
        );
    }
    out.push_str("\n## Where the time goes\n\nOf the consumers' time, beside work: waiting for an answer to be settled, waiting for a claim to be answered,\n");
    out.push_str("free. Of the messages' time until a consumer begins: until claimed, until begun; and how much of it passed while\n");
    out.push_str("some consumer was free for which nothing was claimed. From the first replication.\n\n");
    out.push_str("| mesh | settling | claiming | free | until claimed, ms | until begun, ms | while one was free, ms |\n");
    out.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for c in all {
        if let Some(probe) = &c.probe {
            let _ = writeln!(out, "| {} | {} |", short(&c.setting), probe.row());
        }
    }
}

fn short(s: &Setting) -> String {
    let slow = match s.slow {
        Slow::Nobody => "",
        Slow::Nodes => ", slow nodes",
        Slow::Consumers => ", slow consumers",
    };
    let work = match s.work {
        super::load::Work::Exponential => String::new(),
        other => format!(", {}", other.name()),
    };
    format!("{}, {} × {}{slow}{work}", s.shape.name(), s.nodes, s.consumers)
}
