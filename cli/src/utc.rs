//! Times as people read them.

const DAY_MS: u64 = 86_400_000;

/// Milliseconds since the Unix epoch as date and time of day, UTC (RFC 3339), to the second.
pub(crate) fn utc(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms / DAY_MS);
    let second = unix_ms % DAY_MS / 1000;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let second = second % 60;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, so many days after 1 January 1970. Years begin in
/// March here, so that the leap day is the last of a year.
const fn date(days: u64) -> (u64, u64, u64) {
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, date, utc};

    #[test]
    fn known_times() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_325_061_999, "2026-11-22T05:24:21Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(unix_ms), expected);
        }
        // However far away.
        assert!(utc(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn days_follow_one_another() {
        let lengths = |year: u64| {
            let leap =
                year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
            [
                31,
                28 + u64::from(leap),
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ]
        };
        let (mut days, end) = (0, 400 * 366);
        'years: for year in 1970.. {
            for (month, length) in (1..).zip(lengths(year)) {
                for day in 1..=length {
                    assert_eq!(date(days), (year, month, day), "{}", days * DAY_MS);
                    days += 1;
                    if days == end {
                        break 'years;
                    }
                }
            }
        }
    }
}
