//! Numbers for readers: few digits, grouped thousands, units that fit the size.

/// The text for a number that is not finite.
const NOT_FINITE: &str = "not finite";

/// Four significant digits; powers of ten beyond 0.0001 and a million.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return NOT_FINITE.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let size = value.abs();
    if !(1e-4..999_999.5).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    group(&format!("{value:.decimals$}"))
}

/// A whole number with grouped thousands.
pub(crate) fn count(value: u64) -> String {
    group(&value.to_string())
}

/// A share as a percentage with two decimals.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.2} %", share * 100.0) } else { NOT_FINITE.into() }
}

/// Seconds in the unit that fits: from microseconds to hours.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NOT_FINITE.into();
    }
    match seconds.abs() {
        0.0 => "0 s".into(),
        size if size < 0.999_5e-3 => format!("{:.3} µs", seconds * 1e6),
        size if size < 0.999_5 => format!("{:.0} ms", seconds * 1e3),
        size if size < 59.95 => format!("{seconds:.1} s"),
        size if size < 3_599.5 => {
            let whole = seconds.round() as i64;
            format!("{} min {} s", whole / 60, whole % 60)
        }
        _ => {
            let minutes = (seconds / 60.0).round();
            let hours = (minutes / 60.0).trunc();
            format!("{} h {} min", group(&format!("{hours:.0}")), minutes % 60.0)
        }
    }
}

/// Dollars: cents for dollars, four significant digits for less.
pub(crate) fn dollars(value: f64) -> String {
    money(value, 2)
}

/// As [`dollars`], with enough digits to distinguish one epoch's budget from the next.
pub(crate) fn dollars_exactly(value: f64) -> String {
    money(value, 5)
}

fn money(value: f64, decimals: usize) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    match value.abs() {
        size if !size.is_finite() => NOT_FINITE.into(),
        0.0 => "$0.00".into(),
        size if !(1e-7..1e15).contains(&size) => format!("{sign}${size:.3e}"),
        size if size >= 1.0 => format!("{sign}${}", group(&format!("{size:.decimals$}"))),
        size => {
            let decimals = (3 - size.log10().floor() as i32) as usize;
            format!("{sign}${size:.decimals$}")
        }
    }
}

/// Commas between the thousands of a decimal number of five or more whole digits.
pub(crate) fn group(number: &str) -> String {
    let whole = number.find('.').unwrap_or(number.len());
    let first = usize::from(number.starts_with('-'));
    if whole - first < 5 || !number.is_ascii() {
        return number.into();
    }
    let mut grouped = String::with_capacity(number.len() + whole / 3);
    for (place, digit) in number.chars().enumerate() {
        if place > first && place < whole && (whole - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_have_four_significant_digits() {
        let all = [0.0, 2.345_678, 0.012_345_6, 98_765.4, -12_345.0, 1e-5, 3.2e7];
        assert_eq!(
            all.map(short),
            ["0", "2.346", "0.01235", "98,765", "-12,345", "1.000e-5", "3.200e7"]
        );
        assert_eq!(short(f64::NAN), "not finite");
    }

    #[test]
    fn a_duration_has_the_unit_of_its_size() {
        let all = [0.0, 2.5e-5, 0.084, 0.999_9, 12.34, 59.99, 134.0, 3_599.9, 7_500.0];
        assert_eq!(
            all.map(duration),
            [
                "0 s",
                "25.000 µs",
                "84 ms",
                "1.0 s",
                "12.3 s",
                "1 min 0 s",
                "2 min 14 s",
                "1 h 0 min",
                "2 h 5 min"
            ]
        );
        assert_eq!(duration(1e300).find("not"), None);
    }

    #[test]
    fn money_is_never_shown_as_nothing() {
        let all = [0.0, -0.0, 12_345.678, 1.0, 0.012_345, 8.36e-4, -2.5, 1e-9];
        assert_eq!(
            all.map(dollars),
            [
                "$0.00",
                "$0.00",
                "$12,345.68",
                "$1.00",
                "$0.01235",
                "$0.0008360",
                "-$2.50",
                "$1.000e-9"
            ]
        );
        assert_eq!(dollars_exactly(4.975_108), "$4.97511");
    }

    #[test]
    fn thousands_are_grouped_from_five_digits_on() {
        assert_eq!(count(1_769), "1769");
        assert_eq!(count(10_240), "10,240");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }
}
