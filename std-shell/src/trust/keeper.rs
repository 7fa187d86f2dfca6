//! Keeps a node's certificate good: renews it in time, and takes up what others put into the directory.

use super::desk::{self, Answer, Ask};
use super::identity::Identity;
use super::tls;
use crate::driver::Handle;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

/// How often the files are looked at, unless a SIGHUP says that it is time.
const LOOK: Duration = Duration::from_secs(2);
/// Longest wait between two looks at the clock: it may have been set, or the machine have slept.
const TICK: Duration = Duration::from_secs(60);
/// Shortest and longest wait after a renewal that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(600));

/// Renews this node's certificate when a third of its life is left, and goes by other files when they change. Never
/// ends; drop it.
pub async fn keep(identity: Arc<Identity>, handle: Handle) {
    tokio::join!(renew(&identity, &handle), look(&identity));
}

async fn look(identity: &Arc<Identity>) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut reported = String::new();
    loop {
        let told = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = told => tracing::info!("told to look at its files again"),
        }
        let identity = identity.clone();
        match spawn_blocking(move || identity.reload().map(|new| (new, identity.until()))).await {
            Ok(Ok((new, until))) => {
                reported.clear();
                if new {
                    let until = humantime::format_rfc3339_seconds(until);
                    tracing::info!(%until, "its certificates have changed; new connections go by the new ones");
                }
            }
            // Between two files that are written one after the other this is so for a moment; then it is said once.
            Ok(Err(error)) => {
                let text = error.to_string();
                if text != reported {
                    tracing::warn!(%error, "its certificates have changed and can't be used; the earlier ones are in use still");
                    reported = text;
                }
            }
            Err(_) => tracing::error!("the look at its files broke off"),
        }
    }
}

/// How a renewal ended.
enum Renewed {
    /// With these hosts left out, because they are another node's.
    Done(Vec<String>),
    Failed(String),
}

async fn renew(identity: &Arc<Identity>, handle: &Handle) {
    let mut missing = identity.authority.is_none() && identity.lacks_hosts();
    let mut changes = identity.changes();
    let mut reported = false;
    let mut ended = false;
    let mut wait = Duration::ZERO;
    let mut known_left_out = Vec::new();
    loop {
        let Some(due) = identity.renewal() else {
            return std::future::pending().await;
        };
        let now = SystemTime::now();
        let over = now > identity.until() || identity.is_revoked();
        if over && !std::mem::replace(&mut ended, true) {
            tracing::error!(
                "this node's certificate has ended or was revoked: new links are refused; make a token with `redlink token \
                 create` at a node of the mesh, and start this node again with --token"
            );
        }
        let until_due = due.duration_since(now).unwrap_or_default();
        if over || (!until_due.is_zero() && !missing) {
            let rest = if over { TICK } else { until_due.min(TICK) };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                // A certificate that somebody put there is looked at now.
                _ = changes.changed() => ended = false,
            }
            continue;
        }
        // Nodes that were started together don't ask together.
        tokio::time::sleep(jittered(wait)).await;
        match attempt(identity, handle).await {
            Renewed::Done(left_out) => {
                if left_out != known_left_out {
                    tracing::warn!(hosts = ?left_out, "these hosts belong to another node and are not in the certificate");
                    known_left_out = left_out;
                }
                let until = humantime::format_rfc3339_seconds(identity.until());
                tracing::info!(%until, "renewed this node's certificate");
                (reported, missing, wait) = (false, false, Duration::ZERO);
            }
            Renewed::Failed(reason) => {
                let left = identity
                    .until()
                    .duration_since(SystemTime::now())
                    .unwrap_or_default();
                // Ever more often towards the end, so that a short life gets its tries as well as a long one.
                wait = (left / 10).clamp(RETRY.0, RETRY.1);
                if std::mem::replace(&mut reported, true) {
                    tracing::debug!(%reason, "the certificate could not be renewed");
                } else {
                    let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
                    tracing::warn!(%reason, %left, "the certificate could not be renewed; trying again until it ends");
                }
            }
        }
    }
}

/// Half as long to half as long again.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + f64::from(tls::random_number()) / f64::from(u16::MAX))
}

async fn attempt(identity: &Arc<Identity>, handle: &Handle) -> Renewed {
    let own = identity.clone();
    let broken = || Renewed::Failed("the work broke off".into());
    let Some(authority) = identity.authority.clone() else {
        let request = match spawn_blocking(move || own.renewal_request()).await {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => return Renewed::Failed(error.to_string()),
            Err(_) => return broken(),
        };
        let enrolled = match desk::ask(identity, handle, Ask::Renew(request)).await {
            Ok(Answer::Enrolled(enrolled)) => enrolled,
            Ok(Answer::Refused { detail, .. }) => return Renewed::Failed(detail),
            Ok(Answer::Invited(_)) => return Renewed::Failed("the authority answered something else".into()),
            Err(error) => return Renewed::Failed(error.to_string()),
        };
        // The machine's own name is tried as well, and not missed if another node of the machine has it.
        let machine = super::own_host_name();
        let mut left_out = enrolled.left_out.clone();
        left_out.retain(|host| Some(host) != machine.as_ref());
        let own = identity.clone();
        return done(spawn_blocking(move || own.install(&enrolled)).await, left_out);
    };
    done(
        spawn_blocking(move || own.renew_own(&authority)).await,
        Vec::new(),
    )
}

fn done(
    result: Result<Result<(), super::IdentityError>, tokio::task::JoinError>,
    left_out: Vec<String>,
) -> Renewed {
    match result {
        Ok(Ok(())) => Renewed::Done(left_out),
        Ok(Err(error)) => Renewed::Failed(error.to_string()),
        Err(_) => Renewed::Failed("the work broke off".into()),
    }
}
