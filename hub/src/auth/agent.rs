//! Browsers by the names that people know them by, for the list of logins. What a browser says of itself proves
//! nothing.

/// Browsers, the ones first that call themselves others as well.
const BROWSERS: [(&str, &str); 11] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
/// Systems, the ones first that call themselves others as well.
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];
/// Longest name of a program that is shown.
const LONGEST: usize = 40;

fn known(agent: &str, names: &[(&str, &'static str)]) -> Option<&'static str> {
    names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
}

/// The browser, and the system that it runs on, where they are known; of other programs the name that they give.
pub fn name(agent: &str) -> (Option<String>, Option<&'static str>) {
    let browser = match known(agent, &BROWSERS) {
        Some(name) => Some(name.to_owned()),
        None => {
            let first = agent.split(['/', ' ', ';', '(']).next().unwrap_or_default();
            let first: String = first.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
            Some(first).filter(|name| !name.is_empty() && name != "Mozilla")
        }
    };
    (browser, known(agent, &SYSTEMS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_called_as_people_call_them() {
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
        for (agent, browser, system) in [
            (chrome, Some("Chrome"), Some("Windows")),
            (&format!("{chrome} Edg/140.0"), Some("Edge"), Some("Windows")),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                Some("Firefox"),
                Some("Linux"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Mobile Safari/604.1",
                Some("Safari"),
                Some("iPhone"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18.0 Safari/605.1",
                Some("Safari"),
                Some("macOS"),
            ),
            ("python-requests/2.32", Some("python-requests"), None),
            ("Mozilla/5.0", None, None),
            ("", None, None),
        ] {
            assert_eq!(name(agent), (browser.map(str::to_owned), system), "{agent}");
        }
    }
}
