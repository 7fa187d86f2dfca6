//! What becomes of each message: durable (P1), one outcome (P2), in time (P3), fenced (P6).

use super::lies::Lies;
use super::{Verdict, require};
use crate::disk::{Content, MessageRow, OutcomeRow};
use crate::scenario::{MS, SECOND, Time};
use redlink_core::{Attempts, Fence, GrantToken, MessageId, Outcome, Terms, Verb};
use std::collections::{BTreeMap, BTreeSet};

/// Outputs may be polled this late where the run says so.
pub(crate) const LATE_MAX: Time = 50 * MS;

/// Everything the outside knows about one message.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) host: usize,
    pub(crate) service: usize,
    pub(crate) alternate: Option<(usize, Time)>,
    pub(crate) terms: Terms,
    pub(crate) content: Content,
    pub(crate) deadline: Option<Time>,
    /// It may not be offered before.
    pub(crate) from: Time,
    pub(crate) on_disk: Option<Time>,
    pub(crate) accepted: bool,
    pub(crate) cancel_asked: bool,
    pub(crate) collect_asked: bool,
    /// Every grant that was seen, by its fence.
    pub(crate) granted: BTreeMap<Fence, GrantToken>,
    /// What workers said about each attempt.
    pub(crate) said: BTreeMap<Fence, Vec<(Verb, Option<Content>)>>,
    /// Attempts that a worker has seen.
    pub(crate) seen: BTreeSet<Fence>,
    /// The grant of a message that is delivered at most once was asked to be written.
    pub(crate) granting: bool,
    /// Attempts whose lease ran out at a consumer of the origin, and when: these certainly count.
    pub(crate) ended: BTreeMap<Fence, Time>,
    /// So many of them a crash may have made its origin forget.
    pub(crate) forgiven: usize,
    /// When an outcome was first asked to be written in this life of the origin.
    pub(crate) decided: Option<Time>,
    pub(crate) outcome: Option<OutcomeRow>,
    pub(crate) told: Option<Outcome>,
    /// Its outcome's deletion was asked for, rightly; if that fails it is asked for again.
    pub(crate) deleting: bool,
    pub(crate) deleted: bool,
    /// The origin's disk is gone.
    pub(crate) lost: bool,
}

impl Entry {
    /// Whether consumers of the service may have it.
    pub(crate) fn is_for(&self, service: usize) -> bool {
        self.service == service || self.alternate.is_some_and(|(other, _)| other == service)
    }

    pub(crate) fn newest(&self) -> Option<Fence> {
        self.granted.keys().next_back().copied()
    }
}

/// All messages of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) entries: BTreeMap<MessageId, Entry>,
    /// Open messages with a deadline, soonest first.
    due: BTreeSet<(Time, MessageId)>,
    pub(crate) open: BTreeSet<MessageId>,
}

impl Ledger {
    /// An insert was asked for.
    pub(crate) fn inserting(&mut self, id: MessageId, host: usize, row: &MessageRow) -> Verdict {
        let entry = Entry {
            host,
            service: row.service,
            alternate: row.alternate,
            terms: row.terms,
            content: row.content,
            deadline: row.deadline_at,
            from: row.from,
            on_disk: None,
            accepted: false,
            cancel_asked: false,
            collect_asked: false,
            granted: BTreeMap::new(),
            said: BTreeMap::new(),
            seen: BTreeSet::new(),
            granting: false,
            ended: BTreeMap::new(),
            forgiven: 0,
            decided: None,
            outcome: None,
            told: None,
            deleting: false,
            deleted: false,
            lost: false,
        };
        let before = self.entries.insert(id, entry);
        require!(
            before.is_none(),
            "P2",
            "the number of message {id} was used twice"
        );
        Ok(())
    }

    /// The insert failed, or the node died before it was on disk: it never was.
    pub(crate) fn not_inserted(&mut self, id: MessageId) -> Verdict {
        let entry = self.entries.remove(&id);
        let granted = entry.is_some_and(|entry| !entry.granted.is_empty());
        require!(!granted, "P1", "message {id} was granted and is not on disk");
        Ok(())
    }

    pub(crate) fn inserted(&mut self, id: MessageId, now: Time) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.on_disk = Some(now);
            self.open.insert(id);
            if let Some(deadline) = entry.deadline {
                self.due.insert((deadline, id));
            }
        }
    }

    pub(crate) fn accepted(&mut self, id: MessageId) -> Verdict {
        let entry = self.entries.get_mut(&id);
        let Some(entry) = entry else {
            return Err(("P1", format!("{id} was accepted and is unknown")));
        };
        require!(
            entry.on_disk.is_some(),
            "P1",
            "{id} was accepted before it was on disk"
        );
        require!(!entry.accepted, "P2", "{id} was accepted twice");
        entry.accepted = true;
        Ok(())
    }

    /// A grant was seen leaving its origin, or arriving at a local consumer.
    pub(crate) fn granted(&mut self, token: &GrantToken, now: Time, late: Time) -> Verdict {
        let id = token.message;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Err(("P6", format!("grant of {id}, which does not exist")));
        };
        if let Some(known) = entry.granted.get(&token.fence) {
            require!(
                known == token,
                "P6",
                "two grants of {id} with one fence: {known:?} and {token:?}"
            );
            return Ok(());
        }
        require!(
            entry.newest().is_none_or(|newest| newest < token.fence),
            "P6",
            "grant {:?} of {id} is not newer than {:?}",
            token.fence,
            entry.newest()
        );
        require!(
            entry.on_disk.is_some(),
            "P1",
            "{id} was granted before it was on disk"
        );
        require!(
            entry.outcome.is_none(),
            "P2",
            "{id} was granted and has an outcome"
        );
        require!(
            entry.deadline.is_none_or(|deadline| now < deadline + late),
            "P3",
            "{id} was granted {} us after its deadline",
            now - entry.deadline.unwrap_or(now)
        );
        require!(
            now >= entry.from,
            "not-before",
            "{id} was granted {} us too soon",
            entry.from - now
        );
        let most = usize::from(entry.terms.max_attempts);
        require!(
            most == 0 || entry.terms.at_most_once || entry.ended.len() < most + entry.forgiven,
            "P6",
            "{id} is granted after {} of {most} attempts ended and {} of them were forgotten",
            entry.ended.len(),
            entry.forgiven
        );
        entry.granted.insert(token.fence, *token);
        Ok(())
    }

    /// A grant was seen leaving its origin, on whose disk this is of its attempts.
    pub(crate) fn granted_with(
        &mut self,
        token: &GrantToken,
        on_disk: Option<Fence>,
        now: Time,
        late: Time,
    ) -> Verdict {
        let id = token.message;
        let once = self
            .entries
            .get(&id)
            .is_some_and(|entry| entry.terms.at_most_once);
        let fresh = self
            .entries
            .get(&id)
            .is_some_and(|entry| !entry.granted.contains_key(&token.fence));
        require!(
            !once || !fresh || on_disk == Some(token.fence),
            "P6",
            "{id} is to be delivered at most once; {:?} is granted, and on disk is {on_disk:?}",
            token.fence
        );
        self.granted(token, now, late)
    }

    /// A worker has the message in its hands.
    pub(crate) fn seen(&mut self, token: &GrantToken, lies: &Lies) -> Verdict {
        let Some(entry) = self.entries.get_mut(&token.message) else {
            return Ok(());
        };
        // What a liar made up is no attempt.
        if entry.granted.get(&token.fence) != Some(token) {
            return Ok(());
        }
        entry.seen.insert(token.fence);
        // A liar on its way may have said that nobody has seen it.
        let lied = entry.granted.values().any(|token| lies.knows(token));
        require!(
            !entry.terms.at_most_once || entry.seen.len() <= 1 || lied,
            "P6",
            "{} is to be delivered at most once; workers have seen {:?}",
            token.message,
            entry.seen
        );
        Ok(())
    }

    /// The lease of an attempt ran out at a consumer of the origin.
    pub(crate) fn ended(&mut self, token: &GrantToken, now: Time) {
        if let Some(entry) = self.entries.get_mut(&token.message)
            && entry.granted.get(&token.fence) == Some(token)
        {
            entry.ended.entry(token.fence).or_insert(now);
        }
    }

    /// What became of attempts is to be written in place of what is on disk.
    pub(crate) fn counting(&mut self, id: MessageId, attempts: Attempts, known: Attempts) -> Verdict {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Err(("P6", format!("attempts at {id}, which does not exist")));
        };
        require!(
            entry.decided.is_none(),
            "contract",
            "attempts at {id} are written while its outcome is"
        );
        if entry.terms.at_most_once {
            entry.granting |= attempts.newest.is_some();
            require!(
                attempts.ended == 0,
                "P6",
                "{id} has {attempts:?}, to be delivered at most once"
            );
            return Ok(());
        }
        let most = entry.terms.max_attempts;
        require!(
            known.ended < attempts.ended && attempts.ended < most,
            "P6",
            "{id} has {attempts:?} of {most} after {known:?}"
        );
        Ok(())
    }

    /// The origin's process died. What ended before that moment, if it is one, must be counted on its disk.
    pub(crate) fn forgive(&mut self, host: usize, before: Time, on_disk: impl Fn(u64) -> u16) -> Verdict {
        for id in &self.open {
            let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.host == host) else {
                continue;
            };
            let counted = usize::from(on_disk(id.sequence)) + entry.forgiven;
            let long_ago = entry.ended.values().filter(|&&at| at < before).count();
            let limited =
                entry.terms.max_attempts > 0 && !entry.terms.at_most_once && entry.decided.is_none();
            require!(
                !limited || long_ago <= counted,
                "P6",
                "{long_ago} attempts at {id} have ended long ago, and {counted} are counted"
            );
            entry.forgiven = entry.forgiven.max(
                entry
                    .ended
                    .len()
                    .saturating_sub(usize::from(on_disk(id.sequence))),
            );
        }
        Ok(())
    }

    /// Its origin sent an offer of it.
    pub(crate) fn offering(&self, id: MessageId, now: Time) -> Verdict {
        let from = self.entries.get(&id).map_or(0, |entry| entry.from);
        require!(
            now >= from,
            "not-before",
            "{id} was offered {} us too soon",
            from - now
        );
        Ok(())
    }

    /// A worker said something.
    pub(crate) fn said(&mut self, token: &GrantToken, verb: Verb, content: Option<Content>) {
        if let Some(entry) = self.entries.get_mut(&token.message)
            && entry.granted.get(&token.fence) == Some(token)
        {
            entry.said.entry(token.fence).or_default().push((verb, content));
        }
    }

    /// An outcome is to be written, in this boot of the origin; it was decided between `since` and now.
    pub(crate) fn deciding(
        &mut self,
        id: MessageId,
        row: &OutcomeRow,
        boot: u32,
        (now, since, late): (Time, Time, Time),
        lies: &Lies,
    ) -> Verdict {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Err(("P2", format!("outcome of {id}, which does not exist")));
        };
        require!(
            entry.outcome.is_none(),
            "P2",
            "{id} has an outcome and gets {:?}",
            row.outcome
        );
        require!(
            entry.on_disk.is_some(),
            "P1",
            "{id} gets {:?} before it is on disk",
            row.outcome
        );
        let first = entry.decided.is_none();
        entry.decided.get_or_insert(now);
        if let Some(deadline) = entry.deadline
            && first
        {
            let expired = row.outcome == Outcome::Expired;
            require!(
                expired || since < deadline + late,
                "P3",
                "{id} is {:?} after its deadline",
                row.outcome
            );
        }
        match row.outcome {
            Outcome::Expired => {
                let due = entry.deadline.is_some_and(|deadline| now >= deadline);
                require!(due, "P3", "{id} expires before its deadline {:?}", entry.deadline);
            }
            Outcome::Cancelled => require!(entry.cancel_asked, "P2", "{id} is cancelled and nobody asked"),
            // What a liar says of an attempt that it knows may count as any consumer's word.
            Outcome::Dead if entry.granted.values().any(|token| lies.knows(token)) => {}
            Outcome::Dead => {
                let attempts = entry.granted.len();
                let most = usize::from(entry.terms.max_attempts);
                require!(
                    most > 0 && attempts >= most,
                    "P6",
                    "{id} is dead after {attempts} of {most} attempts"
                );
            }
            Outcome::Failed if row.token.is_none() => {
                let once = entry.terms.at_most_once;
                require!(once && entry.granting, "P6", "{id} has failed without an attempt");
            }
            Outcome::Replied | Outcome::Delivered | Outcome::Failed => {
                return Self::check_answer(id, entry, row, boot, lies);
            }
        }
        Ok(())
    }

    fn check_answer(id: MessageId, entry: &Entry, row: &OutcomeRow, boot: u32, lies: &Lies) -> Verdict {
        let Some(token) = row.token else {
            return Err(("P6", format!("{id} is {:?} without an attempt", row.outcome)));
        };
        require!(
            entry.granted.get(&token.fence) == Some(&token),
            "P6",
            "{id} is {:?} by {token:?}, which was never granted",
            row.outcome
        );
        // Grants are not stored, so an origin that restarted knows of an earlier life's attempts only what it is told.
        let newest = entry.newest().filter(|newest| newest.boot == boot);
        require!(
            newest.is_none_or(|newest| newest <= token.fence),
            "P6",
            "{id} is {:?} by attempt {:?}, but {newest:?} was granted since",
            row.outcome,
            token.fence
        );
        // Where the consumer's node has forgotten the delivery it can't know which verb is the right one; the origin
        // then counts any success as what the message asked for.
        let verbs: &[Verb] = match row.outcome {
            Outcome::Failed => &[Verb::Fail],
            _ => &[Verb::Reply, Verb::Ack],
        };
        let said = entry.said.get(&token.fence).into_iter().flatten();
        let said = said.filter(|(verb, _)| verbs.contains(verb));
        let same = |said: Option<Content>| match (said, row.content) {
            (Some(said), Some(written)) => said.same(written),
            // An ack has no payload, and neither has an empty reply.
            (Some(other), None) | (None, Some(other)) => other.size == 0,
            (None, None) => true,
        };
        require!(
            lies.knows(&token)
                || said
                    .clone()
                    .any(|(verb, content)| same(*content) || (*verb == Verb::Ack && row.content.is_none())),
            "P2",
            "{id} is {:?} with {:?}, which no worker said",
            row.outcome,
            row.content
        );
        if row.outcome != Outcome::Failed {
            let sent = row.outcome == Outcome::Delivered;
            require!(sent == entry.terms.send_only, "P2", "{id} is {:?}", row.outcome);
        }
        Ok(())
    }

    pub(crate) fn settled(&mut self, id: MessageId, row: &OutcomeRow) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.outcome = Some(row.clone());
            self.close(id);
        }
    }

    /// Its origin was restarted and found that it is due then.
    pub(crate) fn redate(&mut self, id: MessageId, deadline: Option<Time>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let old = std::mem::replace(&mut entry.deadline, deadline);
            if let (true, Some(old), Some(new)) = (self.open.contains(&id), old, deadline) {
                self.due.remove(&(old, id));
                self.due.insert((new, id));
            }
        }
    }

    /// Its origin was restarted and offers it from then on.
    pub(crate) fn delay(&mut self, id: MessageId, from: Time) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.from = from;
        }
    }

    /// Its origin was restarted and keeps its outcome until then.
    pub(crate) fn retain(&mut self, id: MessageId, until: Time) {
        if let Some(row) = self.entries.get_mut(&id).and_then(|entry| entry.outcome.as_mut()) {
            row.retain_until = until;
        }
    }

    fn close(&mut self, id: MessageId) {
        self.open.remove(&id);
        if let Some(deadline) = self.entries.get(&id).and_then(|entry| entry.deadline) {
            self.due.remove(&(deadline, id));
        }
    }

    /// The producer is told an outcome.
    pub(crate) fn told(&mut self, id: MessageId, outcome: Outcome) -> Verdict {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Err(("P2", format!("{id} is told and does not exist")));
        };
        let disk = entry.outcome.as_ref().map(|row| row.outcome);
        require!(
            disk == Some(outcome),
            "P2",
            "{id} is told to be {outcome:?}, on disk is {disk:?}"
        );
        require!(
            entry.told.is_none_or(|told| told == outcome),
            "P2",
            "{id} was {:?} before",
            entry.told
        );
        entry.told = Some(outcome);
        Ok(())
    }

    /// An outcome is to be deleted; `full` says that more `Delivered` ones are there than are to be kept.
    pub(crate) fn deleting(&mut self, id: MessageId, now: Time, full: bool) -> Verdict {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Err(("P1", format!("deletion of {id}, which does not exist")));
        };
        let Some(row) = &entry.outcome else {
            return Err(("P1", format!("deletion of {id}, which has no outcome")));
        };
        let early = full && row.outcome == Outcome::Delivered;
        require!(
            entry.collect_asked || entry.deleting || early || now >= row.retain_until,
            "P2",
            "{id} is deleted {} us before its retention ends and was not collected",
            row.retain_until - now
        );
        entry.deleting = true;
        Ok(())
    }

    pub(crate) fn deleted(&mut self, id: MessageId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.deleted = true;
        }
    }

    /// The origin's process died: what it had decided and not written is open again.
    pub(crate) fn forgot(&mut self, host: usize) {
        for id in &self.open {
            if let Some(entry) = self.entries.get_mut(id)
                && entry.host == host
            {
                entry.decided = None;
            }
        }
    }

    /// The origin's disk is gone.
    pub(crate) fn wiped(&mut self, host: usize) {
        let gone: Vec<MessageId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.host == host)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.close(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.lost = true;
            }
        }
    }

    /// P3: overdue by more than a second, at an origin that has been running for so long.
    pub(crate) fn overdue(&self, now: Time, mut running_since: impl FnMut(usize) -> Option<Time>) -> Verdict {
        for &(deadline, id) in &self.due {
            if deadline + SECOND + LATE_MAX >= now {
                break;
            }
            let Some(entry) = self.entries.get(&id) else {
                continue;
            };
            let Some(since) = running_since(entry.host) else {
                continue;
            };
            let from = since.max(entry.on_disk.unwrap_or(now));
            require!(
                entry.decided.is_some() || from + SECOND + LATE_MAX >= now,
                "P3",
                "{id} has no outcome {} us after its deadline",
                now - deadline
            );
        }
        Ok(())
    }

    /// P1 in whole: every accepted message is where it must be.
    pub(crate) fn sweep(&self, mut on_disk: impl FnMut(usize, MessageId) -> bool) -> Verdict {
        for (id, entry) in &self.entries {
            require!(
                !entry.accepted || entry.lost || entry.deleted || on_disk(entry.host, *id),
                "P1",
                "{id} was accepted and is gone"
            );
        }
        Ok(())
    }
}
