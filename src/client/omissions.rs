//! What a peer, or this one, could not give: told by name and reason, and part of the exit code.

use super::{Audience, ExitStatus, shown};
use crate::config;
use crate::content::Omissions;

/// Says what `who` left out; some of it, or all where the user wants to see more.
pub(super) fn tell(audience: &dyn Audience, who: &str, omissions: &Omissions) -> ExitStatus {
    if omissions.is_empty() {
        return ExitStatus::Success;
    }
    let Omissions { count, told } = omissions;
    let entries = if *count == 1 { "1 entry".to_owned() } else { format!("{count} entries") };
    if told.is_empty() {
        audience.error(&format!("{who} left out {entries} and does not say why; its log may"));
        return ExitStatus::Incomplete;
    }
    audience.error(&format!("{who} left out {entries}:"));
    let all = log::log_enabled!(log::Level::Info);
    let most = if all { told.len() } else { config::SHOWN_OMISSIONS };
    for omission in told.iter().take(most) {
        audience.error(&format!("  {}: {}", shown(&omission.name), omission.reason));
    }
    let more = count.saturating_sub(told.len().min(most) as u64);
    if more > 0 {
        let hint = if all { "" } else { "; -v shows all" };
        audience.error(&format!("  and {more} more{hint}"));
    }
    ExitStatus::Incomplete
}
