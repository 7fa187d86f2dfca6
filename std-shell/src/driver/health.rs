//! Whether the node takes work: one [`Check`] for each thing that it needs for that.

use super::command::Command;
use super::handle::Handle;
use super::turn::Driver;
use std::time::Duration;
use tokio::time::timeout;

/// One that is asked and has not answered after this time does not work.
const ANSWERS: Duration = Duration::from_secs(2);

/// What the driver knows of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Health {
    /// Overdue outcomes of the time that it was down, not on disk yet.
    overdue: u32,
    started: bool,
    draining: bool,
    messages: u32,
    messages_max: u32,
}

/// Something that a node needs to take work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// A stable word for it.
    pub name: &'static str,
    /// What is wrong; none: nothing.
    pub wrong: Option<String>,
}

impl Driver {
    pub(super) fn health(&self) -> Health {
        let usage = self.core.usage();
        Health {
            overdue: usage.overdue,
            started: self.ready || self.draining,
            draining: self.draining,
            messages: usage.messages,
            messages_max: self.core.capacity().messages,
        }
    }
}

fn check(name: &'static str, wrong: Option<String>) -> Check {
    Check { name, wrong }
}

impl Health {
    fn checks(self) -> [Check; 3] {
        let Self {
            overdue,
            started,
            draining,
            messages,
            messages_max,
        } = self;
        let starting = || format!("it is starting: {overdue} outcomes of before are not on disk yet");
        let full = || {
            format!(
                "the table of messages and uncollected outcomes is full ({messages} of {messages_max}); collect outcomes, or \
                 raise `capacity.messages`"
            )
        };
        [
            check("started", (!started).then(starting)),
            check("running", draining.then(|| "it is stopping".to_owned())),
            check("messages", (messages >= messages_max).then(full)),
        ]
    }
}

impl Handle {
    /// Everything that the node needs to take work.
    pub async fn checks(&self) -> Vec<Check> {
        let health = timeout(ANSWERS, self.look(|answer| Command::Health { answer })).await;
        let driver = match &health {
            Ok(Some(_)) => None,
            Ok(None) => Some("it has stopped".to_owned()),
            Err(_) => Some("the driver does not answer".to_owned()),
        };
        let mut checks = vec![check("driver", driver)];
        checks.extend(health.ok().flatten().map(Health::checks).into_iter().flatten());
        let store = match timeout(ANSWERS, self.store().stats()).await {
            Ok(stats) if stats.up => None,
            Ok(_) => {
                Some("the database can't be used and is being opened again; the log says why".to_owned())
            }
            Err(_) => Some("the disk does not answer".to_owned()),
        };
        checks.push(check("store", store));
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_fails_for_its_own_reason() {
        let well = Health {
            overdue: 0,
            started: true,
            draining: false,
            messages: 9,
            messages_max: 10,
        };
        let wrong = |health: Health| -> Vec<_> {
            let checks = health.checks().into_iter();
            checks.filter(|c| c.wrong.is_some()).map(|c| c.name).collect()
        };
        assert!(wrong(well).is_empty());
        assert_eq!(
            wrong(Health {
                started: false,
                overdue: 3,
                ..well
            }),
            ["started"]
        );
        assert_eq!(
            wrong(Health {
                draining: true,
                ..well
            }),
            ["running"]
        );
        assert_eq!(wrong(Health { messages: 10, ..well }), ["messages"]);
    }
}
