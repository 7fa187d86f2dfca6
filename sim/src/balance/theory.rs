//! Closed forms for queues, in units of the mean service time: what simulated values are held against.

/// Chance that all of `servers` are busy (Erlang C), at `load` of each.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let offered = f64::from(servers) * load;
    // Erlang B by its recursion, which neither overflows nor cancels.
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    blocked / (1.0 - load * (1.0 - blocked))
}

/// Mean response of M/M/c: wait and service.
pub(crate) fn mmc(servers: u32, load: f64) -> f64 {
    1.0 + erlang_c(servers, load) / (f64::from(servers) * (1.0 - load))
}

/// Mean response of M/G/1 (Pollaczek and Khinchine) with this variance over the square of the mean.
pub(crate) fn mg1(load: f64, variability: f64) -> f64 {
    1.0 + load / (1.0 - load) * (1.0 + variability) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // M/M/1 is 1 / (1 - load), by either form; M/D/1 waits half as long.
        for load in [0.1, 0.5, 0.9] {
            assert!((mmc(1, load) - 1.0 / (1.0 - load)).abs() < 1e-12);
            assert!((mg1(load, 1.0) - 1.0 / (1.0 - load)).abs() < 1e-12);
        }
        assert!((mg1(0.9, 0.0) - 5.5).abs() < 1e-12);
        // M/M/2 is 1 / (1 - load^2).
        assert!((mmc(2, 0.8) - 1.0 / (1.0 - 0.64)).abs() < 1e-12);
        // From printed tables: 10 servers, 8 Erlang offered, chance to wait 0.4092.
        assert!((erlang_c(10, 0.8) - 0.4092).abs() < 5e-5);
    }
}
