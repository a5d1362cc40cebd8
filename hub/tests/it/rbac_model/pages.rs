//! Pages, which know people by their cookies and take no tokens: what their roles hold lets them in.

use actix_web::http::Method;

use super::model::{CONTAINED, Expected, FILTERS, Held, expanded, expected, identity, seen_of_page};
use super::narrowed::bare_hub;
use super::routes::{PAGES, Refusal};

/// Scopes that open a page, or hold one that does.
const OPENING: [&str; 5] = ["admin-ui", "admin:servers", "servers", "access:servers", "shares"];

#[actix_web::test]
async fn pages_let_in_whom_the_model_lets_in() {
    let test = bare_hub().await;
    let unfiltered = CONTAINED.iter().map(|(scope, _)| (*scope, ""));
    let filtered = OPENING.iter().flat_map(|scope| FILTERS[1..].iter().map(|filter| (*scope, *filter)));
    let (mut wrong, mut inside) = (Vec::new(), 0);
    for (number, (scope, filter)) in unfiltered.chain(filtered).enumerate() {
        let name = format!("person{number}");
        test.user_with(&name, &[&format!("{scope}{filter}")]).await;
        let browser = test.browser(&name, false).await;
        let held = match filter {
            // Of a role it is whoever has the role, who is no server and no service.
            "!user" => expanded(scope, &format!("!user={name}")),
            "!server" | "!service" => Held::new(),
            named => expanded(scope, named),
        };
        let held = held.into_iter().chain(identity(&name)).collect();
        for (route, refusal) in PAGES {
            let expected = match expected(&held, route) {
                Expected::Lacking if *refusal == Refusal::Hidden => Expected::Hidden,
                expected => expected,
            };
            let answer = browser.send(Method::GET, route.path, None).await;
            let to_login = answer.header("location").is_some_and(|place| place.contains("/login"));
            inside += usize::from(expected == Expected::Allowed);
            if seen_of_page(&answer) != expected || to_login {
                let code = answer.code();
                wrong.push(format!("{} with {scope}{filter}: {expected:?}, {code}", route.path));
            }
        }
    }
    assert!(inside > 30, "only {inside} were let in");
    assert!(wrong.is_empty(), "{} pages differ from the model:\n{}", wrong.len(), wrong.join("\n"));
}
