//! Where a message belongs among the spans of a distributed trace, as W3C Trace Context says it: nodes carry it from
//! producer to consumer and never look into it. (A *trace* of Redlink is something else: the steps of one message.)

use std::sync::Arc;

/// Name of the header, and of the variable in lower case, that names trace and span.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// Name of the header with what tracing systems add to it.
pub(crate) const TRACESTATE: &str = "tracestate";
/// Length of the `traceparent` of version 00.
pub(crate) const PARENT_LEN: usize = 55;
/// Longest `tracestate` that is kept, in bytes: what the standard asks every participant to pass on.
pub(crate) const STATE_MAX: usize = 512;
/// Most members of a `tracestate`.
const MEMBERS_MAX: usize = 32;
/// Members longer than this go first where not all can stay.
const MEMBER_LONG: usize = 128;
/// Flags that there are a meaning for: sampled, and a trace id that is random. Of a later version's no others are kept.
const FLAGS_KNOWN: u8 = 0x03;

/// A `traceparent`, and the `tracestate` that came with it. Both are as the standard wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    parent: Box<str>,
    state: Option<Box<str>>,
}

impl TraceContext {
    /// Reads the two headers' values; of `tracestate` there may be several. As the standard demands, a malformed
    /// `traceparent` is as good as none, takes its `tracestate` with it, and is nobody's mistake here; a malformed
    /// `tracestate` goes alone.
    pub fn read<'a>(parent: &str, states: impl IntoIterator<Item = &'a str>) -> Option<Arc<Self>> {
        let parent = read_parent(parent.trim_matches([' ', '\t']))?;
        Some(Arc::new(Self {
            parent: parent.into(),
            state: read_state(states),
        }))
    }

    /// The `traceparent`.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// The `tracestate`, if there is one.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The 32 hexadecimal digits of the trace.
    pub fn trace_id(&self) -> &str {
        &self.parent[3..35]
    }

    /// The 16 hexadecimal digits of the span that the message was sent in.
    pub fn parent_id(&self) -> &str {
        &self.parent[36..52]
    }

    /// Whether whoever sent it records the trace.
    pub fn is_sampled(&self) -> bool {
        // The last of two digits, whose lowest bit says it.
        self.parent
            .bytes()
            .last()
            .is_some_and(|digit| matches!(digit, b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'))
    }

    /// What it adds to a message's cost in memory, in bytes.
    pub(crate) fn cost(&self) -> u64 {
        (self.parent.len() + self.state.as_ref().map_or(0, |state| state.len())) as u64
    }
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A later version's as one of version 00, which is all that this program can vouch for.
fn read_parent(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let head = bytes.get(..PARENT_LEN)?;
    let (version, trace, span, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
    let dashes = [2, 35, 52].iter().all(|&at| head[at] == b'-');
    let digits = [version, trace, span, flags].into_iter().all(is_hex);
    let zero = |digits: &[u8]| digits.iter().all(|&digit| digit == b'0');
    if !dashes || !digits || version == b"ff" || zero(trace) || zero(span) {
        return None;
    }
    // All of it is ASCII from here on.
    let known = text.get(..PARENT_LEN)?;
    match (version, bytes.get(PARENT_LEN)) {
        (b"00", None) => Some(known.to_owned()),
        (b"00", Some(_)) => None,
        (_, None | Some(b'-')) => {
            let flags = u8::from_str_radix(known.get(53..)?, 16).ok()? & FLAGS_KNOWN;
            Some(format!("00{}{flags:02x}", known.get(2..53)?))
        }
        (_, Some(_)) => None,
    }
}

fn read_state<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Box<str>> {
    let mut members: Vec<&str> = Vec::new();
    for member in texts.into_iter().flat_map(|text| text.split(',')) {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        let twice = || {
            members
                .iter()
                .any(|other| other.split_once('=').is_some_and(|(other, _)| other == key))
        };
        if members.len() >= MEMBERS_MAX || !is_key(key) || !is_value(value) || twice() {
            return None;
        }
        members.push(member);
    }
    // Whole members only: first the long ones, then those that were changed longest ago, which stand last.
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    if length(&members) > STATE_MAX + 1 {
        members.retain(|member| member.len() <= MEMBER_LONG);
    }
    while length(&members) > STATE_MAX + 1 {
        members.pop();
    }
    (!members.is_empty()).then(|| members.join(",").into())
}

fn is_key(key: &str) -> bool {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    let begins = |text: &str, digit: bool| {
        text.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase() || (digit && byte.is_ascii_digit()))
    };
    match key.split_once('@') {
        None => key.len() <= 256 && begins(key, false) && plain(key),
        Some((tenant, system)) => {
            (tenant.len() <= 241 && begins(tenant, true) && plain(tenant))
                && (system.len() <= 14 && begins(system, false) && plain(system))
        }
    }
}

fn is_value(value: &str) -> bool {
    let all = value
        .bytes()
        .all(|byte| matches!(byte, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e));
    (1..=256).contains(&value.len()) && all && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parent(text: &str) -> Option<String> {
        TraceContext::read(text, []).map(|context| context.parent().to_owned())
    }

    fn state(texts: &[&str]) -> Option<String> {
        let context = TraceContext::read(PARENT, texts.iter().copied()).expect("a good parent");
        context.state().map(str::to_owned)
    }

    #[test]
    fn a_parent_is_taken_apart() {
        let context = TraceContext::read(PARENT, []).unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent_id(), "00f067aa0ba902b7");
        assert!(context.is_sampled());
        let quiet = TraceContext::read(&format!("{}00", &PARENT[..53]), []).unwrap();
        assert!(!quiet.is_sampled());
        assert_eq!(parent(&format!(" {PARENT}\t")).as_deref(), Some(PARENT));
    }

    #[test]
    fn a_malformed_parent_is_none() {
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-"),
            &format!("{PARENT}0"),
            &PARENT.to_uppercase(),
            &PARENT.replacen("00-", "ff-", 1),
            &PARENT.replacen("00-", "0x-", 1),
            &PARENT.replace("00f067aa0ba902b7", "0000000000000000"),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace('-', "_"),
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parent(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_later_versions_parent_goes_on_as_one_of_ours() {
        let later = PARENT.replacen("00-", "cc-", 1);
        assert_eq!(parent(&later).as_deref(), Some(PARENT));
        assert_eq!(parent(&format!("{later}-what-comes")).as_deref(), Some(PARENT));
        assert_eq!(parent(&format!("{later}.what")), None);
        let flags = format!("{}ff", &later[..53]);
        assert!(parent(&flags).unwrap().ends_with("-03"));
    }

    #[test]
    fn a_state_is_joined_in_order_and_a_bad_one_left_out() {
        assert_eq!(state(&[]), None);
        assert_eq!(
            state(&["a=1", " b@c=2 , ,d=x y"]).as_deref(),
            Some("a=1,b@c=2,d=x y")
        );
        for bad in [
            "a", "A=1", "a=1,a=2", "a=", "a=b=c", "1a=2", "@a=1", "a@=1", "a=\u{e9}", "a=b\u{1}",
        ] {
            assert_eq!(state(&[bad]), None, "{bad:?}");
        }
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>();
        assert_eq!(state(&[&many.join(",")]), None);
        assert!(state(&[&many[..32].join(",")]).is_some());
    }

    #[test]
    fn a_long_state_loses_whole_members_the_long_ones_first() {
        let long = format!("long={}", "x".repeat(200));
        let short = (0..10)
            .map(|n| format!("k{n}={}", "y".repeat(47)))
            .collect::<Vec<_>>();
        let kept = state(&[&long, &short.join(",")]).unwrap();
        assert_eq!(kept, short.join(","), "{} bytes", kept.len());
        let more = (0..20)
            .map(|n| format!("k{n:02}={}", "y".repeat(46)))
            .collect::<Vec<_>>();
        let kept = state(&[&more.join(",")]).unwrap();
        assert!(kept.len() <= STATE_MAX && kept.len() > STATE_MAX - 51);
        assert!(more.join(",").starts_with(&kept));
    }

    proptest::proptest! {
        #[test]
        fn what_was_read_reads_back(parent in ".{0,70}", good: bool, states in proptest::collection::vec("[ -~]{0,300}", 0..4)) {
            let parent = if good { PARENT } else { &*parent };
            if let Some(context) = TraceContext::read(parent, states.iter().map(String::as_str)) {
                proptest::prop_assert_eq!(context.parent().len(), PARENT_LEN);
                let again = TraceContext::read(context.parent(), context.state());
                proptest::prop_assert_eq!(again, Some(context));
            }
        }
    }
}
