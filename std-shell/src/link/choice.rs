//! Streams or polling: what the next link with a north is tried as.
//!
//! Streams are better and come first. What tells that something in between breaks them: no HTTP/2, no answer to the
//! request or no hello in it although the connection is there, or a few links in a row that are cut early. Then links
//! poll, and now and then a stream of its own that carries nothing (`probe`) shows whether they still have to. An end
//! that one of the two nodes chose, and a north that can't be reached, tell nothing.

use super::how::{Mode, Wish};
use std::time::Duration;

/// Links in a row that were cut early, before the next one polls.
const EARLY_CUTS: u32 = 3;

/// Connections in a row that broke before HTTP, before one without HTTP/2 is tried.
const STRANGE: u32 = 3;

/// Longest time between two probes.
const PROBE_MOST: Duration = Duration::from_secs(32 * 60);

/// What became of a link, or of the attempt at one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// The north could not be reached, or refused it.
    None,
    /// The connection broke off while it was set up, in a way that nodes have no reason for.
    Strange,
    /// It was up to the point where frames should have come, and they could not.
    Blocked,
    /// It was cut after this time.
    Cut(Duration),
    /// It was ended by one of the nodes after this time.
    Ended(Duration),
    /// The north does not know polling.
    Unknown,
    /// Streams were found to work while it polled.
    Probed,
}

#[derive(Debug)]
pub(super) struct Choice {
    wish: Wish,
    stable: Duration,
    mode: Mode,
    early_cuts: u32,
    strange: u32,
    first: Duration,
    probe_after: Duration,
}

impl Choice {
    pub(super) fn new(wish: Wish, stable: Duration, probe_after: Duration) -> Self {
        let mode = match wish {
            Wish::Auto => Mode::Stream,
            Wish::Only(mode) => mode,
        };
        Self {
            wish,
            stable,
            mode,
            early_cuts: 0,
            strange: 0,
            first: probe_after,
            probe_after,
        }
    }

    /// What to try next.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// When to look whether streams work again; none: never.
    pub(super) fn probe_after(&self) -> Option<Duration> {
        (self.wish == Wish::Auto && self.mode == Mode::Poll).then_some(self.probe_after)
    }

    /// A probe showed that they do not.
    pub(super) fn probe_failed(&mut self) {
        self.probe_after = (self.probe_after * 2).min(PROBE_MOST);
    }

    /// Hears what became of the last try; tells why the next one is another way.
    pub(super) fn heard(&mut self, fate: Fate) -> Option<&'static str> {
        if self.wish != Wish::Auto {
            return None;
        }
        match self.mode {
            Mode::Stream => self.streamed(fate),
            Mode::Poll => self.polled(fate),
        }
    }

    fn streamed(&mut self, fate: Fate) -> Option<&'static str> {
        if let Fate::Cut(held) | Fate::Ended(held) = fate
            && held >= self.stable
        {
            self.probe_after = self.first;
        }
        self.early_cuts = match fate {
            Fate::Cut(held) if held < self.stable => self.early_cuts + 1,
            Fate::None | Fate::Strange => self.early_cuts,
            _ => 0,
        };
        self.strange = match fate {
            Fate::Strange => self.strange + 1,
            _ => 0,
        };
        if fate == Fate::Blocked {
            self.poll("streams do not pass")
        } else if self.early_cuts >= EARLY_CUTS {
            self.poll("streams are cut again and again")
        } else if self.strange >= STRANGE {
            self.poll("connections break off before HTTP/2 is spoken")
        } else {
            None
        }
    }

    fn poll(&mut self, why: &'static str) -> Option<&'static str> {
        self.mode = Mode::Poll;
        self.early_cuts = 0;
        self.strange = 0;
        Some(why)
    }

    fn polled(&mut self, fate: Fate) -> Option<&'static str> {
        match fate {
            Fate::Probed => {
                // If it was wrong, the next look is later.
                self.probe_failed();
                self.mode = Mode::Stream;
                Some("streams pass again")
            }
            // No better this way: nobody knows that it is streams which are the trouble.
            Fate::Unknown | Fate::Strange => {
                self.mode = Mode::Stream;
                Some("polling gets no further")
            }
            Fate::None | Fate::Blocked | Fate::Cut(_) | Fate::Ended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_secs(3);

    fn choice() -> Choice {
        Choice::new(Wish::Auto, STABLE, STABLE)
    }

    #[test]
    fn three_early_cuts_in_a_row_make_it_poll() {
        let mut choice = choice();
        for fate in [
            Fate::Cut(SHORT),
            Fate::Cut(SHORT),
            // A north that is away in between changes nothing, a link that held or was ended by a node does.
            Fate::None,
            Fate::Ended(SHORT),
            Fate::Cut(SHORT),
            Fate::Cut(SHORT),
            Fate::Cut(STABLE),
            Fate::Cut(SHORT),
            Fate::None,
            Fate::Cut(SHORT),
            Fate::Strange,
        ] {
            assert_eq!(choice.heard(fate), None, "{fate:?}");
            assert_eq!((choice.mode(), choice.probe_after()), (Mode::Stream, None));
        }
        assert!(choice.heard(Fate::Cut(SHORT)).is_some());
        assert_eq!((choice.mode(), choice.probe_after()), (Mode::Poll, Some(STABLE)));
        // Whatever becomes of a link that polls, only a probe leads back.
        for fate in [Fate::Cut(SHORT), Fate::Ended(STABLE), Fate::Blocked, Fate::None] {
            assert_eq!(choice.heard(fate), None);
            assert_eq!(choice.mode(), Mode::Poll);
        }
        assert!(choice.heard(Fate::Probed).is_some());
        assert_eq!(choice.mode(), Mode::Stream);
    }

    #[test]
    fn what_never_comes_through_makes_it_poll_at_once_and_a_strange_end_after_three() {
        let mut choice = choice();
        choice.heard(Fate::Blocked);
        assert_eq!(choice.mode(), Mode::Poll);
        let mut choice = self::choice();
        for fate in [
            Fate::Strange,
            Fate::Strange,
            Fate::None,
            Fate::Strange,
            Fate::Strange,
        ] {
            choice.heard(fate);
            assert_eq!(choice.mode(), Mode::Stream);
        }
        choice.heard(Fate::Strange);
        assert_eq!(choice.mode(), Mode::Poll);
        // That way is no better.
        choice.heard(Fate::Strange);
        assert_eq!(choice.mode(), Mode::Stream);
    }

    #[test]
    fn probes_come_less_often_until_a_stream_has_held() {
        let mut choice = choice();
        let mut last = STABLE;
        for round in 0..12 {
            choice.heard(Fate::Blocked);
            assert_eq!(choice.probe_after(), Some(last), "{round}");
            match round % 2 {
                0 => {
                    choice.probe_failed();
                    assert_eq!(choice.mode(), Mode::Poll);
                }
                // It works, and then it does not.
                _ => assert!(choice.heard(Fate::Probed).is_some()),
            }
            last = (last * 2).min(PROBE_MOST);
        }
        assert_eq!(last, PROBE_MOST);
        choice.heard(Fate::Probed);
        choice.heard(Fate::Cut(STABLE));
        choice.heard(Fate::Blocked);
        assert_eq!(choice.probe_after(), Some(STABLE));
    }

    #[test]
    fn a_setting_is_kept_to() {
        for mode in [Mode::Stream, Mode::Poll] {
            let mut choice = Choice::new(Wish::Only(mode), STABLE, STABLE);
            for fate in [Fate::Blocked, Fate::Probed, Fate::Unknown] {
                assert_eq!(choice.heard(fate), None);
                assert_eq!((choice.mode(), choice.probe_after()), (mode, None));
            }
        }
    }
}
