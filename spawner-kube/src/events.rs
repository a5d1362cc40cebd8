//! Progress from the events of a pod. Answers to `KubeSpawner.progress`.

use serde_json::Value;

/// One message for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How far the start is.
    pub percent: u8,
    /// `time [type] text`.
    pub message: String,
    /// The event itself.
    pub event: Value,
}

/// Turns the events of one pod into steps. Each event closes a third of the distance to 90.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    percent: f64,
}

impl Progress {
    /// The next step.
    pub fn step(&mut self, event: &Value) -> Step {
        self.percent += (90.0 - self.percent) / 3.0;
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 90")]
        let percent = self.percent as u8;
        let message = format!("{} [{}] {}", time(event), text("type"), text("message"));
        Step { percent, message, event: event.clone() }
    }
}

/// When an event happened last. Events that say neither are given the time of their creation, where stock fails.
pub fn time(event: &Value) -> &str {
    ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .into_iter()
        .filter_map(|path| event.pointer(path)?.as_str())
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

/// The events of one pod in order of time, those after `marker` only: the last event that was there before the
/// start, by uid.
pub fn of_pod<'e>(
    events: impl IntoIterator<Item = &'e Value>,
    pod_name: &str,
    marker: Option<&str>,
) -> Vec<&'e Value> {
    let at = |event: &Value, path: &str| event.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let mut own: Vec<&Value> = events
        .into_iter()
        .filter(|event| at(event, "/involvedObject/name").as_deref() == Some(pod_name))
        .collect();
    own.sort_by(|a, b| time(a).cmp(time(b)));
    let seen = marker.and_then(|marker| {
        own.iter().rposition(|event| at(event, "/metadata/uid").as_deref() == Some(marker))
    });
    seen.map_or(own.clone(), |seen| own.split_off(seen + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(uid: &str, time: &str) -> Value {
        json!({"metadata": {"uid": uid}, "involvedObject": {"name": "p"}, "lastTimestamp": time, "type": "Normal",
            "message": uid})
    }

    #[test]
    fn the_distance_to_ninety_shrinks_by_a_third() {
        let mut progress = Progress::default();
        let percents: Vec<u8> = (0..12).map(|_| progress.step(&json!({})).percent).collect();
        assert_eq!(percents, [30, 50, 63, 72, 78, 82, 84, 86, 87, 88, 88, 89]);
    }

    #[test]
    fn events_come_in_order_and_only_those_after_the_marker() {
        let events = [event("b", "2"), event("a", "1"), event("c", "3")];
        let uids = |marker| {
            let own = of_pod(&events, "p", marker);
            own.iter().map(|e| e.pointer("/metadata/uid").unwrap().as_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(uids(None), ["a", "b", "c"]);
        assert_eq!(uids(Some("b")), ["c"]);
        assert_eq!(uids(Some("gone")), ["a", "b", "c"]);
        assert!(of_pod(&events, "other", None).is_empty());
    }

    #[test]
    fn an_event_without_times_stops_nothing() {
        let created =
            json!({"metadata": {"creationTimestamp": "4"}, "lastTimestamp": null, "type": "Warning"});
        assert_eq!(Progress::default().step(&created).message, "4 [Warning] ");
    }
}
