//! Causes that answers of the API server show.

use super::{Passing, Trouble};

/// What an answer that is no success means, by its status code and message. `object` is what was asked for, for
/// example `pod jupyter-alice`.
pub fn of_answer(status: u16, message: &str, object: &str) -> Trouble {
    let operator = format!("{object}: the API server answered {status}: {message}");
    let (cause, passing, user) = match status {
        403 if message.contains("exceeded quota") => ("quota", Passing::Perhaps, quota(message)),
        _ if message.contains("failed calling webhook") => (
            "webhook-unavailable",
            Passing::Perhaps,
            "A part of the cluster that checks new servers does not answer.".to_owned(),
        ),
        _ if message.contains("admission webhook") && message.contains("denied the request") => {
            ("webhook", Passing::Never, "The rules of the cluster do not allow your server.".to_owned())
        }
        403 if message.contains("violates PodSecurity") => (
            "pod-security",
            Passing::Never,
            "The security rules of the cluster do not allow your server.".to_owned(),
        ),
        401 | 403 => ("forbidden", Passing::Never, "The hub may not do this in the cluster.".to_owned()),
        404 if message.contains("namespaces") => {
            ("namespace-missing", Passing::Never, "The place for your server does not exist.".to_owned())
        }
        409 => ("conflict", Passing::Perhaps, "An older server of yours is still being stopped.".to_owned()),
        400 | 405 | 413 | 415 | 422 => {
            ("invalid-object", Passing::Never, "Your server is not set up correctly.".to_owned())
        }
        _ => return unavailable(operator),
    };
    Trouble::new(cause, passing, &user, operator)
}

/// What it means that there is no answer at all. `reason` tells why.
pub fn of_silence(reason: &str, object: &str) -> Trouble {
    unavailable(format!("{object}: {reason}"))
}

fn unavailable(operator: String) -> Trouble {
    let user = "The cluster does not answer right now. Try again in a moment.";
    Trouble::new("cluster-unavailable", Passing::Perhaps, user, operator)
}

/// `exceeded quota: NAME, requested: A, used: B, limited: C`, in words.
fn quota(message: &str) -> String {
    let part = |name: &str| {
        let (_, rest) = message.split_once(&format!("{name}: "))?;
        Some(
            ["requested: ", "used: ", "limited: "]
                .iter()
                .fold(rest, |rest, next| rest.split(&format!(", {next}")).next().unwrap_or(rest)),
        )
    };
    match (part("requested"), part("used"), part("limited")) {
        (Some(requested), Some(used), Some(limited)) => format!(
            "There is no more room for your server: it needs {requested}, of {limited} are {used} in use. Stop \
             another server, or choose a smaller one."
        ),
        _ => "There is no more room for your server. Stop another one, or choose a smaller one.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        403,
        "pods \"x\" is forbidden: User \"system:serviceaccount:a:hub\" cannot create",
        "forbidden",
        Passing::Never
    )]
    #[case(
        403,
        "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"",
        "pod-security",
        Passing::Never
    )]
    #[case(400, "admission webhook \"v.kyverno\" denied the request: no", "webhook", Passing::Never)]
    #[case(500, "failed calling webhook \"x\": connection refused", "webhook-unavailable", Passing::Perhaps)]
    #[case(422, "Pod \"x\" is invalid: spec.containers[0].image", "invalid-object", Passing::Never)]
    #[case(404, "namespaces \"ws-a\" not found", "namespace-missing", Passing::Never)]
    #[case(409, "object is being deleted", "conflict", Passing::Perhaps)]
    #[case(503, "", "cluster-unavailable", Passing::Perhaps)]
    fn answers_have_causes(
        #[case] status: u16,
        #[case] message: &str,
        #[case] cause: &str,
        #[case] passing: Passing,
    ) {
        let trouble = of_answer(status, message, "pod x");
        assert_eq!((trouble.cause, trouble.passing), (cause, passing));
        assert_eq!(trouble.into_error().retry, passing != Passing::Never);
    }

    #[test]
    fn a_quota_tells_its_figures() {
        let message = "pods \"x\" is forbidden: exceeded quota: q, requested: limits.memory=2G, used: \
                       limits.memory=7G, limited: limits.memory=8G";
        let trouble = of_answer(403, message, "pod x");
        assert!(
            trouble
                .user
                .contains("it needs limits.memory=2G, of limits.memory=8G are limits.memory=7G in use"),
            "{}",
            trouble.user
        );
    }
}
