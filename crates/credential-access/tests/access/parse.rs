//! What is no policy is refused with its line and a remedy.

use nebula_credential_access::{AccessPolicy, POLICY_BYTES_MAX, RULES_MAX};

/// A rule that holds, and the line its first key is on.
const RULE: &str = "version = 1\n[[rules]]\nid = \"a\"\neffect = \"allow\"\nprincipals = [\"*\"]\n\
                    permissions = [\"read\"]\ntenants = [\"*\"]\n";

fn refused(text: &str) -> (usize, String) {
    let error = AccessPolicy::parse(text).expect_err(text);
    assert!(error.to_string().starts_with("access policy, line "));
    (error.line(), error.message().to_owned())
}

#[test]
fn every_mistake_is_refused_by_its_line() {
    // Added to the rule, as its eighth line.
    let more = [
        ("colour = 1", "this is no key of a rule; there are id, effect"),
        ("scopes = []", "`scopes` is an empty list"),
        ("scopes = \"x\"", "`scopes` is a list of strings"),
        ("scopes = [1]", "`scopes` is a list of strings"),
        ("scopes = [\"a*b\"]", "only the last character may be one"),
        ("names = [\"{user}*\"]", "write `/*`"),
        (
            "names = [\"{team}\"]",
            "another name than workflow, node, user or principal",
        ),
        ("roles = [\"x\"]", "there is no role \"x\"; there are none"),
        ("emergency = \"yes\"", "`emergency` is true or false, unquoted"),
        (
            "tags = [\"x\"]",
            "`tags` is a table; write tags = { team = \"payments\" }",
        ),
        (
            "tags = { \"nebula.access/owner\" = \"x\" }",
            "write principals = [\"owner\"]",
        ),
        ("tags = { Team = \"x\" }", "this is no key of a tag"),
        ("tags = { team = 1 }", "a tag is text or a pattern"),
        ("when = 1", "`when` is a table of conditions"),
        ("when = {}", "`when` holds no condition"),
        ("unless = { mfa = 1 }", "`mfa` is true or false"),
        (
            "when = { colour = 1 }",
            "this is no key of a condition; there are environments",
        ),
        ("when = { hours = \"8-18\" }", "write hours = \"08:00-18:00\""),
        ("when = { days = [\"monday\"] }", "write mon, tue"),
        (
            "when = { from = \"2027-01-01\" }",
            "write from = 2027-01-01T00:00:00Z",
        ),
        ("when = { until = 2027-01-01 }", "is a time with its offset"),
        (
            "when = { from = 2027-01-01T00:00:00Z, until = 2027-01-01T00:00:00Z }",
            "would never hold",
        ),
        (
            "when = { networks = [\"10.0.0.1/8\"] }",
            "write the first address of the network",
        ),
        ("when = { networks = [\"localhost\"] }", "write one as 10.0.0.0/8"),
        ("id = \"b\"", "this is not TOML"),
        ("x", "this is not TOML"),
    ];
    for (line, expected) in more {
        let (at, message) = refused(&format!("{RULE}{line}\n"));
        assert!(message.contains(expected), "{line}: {message}");
        assert_eq!(at, 8, "{line}: {message}");
    }
    // Put in the place of a line of the rule.
    let instead = [
        (1, "", "there is no `version`; begin with: version = 1"),
        (1, "version = 2", "this version of the language is not known"),
        (1, "version = \"1\"", "write version = 1"),
        (
            1,
            "version = 1\nrule = 1",
            "this is no key of a policy; there are version, groups",
        ),
        (3, "", "a rule without `id`"),
        (3, "id = \"A b\"", "this is no id of a rule"),
        (3, "id = \"default-deny\"", "this is no id of a rule"),
        (3, "id = 1", "this is no id of a rule"),
        (4, "", "a rule without `effect`"),
        (4, "effect = \"permit\"", "an effect is \"allow\" or \"deny\""),
        (5, "", "a rule without `principals`"),
        (
            5,
            "principals = [\"alice\"]",
            "\"alice\" is no principal; write user:NAME",
        ),
        (
            5,
            "principals = [\"group:ops\"]",
            "there is no group \"ops\"; there are none",
        ),
        (6, "", "a rule without `permissions` or `roles`"),
        (
            6,
            "permissions = [\"wirte\"]",
            "\"wirte\" is no permission; there are read, use",
        ),
        (7, "", "a rule without `tenants`"),
        (
            7,
            "tenants = [\"acme*\"]",
            "\"acme*\" is no tenant; write its whole name",
        ),
    ];
    for (number, line, expected) in instead {
        let lines = RULE.lines().enumerate();
        let text: Vec<&str> = lines
            .map(|(index, old)| if index + 1 == number { line } else { old })
            .collect();
        let (at, message) = refused(&text.join("\n"));
        assert!(message.contains(expected), "{line}: {message}");
        let whole_rule = line.is_empty() && number > 1;
        let expected = if whole_rule {
            2
        } else {
            number + usize::from(line.contains('\n'))
        };
        assert_eq!(at, expected, "{line}: {message}");
    }
    let others = [
        (
            "version = 1\n[groups]\nops = [\"*\"]",
            3,
            "is no member of a group",
        ),
        (
            "version = 1\n[groups]\nops = [\"group:x\"]",
            3,
            "is no member of a group",
        ),
        (
            "version = 1\n[groups]\n\"o p\" = [\"user:a\"]",
            3,
            "this is no name of a group or role",
        ),
        ("version = 1\n[roles]\ndev = [\"reed\"]", 3, "is no permission"),
        ("version = 1\n[roles]\ndev = []", 3, "empty list"),
        ("version = 1\ngroups = 1", 2, "`groups` is a table"),
        ("version = 1\nrules = 1", 2, "begin each with [[rules]]"),
        ("version = 1\nrules = [1]", 2, "begin it with [[rules]]"),
        ("\u{0}", 1, "this is not TOML"),
    ];
    for (text, line, expected) in others {
        let (at, message) = refused(text);
        assert!(message.contains(expected), "{text}: {message}");
        assert_eq!(at, line, "{text}: {message}");
    }
    let emergency = RULE.replace("allow", "deny") + "emergency = true\n";
    assert!(refused(&emergency).1.contains("a rule for emergencies allows"));
}

#[test]
fn two_rules_of_one_id_are_refused_where_the_second_is() {
    let second = RULE.trim_start_matches("version = 1\n");
    let (line, message) = refused(&format!("{RULE}{second}"));
    assert_eq!(line, 8);
    assert!(message.contains("there is a rule \"a\" already"), "{message}");
}

#[test]
fn a_file_that_is_no_policy_is_not_repeated() {
    for text in [
        "hunter2",
        "password = \"hunter2\"",
        "version = 1\nhunter2 = 1",
        "version = 1\n[[rules]]\nhunter2 = 1",
        "version = \"hunter2\"",
    ] {
        assert!(!refused(text).1.contains("hunter2"), "{text}");
    }
}

#[test]
fn limits_hold_at_their_edges() {
    let padded = |bytes: usize| format!("version = 1\n#{}", "x".repeat(bytes - "version = 1\n#".len()));
    AccessPolicy::parse(&padded(POLICY_BYTES_MAX)).unwrap();
    assert!(
        refused(&padded(POLICY_BYTES_MAX + 1))
            .1
            .contains("of at most 262144")
    );
    let many = |count: usize| {
        let rule = |number| {
            format!(
                "{{id=\"r{number}\",effect=\"deny\",principals=[\"*\"],permissions=[\"*\"],tenants=[\"*\"],names=[\"n{number}\"]}},"
            )
        };
        format!(
            "version = 1\nrules = [{}]",
            (0..count).map(rule).collect::<String>()
        )
    };
    assert_eq!(
        AccessPolicy::parse(&many(RULES_MAX)).unwrap().rules().count(),
        RULES_MAX
    );
    assert!(
        refused(&many(RULES_MAX + 1))
            .1
            .contains("1001 rules of at most 1000")
    );
    // Many rules about one large group come to much memory in little text.
    let members: String = (0..5000).map(|number| format!("\"user:u{number}\",")).collect();
    let rule =
        "{id=\"NUMBER\",effect=\"deny\",principals=[\"group:g\"],permissions=[\"*\"],tenants=[\"*\"]},";
    let rules = |count: usize| -> String {
        (0..count)
            .map(|number| rule.replace("NUMBER", &number.to_string()))
            .collect()
    };
    let policy = |count: usize| {
        format!(
            "version = 1\nrules = [{}]\n[groups]\ng = [{members}]",
            rules(count)
        )
    };
    AccessPolicy::parse(&policy(20)).unwrap();
    assert!(refused(&policy(21)).1.contains("more than 100000 principals"));
    // Deep nesting is refused, not followed.
    let deep = format!(
        "version = 1\nrules = {}{}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    refused(&deep);
}

#[test]
fn the_policy_of_the_readme_is_one() {
    let readme = include_str!("../../README.md");
    let text = readme
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let policy = AccessPolicy::parse(text).unwrap();
    let rules: Vec<&str> = policy.rules().collect();
    assert_eq!(
        rules,
        ["workflows-use-their-own", "owners", "shared", "break-glass"]
    );
}
