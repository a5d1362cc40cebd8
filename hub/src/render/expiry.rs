//! The choices for the life of a token. Answers to `token_expires_in_options` of the token page.

use super::words::Language;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const LIVES: [(&str, u64); 5] =
    [("1 Hour", HOUR), ("1 Day", DAY), ("1 Week", 7 * DAY), ("1 Month", 30 * DAY), ("1 Year", 365 * DAY)];

/// Choices for the life of a token, the last one selected: without a limit up to `Never`; with one, what is below it
/// and the limit itself, unless that is one of the usual lives. An empty value means as long as possible.
pub fn expiry_options_html(max_seconds: Option<u64>, language: Language) -> String {
    let mut choices: Vec<(String, String)> = LIVES
        .iter()
        .filter(|(_, seconds)| max_seconds.is_none_or(|max| *seconds <= max))
        .map(|(label, seconds)| (language.say(label).to_owned(), seconds.to_string()))
        .collect();
    match max_seconds {
        None => choices.push((language.say("Never").to_owned(), String::new())),
        Some(max) if LIVES.iter().all(|(_, seconds)| *seconds != max) => {
            choices.push((format!("Max ({})", span(max, language)), String::new()));
        }
        Some(_) => {}
    }
    let last = choices.len().saturating_sub(1);
    let options = choices.iter().enumerate().map(|(index, (label, value))| {
        let selected = if index == last { " selected=\"selected\"" } else { "" };
        format!("<option value=\"{value}\"{selected}>{label}</option>")
    });
    options.collect::<Vec<_>>().join("\n")
}

/// A span of time in the largest unit of which there are at least two, rounded.
fn span(seconds: u64, language: Language) -> String {
    for (unit, name) in [(DAY, "days"), (HOUR, "hours"), (60, "minutes")] {
        if seconds >= 2 * unit {
            return format!("{} {}", (seconds + unit / 2) / unit, language.say(name));
        }
    }
    format!("{seconds} {}", language.say("seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(max: Option<u64>) -> Vec<String> {
        expiry_options_html(max, Language::English)
            .lines()
            .map(|line| line.split(['>', '<']).nth(2).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_life_of_a_token_is_offered_up_to_its_limit() {
        assert_eq!(labels(None), ["1 Hour", "1 Day", "1 Week", "1 Month", "1 Year", "Never"]);
        assert_eq!(labels(Some(DAY)), ["1 Hour", "1 Day"]);
        assert_eq!(labels(Some(36 * HOUR)), ["1 Hour", "1 Day", "Max (36 hours)"]);
        assert_eq!(labels(Some(10 * DAY)), ["1 Hour", "1 Day", "1 Week", "Max (10 days)"]);
        assert_eq!(labels(Some(90)), ["Max (90 seconds)"]);
        let last = expiry_options_html(Some(DAY), Language::English).lines().last().unwrap().to_owned();
        assert!(last.contains("selected") && last.contains("\"86400\""), "{last}");
    }
}
