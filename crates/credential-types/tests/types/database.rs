//! PostgreSQL and connection strings in general.

use nebula_credential_core::{
    Credential, CredentialValue, ErrorKind, ExposeSecret, Plaintext, decode_credential,
};
use nebula_credential_types::{ConnectionStringCredential, PostgresCredential, SslMode};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use url::{Host, Url};

use crate::{hides, json, refused, refuses_other_values, stored};

fn postgres() -> PostgresCredential {
    PostgresCredential {
        host: "localhost".to_string(),
        port: 5432,
        database: "mydb".to_string(),
        username: "admin".to_string(),
        password: "super_secret".to_string(),
        ssl_mode: SslMode::Require,
        max_connections: 10,
        min_connections: 1,
        connection_timeout: 30,
    }
}

#[test]
fn postgres_writes_the_url_and_reads_it_back() {
    let db = postgres();
    db.validate().unwrap();
    let url = db.connection_string();
    assert_eq!(
        *url,
        "postgres://admin:super_secret@localhost:5432/mydb?sslmode=require"
    );
    let takes_str = |text: &str| text.len();
    assert_eq!(takes_str(&db.connection_string()), url.len());
    assert_eq!(
        json(&PostgresCredential::from_connection_string(&url).unwrap()),
        json(&db)
    );

    let odd = PostgresCredential {
        host: "2001:db8::1".to_string(),
        port: 6543,
        database: "a/b?c d%".to_string(),
        username: "ü@ser:".to_string(),
        password: "p@ss:/?#[]&=+ %41\u{1f511}".to_string(),
        ssl_mode: SslMode::VerifyCa,
        connection_timeout: 5,
        ..postgres()
    };
    let url = odd.connection_string();
    assert_eq!(
        *url,
        "postgres://%C3%BC%40ser%3A:p%40ss%3A%2F%3F%23%5B%5D%26%3D%2B%20%2541%F0%9F%94%91@[2001:db8::1]:6543/\
         a%2Fb%3Fc%20d%25?sslmode=verify-ca&connect_timeout=5"
    );
    assert_eq!(
        json(&PostgresCredential::from_connection_string(&url).unwrap()),
        json(&odd)
    );
}

#[test]
fn postgres_is_stored_whole_and_shown_without_who_and_password() {
    let mut db = postgres();
    db.max_connections = 77;
    let back = stored(&db);
    assert_eq!(json(&back), json(&db));
    assert_eq!((back.max_connections, back.ssl_mode), (77, SslMode::Require));
    assert!(json(&db).contains("\"ssl_mode\":\"require\""));
    hides(&db, &["super_secret", "admin"]);
    let redacted = db.redact();
    assert_eq!(redacted.username, "[REDACTED]");
    assert_eq!(redacted.password, "[REDACTED]");
    assert_eq!(redacted.host, "localhost");

    let value = db.to_value().unwrap();
    assert!(matches!(&value, CredentialValue::Database { driver, .. } if driver == "postgres"));
    let back = PostgresCredential::from_value(value).unwrap();
    assert_eq!(back.password, "super_secret");
    assert_eq!(back.max_connections, 10, "the pool sizes have no place in a URL");
    refuses_other_values::<PostgresCredential>("database");
}

#[test]
fn postgres_fills_in_what_a_url_leaves_out_and_keeps_every_mode() {
    let db = PostgresCredential::from_connection_string("postgresql://app@db.example.com/orders").unwrap();
    assert_eq!(
        (db.port, db.password.as_str(), db.ssl_mode),
        (5432, "", SslMode::VerifyFull)
    );
    assert_eq!(
        (db.max_connections, db.min_connections, db.connection_timeout),
        (10, 1, 30)
    );
    for mode in SslMode::ALL {
        let url = format!("postgres://app:x@db/orders?sslmode={mode}&connect_timeout=7");
        let db = PostgresCredential::from_connection_string(&url).unwrap();
        assert_eq!((db.ssl_mode, db.connection_timeout), (mode, 7));
        assert_eq!(mode.as_str().parse::<SslMode>().unwrap(), mode);
    }
    assert!("VERIFY-FULL".parse::<SslMode>().is_err());
    let split =
        PostgresCredential::from_connection_string("postgres://a:b@db:1/%E2%82%AC?&sslmode=dis%61ble&")
            .unwrap();
    assert_eq!((split.database.as_str(), split.ssl_mode), ("€", SslMode::Disable));
}

#[test]
fn postgres_fills_in_what_a_stored_form_leaves_out() {
    let from = |text: &str| decode_credential::<PostgresCredential>(&Plaintext::new(text.into()), 1);
    let least = r#"{"host":"db","database":"orders","username":"app","password":""}"#;
    let url = "postgres://app@db/orders";
    assert_eq!(
        json(&from(least).unwrap()),
        json(&PostgresCredential::from_connection_string(url).unwrap())
    );
    for required in ["host", "database", "username", "password"] {
        assert!(from(&least.replace(required, "port")).is_err(), "{required}");
    }
    let required = |name: &str| {
        let field = PostgresCredential::fields()
            .iter()
            .find(|field| field.name == name);
        field.unwrap().required
    };
    for name in [
        "port",
        "ssl_mode",
        "max_connections",
        "min_connections",
        "connection_timeout",
    ] {
        assert!(!required(name), "{name}");
    }
    for name in ["host", "database", "username", "password"] {
        assert!(required(name), "{name}");
    }
}

#[test]
fn postgres_refuses_urls_it_cannot_keep_and_says_what_to_do() {
    for (url, words) in [
        ("", "add it"),
        ("host=db password=hunter2", "has a space"),
        ("mysql://u:hunter2@db/x", "does not begin with postgres://"),
        ("jdbc:postgresql://u:hunter2@db/x", "add it"),
        ("postgres://u:hunter2@a,b/x", "several hosts"),
        ("postgres://u:hunter2@%2Fvar%2Frun/x", "host is no host name"),
        ("postgres://u:hunter2@/x", "host cannot be empty"),
        ("postgres:///x", "host cannot be empty"),
        ("postgres://db/x", "username cannot be empty"),
        ("postgres://:hunter2@db/x", "username cannot be empty"),
        ("postgres://u:hunter2@db", "database cannot be empty"),
        ("postgres://u:hunter2@db/", "database cannot be empty"),
        ("postgres://u:hunter2@db/..", "database cannot be '.'"),
        ("postgres://u:hunter2@db/%2e", "database cannot be '.'"),
        ("postgres://u:hunter2@db:/x", "a port that is not a number"),
        ("postgres://u:hunter2@db:0/x", "a port that is not a number"),
        ("postgres://u:hunter2@db:65536/x", "a port that is not a number"),
        ("postgres://u:hunter2@db:+1/x", "a port that is not a number"),
        ("postgres://u:hunter2@::1/x", "a port that is not a number"),
        ("postgres://u:hunter2@[::1/x", "without ']'"),
        ("postgres://u:hunter2@[db]/x", "no IPv6 address between"),
        ("postgres://u:hunter2@[::1]x/x", "text behind the ']'"),
        ("postgres://u:hunter2@db/./x", "'/' in its database"),
        ("postgres://u:hunter2@db/x/", "'/' in its database"),
        // Each character that ends a part early when it stands raw in a password.
        ("postgres://u:hunter@2@db/x", "write '@' as %40"),
        ("postgres://u:hunter/2@db/x", "write '@' as %40"),
        ("postgres://u:hunter?2@db/x", "write '@' as %40"),
        ("postgres://u:hunter#2@db/x", "write it as %23"),
        ("postgres://u:hunter:2@db/x", "write it as %3A"),
        ("postgres://u:hunter%2@db/x", "write '%' itself as %25"),
        ("postgres://u:hunter%@db/x", "write '%' itself as %25"),
        ("postgres://u:hunter 2@db/x", "has a space"),
        ("postgres://u:hunter%FF2@db/x", "does not decode to UTF-8"),
        ("postgres://u:hunter%002@db/x", "password has a NUL"),
        ("postgres://u%00:hunter2@db/x", "username has a NUL"),
        ("postgres://u:hunter2@db/x%00", "database has a NUL"),
        // Nothing is dropped in silence.
        ("postgres://u:hunter2@db/x?sslmode=hunter2", "unknown sslmode"),
        (
            "postgres://u:hunter2@db/x?connect_timeout=-1",
            "connect_timeout that is not",
        ),
        (
            "postgres://u:hunter2@db/x?connect_timeout=99999999999",
            "at most 2147483647",
        ),
        (
            "postgres://u:hunter2@db/x?sslmode=require&sslmode=disable",
            "a parameter twice",
        ),
        (
            "postgres://u:hunter2@db/x?application_name=y",
            "has the parameter application_name",
        ),
        (
            "postgres://u:hunter2@db/x?sslrootcert=/y",
            "has the parameter sslrootcert",
        ),
        ("postgres://u@db/x?password=hunter2", "has the parameter password"),
        ("postgres://u:hunter2@db/x?hunter2=y", "a parameter other than"),
        ("postgres://u:hunter2@db/x?hunter2", "a parameter without '='"),
    ] {
        let error = PostgresCredential::from_connection_string(url)
            .err()
            .unwrap_or_else(|| panic!("{url} was taken"));
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(message.contains(words), "{url}: {message}");
        assert!(!message.contains("hunter"), "{message}");
    }
}

#[test]
fn postgres_refuses_fields_of_other_shape() {
    let with = |change: &dyn Fn(&mut PostgresCredential)| {
        let mut db = postgres();
        change(&mut db);
        db
    };
    for host in [
        "x@evil", "a/b", "a?b", "a#b", "[::1]", "db:5432", "a b", "a\\b", "a%62", "a,b", "/var/run", "a\n",
    ] {
        refused(
            &with(&|db| db.host = host.to_string()),
            "host is no host name",
            &[host],
        );
    }
    for host in [
        "db_1",
        "10.0.0.1",
        "::1",
        "fe80::1",
        "db.example.com.",
        "b\u{fc}cher.example",
    ] {
        with(&|db| db.host = host.to_string()).validate().unwrap();
    }
    refused(&with(&|db| db.host.clear()), "host cannot be empty", &[]);
    refused(&with(&|db| db.port = 0), "port cannot be 0", &[]);
    refused(&with(&|db| db.database.clear()), "database cannot be empty", &[]);
    refused(&with(&|db| db.username.clear()), "username cannot be empty", &[]);
    refused(
        &with(&|db| db.max_connections = 0),
        "max_connections must be > 0",
        &[],
    );
    refused(
        &with(&|db| db.min_connections = 11),
        "min_connections cannot exceed",
        &[],
    );
    refused(
        &with(&|db| db.connection_timeout = u64::MAX),
        "connection_timeout is in seconds",
        &[],
    );
    with(&|db| db.password.clear()).validate().unwrap();
}

fn name() -> impl Strategy<Value = String> {
    // NUL ends a text in the protocol of PostgreSQL and is refused.
    any::<String>()
        .prop_map(|text| text.replace('\0', ""))
        .prop_filter("a name", |text| !text.is_empty())
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9_]{1,8}(\\.[a-z0-9-]{1,8}){0,3}\\.[a-z]{1,6}",
        any::<[u8; 4]>().prop_map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
        any::<[u8; 16]>().prop_map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
    ]
}

proptest! {
    /// Any user, password and database survive the URL, and the `url` crate, which sqlx and others use, reads the
    /// same from it.
    #[test]
    fn any_postgres_survives_its_url_and_reads_alike_elsewhere(
        (host, port, username, password) in (host(), 1..=u16::MAX, name(), any::<String>()),
        database in name().prop_filter("no directory", |name| name != "." && name != ".."),
        mode in 0..SslMode::ALL.len(),
        connection_timeout in 0..=2_147_483_647_u64,
    ) {
        let db = PostgresCredential {
            host,
            port,
            database,
            username,
            password: password.replace('\0', ""),
            ssl_mode: SslMode::ALL[mode],
            max_connections: 10,
            min_connections: 1,
            connection_timeout,
        };
        let text = db.connection_string();
        let back = PostgresCredential::from_connection_string(&text).unwrap();
        prop_assert_eq!(json(&back), json(&db));
        prop_assert!(text.is_ascii());

        let url = Url::parse(&text).unwrap();
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
        prop_assert_eq!(url.scheme(), "postgres");
        prop_assert_eq!(decoded(url.username()), db.username.as_str());
        prop_assert_eq!(decoded(url.password().unwrap_or_default()), db.password.as_str());
        match url.host() {
            Some(Host::Ipv6(address)) => prop_assert_eq!(Ok(address), db.host.parse()),
            Some(other) => prop_assert_eq!(decoded(&other.to_string()), db.host.as_str()),
            None => prop_assert!(false, "no host"),
        }
        prop_assert_eq!(url.port(), Some(db.port));
        prop_assert_eq!(decoded(url.path().strip_prefix('/').unwrap()), db.database.as_str());
        let mode = url.query_pairs().find(|(name, _)| name == "sslmode").map(|(_, value)| value.into_owned());
        prop_assert_eq!(mode.as_deref(), Some(db.ssl_mode.as_str()));
        prop_assert_eq!(url.fragment(), None);
    }

    /// Whatever we take from a URL, the `url` crate takes the same host, user, password and database from it.
    #[test]
    fn a_url_we_take_reads_alike_elsewhere(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[a-z0-9é@:/?#%&=.,;\\[\\]\\\\ ]{0,2}", 0..2_usize), 0..3),
    ) {
        let mut text: Vec<char> = "postgres://us%65r:p%C3%A9.w@db.example:5433/or%20ders?sslmode=require".chars().collect();
        for (index, put, drop) in changes {
            // Behind the scheme: with another scheme, other rules hold.
            let at = "postgres://".len() + index.index(text.len() - "postgres://".len());
            text.splice(at..(at + drop).min(text.len()), put.chars());
        }
        let text = String::from_iter(text);
        let Ok(db) = PostgresCredential::from_connection_string(&text) else { return Ok(()) };
        let url = Url::parse(&text).unwrap();
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
        prop_assert_eq!(decoded(url.username()), db.username.as_str());
        prop_assert_eq!(decoded(url.password().unwrap_or_default()), db.password.as_str());
        prop_assert_eq!(decoded(url.host_str().unwrap()), db.host.as_str());
        prop_assert_eq!(url.port().unwrap_or(5432), db.port);
        prop_assert_eq!(decoded(url.path().strip_prefix('/').unwrap()), db.database.as_str());
    }

    #[test]
    fn any_text_is_answered_without_a_panic(text in any::<String>(), tail in "[a-z:/@?#%&=\\[\\],.0-9 ]{0,40}") {
        for text in [text.clone(), tail.clone(), format!("postgres://{text}"), format!("postgres://{tail}")] {
            let _ = PostgresCredential::from_connection_string(&text);
            let url = ConnectionStringCredential::new(text.as_str());
            prop_assert_eq!(url.validate().is_ok(), url.driver().is_some());
            let _ = url.redacted();
        }
    }

    /// The redacted form of a URL names the host that the `url` crate, and a browser, go to.
    #[test]
    fn the_redacted_form_names_the_same_host(
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[a-z0-9é@:/?#%&=.,;\\[\\]\\\\ ]{0,2}", 0..2_usize), 0..3),
    ) {
        let start = "https://".len();
        let mut text: Vec<char> = "https://us%65r:pw@db.example:8443/a/b?c=d&e".chars().collect();
        for (index, put, drop) in changes {
            let at = start + index.index(text.len() - start);
            text.splice(at..(at + drop).min(text.len()), put.chars());
        }
        let credential = ConnectionStringCredential::new(String::from_iter(&text));
        if let (Ok(()), Ok(url)) = (credential.validate(), Url::parse(credential.url.expose_secret())) {
            let shown = credential.redacted().replace("[REDACTED]@", "");
            let shown = Url::parse(&shown).unwrap();
            prop_assert_eq!((url.host(), url.port(), url.path()), (shown.host(), shown.port(), shown.path()));
            prop_assert_eq!((shown.username(), shown.password()), ("", None));
        }
    }

    /// However the parts are spelled, the redacted form holds neither user nor password.
    #[test]
    fn the_redacted_form_never_holds_the_password(
        password in "s3cr3t[a-z:/@?#%&=\\[\\],.0-9 ]{0,10}", user in "us3r[a-z:@%]{0,3}", query in "[a-z&=?]{0,10}",
    ) {
        for url in [
            format!("postgres://{user}:{password}@db.example.com/x?{query}"),
            format!("postgres://{password}@db.example.com"),
            format!("redis://:{password}@db:6379/0"),
            format!("https://db.example.com/x?a=1&{query}token={password}"),
        ] {
            let shown = ConnectionStringCredential::new(url.as_str()).redacted();
            prop_assert!(!shown.contains("s3cr3t") && !shown.contains("us3r"), "{} from {}", shown, url);
        }
    }
}

#[test]
fn connection_strings_name_their_driver_and_show_no_secret() {
    for (url, driver, redacted) in [
        (
            "postgres://u:hunter2@db:5432/x?sslmode=require",
            "postgres",
            "postgres://[REDACTED]@db:5432/x?sslmode=require",
        ),
        (
            "mongodb+srv://u:hunter2@a.example,b.example:27018/db?replicaSet=r&tls=true",
            "mongodb+srv",
            "mongodb+srv://[REDACTED]@a.example,b.example:27018/db?replicaSet=r&tls=true",
        ),
        (
            "redis://:hunter2@[::1]:6379/0",
            "redis",
            "redis://[REDACTED]@[::1]:6379/0",
        ),
        (
            "https://hunter2@o0.ingest.example/1",
            "https",
            "https://[REDACTED]@o0.ingest.example/1",
        ),
        ("sqlite:///data/x.db", "sqlite", "sqlite:///data/x.db"),
        ("amqp://mq", "amqp", "amqp://mq"),
        (
            "postgres://db/x?user=hunter2&Pass%77ord=hunter2&hunter2&sslmode=disable&=hunter2",
            "postgres",
            "postgres://db/x?user=[REDACTED]&Pass%77ord=[REDACTED]&[REDACTED]&sslmode=disable&=[REDACTED]",
        ),
    ] {
        let credential = ConnectionStringCredential::new(url);
        credential.validate().unwrap();
        assert_eq!(credential.driver(), Some(driver));
        assert_eq!(credential.redacted(), redacted);
        assert_eq!(stored(&credential).url.expose_secret(), url);
        let value = credential.to_value().unwrap();
        assert!(matches!(&value, CredentialValue::Database { driver: found, .. } if found == driver));
        assert_eq!(
            json(&ConnectionStringCredential::from_value(value).unwrap()),
            json(&credential)
        );
        hides(&credential, &[url]);
    }
    refuses_other_values::<ConnectionStringCredential>("database");
}

#[test]
fn connection_strings_that_read_two_ways_are_refused() {
    for (url, words) in [
        ("", "url does not begin with a scheme"),
        ("hunter2", "url does not begin with a scheme"),
        ("Server=db;Password=hunter2", "url does not begin with a scheme"),
        ("u:hunter2@tcp(db:3306)/x", "url does not begin with a scheme"),
        ("1a://db", "url does not begin with a scheme"),
        ("://db", "url does not begin with a scheme"),
        ("postgres://", "neither a host nor a path"),
        ("postgres:///", "neither a host nor a path"),
        ("postgres://u:hunter2@/", "neither a host nor a path"),
        ("postgres://u:hunter2@a,,b/x", "an empty host"),
        ("postgres://u:hunter2@:5432/x", "an empty host"),
        ("postgres://u:hun@ter2@db/x", "write '@' as %40"),
        ("postgres://u:hun/ter2@db/x", "write '@' as %40"),
        ("postgres://u:hun/ter2/x", "a port that is not a number"),
        ("postgres://u:hun#ter2@db/x", "write it as %23"),
        ("https://db\\@ter2/x", "write it as %5C"),
        (
            "sqlserver://db:1433;user=sa;password=hunter2",
            "a port that is not a number",
        ),
        ("postgres://u:hunter2@db\n", "has a space, line break"),
    ] {
        let credential = ConnectionStringCredential::new(url);
        refused(&credential, words, &["hun", "ter2", "sa;"]);
        assert_eq!(credential.redacted(), "[REDACTED]");
        assert_eq!(credential.driver(), None);
        assert!(credential.to_value().is_err());
    }
}
