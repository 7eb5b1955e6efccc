//! What a server gives to those who connect, at most.

use std::time::Duration;

use super::seats::Rule;
use crate::config;
use crate::connection::Deadlines;

/// Limits of one server. The default is what the programs use; tests have shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Of these, connections of one address; a share of them unless said otherwise.
    pub per_address: Option<usize>,
    /// How long a connection has to be idle before somebody else may have its seat.
    pub spared: Duration,
    /// How long is waited for what.
    pub deadlines: Deadlines,
    /// Bytes a second of an upload, at least, for its name to be kept from another file.
    pub slowest: u32,
    /// How often is looked for what uploads left long ago.
    pub sweep: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: config::MAX_CONNECTIONS,
            per_address: None,
            spared: config::IDLE_SPARED,
            deadlines: Deadlines::default(),
            slowest: config::SLOWEST_RATE,
            sweep: config::SWEEP_INTERVAL,
        }
    }
}

/// A length as people write it: bytes, or a number with `K`, `M`, `G` or `T` (of 1024).
pub fn length(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no length; write bytes, or as in 500M, 1.5G or 2T");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let power = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * 1024_f64.powi(power);
    // The largest length of a file.
    if bytes.is_finite() && (0.0..=i64::MAX as f64).contains(&bytes) {
        Ok(bytes.round() as u64)
    } else {
        Err(wrong())
    }
}

impl Limits {
    /// Connections that one address may have.
    pub fn of_one_address(&self) -> usize {
        let share = self.connections.div_ceil(config::ADDRESS_SHARE);
        self.per_address.unwrap_or(share).min(self.connections)
    }

    /// These, of which open files allow so many connections.
    pub(super) fn within(self, open_files: u64) -> Self {
        let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
        let most = open_files.saturating_sub(config::FILES_BESIDE) / config::FILES_A_CONNECTION;
        Self { connections: self.connections.min(most.max(1)), ..self }
    }

    pub(super) fn rule(&self) -> Rule {
        let Self { connections: most, spared, .. } = *self;
        Rule { most, per_address: self.of_one_address(), spared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_unless_it_is_said_and_never_more_than_there_is() {
        let share = |connections, per_address| {
            Limits { connections, per_address, ..Limits::default() }.of_one_address()
        };
        assert_eq!(share(2048, None), 1024);
        assert_eq!([share(1, None), share(3, None)], [1, 2]);
        assert_eq!([share(10, Some(7)), share(10, Some(70))], [7, 10]);
    }

    #[test]
    fn lengths_are_read_as_people_write_them() {
        assert_eq!(length("0"), Ok(0));
        assert_eq!(length("1000"), Ok(1000));
        assert_eq!(length("1.5g"), Ok(3 << 29));
        assert_eq!(length("2T"), Ok(2 << 40));
        for bad in ["", "G", "1X", "-1", "1e300", "nan", "1 G"] {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seats_are_no_more_than_open_files_allow() {
        let within = |files| Limits::default().within(files).connections;
        assert_eq!(within(1024), 480);
        assert_eq!(within(10), 1, "somebody is served always");
        assert_eq!(within(u64::MAX), config::MAX_CONNECTIONS);
    }
}
