//! Random configurations against what KubeSpawner 7.1 made of them, see `tests/cases/README.md`.

#[path = "../../examples/corpus/runner.rs"]
mod runner;

fn all_are_equal(cases: &str, at_least: usize) {
    let report = runner::run(cases).expect("the recorded cases can be read");
    assert_eq!(report.failed, 0, "{report}");
    assert!(report.passed >= at_least, "{report}");
}

#[test]
fn objects_and_names_of_random_configurations_are_those_of_stock() {
    all_are_equal(include_str!("../cases/manifest.jsonl"), 150);
}

#[test]
fn forms_of_random_profiles_are_those_of_stock() {
    all_are_equal(include_str!("../cases/form.jsonl"), 80);
}
